"""Random: any instance, each with the same chance."""

import random

import numpy as np


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
    return random.randrange(len(sent))
