"""What a problem promises, checked: bounds, splits, determinism, an evaluator that changes nothing."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from evolve.audit import pristine
from evolve.audit.corruptions import plain
from evolve.audit.episodes import crossed, worth
from evolve.audit.report import Row
from evolve.audit.stage import TOLERANCE, Stage, Taken
from evolve.errors import EvaluatorError
from evolve.evaluate import Evaluator
from evolve.jail import Hangup
from evolve.problem import Problem
from evolve.records import Instance, Split, Status
from evolve.scoring import Scoring

SEEDS_S = 2.0  # CPU


def _seeds(stage: Stage) -> str:
    """No seed is invalid, crashes or beats a bound; on all instances for as many seeds as 2 CPU s allow."""
    left = SEEDS_S
    names = list(dict.fromkeys([*stage.carriers, *stage.honest]))
    with Evaluator(stage.patient, stage.evaluator.jail.level) as evaluator:
        for name in names:
            seed = stage.problem.seeds[name]
            for split in stage.splits:
                found = stage.honest[name][split].evaluation
                if found is not None and found.ok and left > 0:
                    start = time.process_time()
                    found = evaluator.evaluate(seed, split)
                    left -= found.cpu_s + time.process_time() - start
                if found is None:
                    return f"the seed '{name}' stops the run: {stage.honest[name][split].fault}"
                if found.status in (Status.IMPOSSIBLE, Status.INVALID, Status.CRASHED):
                    return f"the seed '{name}' is {found.status} on {split}: {found.feedback}"
    return ""


def _bounds(stage: Stage) -> str:
    """Bounds are finite."""
    for split in stage.problem.splits:
        for instance in stage.problem.split(split):
            if not math.isfinite(instance.bound):
                return f"the bound of {instance.name} is {instance.bound}; it has to be finite"
    return ""


def _names(stage: Stage) -> str:
    """Instances have names of their own."""
    for split in stage.problem.splits:
        names = [instance.name for instance in stage.problem.split(split)]
        if len(set(names)) < len(names):
            return f"two instances of {split} have the same name; feedback could not tell them apart"
    return ""


def _disjoint(stage: Stage) -> str:
    """No instance is in two splits."""
    seen: dict[bytes, tuple[Split, str]] = {}
    for split in stage.problem.splits:
        for instance in stage.problem.split(split):
            other, name = seen.setdefault(pristine.seen(instance), (split, instance.name))
            if other is not split:
                return f"{instance.name} of {split} is {name} of {other}: no result on {split} shows anything"
    return ""


def _regenerated(stage: Stage) -> str:
    """The generator gives the same instances again, here and in a fresh process."""
    fresh, _ = pristine.ask(stage.problem, [])
    for split in stage.problem.splits:
        here = pristine.digest(stage.problem.split(split))
        again = pristine.digest(_generate(stage.problem, split))
        if here != again:
            return f"instances('{split}') gives other instances when it is called again"
        if here != fresh[str(split)]:
            return f"instances('{split}') gives other instances in another process"
    return ""


def _generate(problem: Problem, split: Split) -> tuple[Instance, ...]:
    return tuple(problem._made(split))


def _repeated(stage: Stage) -> str:
    """The objective of a decision is the same each time, here and in a fresh process."""
    scoring = Scoring(stage.problem)
    samples = [
        taken for name in stage.honest for split in stage.splits for taken in stage.honest[name][split].taken
    ]
    _, fresh = pristine.ask(stage.problem, [(taken.split, taken.index, taken.value) for taken in samples])
    for taken, there in zip(samples, fresh, strict=True):
        instance = stage.problem.split(taken.split)[taken.index]
        here = _again(scoring, instance, taken.value)
        for other, where in ((here, "when it is asked again"), (there, "in a fresh process")):
            if not isinstance(other, float) or abs(other - taken.objective) > TOLERANCE * max(
                1.0, abs(other)
            ):
                return f"a decision for {instance.name} is worth {taken.objective:.9g}, and {where} {other}"
    return ""


def _untouched(stage: Stage) -> str:
    """The evaluator changes neither the instance nor, for honest decisions, the decision."""
    # fresh ones: what an evaluator does to an instance once, it has done already to those of the stage
    fresh = {split: _generate(stage.problem, split) for split in stage.splits}
    for split, taken in _carried(stage):
        instance = fresh[split][taken.index]
        decision = crossed(taken.value)
        before = pickle.dumps((dict(instance.arguments), dict(instance.facts), decision))
        _judge(stage, instance, decision)
        if pickle.dumps((dict(instance.arguments), dict(instance.facts), decision)) != before:
            return f"the evaluator changes the instance {instance.name} or the decision while it checks one"
    return ""


def _again(scoring: Scoring, instance: Instance, value: Any) -> float | str:
    """The objective of what was taken once, or why there is none now."""
    try:
        return worth(scoring, instance, value)[1]
    except (scoring.problem.evaluator.Invalid, Hangup) as error:
        return str(error) or "more questions are asked than before"


def _judge(stage: Stage, instance: Instance, value: Any) -> None:
    """Hands the evaluator these very objects."""
    evaluator = stage.problem.evaluator
    if stage.interactive:
        answers = iter(value)
        evaluator.simulate(instance, lambda *_: next(answers))
    else:
        evaluator.objective(instance, evaluator.check(instance, value))


def _forms(stage: Stage) -> str:
    """A decision as a list and as an array is worth the same, or one form is refused."""
    scoring = Scoring(stage.problem)
    for split, taken in _carried(stage):
        instance = stage.problem.split(split)[taken.index]
        for form in _both(taken.value, stage.interactive):
            found = _again(scoring, instance, form)
            if isinstance(found, float) and abs(found - taken.objective) > TOLERANCE * max(1.0, abs(found)):
                kind = type(form[0] if stage.interactive else form).__name__
                return (
                    f"a decision for {instance.name} is worth {taken.objective:.9g}, as a {kind} {found:.9g}"
                )
    return ""


def _both(value: Any, answers: bool) -> list[Any]:
    """As a list and as an array; of an episode, each answer so. [] where it is no array of numbers."""
    listed = plain(value)
    try:
        arrays = [np.array(each) for each in (listed if answers else [listed])]
    except ValueError:  # lists of different lengths
        return []
    if not arrays or any(array.dtype.kind not in "iuf" for array in arrays):
        return []
    return [listed, arrays] if answers else [listed, arrays[0]]


def _carried(stage: Stage) -> Iterator[tuple[Split, Taken]]:
    for name in stage.carriers:
        for split in stage.splits:
            for taken in stage.honest[name][split].taken:
                yield split, taken


CHECKS: dict[str, Callable[[Stage], str]] = {
    "seeds stay behind the bound": _seeds,
    "bounds are finite": _bounds,
    "names are unique": _names,
    "splits share no instance": _disjoint,
    "instances are always the same": _regenerated,
    "objectives are always the same": _repeated,
    "checking changes nothing": _untouched,
    "lists and arrays are worth the same": _forms,
}


def row(stage: Stage, name: str) -> Row:
    """One check; an evaluator that fails is a finding too."""
    check = CHECKS[name]
    tries = (check.__doc__ or "").rstrip(".")
    try:
        finding = check(stage)
    except EvaluatorError as error:
        finding = str(error)
    return Row("contract", name, tries, "holds", finding)
