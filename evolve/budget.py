"""The budget of a run: a promise that counts the work in flight."""

from __future__ import annotations

from dataclasses import dataclass, field

from evolve.records import Exchange, Request
from evolve.settings import BudgetSettings

EXACT = 1e-9  # dollars; sums of prices are not exact


@dataclass
class Budget:
    """Counts what was spent, and says whether more may be begun.

    started: evaluations handed out or finished. calls: requests to models that have no proposal yet, each of which
        may become an evaluation. tokens, dollars: spent on models. elapsed_s: running time, given by the loop.
    """

    limits: BudgetSettings
    started: int = 0
    calls: int = 0
    tokens: int = 0
    dollars: float = 0.0
    _aside: dict[int, tuple[int, float]] = field(default_factory=dict)

    def allows(self, elapsed_s: float) -> bool:
        """Whether one more evaluation may begin."""
        limits = self.limits
        return (
            (limits.evaluations is None or self.started + self.calls < limits.evaluations)
            and (limits.seconds is None or elapsed_s < limits.seconds)
            and self.affords(1, 0.0)
        )

    def affords(self, tokens: int, dollars: float) -> bool:
        """Whether a call that takes this much at most can be paid for besides all that are under way."""
        limits, aside = self.limits, self._aside.values()
        if (
            limits.tokens is not None
            and self.tokens + sum(each[0] for each in aside) + tokens > limits.tokens
        ):
            return False
        if limits.dollars is None:
            return True
        return self.dollars + sum(each[1] for each in aside) + dollars <= limits.dollars + EXACT

    def begin_call(self, request: Request) -> None:
        """Set aside what a call may take at most."""
        self.calls += 1
        self._aside[request.number] = (request.tokens, request.dollars)

    def exchanged(self, exchange: Exchange) -> None:
        """Count what an exchange took; after the last one of a call nothing is set aside for it any more."""
        self.tokens += exchange.usage.total
        self.dollars += exchange.dollars
        if exchange.final:
            self._aside.pop(exchange.number, None)

    def end_call(self) -> None:
        """A call has become a proposal."""
        self.calls -= 1

    def spent(self, elapsed_s: float) -> float:
        """The share of the budget that is used up, 0 to 1."""
        limits = self.limits
        pairs = (
            (self.started, limits.evaluations),
            (elapsed_s, limits.seconds),
            (self.tokens, limits.tokens),
            (self.dollars, limits.dollars),
        )
        return min(1.0, max((used / limit for used, limit in pairs if limit), default=0.0))

    def timed_out(self, elapsed_s: float) -> bool:
        return self.limits.seconds is not None and elapsed_s >= self.limits.seconds
