import numpy as np

def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    return np.maximum(np.maximum(np.maximum(p, t) + len(p), d) + 0.5 / (0.243 * t) * p + np.maximum(np.minimum(p, t), p.mean()) + p, d.std()) + np.maximum(p + t, d)

def dispatch(p: np.ndarray, d: np.ndarray) -> list[int]:
    jobs = np.lexsort((p, d))
    left = np.stack((p[jobs], d[jobs], jobs))
    order: list[int] = []
    t = 4
    for m in range(len(jobs), 0, -1):
        k = int(np.argmin(priority(left[0, :m], left[1, :m], t)))
        order.append(int(left[2, k]))
        t += int(left[0, k])
        left[:, k:m - 1] = left[:, k + 1:m]
    return order

def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    return dispatch(p, d)
