"""What a second worker gives, where a simulator talks with the program: threads, and processes (the default).

    python bench/workers.py [PROBLEM ...] [--rounds 3]    writes bench/workers.md

The seeds of a problem are evaluated on train, all of them in each round; one worker, two threads and two processes
take turns, so that a busy machine slows all three.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from evolve import settings
from evolve.backends.local import LocalWorkers
from evolve.errors import EvolveError
from evolve.problem import Problem, load
from evolve.records import Split
from evolve.search import Task
from evolve.trial import Seen

PAGE = Path(__file__).with_suffix(".md")
PROBLEMS = (
    *("llm_routing", "spot_scheduling", "spot_multi_region", "txn_online", "online_paging", "txn_scheduling"),
)
HEAD = """# What a second worker gives

Evaluations a second of all seeds on train, where the trusted side talks with the program while it runs. Threads of one
process take turns at the simulator's Python; processes, the default there, do not. Medians of {rounds} rounds taken in
turns; load {load:.1f} at the beginning.
{machine}. Made by `python bench/workers.py`.

| problem | one worker | two threads | two processes | times one worker |
| --- | ---: | ---: | ---: | ---: |
"""


def workers(problem: Problem, count: int, apart: bool) -> LocalWorkers:
    made = LocalWorkers(problem, settings.resolve(problem.name, {"workers": count}), Seen())
    made._apart = apart
    return made


def rate(made: LocalWorkers, problem: Problem) -> float:
    """Evaluations a second."""
    start = time.perf_counter()
    futures = [made.submit(Task(seed, Split.TRAIN, None)) for seed in problem.seeds.values()]
    for future in futures:
        future.result()
    return len(futures) / (time.perf_counter() - start)


def measure(problem: Problem, rounds: int) -> list[float]:
    """Of one worker, two threads, two processes."""
    with ExitStack() as stack:
        ways = [stack.enter_context(workers(problem, *way)) for way in ((1, False), (2, False), (2, True))]
        for way in ways:  # all processes are there, and warm
            rate(way, problem)
        found = [[rate(way, problem) for way in ways] for _ in range(rounds)]
    return [statistics.median(each) for each in zip(*found, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", default=list(PROBLEMS))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    try:
        problems = [load(name) for name in options.problems]
    except EvolveError as error:
        parser.error(str(error))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    text = HEAD.format(rounds=options.rounds, load=os.getloadavg()[0], machine=machine)
    for problem in problems:
        one, threads, processes = measure(problem, options.rounds)
        row = f"| {problem.name} | {one:.2f} | {threads:.2f} | {processes:.2f} | {processes / one:.2f} |"
        print(row, flush=True)
        text += row + "\n"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
