"""Exact single-machine total tardiness: Lawler's decomposition with memo, compiled by numba.

Lawler (1977): number the jobs by due date and let k be the longest of m jobs that start at time t. Some optimal
schedule puts k at a position j >= k, the jobs 1..j without k before it and j+1..m behind it, so both sides are
problems of the same kind. Potts and Van Wassenhove (1982) and Szwarc (1993) rule most positions out:

* j < m needs C_k(j) < d_{j+1}, or else job j+1 may as well go before k;
* every job i of k+1..j needs d_i + p_i <= C_k(j), or else it may as well go behind k.

A subproblem is named exactly by (first job, last job, longest job, t): it holds the jobs between the first and
the last that are not longer than the longest. The memo is lossy (a newer entry overwrites an older one), which
bounds the memory and never the truth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

try:
    from numba import njit
except ImportError as error:  # pragma: no cover - depends on the environment
    raise ImportError("the exact solver needs numba; install it with: pip install 'evolve[solver]'") from error

Ints = npt.NDArray[np.int64]


def optimum(p: Ints, d: Ints) -> int:
    """Smallest total tardiness of jobs with processing times p > 0 and due dates d, shape (n,), exact.

    Raises:
        ValueError: a time is out of range (p must be positive, sum p below 2**33, n below 1024).
    """
    jobs = np.lexsort((p, d))
    p, d = np.ascontiguousarray(p[jobs], np.int64), np.ascontiguousarray(d[jobs], np.int64)
    n = len(p)
    if n and (p.min() < 1 or int(p.sum()) >= 2**33 or n >= 1024):
        raise ValueError(f"n = {n}, p of {p.min()}..{p.max()}: p has to be positive, sum p < 2**33, n < 1024")
    slots = 1 << min(23, max(10, 2 * int(n).bit_length() + 5))
    rank = np.empty(n, np.int64)
    rank[np.lexsort((np.arange(n), p))] = np.arange(n)
    keys, values = np.full(slots, -1, np.int64), np.zeros(slots, np.int64)
    return int(_value(np.arange(n), 0, p, d, rank, keys, values))


@njit("int64(int64[::1], int64, int64[::1], int64[::1], int64[::1], int64[::1], int64[::1])", cache=False)
def _value(jobs: Any, t: int, p: Any, d: Any, rank: Any, keys: Any, values: Any) -> int:
    m = len(jobs)
    end = t
    for x in range(m):
        end += p[jobs[x]]
    while m > 0 and d[jobs[m - 1]] >= end:
        m -= 1
        end -= p[jobs[m]]
    if m == 0:
        return 0
    if m == 1:
        return end - d[jobs[0]]
    # EDD
    total = 0
    late = 0
    c = t
    k = 0
    spt = True
    for x in range(m):
        i = jobs[x]
        c += p[i]
        if c > d[i]:
            late += 1
            total += c - d[i]
        if rank[i] > rank[jobs[k]]:
            k = x
        if d[i] > t + p[i]:
            spt = False
    if late <= 1:
        return total
    if spt:
        ps = np.empty(m, np.int64)
        total = 0
        for x in range(m):
            ps[x] = p[jobs[x]]
            total -= d[jobs[x]]
        ps.sort()
        c = t
        for x in range(m):
            c += ps[x]
            total += c
        return total
    longest = jobs[k]
    key = (((t << 10 | jobs[0]) << 10) | jobs[m - 1]) << 10 | longest
    h = key * np.int64(-7046029254386353131)
    slot = (h ^ (h >> 29)) & (len(keys) - 1)
    if keys[slot] == key:
        return values[slot]
    rest = np.empty(m - 1, np.int64)
    for x in range(k):
        rest[x] = jobs[x]
    for x in range(k + 1, m):
        rest[x - 1] = jobs[x]
    best = np.int64(2**62)
    c = t
    for x in range(k + 1):
        c += p[jobs[x]]
    latest = np.int64(0)
    for j in range(k, m):
        if j > k:
            i = jobs[j]
            c += p[i]
            if d[i] + p[i] > latest:
                latest = d[i] + p[i]
        if latest > c or (j < m - 1 and c >= d[jobs[j + 1]]):
            continue
        cost = max(0, c - d[longest])
        if cost >= best:
            break
        cost += _value(rest[:j], t, p, d, rank, keys, values)
        if cost >= best:
            continue
        cost += _value(rest[j:], c, p, d, rank, keys, values)
        if cost < best:
            best = cost
    keys[slot] = key
    values[slot] = best
    return best
