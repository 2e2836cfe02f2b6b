"""Time sliced: the time to the deadline is cut into slices, each with its share of the work, and played greedily.

Wu et al. (NSDI'24) for one region; spot is taken here first, then where it is cheapest.
"""

import math

import numpy as np

SLICES = 12
NONE, SPOT, ON_DEMAND = 0, 1, 2


def need(now: float, left: float, done: float, work: float, overhead: float, share: float) -> float:
    """Above 0: without spot, the job goes on on demand."""
    length = (now + left) / SLICES
    end = (math.floor(now / length + 1e-9) + 1.0) * length
    goal = (done + work) * end / (now + left) - done
    return min(goal, goal + overhead + 1.0 - (end - now))


def hold(now: float, left: float, done: float, work: float, overhead: float, share: float) -> float:
    """Above 0: what runs on demand goes on there, whether there is spot or not."""
    length = (now + left) / SLICES
    end = (math.floor(now / length + 1e-9) + 1.0) * length
    goal = (done + work) * end / (now + left) - done
    return min(goal, goal + 2.0 * overhead + 1.0 - (end - now))


def rating(
    work: float,
    here: np.ndarray,
    overhead: float,
    move: float,
    price: np.ndarray,
    demand: np.ndarray,
    share: np.ndarray,
    streak: np.ndarray,
) -> np.ndarray:
    """Of the regions that have spot, the one with the largest number is chosen, shape (regions,)."""
    return 100.0 * here - price


def leave(work: float, overhead: float, move: float, price: float, other: float) -> float:
    """Above 0: spot at `price` is given up for spot elsewhere at the price `other`."""
    return -1.0


def safe(left: float, work: float, lost: float, overhead: float) -> bool:
    """Whether a tick of which `lost` goes by without work leaves time to finish on demand."""
    return work - max(0.0, 1.0 - lost) + overhead <= left - 1.0


def decide(
    now: float,
    left: float,
    done: float,
    work: float,
    running: int,
    region: int,
    pending: float,
    overhead: float,
    move: float,
    spot: np.ndarray,
    price: np.ndarray,
    demand: np.ndarray,
    share: np.ndarray,
    streak: np.ndarray,
) -> tuple[int, int]:
    """What is to run in the tick that begins, and where; times in ticks, prices in $ for a tick, arrays by region."""
    here = np.where(np.arange(len(spot)) == region, 1.0, 0.0)
    best = int(
        np.argmax(
            np.where(spot > 0, rating(work, here, overhead, move, price, demand, share, streak), -np.inf)
        )
    )
    cheapest = int(np.argmin(demand * (work + overhead) + move * (1.0 - here)))
    place = region if running == ON_DEMAND else cheapest
    if running == ON_DEMAND and hold(now, left, done, work, overhead, float(np.max(share))) > 0:
        return ON_DEMAND, place
    gain = leave(work, overhead, move, float(price[region]), float(price[best]))
    if running == SPOT and spot[region] > 0 and gain <= 0:
        best = region
    lost = pending if running == SPOT and best == region else overhead
    if spot[best] > 0 and safe(left, work, lost, overhead):
        return SPOT, best
    if running == SPOT and spot[region] > 0 and safe(left, work, pending, overhead):
        return SPOT, region
    if not safe(left, work, 1.0, overhead) or need(now, left, done, work, overhead, float(np.max(share))) > 0:
        return ON_DEMAND, place
    return NONE, region
