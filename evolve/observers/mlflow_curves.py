"""What the mirror shows of evaluations: numbers of one candidate, and the curves of a whole search."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evolve.records import Evaluation, Instance, Placement, Split, Status

NAME_CHARACTERS = 250
_ODD = re.compile(r"[^\w.:/ -]")
WINDOW = 100  # evaluations over which their rate is taken
NO_FAILURE = frozenset({Status.OK, Status.RACED_OUT, Status.DUPLICATE})


@dataclass(frozen=True)
class Measured:
    """What a nested run shows of an evaluation, without the scores of single instances."""

    split: Split
    score: float
    objective: float
    worst_decile: float
    cpu_s: float
    peak_mb: float
    text: str
    groups: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, evaluation: Evaluation, instances: Sequence[Instance] = ()) -> Measured:
        """`instances`: of its split, for the scores of groups; without them there are none."""
        numbers = (evaluation.score, evaluation.objective, evaluation.worst_decile)
        head = (
            f"{evaluation.split}: {evaluation.status}, score {evaluation.score:.6g}, "
            f"objective {evaluation.objective:.6g}, {evaluation.instances} instances, "
            f"{evaluation.cpu_s:.3g} s of CPU, {evaluation.peak_mb:.0f} MB, jail {evaluation.jail}"
        )
        text = f"{head}\n{evaluation.feedback}\n"
        cost = (round(evaluation.cpu_s, 6), evaluation.peak_mb)
        return cls(evaluation.split, *numbers, *cost, text, group_scores(evaluation, instances))

    def means(self) -> dict[str, float]:
        return {f"score.{self.split}": self.score, f"objective.{self.split}": self.objective}

    def values(self) -> dict[str, float]:
        return {**self.means(), f"worst_decile.{self.split}": self.worst_decile, **self.groups}


def group_scores(evaluation: Evaluation, instances: Sequence[Instance]) -> dict[str, float]:
    """Mean score of each group of instances, by the name of a metric: "score.train/n:50"."""
    if not evaluation.ok or len(instances) != len(evaluation.scores):
        return {}
    members: dict[str, list[float]] = {}
    for instance, score in zip(instances, evaluation.scores, strict=True):
        for key, value in instance.group.items():
            members.setdefault(metric(f"score.{evaluation.split}/{key}:{value}"), []).append(score)
    return {name: math.fsum(scores) / len(scores) for name, scores in members.items()}


def metric(name: str) -> str:
    """A name that every MLflow store takes for a metric."""
    return _ODD.sub("_", name)[:NAME_CHARACTERS]


@dataclass
class Tally:
    """The curves of a search: a fold over its journal."""

    evaluations: int = 0
    failures: int = 0
    best: Measured | None = None
    champion: Measured | None = None
    members: set[str] = field(default_factory=set)
    tokens: int = 0
    dollars: float = 0.0
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW + 1))

    def evaluated(self, evaluation: Evaluation, measured: Measured, at: float) -> bool:
        """Count an evaluation on train; whether the curves get a point here.

        Every evaluation has one up to 1,000, then every tenth up to 10,000, and so on; so has every new best.
        """
        self.evaluations += 1
        self.failures += evaluation.status not in NO_FAILURE
        self._times.append(at)
        improved = evaluation.ok and (self.best is None or measured.score > self.best.score)
        if improved:
            self.best = measured
        every = 10 ** max(0, len(str(self.evaluations)) - 3)
        return improved or self.evaluations % every == 0

    def spent(self, tokens: int, dollars: float) -> None:
        """Count a call to a model."""
        self.tokens += tokens
        self.dollars += dollars

    def placed(self, candidate: str, placement: Placement) -> None:
        self.members.discard(placement.replaced)
        self.members.add(candidate)

    def values(self) -> dict[str, float]:
        values = {
            "failures.share": self.failures / self.evaluations if self.evaluations else math.nan,
            "archive.size": float(len(self.members)),
            "evaluations_per_s": self._rate(),
        }
        if self.tokens:
            values |= {"tokens": float(self.tokens), "dollars": self.dollars}
        if self.best:
            values |= {"best.score.train": self.best.score, "best.objective.train": self.best.objective}
        return values | self.champion_values()

    def champion_values(self) -> dict[str, float]:
        if self.champion is None:
            return {}
        return {f"champion.{name}": value for name, value in self.champion.means().items()}

    def _rate(self) -> float:
        taken = self._times[-1] - self._times[0] if self._times else 0.0
        enough = len(self._times) >= WINDOW // 10 and taken > 0
        return (len(self._times) - 1) / taken if enough else math.nan
