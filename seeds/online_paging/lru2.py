"""LRU-2: the page whose use before the last one is furthest back goes; ties, such as one use: as LRU.

O'Neil, O'Neil and Weikum (1993), "The LRU-K page replacement algorithm for database disk buffering".
"""

import numpy as np


def priority(
    now: int, last: np.ndarray, prior: np.ndarray, loaded: np.ndarray, uses: np.ndarray
) -> np.ndarray:
    """What each slot's page is worth, shape (k,); the smallest goes."""
    return prior + last / (now + 1.0)


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
