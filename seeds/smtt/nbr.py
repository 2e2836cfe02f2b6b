"""NBR: the net benefit of relocation, starting from EDD.

Holsenback and Russell (1992), "A heuristic algorithm for sequencing on one machine to minimize total
tardiness": from the last position to the first, while the job there is late, the earlier job whose move
right behind it saves most is moved. By Emmons (1969) only a longer job, or one with a later due date, has
to be tried.
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


def best_relocation(p: np.ndarray, d: np.ndarray) -> int:
    """Which of m jobs in this order is best moved to the end; m - 1 if no move has a net benefit."""
    end = p.cumsum()
    tardy = np.maximum(end - d, 0)
    cost = np.maximum(end[-1] - d, 0) - tardy
    # a job behind the moved one saves at most its tardiness and the moved job's length
    behind = np.minimum(p * ((tardy > 0).sum() - (tardy > 0).cumsum()), tardy.sum() - tardy.cumsum())
    bound = np.where((p > p[-1]) | (d > d[-1]), behind - cost, 0)
    best = int(np.argmax(bound))
    least = max(0, int(np.minimum(tardy[best + 1 :], p[best]).sum()) - int(cost[best]))
    rows = np.flatnonzero(bound > least)
    if len(rows) > 0:
        saved = np.minimum(p[rows, None], tardy) * (np.arange(len(p)) > rows[:, None])
        gain = saved.sum(axis=1) - cost[rows]
        if gain.max() > least:
            return int(rows[np.argmax(gain)])
    return best if least > 0 else len(p) - 1


def relocation_descent(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    """Relocate behind each position, the last first, until no earlier job has a net benefit."""
    jobs = np.array(order)
    p, d = p[jobs], d[jobs]
    k = len(jobs) - 1
    while k > 0:
        i = best_relocation(p[: k + 1], d[: k + 1])
        for row in (jobs, p, d):
            row[i:k], row[k] = row[i + 1 : k + 1].copy(), row[i]
        k = k - 1 if i == k else k
    return jobs.tolist()


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Order of the jobs with processing times p and due dates d, int64 arrays of shape (n,)."""
    return relocation_descent(p, d, dispatch(p, d))
