"""By length: the transaction with the most operations goes first, as LPT does on parallel machines.

Graham (1969), "Bounds on multiprocessing timing anomalies"; ties stay in the order of arrival.
"""

import numpy as np


def rating(length: np.ndarray) -> np.ndarray:
    """What each transaction is worth by its number of operations, shape (n,); the smallest goes first."""
    return -length


def order(transactions: list, makespan: object, calls: int) -> list[int]:
    """The transactions by falling length; see statement.md for the arguments."""
    length = np.array([len(each) for each in transactions])
    return np.argsort(rating(length), kind="stable").tolist()
