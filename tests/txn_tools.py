"""For the tests of transaction scheduling: a plain reference, batches to draw, the problem's own modules."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from evolve import problem
from evolve.records import Instance

ROOT = problem.bundled_root()
PUBLIC = Path(__file__).parents[2] / "shared" / "data" / "txn_public_workloads.json"
TXN = problem.load("txn_scheduling")
ONLINE = problem.load("txn_online")
evaluator: Any = TXN.evaluator
generator: Any = sys.modules[TXN._instances.__module__]

Transactions = Sequence[Sequence[tuple[int, bool]]]

operations = st.tuples(st.integers(-1, 3), st.booleans())
transactions = st.lists(st.lists(operations, min_size=1, max_size=5), min_size=1, max_size=6)


def reference(batch: Transactions, order: Sequence[int]) -> tuple[int, dict[int, int]]:
    """Makespan and starts, by the rule as it is written: the first start at which nothing is in the way."""
    starts: dict[int, int] = {}

    def free(t: int, start: int) -> bool:
        for place, (key, write) in enumerate(batch[t]):
            for other, began in starts.items():
                for at, (other_key, other_write) in enumerate(batch[other]):
                    conflict = key == other_key >= 0 and (write or other_write)
                    if conflict and start + place < began + at + 1:
                        return False
        return True

    for t in order:
        start = 0
        while not free(t, start):
            start += 1
        starts[t] = start
    return max((began + len(batch[t]) for t, began in starts.items()), default=0), starts


def arrays(batch: Transactions) -> Any:
    return generator.batch_of([tuple(each) for each in batch])


def instance(batch: Transactions, calls: int = 100) -> Instance:
    made = arrays(batch)
    return Instance(
        "one",
        {"first": made.first, "keys": made.keys, "writes": made.writes, "calls": calls},
        float(generator.lower_bound(made)),
    )


def stream(batch: Transactions, window: int) -> Instance:
    made = arrays(batch)
    facts = {"first": made.first, "keys": made.keys, "writes": made.writes, "window": window}
    return Instance("one", {}, float(generator.lower_bound(made)), {}, facts)


def makespan_of(batch: Transactions, calls: int = 10**6) -> Callable[[Sequence[int]], int]:
    """The oracle, as the harness hands it to a program; asked and counted here as on the trusted side."""
    one, count = instance(batch, calls), itertools.count(1)
    asked: Callable[[Sequence[int]], int] = lambda order: evaluator.consult(  # noqa: E731
        one, np.asarray(order, np.int64).tolist(), next(count)
    )
    return asked


def seed(name: str) -> Callable[..., list[int]]:
    """A seed, outside the jail: it is our own."""
    scope: dict[str, Any] = {}
    exec(TXN.seeds[name].files["program.py"], scope)
    found: Callable[..., list[int]] = scope["order"]
    return found


def policy(name: str) -> Callable[..., int]:
    """A seed of the online problem, fresh."""
    scope: dict[str, Any] = {}
    exec(ONLINE.seeds[name].files["program.py"], scope)
    found: Callable[..., int] = scope["next"]
    return found


def listed(batch: Any) -> list[list[tuple[int, bool]]]:
    """Arrays as a program is given them."""
    operations = list(zip(batch.keys.tolist(), (batch.writes == 1).tolist(), strict=True))
    return [
        operations[begin:end]
        for begin, end in zip(batch.first[:-1].tolist(), batch.first[1:].tolist(), strict=True)
    ]


def spans(batch: Transactions, orders: Sequence[Sequence[int]]) -> list[int]:
    made = arrays(batch)
    return [
        int(evaluator.makespan(np.array(order, np.int64), made.first, made.keys, made.writes))
        for order in orders
    ]
