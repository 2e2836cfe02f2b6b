"""SMF: of all pending transactions the one that adds least to the makespan goes next; the best of twelve starts.

Shortest makespan first, from the transaction-scheduling literature. Ties go to the one that ends first.
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


def rating(start: np.ndarray, length: np.ndarray, span: float, blocked: np.ndarray) -> np.ndarray:
    """What each pending transaction is worth, shape (m,); the smallest goes next.

    start: when it could start. length: its operations. span: the makespan so far. blocked: how much later the others
    pending would have to start because of it, on average.
    """
    return np.maximum(start + length, span) + 0.01 * (start + length)


def dispatch(delay: np.ndarray, length: np.ndarray, first: int) -> tuple[list[int], int]:
    """An order that begins with one transaction and goes on by rating, and its makespan."""
    start = np.zeros(len(length), np.int64)
    pending = np.arange(len(length))
    weight = np.maximum(delay, 0).mean(axis=1)
    found, span, chosen = [], 0, first
    while len(pending):
        if found:
            at = start[pending]
            chosen = pending[np.argmin(rating(at, length[pending], span, weight[pending]))]
        found.append(int(chosen))
        span = max(span, int(start[chosen] + length[chosen]))
        start = np.maximum(start, start[chosen] + delay[chosen])
        pending = pending[pending != chosen]
    return found, span


def order(transactions: list, makespan: object, calls: int) -> list[int]:
    """The best of up to twelve orders, each with another transaction first; see statement.md for the arguments."""
    delay = delays(transactions)
    length = np.array([len(each) for each in transactions])
    count = max(1, min(12, calls // 1000, len(length)))
    firsts = np.argsort(delay.mean(axis=1), kind="stable")[:: max(1, len(length) // count)]
    found = [dispatch(delay, length, int(first)) for first in firsts[:count]]
    return min(found, key=lambda each: each[1])[0]
