"""On demand where it is cheapest, from the start to the end: certain, and the dearest."""

ON_DEMAND = 2


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
    totals = [each * (work + overhead) + move for each in demand]
    totals[region] -= move
    return ON_DEMAND, region if running else totals.index(min(totals))
