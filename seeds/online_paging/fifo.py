"""FIFO: the page that was loaded first goes. As competitive as LRU (Sleator and Tarjan, 1985)."""

import numpy as np


def priority(
    now: int, last: np.ndarray, prior: np.ndarray, loaded: np.ndarray, uses: np.ndarray
) -> np.ndarray:
    """What each slot's page is worth, shape (k,); the smallest goes."""
    return loaded


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
