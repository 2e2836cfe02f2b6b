"""Critical ratio: the least time left per unit of work goes first.

See Baker, "Introduction to Sequencing and Scheduling" (1974).
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (k,); the smallest goes next."""
    return (d - t) / p
