"""Consistent hashing with bounded loads: the first instance that a prompt prefers and that is not overfull.

Mirrokni, Thorup and Zadimoghaddam (2018): none gets more than 1 + EPSILON times the mean load. Names are the
beginnings of prompts, so that requests with a common beginning meet.
"""

import numpy as np

EPSILON = 0.25


def places(name: int, count: int) -> list[int]:
    """The instances in the order in which a name prefers them: highest random weight, so a lost one moves few."""
    weights = [
        ((name * 2654435761 + place * 40503 + 12345) * 2246822519 >> 7) % 1000003 for place in range(count)
    ]
    return sorted(range(count), key=lambda place: -weights[place])


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
    load = (running + waiting) / speed
    most = (1.0 + EPSILON) * (float(np.sum(load)) + 1.0) / len(load)
    for place in places(stem, len(load)):
        if load[place] + 1.0 <= most:
            return place
    return int(np.argmin(load))
