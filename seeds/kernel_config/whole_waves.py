"""Whole waves: the least arithmetic, the idle SMs of the last wave counted as busy; then the most reuse.

Wave quantisation as in NVIDIA's "Matrix multiplication background: user's guide".
"""

import numpy as np


def tiles(m: int, n: int, block_m: np.ndarray, block_n: np.ndarray) -> np.ndarray:
    """Number of blocks, those at the edges included."""
    return np.ceil(m / block_m) * np.ceil(n / block_n)


def held(
    shared: int,
    block_m: np.ndarray,
    block_n: np.ndarray,
    block_k: np.ndarray,
    warps: np.ndarray,
    stages: np.ndarray,
) -> np.ndarray:
    """Blocks that an SM holds at the same time, by shared memory, registers and warps."""
    memory = np.floor(shared * 1024 / (stages * (block_m + block_n) * block_k * 2 + 1024))
    registers = np.floor(65536 / (np.minimum(block_m * block_n / (32 * warps) + 40, 255) * 32 * warps))
    return np.maximum(np.minimum(np.minimum(memory, registers), 64 / warps), 1)


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
    together = sms * held(shared, block_m, block_n, block_k, warps, stages)
    waves = np.ceil(tiles(m, n, block_m, block_n) / together)
    work = waves * together * block_m * block_n
    return work * (1 + 24 / block_m + 24 / block_n)


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
