"""A gate of further instances: who would be the best of all must not lose a race on those where the best differ most.

A search that stagnates has often found what train's few instances reward, and not what is better. So further ones are
made by train's generator, the best members are evaluated on them, and those on which they differ most become a gate.
Train itself stays as it is: scores of all times remain comparable, no member is judged anew, and a journal's scores
mean the same before and after. The gate only keeps out what is better on train and clearly worse beyond.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from evolve.records import Evaluation, Member
from evolve.statistics import clearly_worse

JUDGES = 6  # best members that are evaluated on the further instances when a search stagnates
RACED = 12  # further instances that make the gate
JUDGES_NEEDED = 2  # with scores: of one alone, nothing differs


class Gate:
    """Which further instances count, and who waits before the gate. A fold over evaluations and interventions."""

    def __init__(self, confidence: float) -> None:
        """
        Args:
            confidence: of the one-sided paired test by which a candidate loses.
        """
        self._confidence = confidence
        self._scores: dict[str, tuple[float, ...]] = {}  # on all further instances, by member
        self._judges: tuple[str, ...] = ()
        self._asked: set[str] = set()
        self._awaited: set[str] = set()  # judges without a result
        self._waiting: dict[str, Member] = {}
        # that make the gate, the most telling first; () = it stands open
        self.instances: tuple[int, ...] = ()

    def judges(self, members: Iterable[Member]) -> list[Member]:
        """The best members, if any of them is still to be evaluated on the further instances; else nobody."""
        alone = {member.candidate.id: member for member in members}  # one may live on several islands
        ranked = sorted(alone.values(), key=lambda member: (-member.score, member.candidate.number))[:JUDGES]
        return ranked if any(each.candidate.id not in self._asked for each in ranked) else []

    def ask(self, members: Sequence[Member]) -> list[Member]:
        """Make these the judges; returns those of them that are to be evaluated for it."""
        self._judges = tuple(member.candidate.id for member in members)
        fresh = [member for member in members if member.candidate.id not in self._asked]
        self._awaited = {member.candidate.id for member in fresh}
        self._asked |= self._awaited
        return fresh

    def holds(self, member: Member, best: Member | None) -> bool:
        """Whether a new member has to pass the gate first: who would be the best of all has."""
        if not self.instances or best is None or best.candidate.id not in self._scores:
            return False
        return member.score > best.score and member.candidate.id not in self._scores

    def wait(self, member: Member) -> None:
        """A member that is evaluated on the further instances before it may come in."""
        self._asked.add(member.candidate.id)
        self._waiting[member.candidate.id] = member

    def took(self, evaluation: Evaluation) -> Member | None:
        """Take an evaluation on the further instances; the member that waited for it, if one did."""
        if evaluation.ok:
            self._scores[evaluation.candidate] = evaluation.scores
        if evaluation.candidate in self._awaited:
            self._awaited.discard(evaluation.candidate)
            if not self._awaited:
                self._choose()
        return self._waiting.pop(evaluation.candidate, None)

    def passes(self, member: Member, best: Member | None) -> bool:
        """Whether a member that waited may come in: it decided all and is not clearly worse than the best."""
        ours = self._scores.get(member.candidate.id)
        theirs = self._scores.get(best.candidate.id) if best else None
        if ours is None or theirs is None:
            return ours is not None
        mine, others = ([scores[index] for index in self.instances] for scores in (ours, theirs))
        return not clearly_worse(mine, others, self._confidence)

    def _choose(self) -> None:
        """Of the further instances, those on which the judges' scores differ most, by their variance."""
        known = [self._scores[identity] for identity in self._judges if identity in self._scores]
        if len(known) < JUDGES_NEEDED:
            return
        # rounded: a tie goes to the earlier on every machine
        spread = np.var(np.asarray(known), axis=0).round(12)
        ranked = np.argsort(-spread, kind="stable")[:RACED]
        self.instances = tuple(int(index) for index in ranked if spread[index] > 0)
