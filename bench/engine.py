"""The engine's own cost per candidate, and whether it grows: CPU, memory and journal at the start and at the end.

    python bench/engine.py [--evaluations 20000] [--workers 2]    a run of 20,000 or more writes bench/engine.md

Own cost is everything but the candidate's own run: the main process (loop, proposer, scoring, journal), the
jail's warm parents, and what a child takes before and after it answers (measured with an empty program).
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from evolve import run, settings
from evolve.evaluate import Evaluator
from evolve.folders import FILE
from evolve.journal import Entry
from evolve.problem import Problem, load
from evolve.program import make_candidate
from evolve.records import Evaluation, Split

HEAD = """# What the engine itself costs

Everything but the candidates' own runs: CPU of the main process (loop, proposer, scoring, journal) and of the
jail's warm parents, per candidate, at the start and at the end of one run; then with what a child takes that
runs an empty program (fork, confinement, loading, exit). The machine's speed changes within minutes, by a factor
of up to two; a piece of work that is always the same, done every 100 candidates, tells by how much.
Made by `python bench/engine.py`.

"""
TICKS = os.sysconf("SC_CLK_TCK")
REPEATS = 200


class Mark(NamedTuple):
    """How far things were after `count` candidates; the reference is no part of the own CPU."""

    count: int
    own_s: float
    reference_s: float
    wall_s: float
    resident_mb: float


class Meter:
    """Notes the CPU that main process and warm parents have taken, whenever `every` more candidates are done."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.marks: list[Mark] = []
        self._text = ""
        self._reference = 0.0

    def begin(self, running: run.Run) -> None:
        largest = max(running.problem.seeds.values(), key=lambda seed: len(str(seed.files)))
        self._text = largest.files[running.problem.spec.program]
        self._mark(0)

    def tick(self, running: run.Run) -> None: ...

    def end(self, running: run.Run, result: run.Result) -> None: ...

    def entry(self, running: run.Run, entry: Entry) -> None:
        if isinstance(entry.record, Evaluation) and entry.record.split is Split.TRAIN:
            count = running.search.evaluations + 1
            if count % self.every == 0:
                self._mark(count)

    def _mark(self, count: int) -> None:
        start = time.thread_time()
        ast.unparse(ast.parse(self._text))
        self._reference += time.thread_time() - start
        own = time.process_time() + sum(cpu_of(pid) for pid in zygotes(os.getpid())) - self._reference
        self.marks.append(Mark(count, own, self._reference, time.monotonic(), resident_mb()))

    def between(self, first: int, last: int) -> tuple[float, float, float]:
        """Own CPU in ms per candidate, reference in ms, candidates per second; from candidate `first` to `last`."""
        marks = {mark.count: mark for mark in self.marks}
        begin, end = marks[first], marks[last]
        pieces = (last - first) / self.every
        own = 1000 * (end.own_s - begin.own_s) / (last - first)
        return (
            own,
            1000 * (end.reference_s - begin.reference_s) / pieces,
            (last - first) / (end.wall_s - begin.wall_s),
        )


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def zygotes(pid: int) -> list[int]:
    """The warm parents below a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"zygote" in command and b"bwrap" not in command.split(b"\0")[0]:
                found.append(int(child))
            else:
                found += zygotes(int(child))
    return found


def cpu_of(pid: int) -> float:
    """CPU seconds of a process without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def empty_child_ms(problem: Problem) -> float:
    """CPU of a child that answers nothing of use, in ms: fork, sandbox, load, exit."""
    empty = make_candidate(
        {problem.spec.program: f"def {problem.spec.entry.function}(*_):\n    return None\n"}
    )
    with Evaluator(problem, settings.JailSettings().minimum) as evaluator:
        evaluator.scale(Split.TRAIN)
        return 1000 * sum(evaluator.evaluate(empty, Split.TRAIN).cpu_s for _ in range(REPEATS)) / REPEATS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problem", default="smtt")
    parser.add_argument("--evaluations", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", default="edd")
    options = parser.parse_args()
    given = {
        "budget": {"evaluations": options.evaluations},
        "workers": options.workers,
        "seeds": options.seeds.split(",") if options.seeds else [],
    }
    resolved = settings.resolve(options.problem, given)
    child = empty_child_ms(load(options.problem))
    window = max(100, options.evaluations // 2000 * 100)
    meter = Meter(100)
    with tempfile.TemporaryDirectory() as folder:
        running = run.start(Path(folder) / "run", resolved, [meter])
        result = running.execute()
        running.journal.close()
        size = (Path(folder) / "run" / FILE).stat().st_size
    table = report(meter, window, child, result.evaluations, size, options.seeds or "all seeds")
    print(table)
    if options.evaluations >= 20_000:
        Path(__file__).with_suffix(".md").write_text(HEAD + table, encoding="utf-8")


def report(meter: Meter, window: int, child: float, count: int, journal: int, seeds: str) -> str:
    """The figures as Markdown. window: candidates at either end; child: see `empty_child_ms`."""
    last = meter.marks[-1].count
    spans = [meter.between(100, 100 + window), meter.between(last - window, last), meter.between(0, last)]
    own, reference, rate = zip(*spans, strict=True)
    relative = [mine / theirs for mine, theirs in zip(own, reference, strict=True)]
    rows = [
        ("engine's own CPU (main process and warm parents), ms per candidate", *own, 2),
        ("reference: the largest seed parsed and printed, ms", *reference, 2),
        ("own CPU per candidate in units of the reference", *relative, 3),
        (
            f"own CPU and an empty child ({child:.2f} ms), ms per candidate",
            *(mine + child for mine in own),
            2,
        ),
        ("candidates per second", *rate, 0),
    ]
    lines = [
        f"| first population: {seeds} | candidates 100 to {100 + window} | {last - window} to {last} | ratio | all |",
        "|---|---|---|---|---|",
        *(f"| {name} | {a:.{d}f} | {b:.{d}f} | {b / a:.2f} | {c:.{d}f} |" for name, a, b, c, d in rows),
    ]
    peak = max(mark.resident_mb for mark in meter.marks)
    tail = [
        f"Resident memory of the main process, largest: {peak:.0f} MB.",
        f"Journal: {journal / count:.0f} bytes per candidate ({count} candidates).",
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}.",
    ]
    return "\n".join([*lines, "", *tail, ""])


if __name__ == "__main__":
    main()
