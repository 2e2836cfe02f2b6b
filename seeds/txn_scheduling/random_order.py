"""Random: an order drawn at random, the same every time."""

import random


def order(transactions: list, makespan: object, calls: int) -> list[int]:
    """Any order is as likely as any other; see statement.md for the arguments."""
    found = list(range(len(transactions)))
    random.Random(1).shuffle(found)
    return found
