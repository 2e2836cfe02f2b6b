"""Tutorial tile: tiles of 128 x 128 x 32, 4 warps, 4 stages, whatever the shape; a usual start for large matrices."""

import numpy as np


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
    apart = np.abs(block_m - 128) + np.abs(block_n - 128) + np.abs(block_k - 32)
    return apart + np.abs(warps - 4) + np.abs(stages - 4)


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
