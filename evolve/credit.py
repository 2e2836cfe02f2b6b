"""Credit assignment: what the operators of a child have gained, told to the bandit that chooses among them.

A child gains if it enters the archive and is better than every parent of it: by how many doublings it exceeds
`STEP` of the way that is left from its best parent to the bound. So a step counts more the larger it is, late steps,
which are small, count too, and one lucky leap does not outweigh everything else for good.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from evolve.bandit import Bandit
from evolve.records import SEPARATOR, Candidate, Evaluation
from evolve.settings import BanditSettings

STEP = 0.001


def gain(score: float, parent: float) -> float:
    """What a child with `score` gained over its best parent; 0 or more."""
    if not score > parent:
        return 0.0
    return math.log2(1 + (score - parent) / max(1 - parent, 1e-9) / STEP)


class Credits:
    """A bandit over the arms of a proposer, fed with what becomes of its children: a fold over the journal.

    Costs are instances decided, at least 1, unless the settings say CPU seconds: the same run then has the same
    costs on every machine, and makes the same choices. CPU seconds see that an operator makes programs slow, but
    two runs of one seed part as soon as a clock ticks differently.
    """

    def __init__(self, arms: Mapping[str, float], settings: BanditSettings) -> None:
        self.bandit = Bandit(arms, settings.decay)
        self._prior = arms
        self._settings = settings
        self._scores: dict[str, float] = {}
        self._pending: Counter[str] = Counter()

    def shares(self) -> Mapping[str, float]:
        """The chances of the arms; their prior weights if nothing is to be learnt."""
        return self.bandit.shares(self._pending) if self._settings.enabled and self._prior else self._prior

    def begun(self, candidate: Candidate) -> None:
        """A child's evaluation begins."""
        for arm in self._arms(candidate.operator):
            self._pending[arm] += 1

    def ended(self, candidate: Candidate, evaluation: Evaluation, placed: bool) -> None:
        """A child's evaluation on train has ended; `placed`: it entered the archive."""
        for arm in self._arms(candidate.operator):
            self._pending[arm] -= 1
        cost = evaluation.cpu_s if self._settings.cost == "cpu" else float(max(1, evaluation.instances))
        self.tell(
            candidate.id, candidate.operator, candidate.parents, evaluation.score if placed else None, cost
        )

    def tell(
        self, identity: str, operator: str, parents: Sequence[str], score: float | None, cost: float
    ) -> None:
        """The same in few words. score: None if the child did not enter the archive."""
        if score is not None:
            self._scores[identity] = score
        arms = self._arms(operator)
        best = max((self._scores[parent] for parent in parents if parent in self._scores), default=math.inf)
        gained = gain(score, best) if score is not None else 0.0
        for arm in arms:
            self.bandit.tell(arm, gained / len(arms), cost / len(arms))

    def _arms(self, operator: str) -> list[str]:
        return [arm for arm in operator.split(SEPARATOR) if arm in self.bandit]
