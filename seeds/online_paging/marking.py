"""Random marking: a page that was used since the phase began is marked; a random one of the others goes.

Fiat, Karp, Luby, McGeoch, Sleator and Young (1991), "Competitive paging algorithms": at most 2 H(k) times the
misses of the optimum, expected. When all pages are marked at a miss, a new phase begins.
"""

import random

import numpy as np

PHASE = {"start": 0}  # lives as long as one sequence of requests


def unmarked(now: int, last: np.ndarray) -> np.ndarray:
    """The slots whose page was not used in this phase; a new phase begins if there is none."""
    free = np.flatnonzero(last < PHASE["start"])
    if len(free) == 0:
        PHASE["start"] = now
        free = np.arange(len(last))
    return free


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
    free = unmarked(now, last)
    return int(free[random.randrange(len(free))])
