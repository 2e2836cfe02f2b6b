import numpy as np

def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    return np.maximum(d, p + t) + 0.207 * t + np.maximum(p, p.mean())

def term(v: np.ndarray) -> np.ndarray:
    return np.maximum(v, 1) + 0.322 * v + 5 + np.maximum(v - 0.461 * v.min() * len(v), v.std())

def priority_4(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    v = priority(p, d, t)
    return (d + v.min() * np.maximum(np.maximum(p, d.max()), (np.maximum(p, v) + np.minimum(d, np.log1p(np.abs(v)))) * (1.23 * 5 + len(p) * np.where(p > v, d, t) / term(v)))) * (np.minimum(np.maximum(v, 5.06), p / np.maximum(v, 1)) + (t - min(np.maximum(t, 1), p.mean()) + v.min())) * v

def dispatch(p: np.ndarray, d: np.ndarray) -> list[int]:
    jobs = np.lexsort((p, d))
    left = np.stack((p[jobs], d[jobs], jobs))
    order: list[int] = []
    t = 0
    for m in range(len(jobs), 0, -1):
        k = int(np.argmin(priority_4(left[0, :m], left[1, :m], t)))
        order.append(int(left[2, k]))
        t += int(left[0, k])
        left[:, k:m - 1] = left[:, k + 1:m]
    return order

def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    return dispatch(p, d)
