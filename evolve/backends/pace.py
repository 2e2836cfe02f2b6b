"""How many evaluations make a batch: enough that the engine's own cost is small, few enough that none waits long."""

from __future__ import annotations

import math
from collections.abc import Iterable

from evolve.records import Split
from evolve.search import Task

SHARE = 0.05  # of a batch's time that the engine itself may take
BATCH_S = 0.25  # the longest that evaluations wait for each other in a batch
FADE = 0.1  # weight of the newest evaluation in the running mean


class Pace:
    """The running mean of evaluation times, and what follows from it.

    Args:
        cost_s: seconds that the engine itself takes for a batch.
        alone: every evaluation is a batch of its own.
    """

    def __init__(self, cost_s: float, alone: bool = False) -> None:
        self._cost_s = cost_s
        self._alone = alone
        self._mean: dict[Split, float] = {}

    def saw(self, split: Split, seconds: float) -> None:
        """Take note of an evaluation."""
        before = self._mean.get(split)
        self._mean[split] = seconds if before is None else before + FADE * (seconds - before)

    def expected(self, split: Split) -> float | None:
        """Seconds that an evaluation takes; None before the first one."""
        return self._mean.get(split)

    def size(self, split: Split) -> int:
        """Evaluations of a batch: `SHARE` is kept if `BATCH_S` allows it."""
        mean = self._mean.get(split)
        if mean is None or self._alone:
            return 1
        mean = max(mean, 1e-6)
        return max(1, min(math.ceil(self._cost_s / SHARE / mean), math.floor(BATCH_S / mean)))

    def fitting(self, tasks: Iterable[Task]) -> tuple[int, bool]:
        """How many of the first tasks make a batch, and whether it is full: more would not be taken in."""
        filled, count = 0.0, 0
        for task in tasks:
            share = 1 / self.size(task.split)
            if count and filled + share > 1 + 1e-9:
                return count, True
            filled, count = filled + share, count + 1
        return count, filled > 1 - 1e-9
