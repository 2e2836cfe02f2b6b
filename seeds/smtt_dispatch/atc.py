"""ATC: the largest apparent tardiness cost goes first, with k = 1.

Vepsalainen and Morton (1987), "Priority rules for job shops with weighted tardiness costs": the index is
exp(-slack / (k mean p)) / p, with slack max(0, d - p - t) and the mean over the unscheduled jobs. The
priority is the index's negative logarithm, which does not underflow where the slack is large.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (k,); the smallest goes next."""
    slack = np.maximum(d - p - t, 0)
    return np.log(p) + slack / np.mean(p)
