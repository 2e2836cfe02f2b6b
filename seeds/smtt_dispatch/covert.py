"""COVERT: the largest cost over time goes first, with k = 3.

Carroll (1965), "Heuristic sequencing of single and multiple component jobs": the index is max(0, 1 - slack
/ (k p)) / p, with slack max(0, d - p - t): the expected tardiness per unit of processing. Jobs with more
slack than k p are all 0 and go by their due date.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (k,); the smallest goes next."""
    slack = np.maximum(d - p - t, 0)
    return -np.maximum(1 - slack / (3 * p), 0) / p
