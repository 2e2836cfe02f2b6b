"""The engine's own cost per candidate, and whether it grows: CPU, memory and journal at the start and at the end.

    python bench/engine.py [--evaluations 20000] [--workers 2]    a run of 20,000 or more writes bench/engine.md

Own cost is everything but the candidate's own run: the main process (loop, proposer, scoring, journal), the
jail's warm parents, and what a child takes before and after it answers (measured with an empty program).
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

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
runs an empty program (fork, confinement, loading, exit). Made by `python bench/engine.py`.

"""
TICKS = os.sysconf("SC_CLK_TCK")
REPEATS = 200


class Meter:
    """Notes the CPU that main process and warm parents have taken, whenever `every` more candidates are done."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.marks: list[tuple[int, float, float, float]] = []  # candidates, CPU s, wall s, resident MB

    def begin(self, running: run.Run) -> None:
        self._mark(0)

    def tick(self, running: run.Run) -> None: ...

    def end(self, running: run.Run, result: run.Result) -> None: ...

    def entry(self, running: run.Run, entry: Entry) -> None:
        if isinstance(entry.record, Evaluation) and entry.record.split is Split.TRAIN:
            count = running.search.evaluations + 1
            if count % self.every == 0:
                self._mark(count)

    def _mark(self, count: int) -> None:
        own = time.process_time() + sum(cpu_of(pid) for pid in zygotes(os.getpid()))
        self.marks.append((count, own, time.monotonic(), resident_mb()))

    def between(self, first: int, last: int) -> tuple[float, float]:
        """Own CPU ms per candidate, and candidates per second, from candidate `first` to `last`."""
        marks = {mark[0]: mark for mark in self.marks}
        (_, cpu, wall, _), (_, cpu_end, wall_end, _) = marks[first], marks[last]
        return 1000 * (cpu_end - cpu) / (last - first), (last - first) / (wall_end - wall)


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
    last = meter.marks[-1][0]
    early, early_rate = meter.between(100, 100 + window)
    late, late_rate = meter.between(last - window, last)
    whole, whole_rate = meter.between(0, last)
    rows = [
        ("engine's own CPU (main process and warm parents), ms per candidate", early, late, whole, 2),
        (f"the same and an empty child ({child:.2f} ms)", early + child, late + child, whole + child, 2),
        ("candidates per second", early_rate, late_rate, whole_rate, 0),
    ]
    lines = [
        f"| first population: {seeds} | candidates 100 to {100 + window} | {last - window} to {last} | ratio | all |",
        "|---|---|---|---|---|",
        *(f"| {name} | {a:.{d}f} | {b:.{d}f} | {b / a:.2f} | {c:.{d}f} |" for name, a, b, c, d in rows),
    ]
    peak = max(mark[3] for mark in meter.marks)
    tail = [
        f"Resident memory of the main process, largest: {peak:.0f} MB.",
        f"Journal: {journal / count:.0f} bytes per candidate ({count} candidates).",
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}.",
    ]
    return "\n".join([*lines, "", *tail, ""])


if __name__ == "__main__":
    main()
