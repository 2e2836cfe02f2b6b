"""Forecast: on demand once the spot to be expected, as often as it was seen so far, does not do for the work."""

NONE, SPOT, ON_DEMAND = 0, 1, 2


def need(
    now: float,
    left: float,
    done: float,
    work: float,
    overhead: float,
    price: float,
    demand: float,
    share: float,
    streak: float,
) -> float:
    """Above 0: without spot, the job goes on on demand."""
    return work - share * left


def hold(
    now: float,
    left: float,
    done: float,
    work: float,
    overhead: float,
    price: float,
    demand: float,
    share: float,
    streak: float,
) -> float:
    """Above 0: what runs on demand goes on there, whether there is spot or not."""
    return work + 2.0 * overhead - share * left


def safe(left: float, work: float, lost: float, overhead: float) -> bool:
    """Whether a tick of which `lost` goes by without work leaves time to finish on demand."""
    return work - max(0.0, 1.0 - lost) + overhead <= left - 1.0


def decide(
    now: float,
    left: float,
    done: float,
    work: float,
    spot: bool,
    running: int,
    pending: float,
    overhead: float,
    price: float,
    demand: float,
    share: float,
    streak: float,
) -> int:
    """What is to run in the tick that begins; times in ticks, prices in $ for a tick."""
    if running == ON_DEMAND and hold(now, left, done, work, overhead, price, demand, share, streak) > 0:
        return ON_DEMAND
    if spot and safe(left, work, pending if running == SPOT else overhead, overhead):
        return SPOT
    if not safe(left, work, 1.0, overhead):
        return ON_DEMAND
    if need(now, left, done, work, overhead, price, demand, share, streak) > 0:
        return ON_DEMAND
    return NONE
