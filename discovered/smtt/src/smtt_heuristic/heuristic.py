"""Single-machine total tardiness: sequence(p, d) -> order: a list of the jobs 0..n-1 in the sequence
in which the machine takes them.

Floor gap 0.048139 % on average over 525 instances that the search never saw. Normalised score
0.99900, 95% interval 0.99868 to 0.99927; 0 is the program 'edd', 1 is the bound that no answer can
beat.

Candidate a58969e4e108d1bd; PROOF.json holds the figures, the settings and the lineage.
"""

import numpy as np

def total_tardiness(p: np.ndarray, d: np.ndarray, order: list[int]) -> int:
    return int(np.maximum(np.cumsum(p[order]) - d[order], 0).sum())

def priority_2(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    return np.maximum(t + p, d)

def dispatch_2(p: np.ndarray, d: np.ndarray) -> list[int]:
    jobs = np.lexsort((p, d))
    left = np.stack((p[jobs], d[jobs], jobs))
    order: list[int] = []
    t = 0
    for m in range(len(jobs), 0, -1):
        k = int(np.argmin(priority_2(left[0, :m], left[1, :m], t)))
        order.append(int(left[2, k]))
        t += int(left[0, k])
        left[:, k:m - 1] = left[:, k + 1:m]
    return order

def passes(p: np.ndarray, d: np.ndarray, i: int, j: int, t: int) -> bool:
    if t + max(p[i], p[j]) <= max(d[i], d[j]):
        return bool(d[j] < d[i])
    return bool(p[j] < p[i])

def adjacent_descent(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    order = list(order)
    k, t = (0, 0)
    while k < len(order) - 1:
        i, j = (order[k], order[k + 1])
        if not passes(p, d, i, j, t):
            k, t = (k + 1, t + int(p[i]))
            continue
        order[k], order[k + 1] = (j, i)
        if k > 0:
            k, t = (k - 1, t - int(p[order[k - 1]]))
    return min((order, swap_descent(p, d, dispatch_2(p, d))), key=lambda option: total_tardiness(p, d, option))

def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    return np.maximum(t + p, d - p)

def dispatch(p: np.ndarray, d: np.ndarray) -> list[int]:
    jobs = np.lexsort((p, p))
    left = np.stack((p[jobs], d[jobs], jobs))
    order: list[int] = []
    t = 0
    for m in range(len(jobs), 0, -1):
        k = int(np.argmin(priority(left[0, :m], left[1, :m], t)))
        order.append(int(left[2, k]))
        t += int(left[0, k])
        left[:, k:m - 1] = left[:, k + 1:m]
    return order

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

def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """Single-machine total tardiness: sequence(p, d) -> order: a list of the jobs 0..n-1 in the
    sequence in which the machine takes them.

    Floor gap 0.048139 % on average over 525 instances that the search never saw. Normalised score
    0.99900, 95% interval 0.99868 to 0.99927; 0 is the program 'edd', 1 is the bound that no answer
    can beat.

    Against edd (baseline, known heuristic) with 48.117 %: better, score +0.99900, interval +0.91845
    to +1.08465.

    Against mdd (known heuristic) with 1.4959 %: better, score +0.03009, interval +0.02090 to
    +0.04102.

    Against aug_mddc (known heuristic) with 0.7159 %: better, score +0.01388, interval +0.01122 to
    +0.01705.

    Against mdd_swap (known heuristic, best seed of the search) with 0.086707 %: better, score
    +0.00080, interval +0.00048 to +0.00118.

    How it works, as it came about. Found by genetic search, 4 steps from the seed mdd_swap, out of
    800 programs evaluated:

    0. It began as the known heuristic mdd_swap: MDD + swap: the MDD order, improved by swapping pairs of jobs until no swap helps.
    1. In `dispatch`, `d` became `p` (score on train 0.99564, then 0.99568).
    2. `sequence` now hands its answer on to be improved: `adjacent_descent(p, d, swap_descent(p, d, dispatch(p, d)))` (score on train 0.99568, then 0.99571).
    3. In `priority`, `d` became `d - p` (score on train 0.99571, then 0.99585).
    4. `adjacent_descent` now keeps the best of several answers: `min((order, swap_descent(p, d, dispatch_2(p, d))), key=la...` (score on train 0.99585, then 0.99882).

    When to use it. Use it for every n, or for every RDD, or where TF is 0.4, 0.6, 0.8 or 1.0, or
    where p is uniform, normal, lognormal or bimodal: there it was better than mdd_swap, the best
    rival. In no group of the holdout was a rival shown to be better. Measured for n 20 to 500; RDD
    0.2 to 1.0; TF 0.2 to 1.0; p bimodal, lognormal, normal, uniform and wide. Nothing is known
    beyond.

    What it costs. 75 lines in 10 functions, loops nested 2 deep within one function; 10.8 ms of CPU
    per instance on average. Measured from size 20 to 500, the time grows about as size^1.22
    (standard error 0.02). Measured with at most 0.05 s of CPU per instance (unless the instance
    allows more), one thread and 512 MB of memory; the slowest instance took 43% of its time.
    """
    return adjacent_descent(p, d, swap_descent(p, d, dispatch(p, d)))
