"""Augmented MDD: MDD that repairs its order as it grows.

Bean and Hall (1985), "Accuracy of the modified due date rule": after each job that is appended, the one
move of an earlier job to the end that saves most is made, if any saves anything.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (m,); the smallest goes next."""
    return np.maximum(t + p, d)


def augment(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    """Move one earlier job to the end: the move that saves most, if any saves anything."""
    p, d = p[order], d[order]
    end = p.cumsum()
    tardy = np.maximum(end - d, 0)
    cost = np.maximum(end[-1] - d, 0) - tardy
    # a job behind the moved one saves at most its tardiness and the moved job's length
    behind = np.minimum(p * ((tardy > 0).sum() - (tardy > 0).cumsum()), tardy.sum() - tardy.cumsum())
    rows = np.flatnonzero(behind > cost)
    if len(rows) == 0:
        return order
    saved = np.minimum(p[rows, None], tardy) * (np.arange(len(p)) > rows[:, None])
    gain = saved.sum(axis=1) - cost[rows]
    k = int(rows[np.argmax(gain)])
    return order[:k] + order[k + 1 :] + [order[k]] if gain.max() > 0 else order


def augmented_dispatch(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Dispatch as usual, and after each job make the best move of an earlier job to the end."""
    jobs = np.lexsort((p, d))
    left = np.stack((p[jobs], d[jobs], jobs))
    order: list[int] = []
    t = 0
    for m in range(len(jobs), 0, -1):
        k = int(np.argmin(priority(left[0, :m], left[1, :m], t)))
        order = augment(p, d, [*order, int(left[2, k])])
        t += int(left[0, k])
        left[:, k : m - 1] = left[:, k + 1 : m]
    return order


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Order of the jobs with processing times p and due dates d, int64 arrays of shape (n,)."""
    return augmented_dispatch(p, d)
