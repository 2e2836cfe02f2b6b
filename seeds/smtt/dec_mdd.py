"""DEC/MDD: Lawler's decomposition with the branch chosen by MDD.

Potts and Van Wassenhove (1991), "Single machine tardiness sequencing heuristics", on the theorem of Lawler
(1977): the longest job splits the others, by due date, into those before it and those behind it. Of the
positions that may be optimal, the one is taken for which MDD on both sides gives the smallest total
tardiness.
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


def total_tardiness(p: np.ndarray, d: np.ndarray, order: list[int]) -> int:
    """Sum over the jobs of max(0, completion - due date)."""
    return int(np.maximum(np.cumsum(p[order]) - d[order], 0).sum())


def positions(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Positions that the longest of m jobs in due date order may take in an optimal order, ascending.

    Position j means: behind the jobs 0..j without the longest. It needs that the longest completes before
    the due date of job j + 1, and that no job it has passed could still be in time right behind it.
    """
    k = len(p) - 1 - int(np.argmax(p[::-1]))
    end = p.cumsum()[k:]
    passed = np.maximum.accumulate(np.append(-1, p[k + 1 :] + d[k + 1 :]))
    fits = np.append(end[:-1] < d[k + 1 :], True)
    return [k + int(j) for j in np.flatnonzero(fits & ((passed <= end) | (np.arange(len(end)) == 0)))]


def split_cost(p: np.ndarray, d: np.ndarray, k: int, j: int) -> int:
    """Total tardiness if job k takes position j and the rule orders the jobs before and behind it."""
    left, right = [*range(k), *range(k + 1, j + 1)], [*range(j + 1, len(p))]
    end = int(p[: j + 1].sum())
    cost = max(0, end - int(d[k]))
    cost += total_tardiness(p[left], d[left], dispatch(p[left], d[left]))
    return cost + total_tardiness(p[right], d[right] - end, dispatch(p[right], d[right] - end))


def decompose(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Split at the longest job until nothing is left to split."""
    order: list[int] = []
    parts = [(np.lexsort((p, d)), 0)]
    while parts:
        jobs, t = parts.pop()
        if len(jobs) < 2:
            order.extend(jobs.tolist())
            continue
        times, due = p[jobs], d[jobs] - t
        k = len(jobs) - 1 - int(np.argmax(times[::-1]))
        choices = positions(times, due)
        j = choices[0] if len(choices) == 1 else min(choices, key=lambda j: split_cost(times, due, k, j))
        left = np.append(jobs[:k], jobs[k + 1 : j + 1])
        # the last pushed is the first taken: before, the longest itself, behind
        parts.append((jobs[j + 1 :], t + int(times[: j + 1].sum())))
        parts.append((jobs[k : k + 1], t))
        parts.append((left, t))
    return order


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Order of the jobs with processing times p and due dates d, int64 arrays of shape (n,)."""
    return decompose(p, d)
