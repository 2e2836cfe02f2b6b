"""EDDC: insertion sort from SPT towards EDD that respects late jobs.

From "Discovering Heuristics with LLMs for Mixed-Integer Programs: Single-Machine Scheduling" (2025), in the
form that its authors run: jobs by processing time are inserted by due date, but no job passes a late one.
(The pseudocode that they print is plain EDD.)
"""

import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Priorities of the unscheduled jobs at time t, shape (m,); the smallest goes next."""
    return p


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


def insert_by_due_date(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    """Insertion sort by due date, in which a job passes its predecessor only while that one is not late."""
    result: list[int] = []
    t = 0
    for job in order:
        k, end = len(result), t
        while k > 0 and d[job] < d[result[k - 1]] and end <= d[result[k - 1]]:
            k -= 1
            end -= int(p[result[k]])
        result.insert(k, job)
        t += int(p[job])
    return result


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Order of the jobs with processing times p and due dates d, int64 arrays of shape (n,)."""
    return insert_by_due_date(p, d, dispatch(p, d))
