import numpy as np

def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    v = np.maximum(d - np.minimum(p, p - 8.8 + 0.14 * (p + 1.5)), np.where(p >= t, p, t) - (1.41 + 2))
    return np.maximum(p, np.maximum(d + np.maximum(p + (1 - 0.187) * np.minimum(p, t), p), 0.25)) - (d - (v - 0.07 * (v + t - (d + t) + d)))

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

def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    return dispatch(p, d)
