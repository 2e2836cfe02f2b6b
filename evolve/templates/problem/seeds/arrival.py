"""Arrival order: the jobs as they are numbered. The baseline, which scores 0."""

import numpy as np


def priority(p: np.ndarray, w: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the waiting jobs at time t, shape (m,); the smallest goes next."""
    return np.arange(len(p))


def order(p: np.ndarray, w: np.ndarray) -> list[int]:
    """Order of the jobs with processing times p and weights w, int64 arrays of shape (n,)."""
    waiting = np.arange(len(p))
    sequence: list[int] = []
    t = 0
    while len(waiting) > 0:
        k = int(np.argmin(priority(p[waiting], w[waiting], t)))
        sequence.append(int(waiting[k]))
        t += int(p[waiting[k]])
        waiting = np.delete(waiting, k)
    return sequence
