"""A run's journal, read once: what a report needs of every candidate, and of the search as a whole."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from evolve.journal import Journal, Placed, Record
from evolve.lineage import Cost
from evolve.records import Evaluation, Placement, Promotion, Proposal, Split, Status
from evolve.yields import Yields

FEEDBACK_CHARACTERS = 300


@dataclass(frozen=True)
class Judged:
    """An evaluation without its figures per instance; score and objective are nan unless the status is OK."""

    status: Status
    score: float
    objective: float
    cpu_s: float
    feedback: str


@dataclass
class Member:
    """A candidate as the report shows it.

    at: seconds of running time at which it was proposed. files: name to text. cell: where in the archive; "" if it
    never entered.
    """

    id: str
    number: int
    at: float
    parents: tuple[str, ...]
    operator: str
    note: str
    files: Mapping[str, str]
    judged: dict[Split, Judged] = field(default_factory=dict)
    placement: Placement | None = None
    verdict: Promotion | None = None

    @property
    def score(self) -> float:
        """On train; nan unless it was evaluated there with status OK."""
        return self.judged[Split.TRAIN].score if Split.TRAIN in self.judged else math.nan


@dataclass(frozen=True)
class Step:
    """The best known score from here on.

    evaluations: candidates evaluated on train so far. at: seconds of running time.
    """

    evaluations: int
    at: float
    score: float


@dataclass(frozen=True)
class Attempt:
    """An impossible score: better than the bound."""

    candidate: str
    split: Split
    feedback: str


class History:
    """A fold over a journal. Records of a kind that it does not know are passed over."""

    def __init__(self, journal: Journal, costs: Sequence[Cost] = ()) -> None:
        """`costs`: what proposals took of models, in order."""
        self.costs = tuple(costs)
        self.models = Yields()  # what the proposals of each model came to
        self._models = {cost.number: cost.model for cost in costs}
        self.members: dict[str, Member] = {}
        self.yields = Yields()
        self.statuses: Counter[Status] = Counter()
        self.failures: dict[Status, Counter[str]] = {}
        self.fruitless: Counter[str] = Counter()
        self.jails: Counter[str] = Counter()
        self.impossible: list[Attempt] = []
        self.promotions: list[tuple[float, Promotion]] = []
        self.best: list[Step] = []
        self.champions: list[Step] = []
        self.evaluations = 0
        self.proposals = 0
        self.cached = 0
        self.cpu_s = 0.0
        self.elapsed_s = 0.0
        self.versions: dict[str, str] = json.loads(journal.meta("versions") or "{}")
        self.meta = {key: journal.meta(key) for key in ("problem", "folder", "digest", "started", "ended")}
        for entry in journal.entries():
            self.elapsed_s = max(self.elapsed_s, entry.at)
            self.yields.take(entry.record)
            self._take_for_models(entry.record)
            match entry.record:
                case Proposal():
                    self._proposed(entry.record, entry.at)
                case Evaluation():
                    self._evaluated(entry.record, entry.at)
                case Placed(candidate, placement) if candidate in self.members:
                    self.members[candidate].placement = placement
                case Promotion():
                    self._promoted(entry.record, entry.at)

    def _take_for_models(self, record: Record) -> None:
        if not self._models:
            return
        if not isinstance(record, Proposal):
            self.models.take(record)
        elif record.number in self._models:
            self.models.take(replace(record, operator=self._models[record.number]))

    @property
    def champion(self) -> str:
        """Id of the last one that was promoted; "" if there is none."""
        return next((each.challenger for _, each in reversed(self.promotions) if each.promoted), "")

    def line(self, identity: str) -> list[Member]:
        """From the seed to a candidate along first parents."""
        found: list[Member] = []
        passed: set[str] = set()
        while identity in self.members and identity not in passed:
            passed.add(identity)
            found.append(self.members[identity])
            identity = found[-1].parents[0] if found[-1].parents else ""
        return found[::-1]

    def _proposed(self, proposal: Proposal, at: float) -> None:
        self.proposals += 1
        made = proposal.candidate
        if made is None:
            self.fruitless[proposal.reason] += 1
            return
        self.members[made.id] = Member(
            made.id, proposal.number, at, proposal.parents, made.operator, made.note, made.files
        )

    def _evaluated(self, found: Evaluation, at: float) -> None:
        self.jails[found.jail] += bool(found.jail)
        feedback = found.feedback[:FEEDBACK_CHARACTERS]
        if found.status is Status.IMPOSSIBLE:
            self.impossible.append(Attempt(found.candidate, found.split, feedback))
        member = self.members.get(found.candidate)
        if member is not None:
            numbers = (found.score, found.objective, found.cpu_s)
            member.judged[found.split] = Judged(found.status, *numbers, feedback)
        self.cpu_s += 0.0 if found.cached else found.cpu_s
        if found.split is Split.TRAIN:
            self._counted(found, at, feedback)

    def _counted(self, found: Evaluation, at: float, feedback: str) -> None:
        self.evaluations += 1
        self.cached += found.cached
        self.statuses[found.status] += 1
        if found.ok:
            if not self.best or found.score > self.best[-1].score:
                self.best.append(Step(self.evaluations, at, found.score))
        elif found.status is not Status.DUPLICATE:
            self.failures.setdefault(found.status, Counter())[feedback] += 1

    def _promoted(self, promotion: Promotion, at: float) -> None:
        self.promotions.append((at, promotion))
        member = self.members.get(promotion.challenger)
        if member is None:
            return
        member.verdict = promotion
        judged = member.judged.get(Split.VALIDATION)
        if promotion.promoted and judged is not None:
            self.champions.append(Step(self.evaluations, at, judged.score))
