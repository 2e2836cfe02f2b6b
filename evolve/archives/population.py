"""Populations: what an archive keeps members in. Plain ones hold the best, grids the best of each cell.

A grid of elites is MAP-Elites (Mouret and Clune, "Illuminating search spaces by mapping elites", 2015), with a
bounded number of elites: opening a cell in a full grid costs the worst elite its place, so that a newcomer
always has something to beat and can be stopped early.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evolve.records import Member, Outcome, Placement, Sample
from evolve.settings import ArchiveSettings

PROGRESS = 0.02  # a best member is clearly better if it takes this share of the way that is left to the bound


@dataclass(frozen=True)
class Axis:
    """A descriptor as a side of a grid: `cells` equal parts from `low` to `high`; what lies outside goes to the ends.

    log: equal parts of the logarithm, for what spans orders of magnitude.
    """

    name: str
    low: float
    high: float
    cells: int
    log: bool = False

    def cell(self, value: float) -> int:
        """Which part holds `value`, from 0."""
        share = (self._scaled(value) - self._scaled(self.low)) / (
            self._scaled(self.high) - self._scaled(self.low)
        )
        return min(self.cells - 1, max(0, math.floor(share * self.cells)))

    def _scaled(self, value: float) -> float:
        return math.log(max(value, 1e-12)) if self.log else value


def is_better(score: float, mark: float | None, share: float) -> bool:
    """Whether a score takes `share` of the way that was left from the mark to the bound; any does without a mark."""
    return mark is None or score > mark + share * max(1 - mark, 0)


class Population:
    """The best members, best first; no two with the same scores."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.members: list[Member] = []
        self.stale = 0  # proposals bred here since the best member became clearly better
        self._mark: float | None = None  # score of the best member then

    def __len__(self) -> int:
        return len(self.members)

    @property
    def full(self) -> bool:
        return len(self.members) >= self._size

    def add(self, member: Member) -> Placement:
        """Store a member if it beats every rival and, where there is no room, the worst."""
        rivals = self._rivals(member)
        if not all(_beats(member, rival) for rival in rivals):
            return Placement(Outcome.REJECTED)
        if not rivals and self.full:
            rivals = [self.members[-1]]
            if member.score <= rivals[0].score:
                return Placement(Outcome.REJECTED)
        self.members = [other for other in self.members if other not in rivals]
        self._insert(member)
        if not rivals:
            return Placement(Outcome.NEW)
        return Placement(Outcome.IMPROVED, replaced=rivals[0].candidate.id)

    def _rivals(self, member: Member) -> list[Member]:
        """Members that cannot stay beside this one: one with the very same scores on every instance."""
        return [other for other in self.members if other.evaluation.scores == member.evaluation.scores]

    def _insert(self, member: Member) -> None:
        bisect.insort(self.members, member, key=lambda other: (-other.score, other.candidate.number))
        if self.members[0] is member and is_better(member.score, self._mark, PROGRESS):
            self._mark, self.stale = member.score, 0

    def clear(self) -> None:
        self.members, self.stale, self._mark = [], 0, None

    def remove(self, identity: str) -> None:
        self.members = [member for member in self.members if member.candidate.id != identity]

    def swap(self, identity: str, member: Member) -> None:
        """Put a member in the place of another one with the same scores, if that lives here."""
        self.members = [member if other.candidate.id == identity else other for other in self.members]

    def tournament(self, contestants: int, rng: random.Random) -> Member:
        """The best of `contestants` members drawn with replacement; with 1, any of them alike."""
        return self.members[min(rng.randrange(len(self.members)) for _ in range(contestants))]


class Grid(Population):
    """The best member of each cell of a grid of descriptors, and no more than `size` in all."""

    def __init__(self, size: int, axes: Sequence[Axis]) -> None:
        super().__init__(size)
        self._axes = axes

    def cell(self, member: Member) -> tuple[int, ...]:
        """The member's cell.

        Raises:
            KeyError: its evaluation lacks the descriptor of an axis.
        """
        return tuple(axis.cell(member.evaluation.descriptors[axis.name]) for axis in self._axes)

    def _rivals(self, member: Member) -> list[Member]:
        own = self.cell(member)
        return [
            other
            for other in self.members
            if self.cell(other) == own or other.evaluation.scores == member.evaluation.scores
        ]


MakePopulation = Callable[[int], Population]
"""Makes an empty population of a given size."""


def draw(
    home: Population, peopled: Sequence[Population], settings: ArchiveSettings, rng: random.Random
) -> Sample:
    """A parent from its home population, and inspirations from any, best first."""
    parent = home.tournament(settings.tournament, rng)
    drawn = [rng.choice(peopled).tournament(2, rng) for _ in range(settings.inspirations)]
    others = {other.candidate.id: other for other in drawn if other.candidate.id != parent.candidate.id}
    ranked = sorted(others.values(), key=lambda other: (-other.score, other.candidate.number))
    return Sample(parent, tuple(ranked))


def _beats(member: Member, rival: Member) -> bool:
    """A better score; where the scores are the very same, a shorter program."""
    if member.evaluation.scores == rival.evaluation.scores:
        return _length(member) < _length(rival)
    return member.score > rival.score


def _length(member: Member) -> int:
    return sum(len(text) for text in member.candidate.files.values())
