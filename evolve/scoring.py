"""The trusted side of an evaluation: instances with their limits and scales, objectives, scores and praise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, SupportsFloat

from evolve.errors import EvaluatorError
from evolve.jail import Answer, Failure, Session
from evolve.problem import Problem
from evolve.records import Instance, Split, Status, Value

BOUND_TOLERANCE = 1e-9
FEEDBACK_GROUPS = 3


@dataclass(frozen=True)
class Scale:
    """A split with what scoring needs, computed once: questions for the jail, limits, and the score's scale.

    cpu_s: per instance. batches: how many instances each question holds; () means one each, without a harness.
    references: decisions of the seeds that descriptors measure the distance to, on the first instances.
    """

    split: Split
    instances: tuple[Instance, ...]
    questions: tuple[bytes, ...] = field(repr=False)
    cpu_s: tuple[float, ...]
    groups: Mapping[str, Sequence[int]] = field(repr=False)
    baseline: tuple[float, ...]
    scale: tuple[float, ...]
    batches: tuple[int, ...] = ()
    references: Mapping[str, Sequence[Any]] = field(default_factory=dict, repr=False)

    def ask(self, session: Session, indices: Sequence[int]) -> Iterator[Answer]:
        """The answers to some instances, one each; ends after the first failure."""
        questions, limits = self.questions, self.cpu_s
        return session.ask([questions[index] for index in indices], [limits[index] for index in indices])

    def ask_batches(self, session: Session) -> Iterator[Answer]:
        """The answers to all instances, asked in batches; one answer each, or the failure that ends them."""
        ends = list(accumulate(self.batches))
        limits = [self.cpu_s[end - size : end] for end, size in zip(ends, self.batches, strict=True)]
        answers = session.ask(self.questions, [sum(each) for each in limits])
        for answer, each in zip(answers, limits, strict=False):
            yield from apart(answer, each)


def apart(answer: Answer, limits: Sequence[float]) -> Iterator[Answer]:
    """One answer an instance of a batch; the CPU time is shared out like the limits."""
    if answer.failure is None and not (isinstance(answer.value, list) and len(answer.value) == len(limits)):
        failure = Failure(Status.INVALID, f"the answer is no list of {len(limits)} decisions")
        answer = Answer(failure=failure, cpu_s=answer.cpu_s)
    if answer.failure is not None:
        yield answer
        return
    assert isinstance(answer.value, list)
    for value, limit in zip(answer.value, limits, strict=True):
        yield Answer(value, None, answer.cpu_s * limit / sum(limits))


class Scoring:
    """The trusted side of a problem: checks decisions, computes objectives and scores, runs no candidate."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._sign = problem.sign  # a property of a property: too dear for every decision

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

    def distance(self, instance: Instance, one: object, other: object) -> float:
        """How far apart two decisions are that `check` has accepted, by the evaluator's own measure.

        Raises:
            EvaluatorError: the evaluator itself failed.
        """
        evaluator = self.problem.evaluator
        return self._judged(
            instance, lambda: evaluator.distance(instance, evaluator.check(instance, one), other), "distance"
        )

    def consult(self, instance: Instance, value: Value, count: int) -> Value:
        """What the evaluator tells a program that asks it for the count-th time, from 1 on.

        Raises:
            the evaluator's Invalid: it may not ask so, or so often.
            EvaluatorError: the evaluator itself failed.
        """
        answer: Value = self._guarded(
            instance, lambda: self.problem.evaluator.consult(instance, value, count)
        )
        return answer

    def _guarded(self, instance: Instance, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except self.problem.evaluator.Invalid:
            raise
        except Exception as error:  # foreign code: any other exception is the evaluator's own fault
            raise EvaluatorError(self._fault(instance, f"raised {type(error).__name__}: {error}")) from error

    def _judged(
        self, instance: Instance, judge: Callable[[], SupportsFloat], what: str = "objective"
    ) -> float:
        value = float(self._guarded(instance, lambda: float(judge())))
        if not math.isfinite(value):
            raise EvaluatorError(self._fault(instance, f"gave the {what} {value}"))
        return value

    def _fault(self, instance: Instance, what: str) -> str:
        path = self.problem.folder / self.problem.spec.evaluator
        return (
            f"the evaluator {path} {what} on {instance.name}; no candidate can be scored until it is mended"
        )

    def beats_bound(self, instance: Instance, objective: float) -> bool:
        """Whether an objective is better than the instance's bound, beyond rounding."""
        slack = BOUND_TOLERANCE * max(1.0, abs(instance.bound))
        return self._sign * (instance.bound - objective) > slack

    def score(self, instance: Instance, objective: float, scale: float) -> float:
        """Normalised score: 1 at the bound, 0 at the baseline (or `scale` away from the bound)."""
        return 1.0 - self._sign * (objective - instance.bound) / scale


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
