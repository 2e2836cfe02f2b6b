"""Time sliced: the time to the deadline is cut into slices, each with its share of the work, and played greedily.

Wu et al. (NSDI'24) for one region; spot is taken here first, then where it is cheapest.
"""

import math

SLICES = 12
NONE, SPOT, ON_DEMAND = 0, 1, 2


def need(
    ahead: float,
    slack: float,
    now: float,
    left: float,
    done: float,
    work: float,
    overhead: float,
    share: float,
) -> float:
    """Above 0: without spot, the job goes on on demand. ahead: of the line from start to deadline; slack: to spare."""
    length = (now + left) / SLICES
    end = (math.floor(now / length + 1e-9) + 1.0) * length
    goal = (done + work) * end / (now + left) - done
    return min(goal, goal + overhead + 1.0 - (end - now))


def hold(
    ahead: float,
    slack: float,
    now: float,
    left: float,
    done: float,
    work: float,
    overhead: float,
    share: float,
) -> float:
    """Above 0: what runs on demand goes on there, whether there is spot or not."""
    length = (now + left) / SLICES
    end = (math.floor(now / length + 1e-9) + 1.0) * length
    goal = (done + work) * end / (now + left) - done
    return min(goal, goal + 2.0 * overhead + 1.0 - (end - now))


def rating(
    work: float,
    here: float,
    overhead: float,
    move: float,
    price: float,
    demand: float,
    share: float,
    streak: float,
) -> float:
    """Of the regions that have spot, the one with the largest number is chosen; `here` is 1 for the present one."""
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
    spot: list[float],
    price: list[float],
    demand: list[float],
    share: list[float],
    streak: list[float],
) -> tuple[int, int]:
    """What is to run in the tick that begins, and where; times in ticks, prices in $ for a tick, lists by region."""
    best, top, place, least = region, -math.inf, region, math.inf
    for each in range(len(spot)):
        here = 1.0 if each == region else 0.0
        if spot[each] > 0:
            rated = rating(work, here, overhead, move, price[each], demand[each], share[each], streak[each])
            if rated > top:
                best, top = each, rated
        total = demand[each] * (work + overhead) + move * (1.0 - here)
        if total < least:
            place, least = each, total
    ahead, slack = done - now * (done + work) / (now + left), left - work
    if running == ON_DEMAND:
        place = region
        if hold(ahead, slack, now, left, done, work, overhead, max(share)) > 0:
            return ON_DEMAND, place
    kept = running == SPOT and spot[region] > 0
    if kept and leave(work, overhead, move, price[region], price[best]) <= 0:
        best = region
    lost = pending if running == SPOT and best == region else overhead
    if spot[best] > 0 and safe(left, work, lost, overhead):
        return SPOT, best
    if kept and safe(left, work, pending, overhead):
        return SPOT, region
    if not safe(left, work, 1.0, overhead):
        return ON_DEMAND, place
    if need(ahead, slack, now, left, done, work, overhead, max(share)) > 0:
        return ON_DEMAND, place
    return NONE, region
