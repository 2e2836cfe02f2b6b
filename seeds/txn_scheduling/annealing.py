"""SMF + simulated annealing: moves and swaps within the calls of the makespan that are allowed, then best insertions.

Kirkpatrick, Gelatt and Vecchi (1983), "Optimization by simulated annealing".
"""

import math
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


def insertion(delay: np.ndarray, length: np.ndarray, rest: np.ndarray, moved: int, draw: float) -> np.ndarray:
    """The others with the transaction at its best place; of equal places one by a draw from 0 to 1.

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
    best = np.flatnonzero(span == span.min())
    return np.insert(rest, best[int(draw * len(best))], moved)


def heads_backwards(delay: np.ndarray, length: np.ndarray, backwards: np.ndarray) -> np.ndarray:
    """From each start to the end of all, in a reversed order, shape (n,)."""
    apart = delay[np.ix_(backwards, backwards)].T
    tail = length[backwards]
    for place in range(1, len(backwards)):
        tail[place] = max(tail[place], (tail[:place] + apart[:place, place]).max())
    return tail


def temperature(done: float) -> float:
    """In units of time, when a share of 0 to 1 of the moves is done."""
    return 0.5 * 0.2**done


def neighbour(found: list[int], rng: random.Random) -> list[int]:
    """Seven in ten: a transaction goes elsewhere. Three in ten: two change places."""
    new = found.copy()
    one, other = rng.randrange(len(new)), rng.randrange(len(new))
    if rng.random() < 0.7:
        new.insert(other, new.pop(one))
    else:
        new[one], new[other] = new[other], new[one]
    return new


def order(transactions: list, makespan: object, calls: int) -> list[int]:
    """The best order on the way; see statement.md for the arguments."""
    rng = random.Random(1)
    delay = delays(transactions)
    length = np.array([len(each) for each in transactions])
    found, span = dispatch(delay, length, int(np.argmin(delay.mean(axis=1))))
    best, least = found, span
    for move in range(calls):
        new = neighbour(found, rng)
        value = makespan(new)
        if value <= span or rng.random() < math.exp((span - value) / temperature(move / calls)):
            found, span = new, value
            if span < least:
                best, least = found, span
    return polish(delay, length, best, 5 * calls // len(best), rng)


def polish(
    delay: np.ndarray, length: np.ndarray, found: list[int], moves: int, rng: random.Random
) -> list[int]:
    """Takes one transaction after the other to its best place, which may be as good as the old one and elsewhere."""
    best = np.array(found)
    for _ in range(moves):
        place = rng.randrange(len(best))
        best = insertion(delay, length, np.delete(best, place), int(best[place]), rng.random())
    return best.tolist()
