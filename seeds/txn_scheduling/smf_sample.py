"""SMF with a sample: of ten pending transactions drawn at random, the one that adds least to the makespan goes next.

Shortest makespan first, as transaction schedulers use it: looking at all pending ones would cost too much there.
"""

import random


def order(transactions: list, makespan: object, calls: int) -> list[int]:
    """An order by samples of ten, fewer if the calls do not suffice; see statement.md for the arguments."""
    rng = random.Random(1)
    pending = list(range(len(transactions)))
    sample = max(1, min(10, calls // len(pending)))
    found: list[int] = []
    while pending:
        drawn = rng.sample(pending, min(sample, len(pending)))
        best = drawn[0]
        if len(drawn) > 1:
            best = min(drawn, key=lambda each: makespan([*found, each]))
        found.append(best)
        pending.remove(best)
    return found
