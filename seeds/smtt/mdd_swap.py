"""MDD + swap: the MDD order, improved by swapping pairs of jobs until no swap helps.

The rule is of Baker and Bertrand (1982), the descent the usual one over all pairs; partners that cannot
help are passed over by a bound before the exact saving is computed.
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


def best_swap(p: np.ndarray, d: np.ndarray, i: int) -> int:
    """The later position whose job is best swapped with the one at position i; i if no swap saves anything.

    p, d: of the jobs in the order in which they stand, shape (n,).
    """
    late = p.cumsum() - d
    tardy = np.maximum(late, 0)
    shift = p[i] - p[i + 1 :]
    ends = tardy[i] - np.maximum(late[i + 1 :] + d[i + 1 :] - d[i], 0)
    ends += tardy[i + 1 :] - np.maximum(late[i] + d[i] - shift - d[i + 1 :], 0)
    # the jobs between move earlier by shift: each late one saves at most that, all at most what they have
    total = tardy[i + 1 :].cumsum() - tardy[i + 1 :]
    count = (tardy[i + 1 :] > 0).cumsum() - (tardy[i + 1 :] > 0)
    rows = np.flatnonzero(ends + np.minimum(shift * count, total) > 0)
    if len(rows) == 0:
        return i
    m = int(rows[-1])
    moved = np.maximum(late[i + 1 : i + 1 + m] - shift[rows, None], 0)
    saved = (tardy[i + 1 : i + 1 + m] - moved) * (np.arange(m) < rows[:, None])
    gain = ends[rows] + saved.sum(axis=1)
    return i + 1 + int(rows[np.argmax(gain)]) if gain.max() > 0 else i


def swap_descent(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    """Swap two jobs while that saves anything: for each position the best partner behind it."""
    jobs = np.array(order)
    last, i = len(jobs) - 1, 0
    steps = 0
    p, d = p[jobs], d[jobs]
    while steps < last:
        j = best_swap(p, d, i)
        steps = steps + 1 if j == i else 0
        for row in (jobs, p, d):
            row[i], row[j] = row[j], row[i]
        i = (i + 1) % last
    return jobs.tolist()


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Order of the jobs with processing times p and due dates d, int64 arrays of shape (n,)."""
    return swap_descent(p, d, dispatch(p, d))
