"""Configuration of a matrix kernel: choose(m, n, k, sms, shared, tflops, tbs, block_m, block_n,
block_k, warps, stages) -> index: the configuration to run.

Speed 0.81793 of the best on average over 160 instances that the search never saw. Normalised score
0.71262, 95% interval 0.65762 to 0.76494; 0 is the program 'plain_tile', 1 is the bound that no
answer can beat.

Candidate e66bc213847e36a7; PROOF.json holds the figures, the settings and the lineage.
"""

import numpy as np

def tiles(m: int, n: int, block_m: np.ndarray, block_n: np.ndarray) -> np.ndarray:
    return np.ceil(m / block_m) * np.ceil(n / block_n)

def held(shared: int, block_m: np.ndarray, block_n: np.ndarray, block_k: np.ndarray, warps: np.ndarray, stages: np.ndarray) -> np.ndarray:
    memory = np.floor(shared * 456 / (stages * (block_m + block_n) * block_k * 2.6 + 1024))
    registers = np.floor(232000.0 / (np.minimum(block_m * block_n / (26.0 * warps) + 40, 255) * 32 * warps))
    return np.maximum(np.minimum(np.minimum(memory, registers), 64 / warps), 1)

def cost(m: int, n: int, k: int, sms: int, shared: int, tflops: float, tbs: float, block_m: np.ndarray, block_n: np.ndarray, block_k: np.ndarray, warps: np.ndarray, stages: np.ndarray) -> np.ndarray:
    together = sms * held(shared, block_m, np.log1p(np.abs(0.347 * stages)) + stages, block_k, warps, stages)
    waves = np.ceil(tiles(m, n, block_m, block_n) / together)
    work = waves * together * block_m * block_n
    return work * (1 + 24 / block_m + 24 / block_n)

def choose(m: int, n: int, k: int, sms: int, shared: int, tflops: float, tbs: float, block_m: np.ndarray, block_n: np.ndarray, block_k: np.ndarray, warps: np.ndarray, stages: np.ndarray) -> int:
    """Configuration of a matrix kernel: choose(m, n, k, sms, shared, tflops, tbs, block_m, block_n,
    block_k, warps, stages) -> index: the configuration to run.

    Speed 0.81793 of the best on average over 160 instances that the search never saw. Normalised
    score 0.71262, 95% interval 0.65762 to 0.76494; 0 is the program 'plain_tile', 1 is the bound
    that no answer can beat.

    Against plain_tile (baseline, known heuristic) with 0.36644 of the best: better, score +0.71262,
    interval +0.62191 to +0.80151.

    Against tutorial_tile (known heuristic) with 0.48058 of the best: better, score +0.53247,
    interval +0.42445 to +0.63687.

    Against roofline (known heuristic) with 0.70377 of the best: better, score +0.18018, interval
    +0.12602 to +0.23592.

    Against whole_waves (best seed of the search) with 0.75324 of the best: better, score +0.10210,
    interval +0.06609 to +0.14091.

    How it works, as it came about. Found by genetic search, 6 steps from the seed whole_waves, out
    of 1000 programs evaluated:

    0. It began as the known heuristic whole_waves: Whole waves: the least arithmetic, the idle SMs of the last wave counted as busy; then the most reuse.
    1. In `held`, `1024` became `717 (number 1 of 13 down by 0.3)` (score on train 0.58051, then 0.72709).
    2. In `held`, `2` became `2.6 (number 2 of 13 up by 0.3)` (score on train 0.72709, then 0.58444).
    3. In `held`, `65536` became `232000.0`; in `held`, `32` became `26.0`; in `cost`, `block_n` became `np.log1p(np.abs(0.347 * stages)) + stages` (score on train 0.58444, then 0.68429).
    4. In `held`, `717` became `502 (number 1 of 14 down by 0.3)` (score on train 0.68429, then 0.73690).
    5. In `held`, `502` became `351 (number 1 of 14 down by 0.3)` (score on train 0.73690, then 0.64117).
    6. In `held`, `351` became `456 (number 1 of 14 up by 0.3)` (score on train 0.64117, then 0.73731).

    When to use it. Use it for every source, or where device is H200 or A100, or where shape is
    square, decode or deep: there it was better than whole_waves, the best rival. In no group of the
    holdout was a rival shown to be better. Measured for source simulated; device A100, H200 and
    L40S; shape decode, deep, expert, odd and square. Nothing is known beyond.

    What it costs. 14 lines in 4 functions, loops nested 0 deep within one function; 0.0814 ms of
    CPU per instance on average. Measured with at most 0.02 s of CPU per instance (unless the
    instance allows more), one thread and 256 MB of memory; the slowest instance took 3% of its
    time.
    """
    return int(np.argmin(cost(m, n, k, sms, shared, tflops, tbs, block_m, block_n, block_k, warps, stages)))
