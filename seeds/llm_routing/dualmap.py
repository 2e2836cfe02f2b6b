"""DualMap: two candidate instances by two hashes of the prompt's beginning; of these, the better one.

After DualMap (2026): few places per prefix keep caches warm, two of them spread the load. While the first token is
expected in time, the candidate with more of the prompt in its cache is taken, else the one with less to do; if both
are overloaded, anyone with the least to do.
"""

import numpy as np

PER_TOKEN_S = 0.00005  # of a prompt, on the fastest instance
PATIENCE_S = 0.3


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
    wait = (queued + prompt - hit) * PER_TOKEN_S / speed + running * 0.0003
    first, second = places(stem, len(speed))[:2]
    best, other = (first, second) if hit[first] >= hit[second] else (second, first)
    if wait[best] <= PATIENCE_S:
        return best
    if wait[other] <= PATIENCE_S:
        return other
    return int(np.argmin(wait))
