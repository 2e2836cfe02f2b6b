"""RAND: any page goes, each with the same chance (Belady, 1966; Raghavan and Snir, 1989)."""

import random

import numpy as np


def evict(
    now: int,
    page: int,
    pages: np.ndarray,
    last: np.ndarray,
    prior: np.ndarray,
    loaded: np.ndarray,
    uses: np.ndarray,
) -> int:
    """The slot whose page goes; arrays have shape (k,)."""
    return random.randrange(len(last))
