"""Exact single-machine total tardiness: Lawler's decomposition with memo, compiled by numba.

Lawler (1977): number the jobs by due date and let k be the longest of m jobs that start at time t. Some
optimal schedule puts k at a position j >= k, the jobs 1..j without k before it and j+1..m behind it, so both
sides are problems of the same kind. Potts and Van Wassenhove (1982) and Szwarc (1993) rule out most positions:

* j < m needs C_k(j) < d_{j+1}, or else job j+1 may as well go before k;
* every job i of k+1..j needs d_i + p_i <= C_k(j), or else it may as well go behind k.

A subproblem is named exactly by (first job, last job, longest job, t): it holds the jobs between the first
and the last that are not longer than the longest. The memo is lossy (a newer entry overwrites an older one),
which bounds the memory and never the truth.

Only what computes optima imports this module: the evaluator itself does without numba.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    from numba import njit
except ImportError as error:
    raise ImportError("the exact solver needs numba: pip install 'evolve[solver]'") from error

Ints = npt.NDArray[np.int64]
MAX_JOBS, MAX_TIME = 1 << 10, 1 << 33
"""What the key of the memo has room for: n below 2**10, sum p below 2**33."""


@dataclass(frozen=True)
class _Problem:
    """Jobs in due date order, each job's rank by length, and the memo. All arrays are int64."""

    jobs: Ints
    p: Ints
    d: Ints
    rank: Ints
    keys: Ints
    values: Ints

    def value(self, jobs: Ints, t: int) -> int:
        """Smallest total tardiness of some of the jobs (positions in due date order) from time t."""
        return int(_value(jobs, t, self.p, self.d, self.rank, self.keys, self.values))


def optimum(p: Ints, d: Ints) -> int:
    """Smallest total tardiness of jobs with processing times p > 0 and due dates d, shape (n,), exact.

    Raises:
        ValueError: p holds a value below 1, sum p is 2**33 or more, or n is 1024 or more.
    """
    problem = _problem(p, d)
    return problem.value(np.arange(len(p)), 0)


def optimal_order(p: Ints, d: Ints) -> list[int]:
    """An order with the smallest total tardiness; same arguments and errors as `optimum`."""
    problem = _problem(p, d)
    order: list[int] = []
    parts = [(np.arange(len(p)), 0)]
    while parts:
        jobs, t = parts.pop()
        if len(jobs) < 2:
            order += problem.jobs[jobs].tolist()
            continue
        left, longest, right = _best_split(problem, jobs, t)
        start = t + int(problem.p[left].sum())
        # the last pushed is the first taken
        parts += [(right, start + int(problem.p[longest[0]])), (longest, start), (left, t)]
    return order


def _best_split(problem: _Problem, jobs: Ints, t: int) -> tuple[Ints, Ints, Ints]:
    """Jobs before the longest, the longest, and those behind it, in the best of Lawler's splits."""
    k = int(np.argmax(problem.rank[jobs]))
    rest, longest = np.delete(jobs, k), jobs[k : k + 1]

    def cost(j: int) -> int:
        end = t + int(problem.p[rest[:j]].sum() + problem.p[longest[0]])
        late = max(0, end - int(problem.d[longest[0]]))
        return late + problem.value(rest[:j], t) + problem.value(rest[j:], end)

    j = min(range(k, len(jobs)), key=cost)
    return rest[:j], longest, rest[j:]


def _problem(p: Ints, d: Ints) -> _Problem:
    n = len(p)
    if n >= MAX_JOBS or (n and int(p.min()) < 1) or int(p.sum()) >= MAX_TIME:
        raise ValueError(
            f"n = {n}, p from {min(p, default=1)}, sum p = {int(p.sum())}: "
            f"n has to be below {MAX_JOBS}, p at least 1, sum p below {MAX_TIME}"
        )
    jobs = np.lexsort((p, d))
    p, d = np.ascontiguousarray(p[jobs], np.int64), np.ascontiguousarray(d[jobs], np.int64)
    rank = np.empty(n, np.int64)
    rank[np.lexsort((np.arange(n), p))] = np.arange(n)
    slots = 1 << min(23, max(10, 2 * n.bit_length() + 5))
    return _Problem(jobs, p, d, rank, np.full(slots, -1, np.int64), np.zeros(slots, np.int64))


@njit("UniTuple(int64, 2)(int64[::1], int64, int64[::1], int64[::1])")
def _without_last_in_time(jobs: Any, t: int, p: Any, d: Any) -> tuple[int, int]:
    """How many jobs are left, and when they end, without the last ones by due date that are in time."""
    m, end = len(jobs), t
    for i in jobs:
        end += p[i]
    while m > 0 and d[jobs[m - 1]] >= end:
        m -= 1
        end -= p[jobs[m]]
    return m, end


@njit("int64(int64[::1], int64, int64[::1], int64[::1])")
def _edd_if_optimal(jobs: Any, t: int, p: Any, d: Any) -> int:
    """Total tardiness by due date if at most one job is late, which is optimal (Emmons, 1969); else -1."""
    total, late = 0, 0
    for i in jobs:
        t += p[i]
        if t > d[i]:
            total += t - d[i]
            late += 1
    return total if late <= 1 else -1


@njit("int64(int64[::1], int64, int64[::1], int64[::1])")
def _spt_if_optimal(jobs: Any, t: int, p: Any, d: Any) -> int:
    """Total tardiness by length if every job is bound to be late, which makes that optimal; else -1."""
    times = np.empty(len(jobs), np.int64)
    total = 0
    for x, i in enumerate(jobs):
        if d[i] > t + p[i]:
            return -1
        times[x] = p[i]
        total -= d[i]
    times.sort()
    for time in times:
        t += int(time)
        total += t
    return total


@njit("int64(int64[::1], int64[::1])")
def _longest(jobs: Any, rank: Any) -> int:
    """Where the longest job is; of equally long ones that with the latest due date."""
    k = 0
    for x in range(1, len(jobs)):
        if rank[jobs[x]] > rank[jobs[k]]:
            k = x
    return k


@njit("int64(int64[::1], int64, int64[::1], int64[::1], int64[::1], int64[::1], int64[::1])")
def _value(jobs: Any, t: int, p: Any, d: Any, rank: Any, keys: Any, values: Any) -> int:
    m, end = _without_last_in_time(jobs, t, p, d)
    jobs = jobs[:m]
    easy = _edd_if_optimal(jobs, t, p, d)
    if easy < 0:
        easy = _spt_if_optimal(jobs, t, p, d)
    if easy >= 0:
        return easy
    k = _longest(jobs, rank)
    longest = jobs[k]
    key = ((t << 10 | jobs[0]) << 10 | jobs[m - 1]) << 10 | longest
    mixed = key * np.int64(-7046029254386353131)
    slot = (mixed ^ (mixed >> 29)) & (len(keys) - 1)
    if keys[slot] == key:
        return int(values[slot])
    rest = np.concatenate((jobs[:k], jobs[k + 1 :]))
    best, passed = 2**62, 0
    end = t
    for x in range(k):
        end += p[jobs[x]]
    for j in range(k, m):
        end += p[jobs[j]]
        if j > k:
            passed = max(passed, d[jobs[j]] + p[jobs[j]])
        cost = max(0, end - d[longest])
        if cost >= best:
            break
        if passed > end or (j < m - 1 and end >= d[jobs[j + 1]]):
            continue
        cost += _value(rest[:j], t, p, d, rank, keys, values)
        if cost < best:
            cost += _value(rest[j:], end, p, d, rank, keys, values)
            best = min(best, cost)
    keys[slot], values[slot] = key, best
    return best
