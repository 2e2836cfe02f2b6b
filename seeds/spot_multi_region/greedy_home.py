"""Greedy that never leaves the region in which the job begins, as in the problem of a single region."""

NONE, SPOT, ON_DEMAND = 0, 1, 2


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
    if spot[region] > 0 and safe(left, work, pending if running == SPOT else overhead, overhead):
        return SPOT, region
    return (NONE if safe(left, work, 1.0, overhead) else ON_DEMAND), region
