"""PSK: a scan of the jobs by processing time.

Panwalkar, Smith and Koulamas (1993), "A heuristic for the single machine tardiness problem": the shortest
unscheduled job is active; going on to longer jobs, one with an earlier due date takes its place, until the
active job would be late behind the next.
"""

import numpy as np


def select(p: np.ndarray, d: np.ndarray, t: int) -> int:
    """Which of the unscheduled jobs goes next at time t; they are ordered by processing time."""
    times, due = p.tolist(), d.tolist()
    k = 0
    if t + times[k] >= due[k]:
        return k
    for j in range(1, len(times)):
        if due[k] <= t + times[j]:
            return k
        if due[j] < due[k]:
            k = j
            if t + times[k] >= due[k]:
                return k
    return k


def scan_dispatch(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Append the selected job until none is left; the jobs are scanned by processing time, then due date."""
    jobs = np.lexsort((d, p))
    left = np.stack((p[jobs], d[jobs], jobs))
    order: list[int] = []
    t = 0
    for m in range(len(jobs), 0, -1):
        k = select(left[0, :m], left[1, :m], t)
        order.append(int(left[2, k]))
        t += int(left[0, k])
        left[:, k : m - 1] = left[:, k + 1 : m]
    return order


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Order of the jobs with processing times p and due dates d, int64 arrays of shape (n,)."""
    return scan_dispatch(p, d)
