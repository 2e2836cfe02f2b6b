"""ATC: the largest apparent tardiness cost goes first, with k = 1.

Vepsalainen and Morton (1987), "Priority rules for job shops with weighted tardiness costs": the index is
exp(-slack / (k mean p)) / p, with slack max(0, d - p - t) and the mean over the unscheduled jobs. The
priority is the index's negative logarithm, which does not underflow where the slack is large.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (m,); the smallest goes next."""
    slack = np.maximum(d - p - t, 0)
    return np.log(p) + slack / np.mean(p)


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
