"""Islands: several small populations that breed apart, and start anew where they are stuck.

Island models keep diversity by isolation (Whitley, Rana and Heckendorn, 1999); the archive of FunSearch
(Romera-Paredes et al., 2023), which resets its worst islands, is one. With a grid of elites on each island,
diversity is kept within an island too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from evolve.archives.base import Archive
from evolve.archives.population import MakePopulation, Population, draw
from evolve.records import Member, Placement, Sample
from evolve.settings import ArchiveSettings


class Islands(Archive):
    """Proposal number k breeds on island k mod islands, and its child belongs there.

    An island whose best has not changed for `patience` proposals, and is not the best of all, starts anew: in
    turns from the founders alone, which finds other ways up, and with the best of all added, which follows
    the best way from another place.
    """

    def __init__(self, settings: ArchiveSettings, make_population: MakePopulation = Population) -> None:
        super().__init__()
        self._settings = settings
        self._islands = [make_population(settings.size) for _ in range(settings.islands)]
        self._founders: list[Member] = []
        self._resets = 0

    def found(self, members: Sequence[Member]) -> None:
        """Put every founder on every island."""
        self._founders = list(members)
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

    def _restart(self, island: Population, best: Member) -> None:
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
            island.remove(identity)

    def sample(self, number: int, rng: random.Random) -> Sample:
        peopled = [island for island in self._islands if island.members]
        if not peopled:
            raise LookupError("the archive is empty: no seed could be evaluated")
        home = self._islands[number % len(self._islands)]
        if not home.members:
            home = peopled[number % len(peopled)]
        return draw(home, peopled, self._settings, rng)

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
