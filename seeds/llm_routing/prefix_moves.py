"""Prefix and load with moves: as prefix_load, and requests move by the free memory per request, as in Llumnix."""

import numpy as np

APART = 600.0  # tokens of free memory per request between two instances, from which on a request moves


def cost(
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
    """What each instance costs this request, shape (k,); the smallest gets it."""
    return (queued + prompt - hit) / speed + 20.0 * running / speed


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
    return int(
        np.argmin(cost(prompt, predicted, hit, running, waiting, queued, used, capacity, ahead, speed, sent))
    )


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
    free = (capacity - used - queued) / (running + waiting + 1.0)
    best, worst = int(np.argmax(free)), int(np.argmin(free))
    if size[worst] > 0 and free[best] - free[worst] > APART:
        return [worst, best]
    return []
