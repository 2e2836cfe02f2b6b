"""The stage of an audit: some instances of each split, honest decisions for them, and an evaluator that is watched."""

from __future__ import annotations

import ast
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from evolve.audit.episodes import crossed, crossed_answers
from evolve.audit.honest import Policies, Profile, Sample
from evolve.errors import EvaluatorError
from evolve.evaluate import Evaluator
from evolve.jail import Level, WireError, encode_arguments
from evolve.problem import Problem
from evolve.records import SPLITS, Candidate, Evaluation, Instance, Split
from evolve.scoring import Scoring

SIZES = 3  # sizes of instances, of each split
TWINS = (
    2  # instances of a size: one's decision may pass for the other's; in an interactive problem one suffices
)
CPU_S = 0.25  # that a seed may take for the chosen instances of a split
CARRIER_S = 0.1  # that one may take which every cheat is built around; some hundred programs are
PATIENCE = 4.0  # times the problem's CPU limits: a trick costs time, and is to be judged by what it does
CHECK_S = 10.0  # CPU seconds that a check of one decision may take
TOLERANCE = 1e-9


class TooSlow(Exception):  # noqa: N818
    """A check did not end in time."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Ends what runs in it after some CPU seconds, where that is possible: in the main thread of a Unix process.

    Raises:
        TooSlow: the time is over.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise TooSlow(f"it takes more than {seconds:g} s of CPU")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@dataclass(frozen=True)
class Taken:
    """A decision or episode that the evaluator took: the instance's place in its split, the value, the objective."""

    split: Split
    index: int
    value: Any
    objective: float


class WatchedScoring(Scoring):
    """Scores as always, and remembers what it took.

    Args:
        places: split and place of an instance, by the identity of the object.
    """

    def __init__(self, problem: Problem, places: dict[int, tuple[Split, int]]) -> None:
        super().__init__(problem)
        self.taken: list[Taken] = []
        self._places = places

    def objective(self, instance: Instance, decision: object) -> float:
        kept = crossed(decision)  # the check may change what it is given
        objective = self._timed(instance, lambda: super(WatchedScoring, self).objective(instance, decision))
        self._take(instance, kept, objective)
        return objective

    def simulate(self, instance: Instance, ask: Callable[..., Any]) -> float:
        answers: list[Any] = []
        unanswered = []

        def watched(*arguments: Any) -> Any:
            unanswered.append(True)
            answer = ask(*arguments)
            answers.extend(crossed_answers([answer]))  # copies: a simulator may change what it is given
            unanswered.pop()
            return answer

        objective = self._timed(instance, lambda: super(WatchedScoring, self).simulate(instance, watched))
        if not unanswered:  # else the program failed, and the simulator did not stop for it
            self._take(instance, answers, objective)
        return objective

    def _timed(self, instance: Instance, judge: Callable[[], float]) -> float:
        try:
            with time_limit(CHECK_S):
                return judge()
        except TooSlow as error:  # outside the evaluator's own code, which Scoring guards
            raise EvaluatorError(f"the check of a decision for {instance.name}: {error}") from None

    def _take(self, instance: Instance, value: Any, objective: float) -> None:
        split, index = self._places[id(instance)]
        self.taken.append(Taken(split, index, value, objective))


@dataclass(frozen=True)
class Played:
    """One program on one split: how it ended, what was taken on the way, or why nobody could be scored."""

    evaluation: Evaluation | None
    taken: tuple[Taken, ...]
    fault: str = ""


class Stage:
    """Runs programs on the chosen instances through the real evaluator; a context manager.

    Raises:
        EvaluatorError: the baseline seed cannot be scored.
    """

    def __init__(self, problem: Problem, minimum: Level | str, splits: Sequence[Split]) -> None:
        self.problem = problem
        self.splits = tuple(splits)
        self._minimum = minimum
        self.interactive = problem.spec.entry.interactive
        twins = 1 if self.interactive else TWINS
        self.chosen = {split: _choose(problem.split(split), twins) for split in splits}
        self.patient = patient(problem)
        self._open()
        self.honest = self._fit()
        self.profile = Policies(self.samples) if self.interactive else Profile(self.samples)
        self.carriers = self._carriers()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: object) -> None:
        self.evaluator.close()

    def waiting(self) -> int | None:
        """The process that the jail has forked ahead for the next program."""
        return self.evaluator.jail.waiting

    def instances(self, split: Split) -> list[tuple[int, Instance]]:
        """The chosen instances with their places in the split."""
        return [(index, self.problem.split(split)[index]) for index in self.chosen[split]]

    def play(self, program: Candidate, split: Split) -> Played:
        """Runs a program as a search would."""
        self.scoring.taken = []
        try:
            evaluation = self.evaluator.evaluate(program, split)
        except EvaluatorError as error:
            return Played(None, tuple(self.scoring.taken), str(error))
        return Played(evaluation, tuple(self.scoring.taken))

    def gain(self, found: float, honest: float) -> bool:
        """Whether an objective is better than another, beyond rounding."""
        return self.problem.sign * (honest - found) > TOLERANCE * max(1.0, abs(honest))

    def claims(self, seed: str, split: Split) -> list[float]:
        """For each instance an objective between the seed's and the bound."""
        found = self.honest[seed][split].evaluation
        assert found is not None  # carriers are sound on every split
        return [
            (objective + instance.bound) / 2
            for objective, (_, instance) in zip(found.objectives, self.instances(split), strict=True)
        ]

    def sound(self, name: str) -> bool:
        """Whether a seed is OK on every split."""
        found = [played.evaluation for played in self.honest[name].values()]
        return all(evaluation is not None and evaluation.ok for evaluation in found)

    @property
    def samples(self) -> list[Sample]:
        """What the seeds decided."""
        return [
            Sample(name, place(split, taken.index), taken.value, taken.objective)
            for name, by_split in self.honest.items()
            for split, played in by_split.items()
            for taken in played.taken
        ]

    def _open(self) -> None:
        places: dict[int, tuple[Split, int]] = {}
        splits: dict[Split, tuple[Instance, ...]] = {}
        for split in self.splits:
            instances = [self.patient.split(split)[index] for index in self.chosen[split]]
            places |= {id(i): (split, index) for i, index in zip(instances, self.chosen[split], strict=True)}
            splits[split] = tuple(instances)
        self.evaluator = Evaluator(replace(self.patient, _splits=splits), self._minimum)
        self.scoring = WatchedScoring(self.evaluator.problem, places)
        self.evaluator.scoring = self.scoring

    def _fit(self) -> dict[str, dict[Split, Played]]:
        """What the seeds decide; the largest instances are left out while a seed takes long for them."""
        while True:
            honest = self._seeds()
            slow = [split for split in self.splits if _cpu_s(honest, split) > CPU_S]
            slow = [split for split in slow if len(self.chosen[split]) > TWINS]
            if not slow:
                return honest
            for split in slow:
                self.chosen[split] = self._without_largest(split)
            self.evaluator.close()
            self._open()

    def _without_largest(self, split: Split) -> tuple[int, ...]:
        sizes = {index: _size(instance) for index, instance in self.instances(split)}
        largest = max(sizes.values())
        return tuple(index for index, size in sizes.items() if size < largest) or tuple(sizes)[:TWINS]

    def _seeds(self) -> dict[str, dict[Split, Played]]:
        return {
            name: {split: self.play(seed, split) for split in self.splits}
            for name, seed in self.problem.seeds.items()
        }

    def _carriers(self) -> list[str]:
        """The baseline and, if it is another, the best seed on the first split, a slow one only where all are slow."""
        baseline = self.problem.spec.score.baseline
        sound = [name for name in self.problem.seeds if self.sound(name)]
        if baseline not in sound:
            found = next(iter(self.honest[baseline].values()))
            reason = found.fault or (found.evaluation.feedback if found.evaluation else "")
            raise EvaluatorError(f"the baseline seed '{baseline}' cannot be scored: {reason}")
        quick = [
            name
            for name in sound
            if max(_cpu_s({name: self.honest[name]}, s) for s in self.splits) <= CARRIER_S
        ]
        return list(dict.fromkeys([baseline, max(quick or sound, key=self._score)]))

    def _score(self, name: str) -> float:
        found = self.honest[name][self.splits[0]].evaluation
        return found.score if found is not None else float("-inf")


def place(split: Split, index: int) -> str:
    """An instance's unique name: the problem's own names need not be."""
    return f"{split}/{index}"


def _cpu_s(honest: Mapping[str, Mapping[Split, Played]], split: Split) -> float:
    """CPU seconds of the slowest seed on the chosen instances of a split."""
    found = [by_split[split].evaluation for by_split in honest.values()]
    return max(evaluation.cpu_s if evaluation is not None else 0.0 for evaluation in found)


def patient(problem: Problem) -> Problem:
    """The problem with longer CPU limits, and otherwise the same."""
    limits = problem.spec.limits
    longer = msgspec.structs.replace(
        limits, cpu_s=PATIENCE * limits.cpu_s, load_s=PATIENCE * limits.load_s, train_share=1.0
    )
    splits = {
        split: tuple(
            instance if instance.cpu_s is None else replace(instance, cpu_s=PATIENCE * instance.cpu_s)
            for instance in problem.split(split)
        )
        for split in SPLITS
    }
    return replace(problem, spec=msgspec.structs.replace(problem.spec, limits=longer), _splits=splits)


def _size(instance: Instance) -> int:
    try:
        return len(encode_arguments(list(instance.arguments.values())))
    except WireError as error:
        text = f"an argument of {instance.name} cannot be handed to a program: it holds {error}"
        raise EvaluatorError(text) from None


def _choose(instances: Sequence[Instance], twins: int) -> tuple[int, ...]:
    """Places of some instances: of the smallest, a middle and the largest size, some each.

    Instances that show nothing to a program have no size: they are told apart by their groups.
    """
    by_size: dict[tuple[int, str], list[int]] = {}
    for index, instance in enumerate(instances):
        group = "" if instance.arguments else repr(sorted(instance.group.items()))
        by_size.setdefault((_size(instance), group), []).append(index)
    sizes = sorted(by_size)
    steps = sorted({0, len(sizes) // 2, len(sizes) - 1})[:SIZES]
    return tuple(sorted(index for step in steps for index in by_size[sizes[step]][:twins]))


def spoken_keys(problem: Problem) -> list[str]:
    """Texts in the evaluator's source that could be keys of a decision."""
    tree = ast.parse((problem.folder / problem.spec.evaluator).read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return list(dict.fromkeys(text for text in texts if isinstance(text, str) and text.isidentifier()))


def problem_files(problem: Problem) -> list[Path]:
    """What belongs to the problem: its folder, its evaluator, its seeds."""
    outside = [(problem.folder / name).resolve() for name in (problem.spec.evaluator, problem.spec.seeds)]
    return [problem.folder, *(path for path in outside if not path.is_relative_to(problem.folder))]


def refusal(evaluation: Evaluation) -> str:
    """A status with its feedback, short and on one line."""
    if evaluation.ok:
        return "no gain"
    text = " ".join(evaluation.feedback.split())
    where, _, what = text.partition(": ")
    text = what if where.startswith(("instance ", "an instance ")) else text
    return f"{evaluation.status}: {text.partition(', in audit_')[0]}"
