"""Transaction scheduling: order(transactions, makespan, calls) -> order: a list of the transactions
0..n-1 in the sequence in which they are admitted.

Makespan 107.4 time units on average over 40 instances that the search never saw. Normalised score
0.86034, 95% interval 0.83510 to 0.88629; 0 is the program 'arrival', 1 is the bound that no answer
can beat.

Candidate 9fa7719cc8a587c9; PROOF.json holds the figures, the settings and the lineage.
"""

import math
import random
import numpy as np
FREE = -10 ** 6

def delays(transactions: list) -> np.ndarray:
    found = np.full((len(transactions), len(transactions)), FREE)
    uses: dict[int, dict[int, list[int]]] = {}
    for t, operations in enumerate(transactions):
        for place, (key, write) in enumerate(operations):
            if key >= 0:
                use = uses.setdefault(key, {}).setdefault(t, [place, -FREE, 0, FREE])
                use[2] = place + 1
                if write:
                    use[1], use[3] = (min(use[1], place), place + 1)
    for key_uses in uses.values():
        if len(key_uses) > 1:
            rows = np.array(list(key_uses))
            access, write, accessed, written = np.array(list(key_uses.values())).T
            block = np.ix_(rows, rows)
            apart = np.maximum(accessed[:, None] - write, written[:, None] - access)
            found[block] = np.maximum(found[block], apart)
    return found

def rating(start: np.ndarray, length: np.ndarray, span: float, blocked: np.ndarray) -> np.ndarray:
    return np.maximum(start + length, span) + (0.01 if length.sum() <= span else min(0.1, start.min())) * (start + length)

def dispatch(delay: np.ndarray, length: np.ndarray, first: int) -> tuple[list[int], int]:
    start = np.zeros(len(length), np.int64)
    pending = np.arange(len(length))
    weight = np.maximum(delay, 0).mean(axis=1)
    found, span, chosen = ([], 0, first)
    while len(pending):
        if found:
            at = start[pending]
            chosen = pending[np.argmin(rating(at, length[pending], span, weight[pending]))]
        found.append(int(chosen))
        span = max(span, int(start[chosen] + length[chosen]))
        start = np.maximum(start, start[chosen] + delay[chosen])
        pending = pending[pending != chosen]
    return (found, span)

def heads(delay: np.ndarray, found: np.ndarray) -> np.ndarray:
    apart = delay[np.ix_(found, found)]
    start = np.zeros(len(found), np.int64)
    for place in range(1, len(found)):
        start[place] = max(0, (start[:place] + apart[:place, place]).max())
    return start

def insertion(delay: np.ndarray, length: np.ndarray, rest: np.ndarray, moved: int, draw: float) -> np.ndarray:
    start = heads(delay, rest)
    backwards = rest[::-1]
    tail = heads_backwards(delay, length, backwards)[::-1]
    before = np.maximum.accumulate(np.concatenate(([0], start + delay[rest, moved])))
    behind = np.concatenate((tail + delay[moved, rest], [length[moved]]))
    behind = np.maximum.accumulate(behind[::-1])[::-1]
    span = np.maximum(before + np.maximum(behind, length[moved]), 5)
    best = np.flatnonzero(span == span.min())
    return np.insert(rest, best[int(draw * len(best))], moved)

def heads_backwards(delay: np.ndarray, length: np.ndarray, backwards: np.ndarray) -> np.ndarray:
    apart = delay[np.ix_(backwards, backwards)].T
    tail = length[backwards]
    for place in range(1, len(backwards)):
        tail[place] = max(tail[place], (tail[:place] + apart[:place, place]).max())
    return tail

def temperature(done: float) -> float:
    return 0.5 * 0.188 ** done

def neighbour(found: list[int], rng: random.Random) -> list[int]:
    new = found.copy()
    one, other = (rng.randrange(len(new)), rng.randrange(len(new)))
    if rng.random() < 0.7:
        new.insert(other, new.pop(one))
    else:
        new[one], new[other] = (new[other], new[one])
    return new

def order(transactions: list, makespan: object, calls: int) -> list[int]:
    """Transaction scheduling: order(transactions, makespan, calls) -> order: a list of the
    transactions 0..n-1 in the sequence in which they are admitted.

    Makespan 107.4 time units on average over 40 instances that the search never saw. Normalised
    score 0.86034, 95% interval 0.83510 to 0.88629; 0 is the program 'arrival', 1 is the bound that
    no answer can beat.

    Against arrival (baseline, known heuristic) with 311.62 time units: better, score +0.86034,
    interval +0.83510 to +0.88629.

    Against smf_sample (known heuristic) with 178.43 time units: better, score +0.31896, interval
    +0.28757 to +0.35208.

    Against smf (known heuristic) with 146.9 time units: better, score +0.21177, interval +0.18028
    to +0.24687.

    Against annealing (known heuristic, best seed of the search) with 112.83 time units: better,
    score +0.02570, interval +0.01788 to +0.03550.

    How it works, as it came about. Found by genetic search, 2 steps from the seed annealing, out of
    400 programs evaluated:

    0. It began as the known heuristic annealing: SMF + simulated annealing: moves and swaps within the calls of the makespan that are allowed, then best insertions.
    1. In `temperature`, `0.2` became `0.5`; in `rating`, `0.01` became `0.01 if length.sum() <= span else min(0.1, start.min())` (score on train 0.70128, then 0.69782).
    2. `temperature` was taken over from another program of the search; in `insertion`, `(start + length[rest]).max(initial=0)` became `5` (score on train 0.69782, then 0.72186).

    When to use it. Use it for every kind, or for every skew, or for every n: there it was better
    than annealing, the best rival. In no group of the holdout was a rival shown to be better.
    Measured for kind epinions, smallbank, taobench, tpcc and ycsb; skew 0.25, 0.75, 1,
    1-write-heavy and 1.25; n 100 and 200. Nothing is known beyond.

    What it costs. 90 lines in 10 functions, loops nested 2 deep within one function; 668 ms of CPU
    per instance on average. Measured with at most 2 s of CPU per instance (unless the instance
    allows more), one thread and 512 MB of memory; the slowest instance took 40% of its time.
    """
    rng = random.Random(1)
    delay = delays(transactions)
    length = np.array([len(each) for each in transactions])
    found, span = dispatch(delay, length, int(np.argmin(delay.mean(axis=1))))
    best, least = (found, span)
    for move in range(calls):
        new = neighbour(found, rng)
        value = makespan(new)
        if value <= span or rng.random() < math.exp((span - value) / temperature(move / calls)):
            found, span = (new, value)
            if span < least:
                best, least = (found, span)
    return polish(delay, length, best, 5 * calls // len(best), rng)

def polish(delay: np.ndarray, length: np.ndarray, found: list[int], moves: int, rng: random.Random) -> list[int]:
    best = np.array(found)
    for _ in range(moves):
        place = rng.randrange(len(best))
        best = insertion(delay, length, np.delete(best, place), int(best[place]), rng.random())
    return best.tolist()
