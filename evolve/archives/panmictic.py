"""One population in which everybody may breed with everybody.

Its settings make the classic searches: many members and a tournament are steady-state genetic programming with
tournament selection (Koza, "Genetic Programming", 1992; the worst is replaced), a tournament of 1 draws parents
uniformly from the k best, one member is hill climbing with restarts, a grid is MAP-Elites.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from evolve.archives.base import Archive
from evolve.archives.population import MakePopulation, Population, draw
from evolve.records import Intervention, Member, Placement, Remedy, Sample
from evolve.settings import ArchiveSettings


class Panmictic(Archive):
    """The `size` best members; parents are drawn by tournament.

    A population of one starts anew from the next founder if it has not become clearly better for `patience`
    proposals; the best of all stays a member, but breeds no more. A larger one never starts anew.
    """

    def __init__(self, settings: ArchiveSettings, make_population: MakePopulation = Population) -> None:
        super().__init__()
        self._settings = settings
        self._population = make_population(settings.size)
        self._founders: list[Member] = []
        self._restarts = 0

    def found(self, members: Sequence[Member]) -> None:
        self._founders = list(members)
        super().found(members)

    def advance(self, number: int) -> None:
        self._population.stale += 1

    def remedy(self, number: int) -> Intervention | None:
        alone, patience, stale = self._settings.size == 1, self._settings.patience, self._population.stale
        if not (alone and patience and self._founders and stale >= patience):
            return None
        start = self._founders[(self._restarts + 1) % len(self._founders)]
        reason = f"no clearly better best for {stale} proposals"
        return Intervention(Remedy.RESET, number, members=(start.candidate.id,), reason=reason)

    def apply(self, step: Intervention) -> None:
        if step.remedy is Remedy.RESET:
            self._restart()

    def _restart(self) -> None:
        self._restarts += 1
        self._population.clear()
        turn = self._restarts % len(self._founders)
        for founder in (*self._founders[turn:], *self._founders[:turn]):
            if not self._population.full:
                self._population.add(founder)

    def _place(self, member: Member) -> Placement:
        return self._population.add(member)

    def _swap(self, identity: str, member: Member) -> None:
        self._population.swap(identity, member)

    def _remove(self, identity: str) -> None:
        self._population.remove(identity)
        self._founders = [founder for founder in self._founders if founder.candidate.id != identity]
        if not self._population.members and self._founders:
            self._restart()

    def sample(self, number: int, rng: random.Random) -> Sample:
        if not self._population.members:
            if self.best is None:
                raise LookupError("the archive is empty: no seed could be evaluated")
            return Sample(self.best)
        return draw(self._population, [self._population], self._settings, rng)

    def bar(self, number: int) -> Member | None:
        return self._population.members[-1] if self._population.full else None

    def members(self) -> Iterator[Member]:
        yield from self._population.members
        if self.best is not None and self.best not in self._population.members:
            yield self.best


class BestOfN(Panmictic):
    """The control: nothing evolves. Every parent and every inspiration is a founder; the `size` best are kept."""

    def __init__(self, settings: ArchiveSettings, make_population: MakePopulation = Population) -> None:
        super().__init__(settings, make_population)
        self._breeders = Population(10**9)

    def found(self, members: Sequence[Member]) -> None:
        super().found(members)
        for member in members:
            self._breeders.add(member)

    def remedy(self, number: int) -> Intervention | None:
        """Nothing here is ever stuck, since nothing climbs."""
        return None

    def _remove(self, identity: str) -> None:
        super()._remove(identity)
        self._breeders.remove(identity)

    def sample(self, number: int, rng: random.Random) -> Sample:
        if not self._breeders.members:  # all founders were discarded, or there were none
            return super().sample(number, rng)
        return draw(self._breeders, [self._breeders], self._settings, rng)

    def members(self) -> Iterator[Member]:
        known = {member.candidate.id: member for member in (*super().members(), *self._breeders.members)}
        yield from known.values()
