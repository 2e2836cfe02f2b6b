"""Does the mirror slow a search down, and how fast is the review desk with many candidates?

    python bench/mlflow_desk.py slowdown [--evaluations 1500] [--pairs 5]    the same search with and without a mirror
    python bench/mlflow_desk.py pages [--nested 10000]                       the UI on a parent run with so many nested

The searches of a pair are the same (one worker, same seed, no cache), one after the other, and who goes first
alternates; on a machine that others use only the median over many pairs means something. The pages are opened in
headless chromium on a store that the mirror filled (about 30 ms a nested run, so 10,000 take five minutes).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow_mirror import order_by_metric, write_journal

from evolve import new, run, settings
from evolve.observers.mlflow import MlflowMirror, environment, link, mirror_run, pending
from evolve.observers.mlflow_ui import ui_command

PORT = 5077


def search(folder: Path, evaluations: int, store: str) -> tuple[float, float]:
    """Wall and own CPU seconds of a search; the mirror's process goes on by itself afterwards and is ended."""
    chosen = settings.resolve("smtt_dispatch", {"budget": {"evaluations": evaluations}, "workers": 1})
    mirror = MlflowMirror(store) if store else None
    searching = run.start(folder, chosen, [mirror] if mirror else [])
    began, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    searching.execute()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    searching.journal.close()
    if mirror is not None and mirror._process is not None:
        mirror._process.terminate()
        mirror._process.wait()
    return wall, after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime


def slowdown(evaluations: int, pairs: int) -> None:
    walls, cpus = [], []
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        store = f"sqlite:///{root / 'mlflow.db'}"
        for number in range(pairs):
            taken: dict[str, tuple[float, float]] = {}
            for name in ("with", "without") if number % 2 else ("without", "with"):
                folder = root / "runs" / f"{name}{number}"
                taken[name] = search(folder, evaluations, store if name == "with" else "")
            walls.append(taken["with"][0] / taken["without"][0] - 1)
            cpus.append(taken["with"][1] / taken["without"][1] - 1)
            print(
                f"pair {number + 1}: with {taken['with'][0]:.1f} s, without {taken['without'][0]:.1f} s",
                flush=True,
            )
    print("\n| slowdown | median | least | largest |\n| --- | ---: | ---: | ---: |")
    for name, shares in (("wall time", walls), ("CPU of the search's own process", cpus)):
        print(f"| {name} | {statistics.median(shares):+.1%} | {min(shares):+.1%} | {max(shares):+.1%} |")


@contextmanager
def served(store: str) -> Iterator[str]:
    command = ui_command(store, PORT)
    process = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{PORT}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def opened(address: str, text: str) -> float:
    """Seconds until a page of the UI shows a text."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page: Any = browser.new_page(viewport={"width": 1400, "height": 900})
        began = time.perf_counter()
        page.goto(address)
        page.get_by_text(text).first.wait_for(timeout=300_000)
        taken = time.perf_counter() - began
        browser.close()
    return taken


def pages(nested: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        new.create(root / "problem")
        write_journal(root / "run", root / "problem", nested)
        store = f"sqlite:///{root / 'mlflow.db'}"
        began = time.perf_counter()
        mirror_run(root / "run", store, lambda _journal: True)
        filled = time.perf_counter() - began
        progress = pending(root / "run")
        assert progress is not None
        with served(store) as address:
            parent = f"{address}/#/experiments/{progress.experiment_id}/runs/{progress.parent_run_id}"
            first = opened(parent, "best.score.train")
            again = opened(parent, "best.score.train")
            listed = opened(link(progress, PORT), f"#{nested} ")
        ordered = order_by_metric(store)
    print(f"{nested} nested runs, mirrored in {filled:.0f} s ({1000 * filled / nested:.1f} ms each)\n")
    print("| what | s |\n| --- | ---: |")
    print(f"| the parent run's page, first time | {first:.1f} |\n| again, in a new browser | {again:.1f} |")
    print(
        f"| the candidates, best first, in the UI | {listed:.1f} |\n| sorting them, as the UI asks | {ordered:.3f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["slowdown", "pages"])
    parser.add_argument("--evaluations", type=int, default=1500)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--nested", type=int, default=10_000)
    options = parser.parse_args()
    if options.what == "slowdown":
        slowdown(options.evaluations, options.pairs)
    else:
        pages(options.nested)


if __name__ == "__main__":
    main()
