"""Power of two choices: of two random instances, the one with the smaller load (Mitzenmacher, 2001)."""

import random

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
    return (running + waiting) / speed


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
    first, second = random.sample(range(len(sent)), 2)
    costs = cost(prompt, predicted, hit, running, waiting, queued, used, capacity, ahead, speed, sent)
    return first if costs[first] <= costs[second] else second
