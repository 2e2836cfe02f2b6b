"""Round robin: without spot here, the next tick tries the next region; on demand when behind the straight line.

The starting point of the public multi-region benchmark.
"""

NONE, SPOT, ON_DEMAND = 0, 1, 2
LOOK = {"at": 0}  # the region that is tried; lives as long as one job


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
    if running == NONE and spot[LOOK["at"]] == 0 and now * (done + work) / (now + left) <= done:
        LOOK["at"] = (LOOK["at"] + 1) % len(spot)
    here = LOOK["at"] if running == NONE else region
    if spot[here] > 0 and safe(left, work, pending if running == SPOT else overhead, overhead):
        return SPOT, here
    if not safe(left, work, 1.0, overhead) or now * (done + work) / (now + left) > done:
        return ON_DEMAND, here
    return NONE, region
