import numpy as np

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

def total_tardiness(p: np.ndarray, d: np.ndarray, order: list[int]) -> int:
    return int(np.maximum(np.cumsum(p[order]) - d[order], 0).sum())

def augment(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    p, d = (p[order], d[order])
    end = p.cumsum()
    tardy = np.maximum(end - d, 0)
    cost = np.maximum(end[-1] - d, 0) - tardy
    behind = np.minimum(p * ((tardy > 0).sum() - (tardy > 0).cumsum()), tardy.sum() - tardy.cumsum())
    rows = np.flatnonzero(behind > cost)
    if len(rows) == 0:
        return order
    saved = np.minimum(p[rows, None], tardy) * (np.arange(len(p)) > rows[:, None])
    gain = saved.sum(axis=1) - cost[rows]
    k = int(rows[np.argmax(gain)])
    return order[:k] + order[k + 1:] + [order[k]] if gain.max() > 0 else order

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
    ratio = np.minimum(p / (t + np.max(p)), 1)
    weight = ratio ** 1.92
    return (1 + weight) * np.maximum(t + 1.2 * 2 * p, d) + p / (t + np.mean(p))

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
    return min((order, augment(p, d, order)), key=lambda option: total_tardiness(p, d, option))

def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    return min((swap_descent(p, d, dispatch(p, d)), swap_descent(p, d, dispatch_2(p, d))), key=lambda option_2: total_tardiness(p, d, option_2))
