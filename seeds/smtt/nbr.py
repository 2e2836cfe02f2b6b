"""NBR: the net benefit of relocation, starting from EDD.

Holsenback and Russell (1992), "A heuristic algorithm for sequencing on one machine to minimize total tardiness":
from the last position to the first, while the job there is late, the earlier job whose move right behind it saves
most is moved. By Emmons (1969) only a longer job, or one with a later due date, has to be tried.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (m,); the smallest goes next."""
    return d


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


def relocate(p: np.ndarray, d: np.ndarray, order: list[int], k: int) -> list[int]:
    """Move the earlier job with the largest net benefit right behind the late job at position k, if any."""
    p, d = p[order[: k + 1]], d[order[: k + 1]]
    end = p.cumsum()
    tardy = np.maximum(end - d, 0)
    cost = np.maximum(end[k] - d, 0) - tardy
    behind = np.minimum(p * ((tardy > 0).sum() - (tardy > 0).cumsum()), tardy.sum() - tardy.cumsum())
    rows = np.flatnonzero(((p > p[k]) | (d > d[k])) & (behind > cost))
    if tardy[k] == 0 or len(rows) == 0:
        return order
    saved = np.minimum(p[rows, None], tardy) * (np.arange(k + 1) > rows[:, None])
    gain = saved.sum(axis=1) - cost[rows]
    i = int(rows[np.argmax(gain)])
    return order[:i] + order[i + 1 : k + 1] + [order[i]] + order[k + 1 :] if gain.max() > 0 else order


def relocation_descent(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    """Relocate behind each position, the last first, until that saves nothing."""
    for k in range(len(order) - 1, 0, -1):
        before: list[int] = []
        while before != order:
            before, order = order, relocate(p, d, order, k)
    return order


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Order of the jobs with processing times p and due dates d, int64 arrays of shape (n,)."""
    return relocation_descent(p, d, dispatch(p, d))
