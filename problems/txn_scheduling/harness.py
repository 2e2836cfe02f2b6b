"""Hands a program its transactions and the makespan oracle; runs in the jail, trusted no more than the program."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from program import order
from txn_oracle import Oracle


def decide(batch: list[list]) -> list:
    """The orders of the batches of transactions first, keys, writes, with so many calls of the oracle."""
    return [_order(*instance) for instance in batch]


def _order(first: np.ndarray, keys: np.ndarray, writes: np.ndarray, calls: int) -> object:
    operations = list(zip(keys.tolist(), (writes == 1).tolist(), strict=True))
    places = first.tolist()
    transactions = [operations[begin:end] for begin, end in pairwise(places)]
    return order(transactions, Oracle(first, keys, writes, calls).makespan, calls)
