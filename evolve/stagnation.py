"""Stagnation of a whole search: noticed, and answered by one step after the other until something moves.

Islands notice for themselves that they are stuck (archives/islands.py); this is about the best of all.
"""

from __future__ import annotations

from collections.abc import Iterable

from evolve.archives.population import is_better
from evolve.racing import telling_order
from evolve.records import Intervention, Member, Remedy
from evolve.settings import StagnationSettings

WIDER = 3  # times as many operators in sequence
JUDGES = 12  # best members whose differences choose the instances that races begin with


class Stagnation:
    """Counts evaluations since the best of all became better, and names what to do about it.

    A fold over evaluations and interventions. width: how many times as many operators in sequence proposals are
    to be made by now; more than 1 from the answer "widen" until the next answer or the next better best.
    """

    def __init__(self, settings: StagnationSettings) -> None:
        self._settings = settings
        self._mark: float | None = None  # the best score when it last became better
        self._stale = 0
        self._turn = 0
        self.width = 1

    def saw(self, best: float) -> None:
        """An evaluation on train has ended; `best` is the score of the best of all."""
        self._stale += 1
        if is_better(best, self._mark, self._settings.progress):
            self._mark, self._stale, self.width = best, 0, 1

    @property
    def due(self) -> tuple[Remedy, ...]:
        """What to answer with, the one whose turn it is first; empty while the search moves on."""
        answers, patience = self._settings.answers, self._settings.patience
        if not patience or self._stale < patience:
            return ()
        return tuple(Remedy(each) for each in (*answers[self._turn :], *answers[: self._turn]))

    @property
    def reason(self) -> str:
        return f"no better best for {self._stale} evaluations"

    def apply(self, step: Intervention) -> None:
        """Take note of an answer. What an archive does of itself, always at one place, is none."""
        if step.place >= 0 or step.remedy not in self._settings.answers:
            return
        self._turn = (self._settings.answers.index(step.remedy.value) + 1) % len(self._settings.answers)
        self._stale = 0
        self.width = WIDER if step.remedy is Remedy.WIDEN else 1


def sharpened(members: Iterable[Member], first: int) -> tuple[int, ...]:
    """An order of the instances for races: first those that tell the best members apart.

    Args:
        first: how many instances races look at.
    """
    ranked = sorted(members, key=lambda member: (-member.score, member.candidate.number))
    return telling_order([member.evaluation.scores for member in ranked[:JUDGES]], first)
