"""Evaluation: the jail decides, the trusted side checks and scores. Stages, racing, normalisation."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import msgspec
import numpy as np

from evolve.errors import EvaluatorError
from evolve.jail import Answer, Jail, Level, Limits, Session, encode_arguments
from evolve.jail.session import clean
from evolve.problem import Problem
from evolve.records import Candidate, Evaluation, Instance, Split, Status
from evolve.statistics import clearly_worse

BOUND_TOLERANCE = 1e-9
FEEDBACK_GROUPS = 3


class CancelledEvaluation(Exception):  # noqa: N818 - it is no error
    """The run is stopping; the evaluation under way is abandoned and not journaled."""


@dataclass(frozen=True)
class Race:
    """When to stop a candidate early.

    stages: numbers of instances after which to look, rising.
    bar: scores per instance of the member to beat; None = nothing to beat yet.
    confidence: of the one-sided paired test that stops a candidate.
    horizon: how many of the digests in `Seen` count as known.
    """

    stages: tuple[int, ...]
    bar: tuple[float, ...] | None
    confidence: float
    horizon: int


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
        try:
            value = float(evaluator.objective(instance, evaluator.check(instance, decision)))
        except evaluator.Invalid:
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

    @cached_property
    def jail(self) -> Jail:
        return Jail(self._limits, minimum=self._minimum)

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

        A failed instance fails the candidate; later instances are not run.

        Raises:
            EvaluatorError: the evaluator failed, so nobody can be scored.
            CancelledEvaluation: the run is stopping.
        """
        return self._run(candidate, self.scale(split), race)

    def _run(self, candidate: Candidate, scale: Scale, race: Race | None) -> Evaluation:
        spec = self.problem.spec
        trial = _Trial(self, candidate, scale, race)
        with self.jail.session(candidate.files, spec.program, spec.entry.function) as session:
            status, feedback = trial.run(session)
            usage = session.close()
        return trial.evaluation(status, feedback, usage.cpu_s, usage.peak_mb, str(self.jail.level))


class _Trial:
    """One candidate on one split: takes answers in order until the end, a failure, or a lost race."""

    def __init__(self, evaluator: Evaluator, candidate: Candidate, scale: Scale, race: Race | None) -> None:
        self._scoring = evaluator.scoring
        self._seen = evaluator._seen
        self._cancelled = evaluator._cancelled
        self._candidate = candidate
        self._scale = scale
        self._race = race
        self._digest = hashlib.sha256()
        self._objectives: list[float] = []
        self._scores: list[float] = []
        self._decisions = ""
        self._slowest = 0.0

    def run(self, session: Session) -> tuple[Status, str]:
        for start, end in self._stages():
            failure = self._stage(session, start, end)
            if failure is None and end < len(self._scale.instances):
                failure = self._look(end)
            if failure is not None:
                return failure
        return Status.OK, ""

    def evaluation(
        self, status: Status, feedback: str, cpu_s: float, peak_mb: float, level: str
    ) -> Evaluation:
        ok = status is Status.OK
        objectives = tuple(self._objectives) if ok else ()
        return Evaluation(
            candidate=self._candidate.id,
            split=self._scale.split,
            status=status,
            objectives=objectives,
            scores=tuple(self._scores) if ok else (),
            instances=len(self._objectives),
            feedback=group_feedback(self._scoring.problem, self._scale.groups, objectives)
            if ok
            else feedback,
            cpu_s=cpu_s,
            peak_mb=peak_mb,
            slowest=self._slowest,
            jail=level,
            decisions=self._decisions,
        )

    def _stages(self) -> Iterator[tuple[int, int]]:
        count = len(self._scale.instances)
        looks = [stage for stage in self._race.stages if stage < count] if self._race else []
        return pairwise([0, *looks, count])

    def _stage(self, session: Session, start: int, end: int) -> tuple[Status, str] | None:
        answers = session.ask(self._scale.questions[start:end], self._scale.cpu_s[start:end])
        for index, answer in zip(range(start, end), answers, strict=False):
            if self._cancelled.is_set():
                raise CancelledEvaluation
            failure = self._take(index, answer)
            if failure is not None:
                return failure
        return None

    def _take(self, index: int, answer: Answer) -> tuple[Status, str] | None:
        instance = self._scale.instances[index]
        self._slowest = max(self._slowest, answer.cpu_s / self._scale.cpu_s[index])
        if answer.failure is not None:
            return answer.failure.status, f"{self._name(index)}: {answer.failure.feedback}"
        try:
            objective = self._scoring.objective(instance, answer.value)
        except self._scoring.problem.evaluator.Invalid as error:
            return Status.INVALID, f"{self._name(index)}: {clean(str(error))}"  # it may quote the decision
        if self._scoring.beats_bound(instance, objective):
            text = f"objective {objective:.9g} is better than the bound {instance.bound:.9g}"
            return Status.IMPOSSIBLE, f"{self._name(index)}: {text}"
        if self._race and index < self._race.stages[0]:
            self._digest.update(msgspec.msgpack.encode(answer.value, enc_hook=_plain))
        self._objectives.append(objective)
        self._scores.append(self._scoring.score(instance, objective, self._scale.scale[index]))
        return None

    def _name(self, index: int) -> str:
        # nothing of validation and holdout instances reaches a proposer, not even which one failed
        if self._scale.split is Split.TRAIN:
            return f"instance {self._scale.instances[index].name}"
        return f"an instance of {self._scale.split}"

    def _look(self, count: int) -> tuple[Status, str] | None:
        race = self._race
        assert race is not None  # stages exist only in a race
        if race.bar and clearly_worse(self._scores, race.bar[:count], race.confidence):
            ours, theirs = float(np.mean(self._scores)), float(np.mean(race.bar[:count]))
            return (
                Status.RACED_OUT,
                f"stopped after {count} instances: score {ours:.4f}, to beat {theirs:.4f}",
            )
        if self._scale.split is Split.TRAIN and count == race.stages[0]:
            self._decisions = self._digest.hexdigest()[:16]
            if self._seen.knows(self._decisions, race.horizon):
                return Status.DUPLICATE, f"decides as a known candidate on the first {count} instances"
        return None


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
