"""The interface of all proposers."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType

from evolve.records import Candidate, Evaluation, Exchange, Proposal, Request, Sample

Affords = Callable[[int, float], bool]

# operators that the search itself knows
TUNING = "tuning"  # moves numbers and leaves the structure: it counts how often each program was tuned
SIMPLIFICATION = (
    "simplification"  # must not change a decision: the child takes its parent's place, or is dropped
)


class Proposer(ABC):
    """Makes proposals. It keeps no state that a proposal depends on: a resumed run must propose the same."""

    name: str
    arms: Mapping[str, float] = MappingProxyType({})
    """What it chooses between, each with a prior weight. A child names those that made it in `operator`."""

    @abstractmethod
    def propose(self, sample: Sample, number: int, rng: random.Random) -> Proposal:
        """Propose one candidate.

        Args:
            sample: a parent and inspirations from the archive, and how likely each arm should be.
            number: the proposal's running number, from 1.
            rng: the only source of randomness; the same sample and generator give the same proposal.

        Returns:
            A proposal with a candidate, or with the reason there is none.
        """


class ModelProposer(ABC):
    """Makes proposals by asking models: begun now, finished when the answer comes, in whatever order.

    What it knows of the search it is told, live and from the journal alike, so that a resumed run asks the same.
    """

    name: str
    arms: Mapping[str, float] = MappingProxyType({})

    @abstractmethod
    def ask(
        self, sample: Sample, number: int, rng: random.Random, at: float, affords: Affords
    ) -> Request | None:
        """Begin a proposal; changes nothing.

        Args:
            at: running time of the search in seconds.
            affords: whether a call that takes at most so many tokens and dollars can be paid for.

        Returns:
            What to ask whom; None if no model can be asked now.
        """

    @abstractmethod
    def read(self, request: Request, exchange: Exchange) -> Proposal:
        """Finish a proposal with the last exchange about it; changes nothing."""

    @abstractmethod
    def paused(self, at: float) -> bool:
        """Whether no model can be asked now, and one can later."""

    @abstractmethod
    def aside(self, at: float) -> str:
        """Which models are not asked now, and why; "" if all are well."""

    @property
    @abstractmethod
    def silence(self) -> str:
        """Why no model will be asked any more; "" while one may be."""

    @abstractmethod
    def resumed(self) -> None:
        """The run goes on after a stop."""

    @abstractmethod
    def asked(self, request: Request) -> None:
        """A request was made."""

    @abstractmethod
    def exchanged(self, exchange: Exchange, at: float) -> None:
        """A model was called, with or without success."""

    @abstractmethod
    def proposed(self, proposal: Proposal) -> None:
        """A proposal is there, a seed or what a request has become."""

    @abstractmethod
    def evaluated(self, candidate: Candidate, evaluation: Evaluation, placed: bool) -> None:
        """A candidate was evaluated on train. placed: it entered the archive."""
