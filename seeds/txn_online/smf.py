"""SMF: the pending transaction that adds least to the makespan goes; ties: the one that ends first.

Shortest makespan first, from the transaction-scheduling literature.
"""

import numpy as np


def rating(
    start: np.ndarray, length: np.ndarray, delay: np.ndarray, age: np.ndarray, span: int
) -> np.ndarray:
    """What each pending transaction is worth, shape (m,); the smallest goes."""
    return np.maximum(start + length, span) + 0.01 * (start + length)


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
    return int(np.argmin(rating(start, length, delay, age, span)))
