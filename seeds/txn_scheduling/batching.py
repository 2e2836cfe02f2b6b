"""Greedy batching: sets of transactions that do not conflict, one set after the other.

A greedy colouring of the conflict graph by Welsh and Powell (1967): each set takes the transactions with most conflicts
first, and all of a set can run side by side.
"""

import numpy as np

FREE = -(10**6)


def delays(transactions: list) -> np.ndarray:
    """How much later than each transaction (row) each other (column) starts at least, if it is admitted later.

    Shape (n, n); FREE where nothing holds it back. A write waits for the last access before, a read for the last write.
    """
    found = np.full((len(transactions), len(transactions)), FREE)
    uses: dict[int, dict[int, list[int]]] = {}
    for t, operations in enumerate(transactions):
        for place, (key, write) in enumerate(operations):
            if key >= 0:
                # first access, first write, ends of the last access and of the last write
                use = uses.setdefault(key, {}).setdefault(t, [place, -FREE, 0, FREE])
                use[2] = place + 1
                if write:
                    use[1], use[3] = min(use[1], place), place + 1
    for key_uses in uses.values():
        if len(key_uses) > 1:
            rows = np.array(list(key_uses))
            access, write, accessed, written = np.array(list(key_uses.values())).T
            block = np.ix_(rows, rows)
            apart = np.maximum(accessed[:, None] - write, written[:, None] - access)
            found[block] = np.maximum(found[block], apart)
    return found


def rating(conflicts: np.ndarray, length: np.ndarray) -> np.ndarray:
    """How early a transaction is considered for a set, shape (n,); the smallest first."""
    return -conflicts


def order(transactions: list, makespan: object, calls: int) -> list[int]:
    """Set after set; see statement.md for the arguments."""
    delay = delays(transactions)
    conflict = np.maximum(delay, delay.T) > FREE
    np.fill_diagonal(conflict, False)
    length = np.array([len(each) for each in transactions])
    pending = np.argsort(rating(conflict.sum(axis=1), length), kind="stable").tolist()
    found: list[int] = []
    while pending:
        apart = np.zeros(len(length), bool)
        for each in pending:
            if not conflict[each, apart].any():
                apart[each] = True
        found += [each for each in pending if apart[each]]
        pending = [each for each in pending if not apart[each]]
    return found
