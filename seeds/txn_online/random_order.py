"""Random: any pending transaction may go."""

import random

import numpy as np

rng = random.Random(1)


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
    return rng.randrange(len(length))
