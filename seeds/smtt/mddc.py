"""MDDC: a composite of the modified due date.

From "Discovering Heuristics with LLMs for Mixed-Integer Programs: Single-Machine Scheduling" (2025), as its
authors run it: a modified due date with 10 % on the processing time, raised for jobs that are long against
the elapsed time, plus a tie-break by p / (t + mean p); largest and mean p are over the unscheduled jobs.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (m,); the smallest goes next."""
    ratio = np.minimum(p / (t + np.max(p)), 1)
    weight = ratio**2 / (1 + ratio**2)
    modified = (1 + weight) * np.maximum(t + 1.1 * p, d)
    return modified + p / (t + np.mean(p))


def dispatch(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Append the job of smallest priority until none is left; ties: earlier due date, then shorter."""
    jobs = np.lexsort((p, d))
    left = np.stack((p[jobs], d[jobs], jobs))
    order: list[int] = []
    t = 0
    for m in range(len(jobs), 0, -1):
        k = int(np.argmin(priority(left[0, :m], left[1, :m], t)))
        order.append(int(left[2, k]))
        t += int(left[0, k])
        left[:, k : m - 1] = left[:, k + 1 : m]
    return order


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Order of the jobs with processing times p and due dates d, int64 arrays of shape (n,)."""
    return dispatch(p, d)
