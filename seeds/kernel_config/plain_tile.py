"""Plain tile: tiles of 64 x 64 x 32, 4 warps, 2 stages, whatever the shape; what a first kernel is written with."""

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
    apart = np.abs(block_m - 64) + np.abs(block_n - 64) + np.abs(block_k - 32)
    return apart + np.abs(warps - 4) + np.abs(stages - 2)


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
