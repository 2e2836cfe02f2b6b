"""The engine's own cost per candidate, and whether it grows: CPU, memory and journal at the start and at the end.

    python bench/engine.py [--evaluations 20000] [--workers 2]

Own cost is everything but the candidate's own run: the main process (loop, proposer, scoring, journal), the
jail's warm parents, and what a child takes before and after it answers (measured with an empty program).
"""

from __future__ import annotations

import argparse
import os
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
    window = max(100, options.evaluations // 20)
    meter = Meter(100)
    with tempfile.TemporaryDirectory() as folder:
        running = run.start(Path(folder) / "run", resolved, [meter])
        result = running.execute()
        running.journal.close()
        size = (Path(folder) / "run" / FILE).stat().st_size
    last = meter.marks[-1][0]
    early, early_rate = meter.between(100, 100 + window)
    late, late_rate = meter.between(last - window, last)
    peak = max(mark[3] for mark in meter.marks)
    print(f"| | candidates 100 to {100 + window} | candidates {last - window} to {last} | ratio |")
    print("|---|---|---|---|")
    print(
        f"| main process and warm parents, CPU ms per candidate | {early:.2f} | {late:.2f} | {late / early:.2f} |"
    )
    total_early, total_late = early + child, late + child
    print(
        f"| the same with an empty child ({child:.2f} ms) | {total_early:.2f} | {total_late:.2f} "
        f"| {total_late / total_early:.2f} |"
    )
    print(f"| candidates per second | {early_rate:.0f} | {late_rate:.0f} | {late_rate / early_rate:.2f} |")
    print(f"\nresident memory of the main process, largest: {peak:.0f} MB")
    print(f"journal: {size / result.evaluations:.0f} bytes per candidate ({result.evaluations} candidates)")


if __name__ == "__main__":
    main()
