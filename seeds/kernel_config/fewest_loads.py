"""Fewest loads: the tile that loads the fewest numbers, edges included; then the one with most buffers.

Goto and van de Geijn (2008), "Anatomy of high-performance matrix multiplication": large blocks amortise loads.
"""

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
    loads = tiles(m, n, block_m, block_n) * (block_m + block_n) * np.ceil(k / block_k) * block_k
    return loads / (1 + 0.001 * stages)


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
