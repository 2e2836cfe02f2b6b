"""EDD: the earliest due date goes first.

Jackson (1955): optimal for the largest tardiness.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (k,); the smallest goes next."""
    return d
