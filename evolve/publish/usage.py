"""When to use a heuristic and when not, and what it costs: from its holdout results, group by group."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evolve import program
from evolve.evaluate import Evaluator
from evolve.journal import Journal
from evolve.problem import Problem
from evolve.records import Candidate, Evaluation, Instance, Split
from evolve.statistics import paired_bootstrap

Facts = Mapping[str, Any]

SMALLEST_GROUP = 5  # instances; fewer decide nothing
SPREAD = 3.0  # ratio of the largest to the smallest instance from which growth is worth a figure
SMALLEST_S = 1e-6  # CPU clock's step: a shorter time tells nothing
NOTE = "holdout_times"


# ---- where it wins and loses


def verdicts(
    instances: Sequence[Instance],
    keys: Sequence[str],
    ours: Evaluation,
    rivals: Mapping[str, Evaluation],
    level: float,
) -> list[dict[str, Any]]:
    """For every group of instances and every rival whether ours is better, worse, or neither is shown.

    Args:
        level: confidence of the paired bootstrap intervals.
    """
    found = []
    for key in keys:
        for value in dict.fromkeys(instance.group.get(key) for instance in instances):
            chosen = [place for place, instance in enumerate(instances) if instance.group.get(key) == value]
            for name, theirs in rivals.items():
                found.append(
                    {
                        "key": key,
                        "value": value,
                        "rival": name,
                        **_verdict(
                            chosen, ours, theirs, level, [instances[place].family for place in chosen]
                        ),
                    }
                )
    return found


def _verdict(
    chosen: Sequence[int], ours: Evaluation, theirs: Evaluation, level: float, families: Sequence[str]
) -> dict[str, Any]:
    our_scores, their_scores = ([each.scores[place] for place in chosen] for each in (ours, theirs))
    interval = paired_bootstrap(our_scores, their_scores, level, families=families)
    enough = len(chosen) >= SMALLEST_GROUP
    word = "better" if interval.low > 0 else "worse" if interval.high < 0 else "level"
    return {
        "instances": len(chosen),
        "score": interval.mean,
        "interval": [interval.low, interval.high],
        "ours_is": word if enough else "level",
    }


def when(proof: Facts) -> list[str]:
    """Sentences: where it was shown to be better than the best rival, where some rival is better, what is unknown."""
    sound = [rival for rival in proof["rivals"] if rival["status"] == "ok"]
    if not sound or not proof["usage"]["groups"]:
        return [_outside(proof)]
    best = max(sound, key=lambda rival: rival["score"])["name"]
    wins = _listed(proof, best, "better")
    losses: dict[str, list[str]] = {}
    for rival in sound:
        if places := _listed(proof, rival["name"], "worse"):
            losses.setdefault(places, []).append(rival["name"])
    told = [f"{places} ({_joined(names)} better there)" for places, names in losses.items()]
    use = f"Use it {wins}: there it was better than {best}, the best rival" if wins else ""
    avoid = f"Do not use it {'; nor '.join(told)}" if told else ""
    none = "" if losses else "In no group of the holdout was a rival shown to be better"
    return [f"{sentence}." for sentence in (use, avoid, none) if sentence] + [_outside(proof)]


def _listed(proof: Facts, rival: str, word: str) -> str:
    """ "for every n, or where TF is 0.4 or 0.6"; "" if there is none."""
    compared = [each for each in proof["usage"]["groups"] if each["rival"] == rival]
    parts = []
    for key in dict.fromkeys(each["key"] for each in compared):
        words = {str(each["value"]): each["ours_is"] for each in compared if each["key"] == key}
        values = [value for value, found in words.items() if found == word]
        if values:
            parts.append(
                f"for every {key}" if len(values) == len(words) else f"where {key} is {_either(values)}"
            )
    return ", or ".join(parts)


def _joined(names: Sequence[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} are"


def _either(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"


def _outside(proof: Facts) -> str:
    spans = [
        f"{key} {_span([row['value'] for row in rows])}"
        for key, rows in proof["holdout"]["groups"].items()
        if rows
    ]
    return (
        f"Measured for {'; '.join(spans)}. Nothing is known beyond."
        if spans
        else "Nothing is known beyond the holdout."
    )


def _span(values: Sequence[Any]) -> str:
    if len(values) > 2 and all(isinstance(value, (int, float)) for value in values):
        return f"{min(values)} to {max(values)}"
    return _either([str(value) for value in values]).replace(" or ", " and ")


# ---- what it costs


@dataclass(frozen=True)
class Growth:
    """CPU time against the size of an instance, size being the length of its longest argument.

    exponent: slope of a line through the logarithms, with its standard error; the time grows about as size^exponent.
    """

    exponent: float
    error: float
    smallest: int
    largest: int


def shape(candidate: Candidate) -> dict[str, int]:
    """Lines, functions and loops of a program, and how deep loops nest within one function."""
    trees = [program.parse(text, name) for name, text in candidate.files.items()]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {
        "lines": sum(bool(line.strip()) for text in candidate.files.values() for line in text.splitlines()),
        "functions": sum(isinstance(node, ast.FunctionDef) for node in nodes),
        "loops": sum(isinstance(node, _LOOPS) for node in nodes),
        "depth": max((_depth(tree) for tree in trees), default=0),
    }


_LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _depth(node: ast.AST) -> int:
    below = max((_depth(child) for child in ast.iter_child_nodes(node)), default=0)
    return below + isinstance(node, _LOOPS)


def growth(journal: Journal, problem: Problem, candidate: Candidate, minimum: str) -> Growth | None:
    """How the CPU time grows over the holdout; None where instances do not differ in size, or are played or batched.

    The times are taken once and kept in the journal: the same proof comes out when it is made again.
    """
    if problem.spec.entry.interactive or problem.spec.harness:
        return None
    known = json.loads(journal.meta(NOTE) or "{}")
    if candidate.id not in known:
        known[candidate.id] = list(_times(problem, candidate, minimum))
        journal.note(NOTE, json.dumps(known))
    sizes, seconds = np.array(known[candidate.id] or [[0, 0]], float).T
    return _fit(sizes, np.maximum(seconds, SMALLEST_S))


def _times(problem: Problem, candidate: Candidate, minimum: str) -> Iterator[tuple[int, float]]:
    instances = problem.split(Split.HOLDOUT)
    with Evaluator(problem, minimum) as evaluator:
        scale = evaluator.scale(Split.HOLDOUT)
        with evaluator.session(candidate) as session:
            for place, instance in enumerate(instances):
                # one question at a time: of several that are written ahead, the clock is not read between each two
                answer = next(scale.ask(session, [place]))
                if answer.failure is not None:
                    return
                yield _size(instance), answer.cpu_s


def _size(instance: Instance) -> int:
    lengths = [len(value) for value in instance.arguments.values() if isinstance(value, (list, np.ndarray))]
    return max(lengths, default=0)


def _fit(sizes: Any, seconds: Any) -> Growth | None:
    distinct = np.unique(sizes)
    if len(distinct) < 3 or distinct[0] < 1 or distinct[-1] / distinct[0] < SPREAD:
        return None
    x, y = np.log(sizes), np.log(seconds)
    x = x - x.mean()
    slope = float((x * y).sum() / (x * x).sum())
    residue = y - y.mean() - slope * x
    error = float(np.sqrt((residue**2).sum() / (len(x) - 2) / (x * x).sum()))
    return Growth(slope, error, int(distinct[0]), int(distinct[-1]))


def cost(proof: Facts) -> str:
    """Sentences on the program's size and time."""
    shape, holdout, found = proof["usage"]["shape"], proof["holdout"], proof["usage"]["growth"]
    text = (
        f"{shape['lines']} lines in {shape['functions']} function{'s' * (shape['functions'] != 1)}, loops nested "
        f"{shape['depth']} deep within one function; {1000 * holdout['cpu_s'] / holdout['instances']:.3g} ms of CPU "
        f"per instance on average"
    )
    if found is None:
        return f"{text}."
    return (
        f"{text}. Measured from size {found['smallest']} to {found['largest']}, the time grows about as "
        f"size^{found['exponent']:.2f} (standard error {found['error']:.2f})."
    )
