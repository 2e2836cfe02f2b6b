"""Llumnix: to the highest freeness, and waiting requests move from the lowest to the highest freeness.

Sun et al. (OSDI'24): freeness is the free memory per request, as if everything that waits were held already.
"""

import numpy as np

APART = 600.0  # tokens of freeness between two instances, from which on a request moves


def freeness(
    prompt: float,
    predicted: float,
    hit: np.ndarray,
    running: np.ndarray,
    waiting: np.ndarray,
    queued: np.ndarray,
    used: np.ndarray,
    capacity: np.ndarray,
    ahead: np.ndarray,
    speed: np.ndarray,
    sent: np.ndarray,
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
) -> list[int]:
    """The instance that serves the request, and from and to of a move; arrays have shape (k,)."""
    free = freeness(prompt, predicted, hit, running, waiting, queued, used, capacity, ahead, speed, sent)
    best, worst = int(np.argmax(free)), int(np.argmin(free))
    if waiting[worst] > 0 and waiting[best] == 0 and free[best] - free[worst] > APART:
        return [best, worst, best]
    return [best]
