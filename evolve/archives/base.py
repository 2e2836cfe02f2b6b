"""The interface of all archives."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from evolve.records import Intervention, Member, Outcome, Placement, Sample, Status


class Archive(ABC):
    """Keeps members worth breeding from, and the best of those added and not discarded.

    A new archive implements `_place` (where a member goes), `_swap`, `_remove`, `sample` (who breeds next), `bar` and
    `members`.
    It draws randomness from the generator passed in and from nowhere else, and it never evaluates.
    """

    def __init__(self) -> None:
        self.best: Member | None = None

    def add(self, member: Member) -> Placement:
        """Offer an evaluated candidate; only an OK evaluation can be placed."""
        if member.evaluation.status is not Status.OK:
            return Placement(Outcome.REJECTED)
        if self.best is None or member.score > self.best.score:
            self.best = member
        return self._place(member)

    def found(self, members: Sequence[Member]) -> None:
        """Take the seeds that work, in their order: what everything begins with."""
        for member in members:
            self.add(member)

    def supersede(self, identity: str, member: Member) -> Placement:
        """Put a member that decides the same in the place of an elder one, wherever that is kept."""
        if self.best is not None and self.best.candidate.id == identity:
            self.best = member
        self._swap(identity, member)
        return Placement(Outcome.IMPROVED, replaced=identity)

    def discard(self, identity: str) -> None:
        """Take a member out for good: validation has shown that it does not keep what it promised."""
        was_best = self.best is not None and self.best.candidate.id == identity
        if was_best:
            self.best = None
        self._remove(identity)
        if was_best:
            self.best = max(self.members(), key=lambda member: member.score, default=None)

    def advance(self, number: int) -> None:  # noqa: B027 - most archives have nothing to do
        """Proposal `number` was made."""

    def remedy(self, number: int) -> Intervention | None:
        """What should happen after proposal `number`, changing nothing: a reset, a migration; None if nothing.

        It goes through the journal to `apply`; asked again then, the archive names the next one, if any.
        """
        return None

    def spread(self, number: int) -> Intervention | None:
        """What carries the best of all to wherever it is not: an answer to stagnation. None if it is everywhere."""
        return None

    def apply(self, step: Intervention) -> None:  # noqa: B027 - most archives have nothing to do
        """Carry out an intervention that concerns the archive."""

    @abstractmethod
    def _place(self, member: Member) -> Placement:
        """Store an OK member, or reject it."""

    @abstractmethod
    def _swap(self, identity: str, member: Member) -> None:
        """Put a member in the place of another one with the same scores."""

    @abstractmethod
    def _remove(self, identity: str) -> None:
        """Forget a member, wherever it is kept."""

    @abstractmethod
    def sample(self, number: int, rng: random.Random) -> Sample:
        """Draw a parent and inspirations for proposal `number`, changing nothing.

        Raises:
            LookupError: the archive is empty.
        """

    @abstractmethod
    def bar(self, number: int) -> Member | None:
        """The member that a child of proposal `number` has to beat to be placed; None if any will do."""

    @abstractmethod
    def members(self) -> Iterator[Member]:
        """All members, each once, in a fixed order."""

    def __len__(self) -> int:
        return sum(1 for _ in self.members())
