"""Size of a report and the time that it takes to write and to open, at many candidates.

    python bench/report.py [--candidates 20000] [--opens 5]    writes bench/report.md at 20,000 or more

The journal is that of a real search loop (proposer, archive, promotion) on smtt whose evaluations are invented: a child
scores as its parent with noise, so that programs and lineages grow as in a search, in a minute instead of hours. The
page is opened in headless chromium (it needs `pip install playwright` and chromium), each time in a new process.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evolve import problem, run, settings
from evolve.problem import Problem
from evolve.records import Evaluation, Split, Status
from evolve.report import FILE, write
from evolve.search import Search

HEAD = """# What a report costs

`python bench/report.py`: a search loop on smtt with invented evaluations, its report, and headless chromium opening it
until every candidate is there and the champion's program is shown.
"""


def invent(search: Search, the_problem: Problem, rng: random.Random) -> Iterator[Evaluation]:
    """Evaluations of what was begun: as the parent, with noise; a third fails or is raced out."""
    for task in search.take_begun():
        count = len(the_problem.split(task.split))
        known = SCORES.get(task.candidate.id)
        if known is None:
            parents = [SCORES[each] for each in task.candidate.parents if each in SCORES]
            known = max(parents, default=0.5) + rng.gauss(-0.01, 0.01) * (1 - max(parents, default=0.5))
        SCORES[task.candidate.id] = known
        draw = rng.random()
        if task.candidate.parents and task.split is Split.TRAIN and draw < 0.35:
            status = Status.CRASHED if draw < 0.05 else Status.RACED_OUT
            text = f"stopped after 8 instances: score {known:.4f}, to beat {known + 0.001:.4f}"
            yield Evaluation(task.candidate.id, task.split, status, (), (), 8, text, 0.02, 40.0, 0.1, "full")
            continue
        scores = tuple((known + 0.01 * np.sin(np.arange(count))).tolist())
        raw = tuple(50.0 * (1 - score) for score in scores)
        text = f"mean floor gap {np.mean(raw):.6g} % over {count} instances; worst groups: n=100 RDD=0.2 TF=0.4: 8.472"
        yield Evaluation(
            task.candidate.id, task.split, Status.OK, raw, scores, count, text, 0.1, 40.0, 0.2, "full"
        )


SCORES: dict[str, float] = {}


def fill(folder: Path, the_problem: Problem, candidates: int) -> None:
    """A journal of that many candidates."""
    chosen = settings.resolve("smtt", {"budget": {"evaluations": candidates}, "workers": 1})
    searching = run.start(folder, chosen)
    search, journal = searching.search, searching.journal
    rng = random.Random(1)
    with journal:
        at = 0.0
        while search.evaluations < candidates:
            proposal = search.propose()
            journal.append(proposal, at)
            search.proposed(proposal)
            for evaluation in invent(search, the_problem, rng):
                at += 0.02
                journal.append(evaluation, at)
                for record in search.evaluated(evaluation, at):
                    journal.append(record, at)
        journal.note("ended", "budget spent")


def opened(file: Path) -> float:
    """Seconds from the start of loading until the page is ready."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        began = time.perf_counter()
        page.goto(file.resolve().as_uri())
        page.wait_for_selector("html[data-ready]", timeout=120_000)
        taken = time.perf_counter() - began
        browser.close()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=int, default=20_000)
    parser.add_argument("--opens", type=int, default=5)
    options = parser.parse_args()
    the_problem = problem.load("smtt")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        began = time.perf_counter()
        fill(folder, the_problem, options.candidates)
        filled = time.perf_counter() - began
        began = time.perf_counter()
        report = write(folder, measure=False)
        written = time.perf_counter() - began
        times = [opened(folder / FILE) for _ in range(options.opens)]
    rows = [
        ("candidates", f"{report.candidates:,}"),
        ("programs in the page", f"{report.programs:,}"),
        ("size of the page", f"{report.size / 1e6:.2f} MB"),
        ("journal read and page written", f"{written:.1f} s"),
        (f"opened, median of {len(times)}", f"{statistics.median(times):.2f} s"),
        ("opened, slowest", f"{max(times):.2f} s"),
    ]
    table = "\n".join(
        ["| what | value |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows)]
    )
    chromium = subprocess.run(
        ["chromium", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    machine = f"{chromium}, Python {platform.python_version()}, {platform.machine()}."
    print(f"{table}\n\nThe journal took {filled:.0f} s. {machine}")
    if options.candidates >= 20_000:
        text = f"{HEAD}\n{table}\n\n{machine}\n"
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(json.dumps({"opened_s": times}))


if __name__ == "__main__":
    main()
