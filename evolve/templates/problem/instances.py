"""The inputs of the problem: what each split holds.

train        scores and feedback on these go to the proposer
validation   decides which program becomes champion; proposers never see these
holdout      opened once, when a champion is published; partly larger or of another kind than train

further      more of the same kind as train: a search that stagnates tells its best programs apart by them

Everything is seeded: a split is the same list of instances in every run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from evolve.records import Instance

SEEDS = {"train": 1, "validation": 2, "holdout": 3, "further": 4}
TRAIN_SIZES = (8, 12, 20, 30)
SIZES = {
    "train": TRAIN_SIZES,
    "validation": (10, 20, 40),
    "holdout": (10, 20, 40, 80),
    "further": TRAIN_SIZES,
}
REPEATS = {"train": 5, "validation": 10, "holdout": 5, "further": 5}
WEIGHTS = {"even": (1, 10), "wide": (1, 100)}  # range of w; "wide" makes the weights matter more


def instances(split: str) -> Iterable[Instance]:
    """The instances of "train", "validation" or "holdout"."""
    return list(_generate(split))


def further() -> Iterable[Instance]:
    """More instances like those of train, of a seed of their own. A problem may do without this function."""
    return list(_generate("further"))


def _generate(split: str) -> Iterator[Instance]:
    rng = np.random.default_rng(SEEDS[split])  # a generator of its own for each split; never a global one
    for repeat in range(REPEATS[split]):
        for n in SIZES[split]:
            for kind, (low, high) in WEIGHTS.items():
                p = rng.integers(1, 51, n)
                w = rng.integers(low, high + 1, n)
                yield Instance(
                    name=f"{split}/n{n}-{kind}-{repeat}",
                    arguments={"p": p, "w": w},  # named and ordered as entry.parameters
                    # No decision can have a better objective than this. A candidate that does is rejected as
                    # IMPOSSIBLE, so be sure of it; the tighter it is, the more a score says.
                    bound=smith(p, w),
                    group={"n": n, "weights": kind},
                )


def smith(p: np.ndarray, w: np.ndarray) -> float:
    """The optimum: rising p / w (Smith, 1956, "Various optimizers for single-stage production")."""
    best = np.argsort(p / w)
    return float(np.dot(w[best], np.cumsum(p[best])))
