"""LRU: the page that has not been used for the longest time goes.

Sleator and Tarjan (1985), "Amortized efficiency of list update and paging rules": at most k times the misses of
the optimum, and no deterministic policy has a better ratio.
"""

import numpy as np


def priority(
    now: int, last: np.ndarray, prior: np.ndarray, loaded: np.ndarray, uses: np.ndarray
) -> np.ndarray:
    """What each slot's page is worth, shape (k,); the smallest goes."""
    return last


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
