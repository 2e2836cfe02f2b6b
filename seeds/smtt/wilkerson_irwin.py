"""Wilkerson-Irwin: pairs of neighbours in the better order, starting from EDD.

Wilkerson and Irwin (1971), "An improved method for scheduling independent tasks": a job moves ahead of its
predecessor while their pair rule says so. Here a job that was passed stays behind the one that passed it,
while the original puts it back on the list of unscheduled jobs; both end with no pair of neighbours in the
wrong order, which is what MDD reaches as well (Nyirenda, 2001).
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


def passes(p: np.ndarray, d: np.ndarray, i: int, j: int, t: int) -> bool:
    """Whether job j goes before its predecessor i, which starts at time t.

    If even the longer of the two could end by the later due date, the earlier due date goes first, else
    the shorter job.
    """
    if t + max(p[i], p[j]) <= max(d[i], d[j]):
        return bool(d[j] < d[i])
    return bool(p[j] < p[i])


def adjacent_descent(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    """Swap neighbours in the wrong order until there are none, going one step back after each swap."""
    order = list(order)
    k, t = 0, 0
    while k < len(order) - 1:
        i, j = order[k], order[k + 1]
        if not passes(p, d, i, j, t):
            k, t = k + 1, t + int(p[i])
            continue
        order[k], order[k + 1] = j, i
        if k > 0:
            k, t = k - 1, t - int(p[order[k - 1]])
    return order


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Order of the jobs with processing times p and due dates d, int64 arrays of shape (n,)."""
    return adjacent_descent(p, d, dispatch(p, d))
