"""One candidate on one split: stages, racing, duplicates; what happens between jail and scoring."""

from __future__ import annotations

import hashlib
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import msgspec
import numpy as np

from evolve import feedback as feedbacks
from evolve import program
from evolve.cache import Known
from evolve.errors import EvaluatorError
from evolve.jail import Answer, Dialogue, Failure, Hangup, Jail, Session
from evolve.records import Candidate, Evaluation, Instance, Split, Status, Value
from evolve.scoring import Scale, Scoring, apart, group_feedback
from evolve.spec import SIZE
from evolve.statistics import clearly_worse

DESCRIBED = 8  # first instances of train, on which descriptors of behaviour are measured
Verdict = tuple[Status, str]
"""How an evaluation ended, and the feedback."""


class CancelledEvaluation(Exception):  # noqa: N818 - it is no error
    """The run is stopping; the evaluation under way is abandoned and not journaled."""


@dataclass(frozen=True)
class Race:
    """When to stop a candidate early.

    stages: numbers of instances after which to look, rising.
    bar: scores per instance of the member to beat; None = nothing to beat yet.
    confidence: of the one-sided paired test that stops a candidate.
    horizon: how many of the digests in `Seen` count as known.
    order: in which the instances are taken; () = as they are. `bar` is in the instances' own order all the same.
    like: the digest that the decisions on the first stage have to have; "" = any.
    elder: a program that it has to decide like on every instance; None = it may decide as it likes.
    """

    stages: tuple[int, ...]
    bar: tuple[float, ...] | None
    confidence: float
    horizon: int
    order: tuple[int, ...] = ()
    like: str = ""
    elder: Candidate | None = None


class Seen:
    """Digests of decisions on the first stage, in the order in which the loop took them."""

    def __init__(self) -> None:
        self._order: dict[str, int] = {}
        self._digests: list[str] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, digest: str) -> None:
        if digest not in self._order:
            self._order[digest] = len(self._digests)
            self._digests.append(digest)

    def since(self, count: int) -> list[str]:
        """The digests that came after the first `count` ones, in order."""
        return self._digests[count:]

    def knows(self, digest: str, horizon: int) -> bool:
        """Whether `digest` was among the first `horizon` ones.

        The horizon, fixed when the work is handed out, keeps the answer independent of thread timing.
        """
        return self._order.get(digest, horizon) < horizon


@dataclass(frozen=True)
class Watch:
    """What all trials of a run share. cancelled: the run is stopping. describe: measure descriptors on train."""

    seen: Seen
    cancelled: threading.Event
    describe: bool = False


class Trial:
    """One candidate on one split: takes results in order until the end, a failure, or a lost race."""

    def __init__(
        self, scoring: Scoring, scale: Scale, candidate: Candidate, race: Race | None, watch: Watch
    ) -> None:
        self.scoring = scoring
        self.scale = scale
        self.candidate = candidate
        self.digest = hashlib.sha256()  # of the decisions on the first stage
        self.objectives: list[float] = []  # in the order of the race, as the scores
        self.order: Sequence[int] = race.order if race and race.order else range(len(scale.instances))
        assert not (scale.batches and race and race.order), "batches come in the order of the instances"
        # digests of the decisions on each instance, for `otherwise`
        self.traces: list[Callable[[], bytes]] = []
        self._traced = race is not None and race.elder is not None
        self._race = race
        self._seen = watch.seen
        self._cancelled = watch.cancelled
        self._describe = watch.describe and scale.split is Split.TRAIN
        self._first: dict[int, object] = {}  # decisions to describe, by instance
        self._digested = digested(race, scale.split)
        self._described: Mapping[str, float] = {}  # the same of a kept evaluation
        self._recorded = ""  # digest of the decisions, where they are known from the cache
        self._scores: list[float] = []
        self._decisions = ""
        self._slowest = 0.0

    def run(self, stage: Callable[[int, int], Verdict | None]) -> Verdict:
        """Goes through the stages; `stage` scores the instances from a first one up to a last one."""
        for start, end in self._stages():
            failure = stage(start, end)
            if failure is None and end < len(self.scale.instances):
                failure = self._look(end)
            if failure is not None:
                return failure
        return Status.OK, ""

    def repeat(self, known: Known, level: str) -> Evaluation:
        """What `run` and `evaluation` would give, from a kept evaluation: this race may stop it earlier."""
        self._recorded, self._slowest, self._described = known.decisions, known.slowest, known.descriptors
        status, feedback = self._repeat(known)
        return replace(self.evaluation(status, feedback, known.cpu_s, known.peak_mb, level), cached=True)

    def _repeat(self, known: Known) -> tuple[Status, str]:
        objectives = known.objectives
        for start, end in self._stages():
            for position, objective in enumerate(objectives[start:end], start):
                self._count(self.order[position], objective)
            if len(objectives) < end:
                return known.status, known.feedback
            failure = self._look(end) if end < len(self.order) else None
            if failure is not None:
                return failure
        return Status.OK, ""

    def evaluation(
        self, status: Status, feedback: str, cpu_s: float, peak_mb: float, level: str
    ) -> Evaluation:
        ok = status is Status.OK
        objectives = self._in_place(self.objectives) if ok else ()
        return Evaluation(
            candidate=self.candidate.id,
            split=self.scale.split,
            status=status,
            objectives=objectives,
            scores=self._in_place(self._scores) if ok else (),
            instances=len(self.objectives),
            feedback=self._praise(objectives) if ok else feedback,
            cpu_s=cpu_s,
            peak_mb=peak_mb,
            slowest=self._slowest,
            jail=level,
            decisions=self._decisions,
            descriptors=self._descriptors() if ok and self._describe else {},
        )

    def _descriptors(self) -> dict[str, float]:
        """Program size, and the mean distance to the decisions of each reference."""
        if self._described:
            return dict(self._described)
        found = {SIZE: float(program.size(self.candidate.files))}
        for name, decisions in self.scale.references.items():
            apart = [
                self.scoring.distance(self.scale.instances[index], self._first[index], decision)
                for index, decision in enumerate(decisions)
            ]
            found[name] = float(np.mean(apart))
        return found

    def _in_place(self, values: Sequence[float]) -> tuple[float, ...]:
        """From the order of the race to that of the instances."""
        placed = dict(zip(self.order, values, strict=True))
        return tuple(placed[index] for index in range(len(values)))

    def _praise(self, objectives: Sequence[float]) -> str:
        # of the hidden splits, the mean alone: their groups are no business of a proposer
        groups = self.scale.groups if self.scale.split is Split.TRAIN else {}
        return group_feedback(self.scoring.problem, groups, objectives)

    def _stages(self) -> Iterator[tuple[int, int]]:
        count = len(self.scale.instances)
        looks = [stage for stage in self._race.stages if stage < count] if self._race else []
        return pairwise([0, *looks, count])

    def take(self, index: int, answer: Answer) -> Verdict | None:
        """Takes the answer to an instance that is shown to the program.

        Raises:
            CancelledEvaluation: the run is stopping.
        """
        if self._cancelled.is_set():
            raise CancelledEvaluation
        self.took(index, answer.cpu_s)
        if answer.failure is not None:
            return self.failed(index, answer.failure)
        try:
            objective = self.scoring.objective(self.scale.instances[index], answer.value)
        except self.scoring.problem.evaluator.Invalid as error:
            return self.failed(index, Failure(Status.INVALID, str(error)))
        if (heard := self.listener()) is not None:
            heard(msgspec.msgpack.encode(answer.value, enc_hook=_plain))
        if self._describe and index < DESCRIBED:
            self._first[index] = answer.value
        return self.score(index, objective)

    def listener(self) -> Callable[[bytes | memoryview], object] | None:
        """Takes the decisions on the next instance, if they tell a duplicate or are to be compared."""
        counts = len(self.objectives) < self._digested
        if not self._traced:
            return self.digest.update if counts else None
        trace = hashlib.sha256()
        self.traces.append(trace.digest)

        def hear(decisions: bytes | memoryview) -> None:
            trace.update(decisions)
            if counts:
                self.digest.update(decisions)

        return hear

    def otherwise(self, elder: Trial) -> str:
        """The first instance on which another trial of the same race decided otherwise; "" if there is none."""
        pairs = zip(self.order, self.traces, elder.traces, strict=True)
        differing = (index for index, mine, theirs in pairs if mine() != theirs())
        found = next(differing, None)
        return "" if found is None else self.scale.instances[found].name

    def took(self, index: int, cpu_s: float) -> None:
        self._slowest = max(self._slowest, cpu_s / self.scale.cpu_s[index])

    def failed(self, index: int, failure: Failure) -> Verdict:
        whole = max(self.scale.batches, default=1) > 1 and failure.status is not Status.IMPOSSIBLE
        name = "" if whole else self.scale.instances[index].name
        return failure.status, feedbacks.of_failure(self.scale.split, name, failure.status, failure.feedback)

    def score(self, index: int, objective: float) -> Verdict | None:
        """Takes an instance's objective; a verdict if it cannot be true."""
        instance = self.scale.instances[index]
        if self.scoring.beats_bound(instance, objective):
            text = f"objective {objective:.9g} is better than the bound {instance.bound:.9g}"
            return self.failed(index, Failure(Status.IMPOSSIBLE, text))
        self._count(index, objective)
        return None

    def _count(self, index: int, objective: float) -> None:
        self.objectives.append(objective)
        instance = self.scale.instances[index]
        self._scores.append(self.scoring.score(instance, objective, self.scale.scale[index]))

    def _look(self, count: int) -> Verdict | None:
        race = self._race
        assert race is not None  # stages exist only in a race
        bar = [race.bar[index] for index in self.order[:count]] if race.bar else []
        if bar and clearly_worse(self._scores, bar, race.confidence):
            ours, theirs = float(np.mean(self._scores)), float(np.mean(bar))
            return (
                Status.RACED_OUT,
                f"stopped after {count} instances: score {ours:.4f}, to beat {theirs:.4f}",
            )
        if count == self._digested:
            self._decisions = self._recorded or self.digest.hexdigest()[:16]
            if race.like and self._decisions != race.like:
                return Status.RACED_OUT, f"decides otherwise than its parent on the first {count} instances"
            if self._seen.knows(self._decisions, race.horizon):
                return Status.DUPLICATE, f"decides as a known candidate on the first {count} instances"
        return None


class Shown:
    """Asks a program about the instances of a problem that shows them: each is a question, or part of a batch."""

    def __init__(self, trial: Trial, session: Session) -> None:
        self._trial = trial
        self._session = session
        # batches are asked ahead of the stages: many instances side by side cost little more than a few
        self._ahead = trial.scale.ask_batches(session) if trial.scale.batches else None

    def stage(self, start: int, end: int) -> Verdict | None:
        indices = self._trial.order[start:end]
        answers = self._ahead or self._trial.scale.ask(self._session, indices)
        for index, answer in zip(indices, answers, strict=False):
            if (verdict := self._trial.take(index, answer)) is not None:
                return verdict
        return None


class Episodes:
    """Plays instances, each with a fresh process of the candidate: what it learns in one is gone in the next.

    Two and a half milliseconds more an instance, so that no score depends on the order of the instances.
    """

    def __init__(self, trial: Trial, jail: Jail, stop: Callable[[], bool]) -> None:
        self.cpu_s = 0.0
        self.peak_mb = 0.0
        self._trial = trial
        self._jail = jail
        self._stop = stop

    def stage(self, start: int, end: int) -> Verdict | None:
        for index in self._trial.order[start:end]:
            if (verdict := self._play(index)) is not None:
                return verdict
        return None

    def _play(self, index: int) -> Verdict | None:
        trial, problem = self._trial, self._trial.scoring.problem
        limit, heard = trial.scale.cpu_s[index], trial.listener()
        with (
            self._jail.session(*problem.loaded(trial.candidate.files)) as session,
            Dialogue(session, limit, problem.spec.limits.answer_bytes, self._stop, heard) as dialogue,
        ):
            objective = self._simulate(trial.scale.instances[index], dialogue)
            self._used(dialogue)
        trial.took(index, dialogue.cpu_s)
        # the program's failure comes first: what a simulator makes of a missing answer means nothing
        found = dialogue.failure or objective
        if isinstance(found, Failure):
            return trial.failed(index, self._placed(found, dialogue.questions))
        return trial.score(index, found)

    def _used(self, dialogue: Dialogue) -> None:
        """Ends a dialogue, and adds up what it took."""
        usage = dialogue.finish()
        self.cpu_s += usage.cpu_s
        self.peak_mb = max(self.peak_mb, usage.peak_mb)
        if dialogue.stopped:
            raise CancelledEvaluation

    def _simulate(self, instance: Instance, dialogue: Dialogue) -> float | Failure:
        try:
            return self._trial.scoring.simulate(instance, dialogue.ask)
        except Hangup:
            return math.nan
        except self._trial.scoring.problem.evaluator.Invalid as error:
            return Failure(Status.INVALID, str(error))
        except EvaluatorError:
            if dialogue.over:  # it stumbled over the missing answer
                return math.nan
            raise

    def _placed(self, failure: Failure, questions: int) -> Failure:
        if self._trial.scale.split is not Split.TRAIN:
            return failure
        return Failure(failure.status, f"{failure.feedback} (question {questions})")


class Consultations(Episodes):
    """Shows instances to a program behind a harness that asks the evaluator back, each to a fresh process."""

    def _play(self, index: int) -> Verdict | None:
        trial, problem = self._trial, self._trial.scoring.problem
        limit = trial.scale.cpu_s[index]
        with (
            self._jail.session(*problem.loaded(trial.candidate.files)) as session,
            Dialogue(session, limit, problem.spec.limits.answer_bytes, self._stop, asides=True) as dialogue,
        ):
            value, failure = self._confer(trial.scale.instances[index], dialogue)
            self._used(dialogue)
        answer = Answer(value, dialogue.failure or failure, dialogue.cpu_s)
        return trial.take(index, next(apart(answer, [limit])))

    def _confer(self, instance: Instance, dialogue: Dialogue) -> tuple[Value, Failure | None]:
        scoring, counted = self._trial.scoring, itertools.count(1)
        try:
            batch = [list(instance.arguments.values())]
            return dialogue.confer(
                [batch], lambda asked: scoring.consult(instance, asked, next(counted))
            ), None
        except Hangup:
            return None, None
        except scoring.problem.evaluator.Invalid as error:
            return None, Failure(Status.INVALID, str(error))


def digested(race: Race | None, split: Split) -> int:
    """How many instances, in the order of the race, the digest of decisions covers."""
    return race.stages[0] if race and race.stages and split is Split.TRAIN else 0


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else repr(value)
