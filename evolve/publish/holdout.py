"""The sealed instances: opened once for a run, in a fresh jail, and what was seen is kept in the journal."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from evolve import openings
from evolve.errors import PublishError
from evolve.evaluate import Evaluator
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.problem import Problem
from evolve.records import Candidate, Evaluation, Split, Status
from evolve.run import versions

NOTE = "holdout_opened"


@dataclass(frozen=True)
class Opening:
    """One time at which a candidate of a run was measured on the holdout. when: ISO 8601."""

    candidate: str
    when: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Rival:
    """A known program beside the candidate. role: why it is there, in words."""

    name: str
    role: str
    candidate: Candidate


@dataclass(frozen=True)
class Measured:
    """What the holdout says.

    rivals: each with its evaluation, which may have failed. openings: all of this run, this one included.
    elsewhere: how often the same instances were opened outside this run, as far as the runs folder knows.
    """

    evaluation: Evaluation
    rivals: tuple[tuple[Rival, Evaluation], ...]
    openings: tuple[Opening, ...]
    elsewhere: int


class Holdout:
    """The holdout of one run's problem, as far as this run has opened it."""

    def __init__(self, journal: Journal, lineage: Lineage, problem: Problem, minimum: str) -> None:
        self._journal = journal
        self._lineage = lineage
        self._problem = problem
        self._minimum = minimum
        self._run = journal.path.resolve().parent.name

    @property
    def openings(self) -> tuple[Opening, ...]:
        return tuple(Opening(**opening) for opening in json.loads(self._journal.meta(NOTE) or "[]"))

    def measure(self, candidate: Candidate, rivals: Sequence[Rival], again: bool = False) -> Measured:
        """The candidate and its rivals on the holdout; what the journal has already is not run again.

        Args:
            again: open the holdout also if it was opened for another candidate, or if this one failed on it.

        Raises:
            PublishError: the holdout was opened before and `again` is not given, or the candidate fails.
            EvaluatorError, JailError: nobody can be measured; nothing was opened.
        """
        if not self._opened_for(candidate):
            self._refuse_second(candidate, again)
        with Evaluator(self._problem, self._minimum) as evaluator:
            evaluation = self._candidate(candidate, evaluator, again)
            if not evaluation.ok:
                raise PublishError(
                    f"candidate {candidate.id} fails on the holdout and cannot be published: "
                    f"{evaluation.status}: {evaluation.feedback}"
                )
            measured = tuple((rival, self._rival(rival, evaluator)) for rival in rivals)
        return Measured(evaluation, measured, self.openings, self._elsewhere())

    def _elsewhere(self) -> int:
        return sum(look.by != self._run for look in openings.looks(self._problem.digest))

    def _recorded(self, candidate: Candidate) -> Evaluation | None:
        evaluation = self._lineage.evaluation(candidate.id, Split.HOLDOUT)
        failed_here = evaluation is not None and evaluation.status is Status.EVALUATOR_FAILED
        return None if failed_here else evaluation

    def _refuse_second(self, candidate: Candidate, again: bool) -> None:
        others = [opening for opening in self.openings if opening.candidate != candidate.id]
        if others and not again:
            first = others[0]
            raise PublishError(
                f"the holdout of this run was opened for candidate {first.candidate} on {first.when}; "
                f"whoever opens it for {candidate.id} too can choose between them by it: `--again` "
                f"does so, and the proof says it"
            )

    def _opened_for(self, candidate: Candidate) -> bool:
        return any(opening.candidate == candidate.id for opening in self.openings)

    def _candidate(self, candidate: Candidate, evaluator: Evaluator, again: bool) -> Evaluation:
        known = self._recorded(candidate)  # also if it was a rival of another candidate
        retry = again and known is not None and not known.ok
        if known is None or retry:
            evaluator.scale(Split.HOLDOUT)  # a jail or a baseline that fails shows before anything is opened
        if retry or not self._opened_for(candidate):
            opening = Opening(candidate.id, time.strftime("%Y-%m-%dT%H:%M:%S%z"), versions())
            # noted first: a crash from here on still counts as an opening
            openings.record(self._problem.digest, candidate.id, self._run)
            self._journal.note(NOTE, json.dumps([asdict(each) for each in (*self.openings, opening)]))
        return self._evaluate(candidate, evaluator) if known is None or retry else known

    def _rival(self, rival: Rival, evaluator: Evaluator) -> Evaluation:
        return self._recorded(rival.candidate) or self._evaluate(rival.candidate, evaluator)

    def _evaluate(self, candidate: Candidate, evaluator: Evaluator) -> Evaluation:
        evaluation = evaluator.evaluate(candidate, Split.HOLDOUT)
        self._journal.append(evaluation, self._lineage.elapsed_s)
        return evaluation
