"""Dispatching for single-machine total tardiness: priority(p, d, t) -> scores: a number for each
unscheduled job; the job with the smallest goes next.

Floor gap 1.0678 % on average over 525 instances that the search never saw. Normalised score
0.97781, 95% interval 0.97112 to 0.98266; 0 is the program 'edd', 1 is the bound that no answer can
beat.

Candidate 17ee56605813d123; PROOF.json holds the figures, the settings and the lineage.
"""

import numpy as np

def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """Dispatching for single-machine total tardiness: priority(p, d, t) -> scores: a number for each
    unscheduled job; the job with the smallest goes next.

    Floor gap 1.0678 % on average over 525 instances that the search never saw. Normalised score
    0.97781, 95% interval 0.97112 to 0.98266; 0 is the program 'edd', 1 is the bound that no answer
    can beat.

    Against edd (baseline, known heuristic) with 48.117 %: better, score +0.97781, interval +0.89941
    to +1.06189.

    Against mdd (known heuristic) with 1.4959 %: better, score +0.00890, interval +0.00328 to
    +0.01622.

    Against mddc (known heuristic, best seed of the search) with 1.1278 %: not shown to be better,
    score +0.00125, interval -0.00061 to +0.00357.

    How it works, as it came about. Found by genetic search, 1 step from the seed mddc, out of 5000
    programs evaluated:

    0. It began as the known heuristic mddc: MDDC: a composite of the modified due date.
    1. In `priority`, `2` became `1.54 (number 2 of 6 down by 0.3)` (score on train 0.95772, then 0.95864).

    When to use it. Use it where n is 100 or 200, or where RDD is 0.2, or where p is lognormal:
    there it was better than mddc, the best rival. Do not use it where RDD is 1.0, or where TF is
    1.0, or where p is bimodal (mdd is better there); nor where n is 20, or where RDD is 1.0, or
    where TF is 1.0, or where p is bimodal (mddc is better there). Measured for n 20 to 500; RDD 0.2
    to 1.0; TF 0.2 to 1.0; p bimodal, lognormal, normal, uniform and wide. Nothing is known beyond.

    What it costs. 6 lines in 1 function, loops nested 0 deep within one function; 0.261 ms of CPU
    per instance on average. Measured with at most 0.05 s of CPU per instance (unless the instance
    allows more), one thread and 512 MB of memory; the slowest instance took 1% of its time.
    """
    ratio = np.minimum(p / (t + np.max(p)), 1)
    weight = ratio ** 1.54 / (1 + ratio ** 2)
    modified = (1 + weight) * np.maximum(t + 1.1 * p, d)
    return modified + p / (t + np.mean(p))
