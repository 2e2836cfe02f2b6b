"""LFU: the page that was used least often so far goes; ties: the one not used for the longest time.

Its ratio to the optimum has no limit (Sleator and Tarjan, 1985); it is best where popularity does not change.
"""

import numpy as np


def priority(
    now: int, last: np.ndarray, prior: np.ndarray, loaded: np.ndarray, uses: np.ndarray
) -> np.ndarray:
    """What each slot's page is worth, shape (k,); the smallest goes."""
    return uses + last / (now + 1.0)


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
    return int(np.argmin(priority(now, last, prior, loaded, uses)))
