"""The three public workloads of 100 transactions: what the seeds reach within the limits, and a long annealing without.

    python bench/txn_public.py DATA [--moves 1000000] [--seeds 1,2,3]

DATA is the file of workloads (see problems/txn_scheduling/README.md for its format). The seeds run in the jail, with
20,000 calls of the makespan and 2 s of CPU a workload; the long annealing is compiled and runs outside.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
from numba import njit

from evolve import problem
from evolve.evaluate import Evaluator
from evolve.jail import Level
from evolve.records import Instance, Split

HOTTEST, COLDEST, INSERTIONS = 3.0, 0.08, 0.7


def instances(loaded: problem.Problem, path: Path) -> list[Instance]:
    """Every workload of the file, whole, with the limits of the holdout."""
    generator = sys.modules[loaded._instances.__module__]
    return [
        generator._instance("holdout", generator.Draw(name, transactions, {"kind": name}))
        for name, transactions in generator.read_workloads(path).items()
    ]


@njit
def makespan(order, first, keys, writes, accessed, written):
    accessed[:] = 0
    written[:] = 0
    last = 0
    for t in order:
        begin, end, start = first[t], first[t + 1], 0
        for i in range(begin, end):
            if keys[i] >= 0:
                ready = (accessed[keys[i]] if writes[i] else written[keys[i]]) - (i - begin)
                start = max(start, ready)
        for i in range(begin, end):
            if keys[i] >= 0:
                done = start + i - begin + 1
                accessed[keys[i]] = max(accessed[keys[i]], done)
                if writes[i]:
                    written[keys[i]] = max(written[keys[i]], done)
        last = max(last, start + end - begin)
    return last


@njit
def anneal(first, keys, writes, moves, hottest, coldest, insertions, seed):
    """The least makespan of a long annealing that starts with the order of arrival."""
    np.random.seed(seed)
    n = len(first) - 1
    accessed, written = np.zeros(keys.max() + 1, np.int64), np.zeros(keys.max() + 1, np.int64)
    found = np.arange(n)
    new, best = found.copy(), found.copy()
    span = makespan(found, first, keys, writes, accessed, written)
    least = span
    for move in range(moves):
        heat = hottest * (coldest / hottest) ** (move / moves)
        one, other = np.random.randint(n), np.random.randint(n)
        new[:] = found
        if np.random.random() < insertions:
            moved = new[one]
            if one < other:
                new[one:other] = found[one + 1 : other + 1]
            else:
                new[other + 1 : one + 1] = found[other:one]
            new[other] = moved
        else:
            new[one], new[other] = found[other], found[one]
        value = makespan(new, first, keys, writes, accessed, written)
        if value <= span or np.random.random() < np.exp((span - value) / heat):
            found, new, span = new, found, value
            if span < least:
                least = span
                best[:] = found
    return least, best


def row(name: str, values: list[float], seconds: float) -> str:
    parts = " | ".join(f"{value:g}" for value in values)
    return f"| {name} | {parts} | {sum(values):g} | {seconds:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--moves", type=int, default=1_000_000, help="of the long annealing, per workload")
    parser.add_argument("--seeds", default="1", help="of the long annealing")
    arguments = parser.parse_args()
    loaded = problem.load("txn_scheduling")
    whole = instances(loaded, arguments.data)
    loaded = dataclasses.replace(loaded, _instances=lambda _: whole, _splits={})
    print(f"| program | {' | '.join(each.name for each in whole)} | total | CPU s |")
    print("|---|" + "---:|" * (len(whole) + 2))
    with Evaluator(loaded, Level.LANDLOCK_SECCOMP) as evaluator:
        for name, seed in loaded.seeds.items():
            found = evaluator.evaluate(seed, Split.HOLDOUT)
            print(row(name if found.ok else f"{name}: {found.status}", list(found.objectives), found.cpu_s))
    for seed in map(int, arguments.seeds.split(",")):
        start, values = time.process_time(), []
        for each in whole:
            batch = [np.array(each.arguments[name]) for name in ("first", "keys", "writes")]
            least, best = anneal(*batch, arguments.moves, HOTTEST, COLDEST, INSERTIONS, seed)
            judged = loaded.evaluator.objective(each, best)
            assert judged == least, "the bench's simulator and the evaluator disagree"
            values.append(judged)
        print(row(f"annealing, {arguments.moves:g} moves, seed {seed}", values, time.process_time() - start))
    print(row("*bound*", [each.bound for each in whole], 0.0))


if __name__ == "__main__":
    main()
