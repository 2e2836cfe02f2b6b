"""Full GPU: the largest tile of which there are enough to give every SM one; else as many tiles as can be."""

import numpy as np


def tiles(m: int, n: int, block_m: np.ndarray, block_n: np.ndarray) -> np.ndarray:
    """Number of blocks, those at the edges included."""
    return np.ceil(m / block_m) * np.ceil(n / block_n)


def cost(
    m: int,
    n: int,
    k: int,
    sms: int,
    shared: int,
    tflops: float,
    tbs: float,
    block_m: np.ndarray,
    block_n: np.ndarray,
    block_k: np.ndarray,
    warps: np.ndarray,
    stages: np.ndarray,
) -> np.ndarray:
    """Rates the configurations, shape (configurations,); the smallest is chosen."""
    count = tiles(m, n, block_m, block_n)
    busy = np.minimum(count / sms, 1)
    return np.maximum(m, block_m) / busy - block_m * block_n / (block_m + block_n) - 0.1 * stages


def choose(
    m: int,
    n: int,
    k: int,
    sms: int,
    shared: int,
    tflops: float,
    tbs: float,
    block_m: np.ndarray,
    block_n: np.ndarray,
    block_k: np.ndarray,
    warps: np.ndarray,
    stages: np.ndarray,
) -> int:
    """Index of the configuration to run; the arrays have an entry for each, shape (configurations,)."""
    return int(np.argmin(cost(m, n, k, sms, shared, tflops, tbs, block_m, block_n, block_k, warps, stages)))
