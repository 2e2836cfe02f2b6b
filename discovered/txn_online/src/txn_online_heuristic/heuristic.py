"""Online transaction scheduling: next(keys, writes, start, length, delay, age, span) -> index: the
number 0..m-1 of the pending transaction that is admitted next.

Makespan 161.82 time units on average over 40 instances that the search never saw. Normalised score
0.63647, 95% interval 0.59752 to 0.67507; 0 is the program 'arrival', 1 is the bound that no answer
can beat.

Candidate b0e30d2bddb90bee; PROOF.json holds the figures, the settings and the lineage.
"""

import numpy as np

def rating(start: np.ndarray, length: np.ndarray, delay: np.ndarray, age: np.ndarray, span: int) -> np.ndarray:
    return delay

def next(keys: np.ndarray, writes: np.ndarray, start: np.ndarray, length: np.ndarray, delay: np.ndarray, age: np.ndarray, span: int) -> int:
    """Online transaction scheduling: next(keys, writes, start, length, delay, age, span) -> index: the
    number 0..m-1 of the pending transaction that is admitted next.

    It is called each time that there is something to decide; its module was loaded anew for each
    instance, and may remember earlier calls.

    Makespan 161.82 time units on average over 40 instances that the search never saw. Normalised
    score 0.63647, 95% interval 0.59752 to 0.67507; 0 is the program 'arrival', 1 is the bound that
    no answer can beat.

    Against arrival (baseline, known heuristic) with 311.62 time units: better, score +0.63647,
    interval +0.59752 to +0.67507.

    Against smf_sample (known heuristic) with 196.97 time units: better, score +0.15183, interval
    +0.12633 to +0.17794.

    Against smf (known heuristic) with 190.32 time units: better, score +0.13734, interval +0.10837
    to +0.16855.

    Against earliest_start (best seed of the search) with 167.22 time units: better, score +0.06560,
    interval +0.03734 to +0.09614.

    How it works, as it came about. Found by genetic search, 1 step from the seed earliest_start,
    out of 300 programs evaluated:

    0. It began as the known heuristic earliest_start: Earliest start: the pending transaction that could begin first goes; ties: the one that waits longest.
    1. In `rating`, `start` became `delay` (score on train 0.50023, then 0.60445).

    When to use it. Use it where kind is smallbank or epinions, or where skew is 1, 0.75 or
    1-write-heavy, or where n is 100, or for every window: there it was better than earliest_start,
    the best rival. In no group of the holdout was a rival shown to be better. Measured for kind
    epinions, smallbank, taobench, tpcc and ycsb; skew 0.25, 0.75, 1, 1-write-heavy and 1.25; n 100
    and 200; window 8 to 32. Nothing is known beyond.

    What it costs. 5 lines in 2 functions, loops nested 0 deep within one function; 5.51 ms of CPU
    per instance on average. Measured with at most 0.3 s of CPU per instance (unless the instance
    allows more), one thread and 256 MB of memory; the slowest instance took 1% of its time.
    """
    return int(np.argmin(rating(start, length, delay, age, span)))
