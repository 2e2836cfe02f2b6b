"""Montagne: the largest (1 - d / total) / p goes first, the total being that of all processing times.

Montagne (1969), "Sequencing with time delay costs".
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (k,); the smallest goes next."""
    total = t + np.sum(p)
    return (d / total - 1) / p
