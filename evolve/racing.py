"""The order in which a race takes the instances: first those on which the seeds' differences show best.

A race compares a candidate with the member it has to beat by a paired test on the first instances, so these
should say in few instances what all of them say. The seeds, which are all known on every instance before the
first race, show which do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evolve.statistics import Floats


def telling_order(scores: Sequence[Sequence[float]], first: int) -> tuple[int, ...]:
    """All instances, the most telling `first` ones in front, the others behind in their own order.

    For a pair of programs, the first k instances estimate the mean difference D over all of them with a bias
    and a standard error. Instance after instance, that one is taken which leaves the sum of bias squared and
    standard error squared smallest, each pair measured in the mean square of its differences. A small bias
    keeps the test honest, a small standard error makes it sharp; both depend on the scores alone, so equal
    scores give an equal order.

    Args:
        scores: (programs, instances), normalised.
        first: how many instances to choose; the races never look at the order of the others.

    Returns:
        A permutation of 0..instances-1; the identity where no two programs differ.
    """
    table = np.asarray(scores, float)
    count = table.shape[1]
    differences = _scaled_differences(table)
    if not len(differences):
        return tuple(range(count))
    chosen: list[int] = []
    left = list(range(count))
    sums, squares = np.zeros(len(differences)), np.zeros(len(differences))
    for _ in range(min(first, count)):
        best = left[int(np.argmin(_errors(differences, left, sums, squares, len(chosen) + 1)))]
        chosen.append(best)
        left.remove(best)
        sums += differences[:, best]
        squares += differences[:, best] ** 2
    return (*chosen, *left)


def _scaled_differences(table: Floats) -> Floats:
    """(pairs, instances): score differences of all pairs that differ, each pair in units of its root mean square."""
    first, second = np.triu_indices(len(table), 1)
    differences = table[first] - table[second]
    size = np.sqrt(np.mean(differences**2, axis=1, keepdims=True))
    differs = size[:, 0] > 0
    return np.asarray(differences[differs] / size[differs])


def _errors(differences: Floats, left: list[int], sums: Floats, squares: Floats, count: int) -> Floats:
    """For each instance left: the pairs' mean squared error of the first `count` differences, were it the last."""
    added = differences[:, left]
    means = (sums[:, None] + added) / count
    spread = np.maximum((squares[:, None] + added**2) / count - means**2, 0.0)
    bias = means - differences.mean(axis=1, keepdims=True)
    # rounded, so that a tie goes to the earlier instance on every machine
    return np.asarray(np.mean(bias**2 + spread / max(count - 1, 1), axis=0)).round(9)
