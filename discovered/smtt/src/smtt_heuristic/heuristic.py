"""Single-machine total tardiness: sequence(p, d) -> order: a list of the jobs 0..n-1 in the sequence
in which the machine takes them.

Floor gap 0.037752 % on average over 525 instances that the search never saw. Normalised score
0.99922, 95% interval 0.99892 to 0.99948; 0 is the program 'edd', 1 is the bound that no answer can
beat.

Candidate 914ccc8166170076; PROOF.json holds the figures, the settings and the lineage.
"""

import numpy as np

def best_swap(p: np.ndarray, d: np.ndarray, i: int) -> int:
    late = p.cumsum() - d
    tardy = np.maximum(late, 0)
    shift = p[i] - p[i + 1:]
    ends = tardy[i] - np.maximum(late[i + 1:] + d[i + 1:] - d[i], 0)
    ends += tardy[i + 1:] - np.maximum(late[i] + d[i] - shift - d[i + 1:], 0)
    total = tardy[i + 1:].cumsum() - tardy[i + 1:]
    count = (tardy[i + 1:] > 0).cumsum() - (tardy[i + 1:] > 0)
    rows = np.flatnonzero(ends + np.minimum(shift * count, total) > 0)
    if len(rows) == 0:
        return i
    m = int(rows[-1])
    moved = np.maximum(late[i + 1:i + 1 + m] - shift[rows, None], 0)
    saved = (tardy[i + 1:i + 1 + m] - moved) * (np.arange(m) < rows[:, None])
    gain = ends[rows] + saved.sum(axis=1)
    return i + 1 + int(rows[np.argmax(gain)]) if gain.max() > 0 else i

def swap_descent(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    jobs = np.array(order)
    last, i = (len(jobs) - 1, 0)
    steps = 0
    p, d = (p[jobs], d[jobs])
    while steps < last:
        j = best_swap(p, d, i)
        steps = steps + 1 if j == i else 0
        for row in (jobs, p, d):
            row[i], row[j] = (row[j], row[i])
        i = (i + 1) % last
    return jobs.tolist()

def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    return np.maximum(t + p, d)

def dispatch(p: np.ndarray, d: np.ndarray) -> list[int]:
    jobs = np.lexsort((p, d))
    left = np.stack((p[jobs], d[jobs], jobs))
    order: list[int] = []
    t = 0
    for m in range(len(jobs), 0, -1):
        k = int(np.argmin(priority(left[0, :m], left[1, :m], t)))
        order.append(int(left[2, k]))
        t += int(left[0, k])
        left[:, k:m - 1] = left[:, k + 1:m]
    return order

def total_tardiness(p: np.ndarray, d: np.ndarray, order: list[int]) -> int:
    return int(np.maximum(np.cumsum(p[order]) - d[order], 0).sum())

def positions(p: np.ndarray, d: np.ndarray) -> list[int]:
    k = len(p) - 1 - int(np.argmax(p[::-1]))
    end = p.cumsum()[k:]
    passed = np.maximum.accumulate(np.append(-1, p[k + 1:] + d[k + 1:]))
    fits = np.append(end[:-1] < d[k + 1:], True)
    return [k + int(j) for j in np.flatnonzero(fits & ((passed <= end) | (np.arange(len(end)) == 0)))]

def split_cost(p: np.ndarray, d: np.ndarray, k: int, j: int) -> int:
    left, right = ([*range(k), *range(k + 1, j + 1)], [*range(j + 1, len(p))])
    end = int(p[:j + 1].sum())
    cost = max(0, end - int(d[k]))
    cost += total_tardiness(p[left], d[left], dispatch(p[left], d[left]))
    return cost + total_tardiness(p[right], d[right] - end, dispatch(p[right], d[right] - end))

def decompose(p: np.ndarray, d: np.ndarray) -> list[int]:
    order: list[int] = []
    parts = [(np.lexsort((p, d)), 0)]
    while parts:
        jobs, t = parts.pop()
        if len(jobs) < 2:
            order.extend(jobs.tolist())
            continue
        times, due = (p[jobs], d[jobs] - t)
        k = len(jobs) - 1 - int(np.argmax(times[::-1]))
        choices = positions(times, due)
        j = choices[0] if len(choices) == 1 else min(choices, key=lambda j: split_cost(times, due, k, j))
        left = np.append(jobs[:k], jobs[k + 1:j + 1])
        parts.append((jobs[j + 1:], t + int(times[:j + 1].sum())))
        parts.append((jobs[k:k + 1], t))
        parts.append((left, t))
    return order

def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Single-machine total tardiness: sequence(p, d) -> order: a list of the jobs 0..n-1 in the
    sequence in which the machine takes them.

    Floor gap 0.037752 % on average over 525 instances that the search never saw. Normalised score
    0.99922, 95% interval 0.99892 to 0.99948; 0 is the program 'edd', 1 is the bound that no answer
    can beat.

    Against edd (baseline, known heuristic) with 48.117 %: better, score +0.99922, interval +0.91885
    to +1.08494.

    Against mdd (known heuristic) with 1.4959 %: better, score +0.03030, interval +0.02114 to
    +0.04129.

    Against aug_mddc (known heuristic) with 0.7159 %: better, score +0.01409, interval +0.01142 to
    +0.01724.

    Against mdd_swap (known heuristic, best seed of the search) with 0.086707 %: better, score
    +0.00102, interval +0.00060 to +0.00150.

    How it works, as it came about. Found by genetic search, 1 step from the seed dec_mdd, out of
    800 programs evaluated:

    0. It began as the known heuristic dec_mdd: DEC/MDD: Lawler's decomposition with the branch chosen by MDD.
    1. `sequence` now hands its answer on to be improved: `swap_descent(p, d, decompose(p, d))` (score on train 0.99343, then 0.99864).

    When to use it. Use it where n is 20, 50 or 100, or where RDD is 0.4, 0.6, 0.8 or 1.0, or where
    TF is 0.4, 0.6, 0.8 or 1.0, or where p is uniform, normal or bimodal: there it was better than
    mdd_swap, the best rival. In no group of the holdout was a rival shown to be better. Measured
    for n 20 to 500; RDD 0.2 to 1.0; TF 0.2 to 1.0; p bimodal, lognormal, normal, uniform and wide.
    Nothing is known beyond.

    What it costs. 75 lines in 9 functions, loops nested 2 deep within one function; 7.85 ms of CPU
    per instance on average. Measured from size 20 to 500, the time grows about as size^1.24
    (standard error 0.03). Measured with at most 0.05 s of CPU per instance (unless the instance
    allows more), one thread and 512 MB of memory; the slowest instance took 34% of its time.
    """
    return swap_descent(p, d, decompose(p, d))
