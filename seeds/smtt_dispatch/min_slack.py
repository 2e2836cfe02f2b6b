"""Minimum slack: the job with the least time to spare goes first.

See Conway, Maxwell and Miller, "Theory of Scheduling" (1967).
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (k,); the smallest goes next."""
    return d - p - t
