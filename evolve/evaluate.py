"""Evaluation: the jail decides, the trusted side checks and scores. Stages, racing, normalisation."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import SupportsFloat

import msgspec
import numpy as np

from evolve import feedback as feedbacks
from evolve.cache import Cache, Known, Shelf, Shelves
from evolve.errors import EvaluatorError
from evolve.jail import (
    Answer,
    Dialogue,
    Failure,
    Hangup,
    Jail,
    Level,
    Limits,
    Session,
    encode_arguments,
)
from evolve.problem import Problem
from evolve.records import Candidate, Evaluation, Instance, Split, Status, Value
from evolve.statistics import clearly_worse

BOUND_TOLERANCE = 1e-9
FEEDBACK_GROUPS = 3
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
    """

    stages: tuple[int, ...]
    bar: tuple[float, ...] | None
    confidence: float
    horizon: int
    order: tuple[int, ...] = ()


class Seen:
    """Digests of decisions on the first stage, in the order in which the loop took them."""

    def __init__(self) -> None:
        self._order: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._order)

    def add(self, digest: str) -> None:
        self._order.setdefault(digest, len(self._order))

    def knows(self, digest: str, horizon: int) -> bool:
        """Whether `digest` was among the first `horizon` ones.

        The horizon, fixed when the work is handed out, keeps the answer independent of thread timing.
        """
        return self._order.get(digest, horizon) < horizon


@dataclass(frozen=True)
class Scale:
    """A split with what scoring needs, computed once: questions for the jail, limits, and the score's scale."""

    split: Split
    instances: tuple[Instance, ...]
    questions: tuple[bytes, ...] = field(repr=False)
    cpu_s: tuple[float, ...]
    groups: Mapping[str, Sequence[int]] = field(repr=False)
    baseline: tuple[float, ...]
    scale: tuple[float, ...]


class Scoring:
    """The trusted side of a problem: checks decisions, computes objectives and scores, runs no candidate."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def objective(self, instance: Instance, decision: object) -> float:
        """The objective of a decision.

        Raises:
            the evaluator's Invalid: the decision breaks a rule.
            EvaluatorError: the evaluator itself failed.
        """
        evaluator = self.problem.evaluator
        return self._judged(
            instance, lambda: evaluator.objective(instance, evaluator.check(instance, decision))
        )

    def simulate(self, instance: Instance, ask: Callable[..., Value]) -> float:
        """The objective of the decisions that a policy makes when it is asked; for an interactive problem.

        Raises:
            the evaluator's Invalid: a decision breaks a rule.
            EvaluatorError: the evaluator itself failed.
            Hangup: there was no answer.
        """
        return self._judged(instance, lambda: self.problem.evaluator.simulate(instance, ask))

    def _judged(self, instance: Instance, judge: Callable[[], SupportsFloat]) -> float:
        try:
            value = float(judge())
        except self.problem.evaluator.Invalid:
            raise
        except Exception as error:  # foreign code: any other exception is the evaluator's own fault
            raise EvaluatorError(self._fault(instance, f"raised {type(error).__name__}: {error}")) from error
        if not np.isfinite(value):
            raise EvaluatorError(self._fault(instance, f"gave the objective {value}"))
        return value

    def _fault(self, instance: Instance, what: str) -> str:
        path = self.problem.folder / self.problem.spec.evaluator
        return (
            f"the evaluator {path} {what} on {instance.name}; no candidate can be scored until it is mended"
        )

    def beats_bound(self, instance: Instance, objective: float) -> bool:
        """Whether an objective is better than the instance's bound, beyond rounding."""
        slack = BOUND_TOLERANCE * max(1.0, abs(instance.bound))
        return self.problem.sign * (instance.bound - objective) > slack

    def score(self, instance: Instance, objective: float, scale: float) -> float:
        """Normalised score: 1 at the bound, 0 at the baseline (or `scale` away from the bound)."""
        return 1.0 - self.problem.sign * (objective - instance.bound) / scale


class Evaluator:
    """Evaluates candidates of one problem in its own jail; one per worker thread."""

    def __init__(
        self,
        problem: Problem,
        minimum: Level | str,
        seen: Seen | None = None,
        cancelled: threading.Event | None = None,
        cache: Cache | None = None,
    ) -> None:
        limits = problem.spec.limits
        self.problem = problem
        self.scoring = Scoring(problem)
        self._seen = Seen() if seen is None else seen
        self._cancelled = cancelled or threading.Event()
        self._limits = Limits(
            cpu_s=limits.cpu_s,
            memory_mb=limits.memory_mb,
            load_s=limits.load_s,
            answer_bytes=limits.answer_bytes,
            imports=limits.imports,
        )
        self._minimum = Level(minimum)
        self._scales: dict[Split, Scale] = {}
        self._cache = cache

    @cached_property
    def jail(self) -> Jail:
        return Jail(self._limits, minimum=self._minimum)

    @cached_property
    def _shelves(self) -> Shelves | None:
        return Shelves(self._cache, self.problem, self.jail.level) if self._cache else None

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the jail, if one was started."""
        if "jail" in self.__dict__:
            self.jail.close()

    def scale(self, split: Split) -> Scale:
        """The split, ready for scoring. The baseline is run in the jail on first use.

        Raises:
            EvaluatorError: the baseline seed fails on an instance.
        """
        if split not in self._scales:
            self._scales[split] = self._prepare(split)
        return self._scales[split]

    def share_scales(self, other: Evaluator) -> None:
        """Take over what another evaluator of the same problem has prepared."""
        self._scales = other._scales

    def _prepare(self, split: Split) -> Scale:
        spec, instances = self.problem.spec, self.problem.split(split)
        share = spec.limits.train_share if split is Split.TRAIN else 1.0
        raw = Scale(
            split,
            instances,
            tuple(encode_arguments(list(instance.arguments.values())) for instance in instances),
            tuple(share * (instance.cpu_s or spec.limits.cpu_s) for instance in instances),
            group_indices(self.problem, instances),
            (),
            (1.0,) * len(instances),
        )
        trial = self._run(self.problem.seeds[spec.score.baseline], raw, None)
        if not trial.ok:
            raise EvaluatorError(
                f"the baseline seed '{spec.score.baseline}' fails on {split}: {trial.feedback}"
            )
        room = [
            self.problem.sign * (objective - instance.bound)
            for objective, instance in zip(trial.objectives, instances, strict=True)
        ]
        if spec.score.scale == "split":
            room = [float(np.mean(room))] * len(room)
        scale = tuple(max(distance, spec.score.floor) for distance in room)
        return replace(raw, baseline=trial.objectives, scale=scale)

    def evaluate(self, candidate: Candidate, split: Split, race: Race | None = None) -> Evaluation:
        """Run a candidate on a split and score its decisions.

        A failed instance fails the candidate; later instances are not run. What the cache has is not run at all.

        Raises:
            EvaluatorError: the evaluator failed, so nobody can be scored.
            CancelledEvaluation: the run is stopping.
        """
        scale, shelf = self.scale(split), self._shelf(candidate, split, race)
        known = shelf.find(candidate) if shelf else None
        if known is not None:
            return _Trial(self, candidate, scale, race).repeat(known, str(self.jail.level))
        return self._run(candidate, scale, race, shelf)

    def _shelf(self, candidate: Candidate, split: Split, race: Race | None) -> Shelf | None:
        if self._shelves is None:
            return None
        return self._shelves.shelf(candidate, split, race.order if race else (), _digested(race, split))

    def _run(
        self, candidate: Candidate, scale: Scale, race: Race | None, shelf: Shelf | None = None
    ) -> Evaluation:
        spec = self.problem.spec
        trial = _Trial(self, candidate, scale, race)
        if spec.entry.interactive:
            episodes = _Episodes(self, trial)
            status, feedback = trial.run(episodes.stage)
            cpu_s, peak_mb = episodes.cpu_s, episodes.peak_mb
        else:
            with self.jail.session(candidate.files, spec.program, spec.entry.function) as session:
                status, feedback = trial.run(partial(trial.answers, session))
                usage = session.close()
            cpu_s, peak_mb = usage.cpu_s, usage.peak_mb
        evaluation = trial.evaluation(status, feedback, cpu_s, peak_mb, str(self.jail.level))
        if shelf is not None:
            shelf.keep(candidate, evaluation, trial.objectives)
        return evaluation


class _Trial:
    """One candidate on one split: takes results in order until the end, a failure, or a lost race."""

    def __init__(self, evaluator: Evaluator, candidate: Candidate, scale: Scale, race: Race | None) -> None:
        self.candidate = candidate
        self.scale = scale
        self.digest = hashlib.sha256()  # of the decisions on the first stage
        self._scoring = evaluator.scoring
        self._seen = evaluator._seen
        self._cancelled = evaluator._cancelled
        self._race = race
        self._order: Sequence[int] = race.order if race and race.order else range(len(scale.instances))
        self._digested = _digested(race, scale.split)
        self._recorded = ""  # digest of the decisions, where they are known from the cache
        self.objectives: list[float] = []  # in the order of the race, as the scores
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
        self._recorded, self._slowest = known.decisions, known.slowest
        status, feedback = self._repeat(known)
        return replace(self.evaluation(status, feedback, known.cpu_s, known.peak_mb, level), cached=True)

    def _repeat(self, known: Known) -> tuple[Status, str]:
        objectives = known.objectives
        for start, end in self._stages():
            for position, objective in enumerate(objectives[start:end], start):
                self._count(self._order[position], objective)
            if len(objectives) < end:
                return known.status, known.feedback
            failure = self._look(end) if end < len(self._order) else None
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
        )

    def _in_place(self, values: Sequence[float]) -> tuple[float, ...]:
        """From the order of the race to that of the instances."""
        placed = dict(zip(self._order, values, strict=True))
        return tuple(placed[index] for index in range(len(values)))

    def _praise(self, objectives: Sequence[float]) -> str:
        # of the hidden splits, the mean alone: their groups are no business of a proposer
        groups = self.scale.groups if self.scale.split is Split.TRAIN else {}
        return group_feedback(self._scoring.problem, groups, objectives)

    def _stages(self) -> Iterator[tuple[int, int]]:
        count = len(self.scale.instances)
        looks = [stage for stage in self._race.stages if stage < count] if self._race else []
        return pairwise([0, *looks, count])

    def stage(self, start: int, end: int) -> Sequence[int]:
        """The instances of a stage, in the order of the race."""
        return self._order[start:end]

    def answers(self, session: Session, start: int, end: int) -> Verdict | None:
        """One stage of a problem whose instances are shown: each is one question."""
        indices = self.stage(start, end)
        answers = session.ask(
            [self.scale.questions[index] for index in indices],
            [self.scale.cpu_s[index] for index in indices],
        )
        for index, answer in zip(indices, answers, strict=False):
            if self._cancelled.is_set():
                raise CancelledEvaluation
            failure = self._take(index, answer)
            if failure is not None:
                return failure
        return None

    def _take(self, index: int, answer: Answer) -> Verdict | None:
        self.took(index, answer.cpu_s)
        if answer.failure is not None:
            return self.failed(index, answer.failure)
        try:
            objective = self._scoring.objective(self.scale.instances[index], answer.value)
        except self._scoring.problem.evaluator.Invalid as error:
            return self.failed(index, Failure(Status.INVALID, str(error)))
        if self.counts:
            self.digest.update(msgspec.msgpack.encode(answer.value, enc_hook=_plain))
        return self.score(index, objective)

    @property
    def counts(self) -> bool:
        """Whether the decisions on the next instance tell a duplicate."""
        return len(self.objectives) < self._digested

    def took(self, index: int, cpu_s: float) -> None:
        self._slowest = max(self._slowest, cpu_s / self.scale.cpu_s[index])

    def failed(self, index: int, failure: Failure) -> Verdict:
        name = self.scale.instances[index].name
        return failure.status, feedbacks.of_failure(self.scale.split, name, failure.status, failure.feedback)

    def score(self, index: int, objective: float) -> Verdict | None:
        """Takes an instance's objective; a verdict if it cannot be true."""
        instance = self.scale.instances[index]
        if self._scoring.beats_bound(instance, objective):
            text = f"objective {objective:.9g} is better than the bound {instance.bound:.9g}"
            return self.failed(index, Failure(Status.IMPOSSIBLE, text))
        self._count(index, objective)
        return None

    def _count(self, index: int, objective: float) -> None:
        self.objectives.append(objective)
        instance = self.scale.instances[index]
        self._scores.append(self._scoring.score(instance, objective, self.scale.scale[index]))

    def _look(self, count: int) -> Verdict | None:
        race = self._race
        assert race is not None  # stages exist only in a race
        bar = [race.bar[index] for index in self._order[:count]] if race.bar else []
        if bar and clearly_worse(self._scores, bar, race.confidence):
            ours, theirs = float(np.mean(self._scores)), float(np.mean(bar))
            return (
                Status.RACED_OUT,
                f"stopped after {count} instances: score {ours:.4f}, to beat {theirs:.4f}",
            )
        if count == self._digested:
            self._decisions = self._recorded or self.digest.hexdigest()[:16]
            if self._seen.knows(self._decisions, race.horizon):
                return Status.DUPLICATE, f"decides as a known candidate on the first {count} instances"
        return None


class _Episodes:
    """Plays instances, each with a fresh process of the candidate: what it learns in one is gone in the next.

    Two and a half milliseconds more an instance, so that no score depends on the order of the instances.
    """

    def __init__(self, evaluator: Evaluator, trial: _Trial) -> None:
        self.cpu_s = 0.0
        self.peak_mb = 0.0
        self._jail = evaluator.jail
        self._scoring = evaluator.scoring
        self._stop = evaluator._cancelled.is_set
        self._trial = trial

    def stage(self, start: int, end: int) -> Verdict | None:
        for index in self._trial.stage(start, end):
            if (verdict := self._play(index)) is not None:
                return verdict
        return None

    def _play(self, index: int) -> Verdict | None:
        trial, spec = self._trial, self._scoring.problem.spec
        limit, heard = trial.scale.cpu_s[index], trial.digest.update if trial.counts else None
        with (
            self._jail.session(trial.candidate.files, spec.program, spec.entry.function) as session,
            Dialogue(session, limit, spec.limits.answer_bytes, self._stop, heard) as dialogue,
        ):
            objective = self._simulate(trial.scale.instances[index], dialogue)
            usage = dialogue.finish()
        self.cpu_s += usage.cpu_s
        self.peak_mb = max(self.peak_mb, usage.peak_mb)
        trial.took(index, dialogue.cpu_s)
        if dialogue.stopped:
            raise CancelledEvaluation
        # the program's failure comes first: what a simulator makes of a missing answer means nothing
        found = dialogue.failure or objective
        if isinstance(found, Failure):
            return trial.failed(index, self._placed(found, dialogue.questions))
        return trial.score(index, found)

    def _simulate(self, instance: Instance, dialogue: Dialogue) -> float | Failure:
        try:
            return self._scoring.simulate(instance, dialogue.ask)
        except Hangup:
            return math.nan
        except self._scoring.problem.evaluator.Invalid as error:
            return Failure(Status.INVALID, str(error))
        except EvaluatorError:
            if dialogue.over:  # it stumbled over the missing answer
                return math.nan
            raise

    def _placed(self, failure: Failure, questions: int) -> Failure:
        if self._trial.scale.split is not Split.TRAIN:
            return failure
        return Failure(failure.status, f"{failure.feedback} (question {questions})")


def _digested(race: Race | None, split: Split) -> int:
    """How many instances, in the order of the race, the digest of decisions covers."""
    return race.stages[0] if race and split is Split.TRAIN else 0


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else repr(value)


def group_indices(problem: Problem, instances: Sequence[Instance]) -> dict[str, list[int]]:
    """Positions of the instances of each cell of the problem's instance grid, by the cell's label."""
    groups: dict[str, list[int]] = {}
    keys = problem.spec.report.group_by
    for index, instance in enumerate(instances):
        label = " ".join(f"{key}={instance.group[key]}" for key in keys if key in instance.group)
        groups.setdefault(label, []).append(index)
    return groups


def group_feedback(problem: Problem, groups: Mapping[str, Sequence[int]], objectives: Sequence[float]) -> str:
    """The mean objective, and the groups of instances where it is worst, in words."""
    spec = problem.spec.objective
    means = {label: sum(objectives[i] for i in indices) / len(indices) for label, indices in groups.items()}
    ranked = sorted(means, key=lambda label: -problem.sign * means[label])
    worst = "; ".join(f"{label}: {means[label]:.4g}" for label in ranked[:FEEDBACK_GROUPS] if label)
    mean = sum(objectives) / len(objectives)
    text = f"mean {spec.name} {mean:.6g} {spec.unit} over {len(objectives)} instances"
    return f"{text}; worst groups: {worst}" if worst else text
