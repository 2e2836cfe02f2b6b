"""The budget of a run: a promise that counts the work in flight."""

from __future__ import annotations

from dataclasses import dataclass

from evolve.settings import BudgetSettings


@dataclass
class Budget:
    """Counts what was spent, and says whether more may be begun.

    started: evaluations handed out or finished. elapsed_s: running time, given by the loop.
    """

    limits: BudgetSettings
    started: int = 0

    def allows(self, elapsed_s: float) -> bool:
        """Whether one more evaluation may begin."""
        evaluations, seconds = self.limits.evaluations, self.limits.seconds
        return (evaluations is None or self.started < evaluations) and (
            seconds is None or elapsed_s < seconds
        )

    def spent(self, elapsed_s: float) -> float:
        """The share of the budget that is used up, 0 to 1."""
        shares = [0.0]
        if self.limits.evaluations is not None:
            shares.append(self.started / self.limits.evaluations)
        if self.limits.seconds is not None:
            shares.append(elapsed_s / self.limits.seconds)
        return min(1.0, max(shares))

    def timed_out(self, elapsed_s: float) -> bool:
        return self.limits.seconds is not None and elapsed_s >= self.limits.seconds
