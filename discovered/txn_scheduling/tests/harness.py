"""Hands a program its transactions and the makespan oracle; runs in the jail, trusted no more than the program.

The makespans are computed, and counted, on the trusted side. The count that is kept here only tells a program where it
went too far, with the line of its own that did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from program import order


def decide(batch: list[list], consult: Callable[[list[int]], int]) -> list:
    """The orders of the batches of transactions first, keys, writes, with so many calls of the oracle."""
    return [_order(*instance, consult) for instance in batch]


def _order(
    first: np.ndarray, keys: np.ndarray, writes: np.ndarray, calls: int, consult: Callable[[list[int]], int]
) -> object:
    operations = list(zip(keys.tolist(), (writes == 1).tolist(), strict=True))
    places = first.tolist()
    transactions = [operations[begin:end] for begin, end in pairwise(places)]
    left = calls

    def makespan(order: Sequence[int] | np.ndarray) -> int:
        nonlocal left
        if left <= 0:
            raise RuntimeError("all calls of makespan are used up")
        left -= 1
        return consult(np.asarray(order, np.int64).tolist())

    return order(transactions, makespan, calls)
