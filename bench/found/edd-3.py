import numpy as np

def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    return p + np.minimum(np.maximum(p, np.where(p <= d, d - t, d) + 3.85), np.maximum(p, d))

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
    return dispatch(p, d - -0.0673 * p)
