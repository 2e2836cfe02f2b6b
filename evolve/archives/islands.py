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
from evolve.records import Intervention, Member, Placement, Remedy, Sample
from evolve.settings import ArchiveSettings


class Islands(Archive):
    """Proposal number k breeds on island k mod islands, and its child belongs there.

    An island whose best has not changed for `patience` proposals, and is not the best of all, starts anew: in
    turns from its founders alone, which finds other ways up, and with the best of all added, which follows
    the best way from another place. Every `migration` proposals the best of each island visits the next one.
    """

    def __init__(self, settings: ArchiveSettings, make_population: MakePopulation = Population) -> None:
        super().__init__()
        self._settings = settings
        self._islands = [make_population(settings.size) for _ in range(settings.islands)]
        self._founders: list[list[Member]] = [[] for _ in self._islands]
        self._resets = [0] * settings.islands
        self._since = [0] * settings.islands  # proposals that were made when an island last started anew
        self._migrations = 0  # single moves from one island to the next

    def found(self, members: Sequence[Member]) -> None:
        """Put every founder on every island, or deal them out by rank, at least one to each island."""
        count = len(self._islands)
        ranked = sorted(members, key=lambda member: (-member.score, member.candidate.number))
        self.best = ranked[0] if ranked else None
        for index, island in enumerate(self._islands):
            dealt = ranked[index::count] or ranked[index % max(1, len(ranked)) :][:1]
            self._founders[index] = dealt if self._settings.founding == "apart" else list(members)
            for member in self._founders[index]:
                island.add(member)

    def advance(self, number: int) -> None:
        self._islands[number % len(self._islands)].stale += 1

    def remedy(self, number: int) -> Intervention | None:
        return self._due_reset(number) or self._due_migration(number)

    def _due_reset(self, number: int) -> Intervention | None:
        index = number % len(self._islands)
        home, patience, best = self._islands[index], self._settings.patience, self.best
        if not patience or home.stale < patience or best is None or index == self._keeper:
            return None
        settlers = (*self._founders[index], *([best] if self._resets[index] % 2 else []))
        names = tuple(dict.fromkeys(member.candidate.id for member in settlers))
        reason = f"no clearly better best for {home.stale} proposals"
        return Intervention(Remedy.RESET, number, index, names, reason=reason)

    @property
    def _keeper(self) -> int | None:
        """The island that does not start anew: where the best of all was bred, or else the first with a copy."""
        if self.best is None:
            return None
        places = [place for place, island in enumerate(self._islands) if self.best in island.members]
        bred = self.best.candidate.number % len(self._islands)
        return bred if bred in places else next(iter(places), None)

    def _due_migration(self, number: int) -> Intervention | None:
        count, every = len(self._islands), self._settings.migration
        if count < 2 or not every or number // every * count <= self._migrations:
            return None
        index = self._migrations % count
        guests = self._islands[index - 1].members[:1]
        return Intervention(
            Remedy.MIGRATE, number, index, tuple(guest.candidate.id for guest in guests), reason="in turn"
        )

    def spread(self, number: int) -> Intervention | None:
        best = self.best
        if best is None or all(best in island.members for island in self._islands):
            return None
        return Intervention(Remedy.MIGRATE, number, members=(best.candidate.id,))

    def apply(self, step: Intervention) -> None:
        known = {member.candidate.id: member for founders in self._founders for member in founders}
        known |= {member.candidate.id: member for member in self.members()}
        if self.best is not None:  # its island may have started anew without it
            known[self.best.candidate.id] = self.best
        moving = [known[name] for name in step.members]
        if step.remedy is Remedy.RESET:
            self._resets[step.place] += 1
            self._since[step.place] = step.number
            self._islands[step.place].clear()
        elif step.remedy is Remedy.MIGRATE and step.place >= 0:
            self._migrations += 1
        places = self._islands if step.place < 0 else [self._islands[step.place]]
        for island in places:
            for member in moving:
                island.add(member)

    def _place(self, member: Member) -> Placement:
        index = member.candidate.number % len(self._islands)
        if member.candidate.number <= self._since[index] and self._keeper is not None:
            # bred before its island started anew: there it would bring back at once what was to be left behind
            index = self._keeper
        placement = self._islands[index].add(member)
        return Placement(placement.outcome, f"island {index}", placement.replaced)

    def _swap(self, identity: str, member: Member) -> None:
        for island in self._islands:
            island.swap(identity, member)

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
