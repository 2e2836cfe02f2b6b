"""COVERT: the largest cost over time goes first, with k = 3.

Carroll (1965), "Heuristic sequencing of single and multiple component jobs": the index is max(0, 1 - slack
/ (k p)) / p, with slack max(0, d - p - t): the expected tardiness per unit of processing. Jobs with more
slack than k p are all 0 and go by their due date.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (m,); the smallest goes next."""
    slack = np.maximum(d - p - t, 0)
    return -np.maximum(1 - slack / (3 * p), 0) / p


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
