"""Llumnix: to the highest freeness, and requests move, running ones too, from the lowest to the highest freeness.

Sun et al. (OSDI'24): freeness is the free memory per request, as if everything that waits were held already.
"""

import numpy as np

APART = 600.0  # tokens of freeness between two instances, from which on a request moves


def freeness(
    running: np.ndarray, waiting: np.ndarray, queued: np.ndarray, used: np.ndarray, capacity: np.ndarray
) -> np.ndarray:
    """Free tokens per request, shape (k,)."""
    return (capacity - used - queued) / (running + waiting + 1.0)


def route(
    now: float,
    prompt: float,
    predicted: float,
    root: int,
    stem: int,
    hit: np.ndarray,
    running: np.ndarray,
    waiting: np.ndarray,
    queued: np.ndarray,
    used: np.ndarray,
    capacity: np.ndarray,
    ahead: np.ndarray,
    speed: np.ndarray,
    sent: np.ndarray,
) -> int:
    """The number of the instance that serves the request; arrays have shape (k,)."""
    return int(np.argmax(freeness(running, waiting, queued, used, capacity)))


def migrate(
    now: float,
    running: np.ndarray,
    waiting: np.ndarray,
    queued: np.ndarray,
    used: np.ndarray,
    capacity: np.ndarray,
    ahead: np.ndarray,
    speed: np.ndarray,
    size: np.ndarray,
) -> list[int]:
    """From and to of a move, or nothing; arrays have shape (k,)."""
    free = freeness(running, waiting, queued, used, capacity)
    best, worst = int(np.argmax(free)), int(np.argmin(free))
    if size[worst] > 0 and free[best] - free[worst] > APART:
        return [worst, best]
    return []
