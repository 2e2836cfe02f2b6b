import numpy as np

def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    return p - np.minimum(-0.549 * np.maximum(d, t), -0.747 * np.maximum(d, t)) / 1.27

def dispatch(p: np.ndarray, d: np.ndarray) -> list[int]:
    jobs = np.lexsort((p, d))
    left = np.stack((p[jobs], d[jobs], jobs))
    order: list[int] = []
    t = -1
    for m in range(len(jobs), 0, -1):
        k = int(np.argmin(priority(left[0, :m], left[1, :m], t)))
        order.append(int(left[2, k]))
        t += int(left[0, k])
        left[:, k:m - 1] = left[:, k + 1:m]
    return order

def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    return dispatch(np.maximum(p, -8.76), d - p)
