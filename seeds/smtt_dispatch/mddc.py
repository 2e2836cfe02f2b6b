"""MDDC: a composite of the modified due date.

From "Discovering Heuristics with LLMs for Mixed-Integer Programs: Single-Machine Scheduling" (2025), as its
authors run it: a modified due date with 10 % on the processing time, raised for jobs that are long against
the elapsed time, plus a tie-break by p / (t + mean p); largest and mean p are over the unscheduled jobs.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (k,); the smallest goes next."""
    ratio = np.minimum(p / (t + np.max(p)), 1)
    weight = ratio**2 / (1 + ratio**2)
    modified = (1 + weight) * np.maximum(t + 1.1 * p, d)
    return modified + p / (t + np.mean(p))
