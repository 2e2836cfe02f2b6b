"""The evaluator is asked directly, on the trusted side, with spoilt decisions as they would come out of the jail."""

from __future__ import annotations

import copy
import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from evolve.audit import answers, corruptions, episodes
from evolve.audit.episodes import crossed, crossed_answers, worth
from evolve.audit.report import Row
from evolve.audit.stage import CHECK_S, Stage, TooSlow, place, spoken_keys, time_limit
from evolve.errors import EvaluatorError
from evolve.jail import Hangup, WireError
from evolve.records import Split
from evolve.scoring import Scoring

ROUNDS = 8  # draws of each corruption, for each honest decision
BUDGET_S = 1.0  # CPU seconds for the rounds after the first, and again for the pairs
PAIRS = 2000
FEW = 6  # instances suffice for an answer that has little to do with them


@dataclass(frozen=True)
class Honest:
    """An honest decision or episode with what a spoilt one is held against."""

    split: Split
    index: int
    value: Any
    objective: float


@dataclass
class _Tally:
    """What came of one kind of spoilt decision."""

    asked: int = 0
    refused: int = 0
    complaint: str = ""
    finding: str = ""

    def row(self, name: str, tries: str, kit: str = "") -> Row:
        taken = self.asked - self.refused
        if not self.asked:
            return Row("evaluator", name, tries, "does not apply", kit=kit)
        outcome = f"{taken} of {self.asked} taken, no gain" if taken else f"refused: {self.complaint}"
        return Row("evaluator", name, tries, outcome, self.finding, kit)


class Assault:
    """Asks the evaluator about spoilt decisions, and judges what it says.

    asked: how many decisions the evaluator was asked about.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.asked = 0
        self._scoring = Scoring(stage.problem)
        self._honest = list(_honest(stage))
        self._deadline = time.process_time() + BUDGET_S
        self._keys = spoken_keys(stage.problem)
        self._shown: dict[tuple[Split, int], list[Any]] = {}

    def rows(self) -> Iterator[Row]:
        """One row for each kind of spoilt decision.

        Raises nothing that the evaluator raises: that is a finding.
        """
        for name, (tries, _) in corruptions.CORRUPTIONS.items():
            yield self._corruption(name).row(name, tries, "corruptions")
        for name, (tries, trick) in answers.TRICKS.items():
            yield self._answer(trick).row(name, tries, "answers")
        yield self._pairs().row("two corruptions at once", f"{PAIRS} pairs of the above, drawn at random")
        yield self._claims()

    def _corruption(self, name: str) -> _Tally:
        tally = _Tally()
        for number in range(ROUNDS):
            if tally.finding or (number and time.process_time() > self._deadline):
                break
            for turn, honest in enumerate(self._honest):
                for spoil in self._spoilt(name, honest, number * len(self._honest) + turn):
                    self._try(tally, honest, spoil)
        return tally

    def _spoilt(self, name: str, honest: Honest, seed: int) -> Iterator[Callable[[], Any]]:
        """Makers of spoilt decisions; of episodes with each answer spoilt, with one, or in another order."""
        if self.stage.interactive:
            change = self._change(honest, seed, name)
            yield partial(episodes.every, change, honest.value)
            yield partial(episodes.one, change, honest.value, seed)
            if name not in corruptions.ROWS:
                return
        yield partial(corruptions.corrupt, name, honest.value, seed, np)

    def _change(self, honest: Honest, seed: int, *names: str) -> Callable[[Any], Any]:
        """Some corruptions of one answer, one after another."""
        size = episodes.longest(self._arguments(honest))

        def change(answer: Any) -> Any:
            for name in names:
                answer = corruptions.corrupt(name, answer, seed, np, size)
            return answer

        return change

    def _pairs(self) -> _Tally:
        tally, draw, names = _Tally(), corruptions.Draw(1), list(corruptions.CORRUPTIONS)
        for seed in range(PAIRS):
            if tally.finding or time.process_time() > self._deadline + BUDGET_S:
                break
            honest = self._honest[draw.below(len(self._honest))]
            first, second = names[draw.below(len(names))], names[draw.below(len(names))]
            self._try(tally, honest, self._spoilt_twice(first, second, honest, seed))
        return tally

    def _spoilt_twice(self, first: str, second: str, honest: Honest, seed: int) -> Callable[[], Any]:
        if self.stage.interactive:
            return partial(episodes.one, self._change(honest, seed, first, second), honest.value, seed)
        return partial(_twice, first, second, honest.value, seed)

    def _answer(self, trick: Callable[[Any], Any]) -> _Tally:
        tally = _Tally()
        for turn, honest in enumerate(self._honest[:: max(1, len(self._honest) // FEW)]):
            if not self.stage.interactive:
                self._try(tally, honest, partial(trick, self._scene(honest, honest.value)))
            elif honest.value:  # the trick at every question, and at one
                answer = partial(trick, self._scene(honest, honest.value[0]))
                self._try(tally, honest, lambda answer=answer: [answer()])  # type: ignore[misc]
                change = partial(lambda answer, _: answer(), answer)
                self._try(tally, honest, partial(episodes.one, change, honest.value, turn))
        return tally

    def _arguments(self, honest: Honest) -> list[Any]:
        """What a program is called with for this instance, or at its first question."""
        where = honest.split, honest.index
        if where not in self._shown:
            problem = self.stage.problem
            instance = problem.split(honest.split)[honest.index]
            self._shown[where] = copy.deepcopy(list(problem.example(instance).values()))
        return self._shown[where]

    def _scene(self, honest: Honest, decision: Any) -> Any:
        instance = self.stage.problem.split(honest.split)[honest.index]
        spec = self.stage.problem.spec
        facts = {
            "claims": [(honest.objective + instance.bound) / 2],
            "keys": self._keys,
            "parameters": spec.entry.parameters,
            "objective": spec.objective.name,
        }
        return SimpleNamespace(
            honest=lambda: crossed(decision),
            arguments=copy.deepcopy(self._arguments(honest)),
            facts=facts,
            call=0,
            reach=importlib.import_module,
        )

    def _try(self, tally: _Tally, honest: Honest, spoil: Callable[[], Any]) -> None:
        try:
            value = crossed_answers(spoil()) if self.stage.interactive else crossed(spoil())
        except (LookupError, WireError):  # nothing to spoil, or it cannot come out of the jail
            return
        tally.asked += 1
        self.asked += 1
        instance = self.stage.problem.split(honest.split)[honest.index]
        try:
            with time_limit(CHECK_S):
                value, objective = worth(self._scoring, instance, value, again=True)
        except self.stage.problem.evaluator.Invalid as error:
            tally.refused += 1
            tally.complaint = tally.complaint or " ".join(str(error).split())
        except Hangup:
            tally.refused += 1
            tally.complaint = tally.complaint or "it asks on and on"
        except (EvaluatorError, TooSlow) as error:
            tally.finding = tally.finding or f"{_shown(value)} stops the run: {error}"
        else:
            self._judge(tally, honest, value, objective)

    def _judge(self, tally: _Tally, honest: Honest, value: Any, objective: float) -> None:
        tally.finding = tally.finding or accepted(self.stage, honest, value, objective)

    def _claims(self) -> Row:
        """Whether the objective is whatever number the decision says it is."""
        name, tries = "a number that becomes the objective", "each number of the decision outside lists"
        first = self._honest[0].value
        for path in _lone_numbers(first[-1] if self.stage.interactive and first else first):
            told = [self._told(honest, path) for honest in self._honest]
            if all(told):
                at = "".join(f"[{step!r}]" for step in path) or "the top"
                text = f"whatever number the decision holds at {at}, the evaluator takes it for the objective"
                return Row("evaluator", name, tries, "", text)
        return Row("evaluator", name, tries, "no number of a decision becomes its objective")

    def _told(self, honest: Honest, path: Any) -> bool:
        instance = self.stage.problem.split(honest.split)[honest.index]
        for share in (0.25, 0.5, 0.75):
            claim = honest.objective + share * (instance.bound - honest.objective)
            try:
                found = worth(self._scoring, instance, self._telling(honest.value, path, claim), again=True)[
                    1
                ]
            except (self.stage.problem.evaluator.Invalid, EvaluatorError, LookupError, Hangup):
                return False
            if abs(found - claim) > 1e-9 * max(1.0, abs(claim)):
                return False
        return True

    def _telling(self, value: Any, path: Any, claim: float) -> Any:
        """The decision, or each answer of the episode, with the claim in it."""
        if not self.stage.interactive:
            return corruptions.put(value, path, claim)
        return [corruptions.put(answer, path, claim) for answer in value]


def accepted(stage: Stage, honest: Honest, value: Any, objective: float) -> str:
    """What is wrong with a decision that the evaluator took; "" if nothing is."""
    instance = stage.problem.split(honest.split)[honest.index]
    unit = stage.problem.spec.objective.unit
    where = f"on instance {instance.name} the evaluator takes {_shown(value)}"
    worth = f"objective {objective:.6g} {unit}, honest {honest.objective:.6g}, bound {instance.bound:.6g}"
    violations = stage.profile.violations(place(honest.split, honest.index), value)
    if Scoring(stage.problem).beats_bound(instance, objective):
        reason = violations[0] if violations else "the bound is no bound, or the check misses a rule"
        return f"{where}, and only the bound stops it ({worth}): {reason}"
    if violations and stage.gain(objective, honest.objective):
        return f"{where}, which gains ({worth}): {violations[0]}"
    return ""


def _honest(stage: Stage) -> Iterator[Honest]:
    for name in stage.carriers:
        for split in stage.splits:
            for taken in stage.honest[name][split].taken:
                yield Honest(split, taken.index, taken.value, taken.objective)


def _twice(first: str, second: str, decision: Any, seed: int) -> Any:
    return corruptions.corrupt(second, corruptions.corrupt(first, decision, seed, np), seed, np)


def _lone_numbers(value: Any) -> list[Any]:
    """Ways to numbers that are in no list."""
    found = corruptions.leaves(corruptions.plain(value))
    return [
        path
        for path, leaf in found
        if type(leaf) in (int, float) and not any(isinstance(step, int) for step in path)
    ]


def _shown(value: Any) -> str:
    text = repr(value.tolist() if isinstance(value, np.ndarray) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."
