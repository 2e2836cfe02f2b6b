"""On demand from the start to the end: certain, and the dearest. What the cost is measured in."""

ON_DEMAND = 2


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
    return ON_DEMAND
