"""Prefix and load: the time that the prompt needs where part of it is cached, behind what waits there."""

import numpy as np


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
