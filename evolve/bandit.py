"""Which of several ways to try next: those that gained most per cost so far, and now and then any other.

One mechanism for all that a proposer can choose between: operators, prompts, models. An arm's chance is its prior
weight times how its yield (gain per cost) compares with the yield of all arms together. That is probability matching
(Goldberg 1990; Thierens, "An adaptive pursuit strategy for allocating operator probabilities", 2005, section 2) on
the posterior mean of a gamma-Poisson model, with the discounting of Kocsis and Szepesvari (2006), since what helps
early in a search seldom helps late.

A bandit has no other state than what it was told, so a search that is a fold over its journal chooses the same.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evolve.errors import UsageError

PATIENCE = 20.0  # tries of mean cost and mean yield that every arm is credited with before it has any
SPAN = 8.0  # an arm gets at most this many times its prior weight, and at least that part of it
FLOOR = 0.1  # part of the chances that goes by prior weight, whatever was learnt


@dataclass(frozen=True)
class ArmReport:
    """What is known of an arm.

    tries, gain, cost: totals, not discounted. rate: gain per cost, nan without a cost. share: its chance now.
    """

    name: str
    tries: int
    gain: float
    cost: float
    rate: float
    share: float


class Bandit:
    """Chooses among named arms by what they have yielded.

    Args:
        arms: their names, or a mapping from name to prior weight (> 0; only ratios matter). The prior is what they
            are drawn by until something is known.
        decay: by which all that is known fades with every try told, 0 to 1; 1 = never forget.

    Raises:
        UsageError: a weight or the decay is out of range.
    """

    def __init__(self, arms: Sequence[str] | Mapping[str, float], decay: float = 0.999) -> None:
        weights = dict(arms) if isinstance(arms, Mapping) else dict.fromkeys(arms, 1.0)
        if not 0 < decay <= 1:
            raise UsageError(f"decay of a bandit is {decay:g}; it has to lie above 0 and not above 1")
        for name, weight in weights.items():
            if not weight > 0:
                raise UsageError(f"prior weight of '{name}' is {weight:g}; it has to be above 0")
        self._places = {name: place for place, name in enumerate(weights)}
        self._prior = _normalised(weights)
        self._decay = decay
        # what arms were tried for, and the same discounted: tries, gain and cost by arm, (3, arms)
        self._total, self._recent = np.zeros((2, 3, len(weights)))

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(self._places)

    def __contains__(self, arm: str) -> bool:
        return arm in self._places

    def tell(self, arm: str, gain: float, cost: float) -> None:
        """One try has ended.

        Args:
            gain: what it improved, 0 or more, in any one unit.
            cost: what it took, 0 or more, in any one unit: CPU seconds, instances decided, dollars.

        Raises:
            KeyError: there is no such arm.
        """
        place = self._places[arm]
        self._recent *= self._decay
        for record in (self._total, self._recent):
            record[:, place] += (1.0, gain, cost)

    def choose(self, rng: random.Random, pending: Mapping[str, int] | None = None) -> str:
        """An arm, drawn by its chance.

        Args:
            pending: tries begun and not yet told, by arm: each counts as one that has gained nothing so far, so
                that what is in flight is not all of one kind.
        """
        chances = self.shares(pending)
        return rng.choices(list(chances), list(chances.values()))[0]

    def shares(self, pending: Mapping[str, int] | None = None) -> dict[str, float]:
        """The chance of each arm; they add up to 1."""
        prior = self._prior
        learnt = self._learnt(prior, pending or {})
        return {name: FLOOR * prior[name] + (1 - FLOOR) * learnt[name] for name in prior}

    def _learnt(self, prior: Mapping[str, float], pending: Mapping[str, int]) -> dict[str, float]:
        recent = self._recent.tolist()
        tries, gain, cost = map(sum, recent)
        mean_cost, mean_gain = cost / max(tries, 1e-9), gain / max(tries, 1e-9)
        if not mean_gain or not mean_cost:  # nothing to tell the arms apart by
            return dict(prior)
        found = {}
        for name, own_gain, own_cost in zip(self._places, *recent[1:], strict=True):
            # both in tries of average cost or gain; their quotient compares the arm's yield with that of all
            tried = own_cost / mean_cost + PATIENCE + pending.get(name, 0)
            relative = (own_gain / mean_gain + PATIENCE) / tried
            found[name] = prior[name] * min(SPAN, max(1 / SPAN, relative))
        return _normalised(found)

    def table(self) -> list[ArmReport]:
        """What is known of each arm, the most likely first."""
        chances = self.shares()
        rows = []
        for name, (tries, gain, cost) in zip(self._places, self._total.T.tolist(), strict=True):
            rate = gain / cost if cost else float("nan")
            rows.append(ArmReport(name, int(tries), gain, cost, rate, chances[name]))
        return sorted(rows, key=lambda row: (-row.share, row.name))


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
