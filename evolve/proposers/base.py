"""The interface of all proposers."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

from evolve.records import Proposal, Sample


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
