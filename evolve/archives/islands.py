"""Islands: several small populations that breed apart, and start anew where they are stuck.

Island models keep diversity by isolation (Whitley, Rana and Heckendorn, 1999); the archive of FunSearch
(Romera-Paredes et al., 2023), which resets its worst islands, is one.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Iterator

from evolve.archives.base import Archive
from evolve.records import Member, Outcome, Placement, Sample
from evolve.settings import ArchiveSettings

PROGRESS = 0.02  # a best member is clearly better if it takes this share of the way that is left to the bound


class Island:
    """The best members of one population, best first; no two with the same scores."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.members: list[Member] = []
        self.stale = 0  # proposals bred here since the best member became clearly better
        self._mark = -math.inf  # score of the best member then

    def __len__(self) -> int:
        return len(self.members)

    @property
    def full(self) -> bool:
        return len(self.members) >= self._size

    def add(self, member: Member) -> Placement:
        twin = self._twin(member)
        if twin is not None:
            if _length(member) >= _length(twin):
                return Placement(Outcome.REJECTED)
            self.members.remove(twin)
            self._insert(member)
            return Placement(Outcome.IMPROVED, replaced=twin.candidate.id)
        if not self.full:
            self._insert(member)
            return Placement(Outcome.NEW)
        worst = self.members[-1]
        if member.score <= worst.score:
            return Placement(Outcome.REJECTED)
        self.members.pop()
        self._insert(member)
        return Placement(Outcome.IMPROVED, replaced=worst.candidate.id)

    def _twin(self, member: Member) -> Member | None:
        """The member with the very same scores on every instance."""
        same = (other for other in self.members if other.evaluation.scores == member.evaluation.scores)
        return next(same, None)

    def _insert(self, member: Member) -> None:
        bisect.insort(self.members, member, key=lambda other: (-other.score, other.candidate.number))
        if self.members[0] is member and member.score > self._mark + PROGRESS * max(1 - self._mark, 0):
            self._mark, self.stale = member.score, 0

    def clear(self) -> None:
        self.members, self.stale, self._mark = [], 0, -math.inf

    def tournament(self, contestants: int, rng: random.Random) -> Member:
        """The best of `contestants` members drawn with replacement."""
        return self.members[min(rng.randrange(len(self.members)) for _ in range(contestants))]


class Islands(Archive):
    """Proposal number k breeds on island k mod islands, and its child belongs there.

    An island whose best has not changed for `patience` proposals, and is not the best of all, starts anew: in
    turns from the founders alone, which finds other ways up, and with the best of all added, which follows
    the best way from another place.
    """

    def __init__(self, settings: ArchiveSettings) -> None:
        super().__init__()
        self._settings = settings
        self._islands = [Island(settings.size) for _ in range(settings.islands)]
        self._founders: list[Member] = []
        self._resets = 0

    def found(self, members: list[Member]) -> None:
        """Put every founder on every island."""
        self._founders = members
        for member in members:
            self.add(member)
            for island in self._islands:
                island.add(member)

    def advance(self, number: int) -> None:
        home = self._islands[number % len(self._islands)]
        home.stale += 1
        patience = self._settings.patience
        if patience and home.stale >= patience and self.best is not None and self.best not in home.members:
            self._restart(home, self.best)

    def _restart(self, island: Island, best: Member) -> None:
        self._resets += 1
        island.clear()
        for member in (*self._founders, *([] if self._resets % 2 else [best])):
            island.add(member)

    def _place(self, member: Member) -> Placement:
        index = member.candidate.number % len(self._islands)
        placement = self._islands[index].add(member)
        return Placement(placement.outcome, f"island {index}", placement.replaced)

    def _remove(self, identity: str) -> None:
        for island in self._islands:
            island.members = [member for member in island.members if member.candidate.id != identity]

    def sample(self, number: int, rng: random.Random) -> Sample:
        peopled = [island for island in self._islands if island.members]
        if not peopled:
            raise LookupError("the archive is empty: no seed could be evaluated")
        home = self._islands[number % len(self._islands)]
        if not home.members:
            home = peopled[number % len(peopled)]
        parent = home.tournament(self._settings.tournament, rng)
        drawn = [rng.choice(peopled).tournament(2, rng) for _ in range(self._settings.inspirations)]
        others = {other.candidate.id: other for other in drawn if other.candidate.id != parent.candidate.id}
        return Sample(
            parent, tuple(sorted(others.values(), key=lambda other: (-other.score, other.candidate.number)))
        )

    def bar(self, number: int) -> Member | None:
        home = self._islands[number % len(self._islands)]
        return home.members[-1] if home.full else None

    def members(self) -> Iterator[Member]:
        known = set()
        for island in self._islands:
            for member in island.members:
                if member.candidate.id not in known:
                    known.add(member.candidate.id)
                    yield member


def _length(member: Member) -> int:
    return sum(len(text) for text in member.candidate.files.values())
