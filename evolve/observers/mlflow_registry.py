"""Champions and challengers as versions of one registered model for each problem, with aliases."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory

from evolve import problem
from evolve.errors import EvaluatorError, ProblemError
from evolve.journal import Journal, Record
from evolve.observers.mlflow_champion import Champions
from evolve.observers.mlflow_store import CANDIDATE, RUN, Nested, Store
from evolve.records import Candidate, Evaluation, Promotion, Proposal, Split, Status
from evolve.yields import SEED

SCORE, DIGEST, STARTED = "score.validation", "problem.digest", "started"


class Seeds:
    """Who matters in a search, as a fold over its journal.

    best: the seed with the best score on train. champion: the last one promoted. challenger: the one with the best
    score on validation of those that were tested there in full and not shown to be better than the champion. Each an
    id; "" if there is none.
    """

    def __init__(self) -> None:
        self.best = self.champion = self.challenger = ""
        self._best = self._challenge = -math.inf
        self._seeds: set[str] = set()
        self._validated: dict[str, float] = {}

    def take(self, record: Record) -> None:
        match record:
            case Proposal(operator=operator, candidate=Candidate() as seed) if operator == SEED:
                self._seeds.add(seed.id)
            case Evaluation(split=Split.TRAIN, status=Status.OK):
                if record.candidate in self._seeds and record.score > self._best:
                    self.best, self._best = record.candidate, record.score
            case Evaluation(split=Split.VALIDATION, status=Status.OK):
                self._validated[record.candidate] = record.score
            case Promotion():
                self._judged(record)
            case _:
                pass

    def _judged(self, promotion: Promotion) -> None:
        if promotion.promoted:
            self.champion = promotion.challenger
        elif self._validated.get(promotion.challenger, -math.inf) > self._challenge:
            self.challenger = promotion.challenger
            self._challenge = self._validated[promotion.challenger]


class Registry:
    """The registered model of one run's problem."""

    def __init__(self, store: Store, journal: Journal, key: str, minimum: str) -> None:
        """
        Args:
            key: of the run. minimum: the weakest jail that a model may run in.
        """
        self._store = store
        self._journal = journal
        self._key = key
        self._minimum = minimum
        self._model = f"evolve-{journal.meta('problem')}"
        self._versions: dict[str, str] | None = None
        self._champions: Champions | None = None

    def point(self, alias: str, candidate: Candidate, nested: Nested, score: float) -> str:
        """Register a candidate, and point an alias at it unless another run's program holds it with a better score.

        Args:
            score: on validation.

        Returns:
            Why there is no model; "" if there is one.
        """
        try:
            version = self._register(candidate, nested, score)
        except (
            ProblemError,
            EvaluatorError,
        ) as error:  # the folder has gone or changed; the rest can be mirrored
            return str(error)
        if self._leads(alias, score):
            self._store.point(self._model, alias, version)
        return ""

    def _register(self, candidate: Candidate, nested: Nested, score: float) -> str:
        if self._versions is None:
            self._versions = self._store.versions(self._model, self._key)
        if candidate.id not in self._versions:
            with TemporaryDirectory(prefix="evolve-") as folder:
                model = Path(folder) / "model"
                self._maker().save(candidate, nested.run, model)
                made = f"{candidate.operator} {candidate.note}"
                text = f"#{candidate.number} {' '.join(made.split())[:80]} ({candidate.id})"
                version = self._store.register(self._model, nested, model, self._tags(candidate, score), text)
                self._versions[candidate.id] = version
        return self._versions[candidate.id]

    def _tags(self, candidate: Candidate, score: float) -> dict[str, str]:
        return {
            CANDIDATE: candidate.id,
            RUN: self._key,
            "folder": str(self._journal.path.resolve().parent),
            SCORE: repr(score),
            DIGEST: self._journal.meta("digest"),
            STARTED: self._journal.meta("started"),
        }

    def _leads(self, alias: str, score: float) -> bool:
        """Whether the alias is this run's to take, whatever the order in which runs are mirrored."""
        holder = self._store.holder(self._model, alias)
        if not holder or holder.get(RUN) == self._key or SCORE not in holder:
            return True
        if holder[DIGEST] == self._journal.meta("digest"):
            return not score < float(holder[SCORE])
        return self._journal.meta("started") > holder[STARTED]

    def _maker(self) -> Champions:
        if self._champions is None:
            found = problem.load(self._journal.meta("folder"), self._journal.meta("data"))
            self._champions = Champions(found, self._minimum)
        return self._champions
