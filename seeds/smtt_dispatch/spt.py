"""SPT: the shortest processing time goes first.

Smith (1956): optimal for the total completion time, and so for the total tardiness if every job is late.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (k,); the smallest goes next."""
    return p
