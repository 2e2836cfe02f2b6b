"""MDD + insertion: the MDD order, improved by moving single jobs until no move helps.

The rule is of Baker and Bertrand (1982), the descent the usual one over all positions.
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (m,); the smallest goes next."""
    return np.maximum(t + p, d)


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


def best_insertion(p: np.ndarray, d: np.ndarray, i: int) -> int:
    """The position to which the job at position i is best moved; i if no move saves anything.

    p, d: of the jobs in the order in which they stand, shape (n,).
    """
    end = p.cumsum()
    tardy = np.maximum(end - d, 0)
    gain = np.zeros(len(p), dtype=np.int64)
    gain[i + 1 :] = np.minimum(tardy[i + 1 :], p[i]).cumsum()
    gain[:i] = (tardy[:i] - np.maximum(end[:i] - d[:i] + p[i], 0))[::-1].cumsum()[::-1]
    gain[i + 1 :] -= np.maximum(end[i + 1 :] - d[i], 0)
    gain[:i] -= np.maximum(end[:i] - p[:i] + p[i] - d[i], 0)
    gain += tardy[i]
    gain[i] = 0
    return int(np.argmax(gain)) if gain.max() > 0 else i


def insertion_descent(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    """Move one job while that saves anything: from each position to the best place for its job."""
    jobs = np.array(order)
    p, d = p[jobs], d[jobs]
    steps, i = 0, 0
    while steps < len(jobs):
        j = best_insertion(p, d, i)
        steps = steps + 1 if j == i else 0
        if j != i:
            for row in (jobs, p, d):
                part = row[min(i, j) : max(i, j) + 1]
                part[:] = np.roll(part, -1 if i < j else 1)
        i = (i + 1) % len(jobs)
    return jobs.tolist()


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Order of the jobs with processing times p and due dates d, int64 arrays of shape (n,)."""
    return insertion_descent(p, d, dispatch(p, d))
