"""What the evaluator is asked about: a decision, or for an interactive problem an episode.

An episode is the list of a policy's answers. Given to the simulator again as plain data, question by question,
it is judged like a decision: it can be spoilt, held against honest ones, and scored in a fresh process.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from evolve.audit.corruptions import Draw
from evolve.jail import Hangup, wire
from evolve.records import Instance
from evolve.scoring import Scoring

MORE = 20  # times as many questions as honest answers: then a simulator asks on and on
_PLAIN = frozenset({type(None), bool, int, float, str})


def crossed(value: Any) -> Any:
    """A copy of a decision, as it comes out of the jail.

    Raises:
        WireError: it is of a type that does not.
    """
    frame = wire.encode(wire.ANSWER, value)
    return wire.decode(frame[wire.HEADER.size :])[1]


def crossed_answers(answers: Sequence[Any]) -> list[Any]:
    """Copies of the answers of an episode, as a dialogue hands them over: numpy's scalars are Python's.

    Raises:
        WireError: one is of a type that does not cross.
    """
    found: list[Any] = crossed([a.item() if isinstance(a, np.generic) else a for a in answers])
    return found


class Replay:
    """Answers a simulator's questions from a list.

    given: the answers so far.

    Args:
        again: the list begins anew where it ends, up to MORE times; else its end is the end of all answers.
    """

    def __init__(self, answers: Sequence[Any], again: bool) -> None:
        self.given: list[Any] = []
        self._answers = answers
        self._most = len(answers) * (MORE if again else 1) + (1000 if again and answers else 0)

    def ask(self, *arguments: Any) -> Any:
        """The next answer, in a copy that the simulator may change.

        Raises:
            Hangup: there is none.
        """
        if len(self.given) >= self._most:
            raise Hangup
        answer = self._answers[len(self.given) % len(self._answers)]
        self.given.append(answer)
        return answer if type(answer) in _PLAIN else copy.deepcopy(answer)


def worth(scoring: Scoring, instance: Instance, value: Any, again: bool = False) -> tuple[Any, float]:
    """The part of a decision or an episode that was used, and its objective.

    Raises:
        the evaluator's Invalid: it breaks a rule.
        EvaluatorError: the evaluator itself failed.
        Hangup: the simulator asks more than the episode answers.
    """
    if not scoring.problem.spec.entry.interactive:
        return value, scoring.objective(instance, crossed(value))
    replay = Replay(value, again)
    objective = scoring.simulate(instance, replay.ask)
    return replay.given, objective


def every(change: Callable[[Any], Any], answers: Sequence[Any]) -> list[Any]:
    """The episode with each answer changed where it can be.

    Raises:
        LookupError: none can be.
    """
    spoilt, changed = [], False
    for answer in answers:
        try:
            spoilt.append(change(answer))
            changed = True
        except LookupError:
            spoilt.append(answer)
    if not changed:
        raise LookupError("no answer can be changed")
    return spoilt


def one(change: Callable[[Any], Any], answers: Sequence[Any], seed: int) -> list[Any]:
    """The episode with one answer changed; the seed says which.

    Raises:
        LookupError: there is none, or it cannot be.
    """
    if not answers:
        raise LookupError("no answer")
    place = Draw(seed).below(len(answers))
    return [*answers[:place], change(answers[place]), *answers[place + 1 :]]


def longest(arguments: Sequence[Any]) -> int:
    """Of the arguments' lengths the largest: what a number that is an answer may be an index into."""
    sizes = [len(a) for a in arguments if isinstance(a, list) or (isinstance(a, np.ndarray) and a.ndim)]
    return max(sizes, default=1)
