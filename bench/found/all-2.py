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
    t = 1
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
    cost = max(0, end - int(d[k])) + j
    cost += total_tardiness(p[left], d[left], dispatch(p[left], d[left]))
    return cost + total_tardiness(p[right], d[right] - end, dispatch(p[right], d[right] - end))

def decompose(p: np.ndarray, d: np.ndarray) -> list[int]:
    order: list[int] = []
    parts = [(np.lexsort((p, d)), 0)]
    while parts:
        jobs, t = parts.pop()
        if len(jobs) < 3:
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
    return min((swap_descent(p, d, decompose(p, d)), swap_descent(p, d, dispatch(p, d))), key=lambda option: total_tardiness(p, d, option))
