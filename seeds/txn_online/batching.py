"""Greedy batching: transactions that do not conflict with those admitted lately go first.

What was admitted belongs to a set. A pending transaction that conflicts with none of the set joins it, longest first;
when there is none, the one that waits longest begins a new set.
"""

import numpy as np

written: set[int] = set()
accessed: set[int] = set()


def rating(
    start: np.ndarray, length: np.ndarray, delay: np.ndarray, age: np.ndarray, span: int
) -> np.ndarray:
    """What each transaction that fits is worth, shape (m,); the smallest goes."""
    return -length


def next(
    keys: np.ndarray,
    writes: np.ndarray,
    start: np.ndarray,
    length: np.ndarray,
    delay: np.ndarray,
    age: np.ndarray,
    span: int,
) -> int:
    """The pending transaction to admit; see statement.md for the arguments."""
    fits = np.array([not conflicts(*each) for each in zip(keys.tolist(), writes.tolist(), strict=True)])
    if fits.any():
        chosen = int(np.argmin(np.where(fits, rating(start, length, delay, age, span), np.inf)))
    else:
        chosen = int(np.argmax(age))
        written.clear()
        accessed.clear()
    for key, write in zip(keys[chosen].tolist(), writes[chosen].tolist(), strict=True):
        if key >= 0:
            accessed.add(key)
            if write:
                written.add(key)
    return chosen


def conflicts(keys: list[int], writes: list[int]) -> bool:
    """Whether an operation meets a write of the set, or a write an access of it."""
    return any(key in (accessed if write else written) for key, write in zip(keys, writes, strict=True))
