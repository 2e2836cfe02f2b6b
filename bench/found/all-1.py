import numpy as np

def total_tardiness(p: np.ndarray, d: np.ndarray, order: list[int]) -> int:
    return int(np.maximum(np.cumsum(p[order]) - d[order], 0).sum())

def best_insertion(p: np.ndarray, d: np.ndarray, i: int) -> int:
    end = p.cumsum()
    tardy = np.maximum(end - d, 0)
    gain = np.zeros(len(p), dtype=np.int64)
    gain[i + 1:] = np.minimum(tardy[i + 1:], p[i]).cumsum()
    gain[:i] = (tardy[:i] - np.maximum(end[:i] - d[:i] + p[i], 0))[::-1].cumsum()[::-1]
    gain[i + 1:] -= np.maximum(end[i + 1:] - d[i], 0)
    gain[:i] -= np.maximum(end[:i] - p[:i] + p[i] - d[i], 0)
    gain += tardy[i]
    gain[i] = 0
    return int(np.argmax(gain)) if gain.max() > 0 else i

def insertion_descent(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    jobs = np.array(order)
    p, d = (p[jobs], d[jobs])
    steps, i = (0, 0)
    while steps < len(jobs):
        j = best_insertion(p, d, i)
        steps = steps + 1 if j == i else 0
        if j != i:
            for row in (jobs, p, d):
                part = row[min(i, j):max(i, j) + 1]
                part[:] = np.roll(part, -1 if i < j else 1)
        i = (i + 1) % len(jobs)
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
    return min((swap_descent(p, d, dispatch(p, d)), insertion_descent(p, d, dispatch(p, d))), key=lambda option: total_tardiness(p, d, option))
