"""How fast transaction scheduling is judged: events a second, calls of the oracle a second, time outside the program.

    python bench/txn_speed.py [--seconds 2]

An event is one operation of one transaction. The reference loop is the same simulator in plain Python on lists.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from evolve import problem
from evolve.evaluate import Evaluator
from evolve.jail import Level
from evolve.records import Split

CALLING = """
def order(transactions, makespan, calls):
    found = list(range(len(transactions)))
    for _ in range(calls):
        makespan(found)
    return found
"""


def per_second(work: Callable[[], None], seconds: float) -> float:
    """How often `work` is done in a second of CPU."""
    work()
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        work()
        count += 1
    return count / (time.process_time() - start)


def plain(order: list[int], batch: list[list[tuple[int, bool]]]) -> int:
    """The simulator as one would write it in Python."""
    accessed: dict[int, int] = {}
    written: dict[int, int] = {}
    last = 0
    for t in order:
        start = 0
        for place, (key, write) in enumerate(batch[t]):
            if key >= 0:
                start = max(start, (accessed if write else written).get(key, 0) - place)
        for place, (key, write) in enumerate(batch[t]):
            if key >= 0:
                done = start + place + 1
                accessed[key] = max(accessed.get(key, 0), done)
                if write:
                    written[key] = max(written.get(key, 0), done)
        last = max(last, start + len(batch[t]))
    return last


def cpu_s() -> float:
    """CPU seconds of this process alone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def simulators(loaded: problem.Problem, seconds: float) -> None:
    one = loaded.split(Split.HOLDOUT)[0]
    first, keys, writes = (np.asarray(one.arguments[name]) for name in ("first", "keys", "writes"))
    operations = list(zip(keys.tolist(), (writes == 1).tolist(), strict=True))
    batch = [
        operations[begin:end] for begin, end in zip(first[:-1].tolist(), first[1:].tolist(), strict=True)
    ]
    order = np.random.default_rng(1).permutation(len(batch))
    listed = order.tolist()
    assert plain(listed, batch) == loaded.evaluator.makespan(order, first, keys, writes)
    for name, work in (
        ("compiled simulator", lambda: loaded.evaluator.makespan(order, first, keys, writes)),
        ("plain Python", lambda: plain(listed, batch)),
    ):
        rate = per_second(work, seconds)
        print(
            f"{name}: {rate:,.0f} batches of {len(batch)} a second, {rate * len(keys):,.0f} events a second"
        )


def programs(loaded: problem.Problem) -> None:
    with Evaluator(loaded, Level.LANDLOCK_SECCOMP) as evaluator, TemporaryDirectory() as folder:
        calling = Path(folder) / "calling.py"
        calling.write_text(CALLING)
        candidates = {**loaded.seeds, "asks the oracle": problem.read_program(calling, loaded.spec)}
        evaluator.scale(Split.TRAIN)
        print("| program | CPU ms in the program | CPU ms outside | outside % | programs a second |")
        print("|---|---:|---:|---:|---:|")
        for name, candidate in candidates.items():
            before = cpu_s()
            found = evaluator.evaluate(candidate, Split.TRAIN)
            outside = cpu_s() - before
            total = found.cpu_s + outside
            figures = f"{1000 * found.cpu_s:.0f} | {1000 * outside:.1f} | {100 * outside / total:.1f}"
            print(f"| {name} | {figures} | {1 / total:.1f} |")
            if name == "asks the oracle":
                calls = sum(int(str(each.arguments["calls"])) for each in loaded.split(Split.TRAIN))
                rate = calls / total
                print(f"\noracle: {rate:,.0f} calls a CPU second, of both sides together")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of CPU, for each simulator")
    arguments = parser.parse_args()
    loaded = problem.load("txn_scheduling")
    simulators(loaded, arguments.seconds)
    programs(loaded)


if __name__ == "__main__":
    main()
