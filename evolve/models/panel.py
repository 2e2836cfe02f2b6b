"""The models of a run: who is asked next, by what they gained per dollar, and who is set aside because it is down.

A fold over requests and exchanges: what it answers follows from the journal.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evolve.bandit import Bandit
from evolve.models.prices import Price
from evolve.models.retry import VERDICTS, Verdict
from evolve.records import Exchange, Fault, Request

IN_A_ROW = 3  # calls given up one after the other until a model is set aside
FIRST_PAUSE_S = 30.0  # for which it is then; each time twice as long
LEARNING = 0.995  # decay of what is known of a model


@dataclass(frozen=True)
class Seat:
    """A model of a run. weight: how often it is asked while nothing is known."""

    name: str
    weight: float
    price: Price


@dataclass
class _Health:
    """failed: calls given up in a row. since: running time when it last gave a reply, or was first asked.

    until: it is set aside up to this running time. fault: the last one.
    """

    failed: int = 0
    pauses: int = 0
    since: float | None = None
    until: float = -math.inf
    fault: str = ""


class Panel:
    """Chooses among models."""

    def __init__(self, seats: Sequence[Seat], patience_s: float) -> None:
        self.seats = {seat.name: seat for seat in seats}
        self.bandit = Bandit({seat.name: seat.weight for seat in seats}, LEARNING)
        self._patience_s = patience_s
        self._health = {seat.name: _Health() for seat in seats}
        self._pending: Counter[str] = Counter()

    @property
    def priced(self) -> bool:
        """Whether anything costs dollars; if not, tokens tell what is dear."""
        return any(seat.price.output or seat.price.input for seat in self.seats.values())

    def choose(self, rng: random.Random, at: float, affordable: Callable[[Price], bool]) -> str | None:
        """The model to ask; None if all are set aside or too dear."""
        shares = {
            name: share
            for name, share in self.bandit.shares(self._pending).items()
            if self._health[name].until <= at and affordable(self.seats[name].price)
        }
        return rng.choices(list(shares), list(shares.values()))[0] if shares else None

    def paused(self, at: float) -> bool:
        """Whether all models are set aside, and one of them not for good."""
        untils = [health.until for health in self._health.values()]
        return min(untils) > at and min(untils) < math.inf

    def aside(self, at: float) -> str:
        """The models that are not asked now, each with its last fault; "" if all are well."""
        down = {name: health for name, health in self._health.items() if health.until > at}
        return "; ".join(f"{name}: {health.fault}" for name, health in down.items())

    @property
    def silence(self) -> str:
        """The last fault of each model, once all are given up; "" before."""
        if min(health.until for health in self._health.values()) < math.inf:
            return ""
        return "; ".join(f"{name}: {health.fault}" for name, health in self._health.items())

    def asked(self, request: Request) -> None:
        self._pending[request.model] += 1

    def exchanged(self, exchange: Exchange, at: float) -> None:
        """Take note of how a model is: one reply makes it well again."""
        health = self._health[exchange.model]
        if health.since is None:
            health.since = at
        if exchange.fault is None or VERDICTS[exchange.fault] is Verdict.LOST:
            health.failed, health.pauses, health.since = 0, 0, at
        elif exchange.final:
            health.failed += 1
            health.fault = f"{exchange.fault} ({exchange.detail})" if exchange.detail else exchange.fault
            self._judge(health, exchange.fault, at)

    def renew(self) -> None:
        """A user has resumed the run: whatever was wrong, every model is tried again."""
        self._health = {name: _Health() for name in self.seats}

    def _judge(self, health: _Health, fault: Fault, at: float) -> None:
        down = VERDICTS[fault] is Verdict.DOWN
        if VERDICTS[fault] is Verdict.GONE:
            health.until = math.inf
        elif health.until <= at and (down or health.failed >= IN_A_ROW):
            health.until = at + FIRST_PAUSE_S * 2**health.pauses
            health.pauses += 1
        if (down or health.failed >= IN_A_ROW) and health.until - (health.since or 0.0) > self._patience_s:
            health.until = math.inf

    def tell(self, model: str, gain: float, cost: float) -> None:
        """What a request has gained in the end, and what it cost."""
        self._pending[model] -= 1
        self.bandit.tell(model, gain, cost)
