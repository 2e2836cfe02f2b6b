"""SMF + insertion: one transaction after the other is taken out and put back where the makespan is smallest.

Moves that change nothing are made as well, which leads over plains. All places are rated at once by heads and tails, as
Taillard (1990) does for flow shops, so that a move costs about as much as two makespans in plain numpy.
"""

import random

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


def heads(delay: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Earliest starts of the transactions in an order, in that order, shape (n,)."""
    apart = delay[np.ix_(found, found)]
    start = np.zeros(len(found), np.int64)
    for place in range(1, len(found)):
        start[place] = max(0, (start[:place] + apart[:place, place]).max())
    return start


def insertion(delay: np.ndarray, length: np.ndarray, rest: np.ndarray, moved: int) -> tuple[np.ndarray, int]:
    """The best place for a transaction among the others, and the makespan there; of equal places the last.

    No other pair changes its sequence, so the makespan is the larger of that of the others and of the longest
    way through the one that moves: what came before it at each place, and what must follow.
    """
    start = heads(delay, rest)
    backwards = rest[::-1]
    tail = (heads_backwards(delay, length, backwards))[::-1]
    before = np.maximum.accumulate(np.concatenate(([0], start + delay[rest, moved])))
    behind = np.concatenate((tail + delay[moved, rest], [length[moved]]))
    behind = np.maximum.accumulate(behind[::-1])[::-1]
    span = np.maximum(before + np.maximum(behind, length[moved]), (start + length[rest]).max(initial=0))
    place = len(span) - 1 - int(np.argmin(span[::-1]))
    return np.insert(rest, place, moved), int(span[place])


def heads_backwards(delay: np.ndarray, length: np.ndarray, backwards: np.ndarray) -> np.ndarray:
    """From each start to the end of all, in a reversed order, shape (n,)."""
    apart = delay[np.ix_(backwards, backwards)].T
    tail = length[backwards]
    for place in range(1, len(backwards)):
        tail[place] = max(tail[place], (tail[:place] + apart[:place, place]).max())
    return tail


def order(transactions: list, makespan: object, calls: int) -> list[int]:
    """A number of moves by the calls allowed, though it needs none; see statement.md for the arguments."""
    rng = random.Random(1)
    delay = delays(transactions)
    length = np.array([len(each) for each in transactions])
    found = np.array(dispatch(delay, length, int(np.argmin(delay.mean(axis=1))))[0])
    span = makespan(found)
    for _ in range(5 * calls // len(found)):
        place = rng.randrange(len(found))
        moved, new = insertion(delay, length, np.delete(found, place), int(found[place]))
        if new <= span:
            found, span = moved, new
    return found.tolist()
