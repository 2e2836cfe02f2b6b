import numpy as np

def term(d: np.ndarray, t: int, p: np.ndarray) -> np.ndarray:
    return np.maximum(d, p) + 0.116 * np.minimum(p, d)

def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    return np.where(np.where(p >= d, p + d, 15.0 * 5.47) + t + 0.113 * p <= d, term(d, t, p) + 0.254 * d, p) - 0.0741 * (p + 0.372) + p + p

def dispatch(p: np.ndarray, d: np.ndarray) -> list[int]:
    jobs = np.lexsort((p, d * d))
    left = np.stack((p[jobs], d[jobs], jobs))
    order: list[int] = []
    t = 1
    for m in range(len(jobs), 0, -1):
        k = int(np.argmin(priority(left[0, :m], left[1, :m], t)))
        order.append(int(left[2, k]))
        t += int(left[0, k])
        left[:, k:m - 1] = left[:, k + 1:m]
    return order

def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    return dispatch(p, d)
