"""MDD: the smallest modified due date max(t + p, d) goes first.

Baker and Bertrand (1982), "A dynamic priority rule for scheduling against due-dates": a job that can still
be in time counts with its due date, a job that is bound to be late with its earliest completion.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (k,); the smallest goes next."""
    return np.maximum(t + p, d)
