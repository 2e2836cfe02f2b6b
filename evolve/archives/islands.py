"""Islands: several small populations that breed apart and exchange their best now and then.

Island models keep diversity by isolation (Whitley, Rana and Heckendorn, 1999); the archive of FunSearch
(Romera-Paredes et al., 2023) is one.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterator

from evolve.archives.base import Archive
from evolve.records import Member, Outcome, Placement, Sample
from evolve.settings import ArchiveSettings


class Island:
    """The best members of one population, best first; no two with the same scores."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.members: list[Member] = []

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

    def tournament(self, contestants: int, rng: random.Random) -> Member:
        """The best of `contestants` members drawn with replacement."""
        return self.members[min(rng.randrange(len(self.members)) for _ in range(contestants))]


class Islands(Archive):
    """Proposal number k breeds on island k mod islands, and its child belongs there.

    Every `migrate_every` proposals the best member of each island is offered to the next (a ring).
    """

    def __init__(self, settings: ArchiveSettings) -> None:
        super().__init__()
        self._settings = settings
        self._islands = [Island(settings.size) for _ in range(settings.islands)]
        self._epoch = 0

    def found(self, members: list[Member]) -> None:
        """Put every founder on every island."""
        for member in members:
            self.add(member)
            for island in self._islands:
                island.add(member)

    def _place(self, member: Member) -> Placement:
        index = member.candidate.number % len(self._islands)
        placement = self._islands[index].add(member)
        return Placement(placement.outcome, f"island {index}", placement.replaced)

    def _remove(self, identity: str) -> None:
        for island in self._islands:
            island.members = [member for member in island.members if member.candidate.id != identity]

    def sample(self, number: int, rng: random.Random) -> Sample:
        self._migrate(number)
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

    def _migrate(self, number: int) -> None:
        every = self._settings.migrate_every
        if not every or number // every <= self._epoch:
            return
        self._epoch = number // every
        bests = [island.members[0] for island in self._islands if island.members]
        for index, best in enumerate(bests):
            self._islands[(index + 1) % len(self._islands)].add(best)


def _length(member: Member) -> int:
    return sum(len(text) for text in member.candidate.files.values())
