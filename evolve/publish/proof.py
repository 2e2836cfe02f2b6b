"""The facts of a proof, as they stand in PROOF.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np

from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.problem import Problem
from evolve.publish import story, usage
from evolve.publish.holdout import Measured, Rival
from evolve.publish.review import Review
from evolve.records import MIGRANT, Candidate, Evaluation, Instance, Split
from evolve.settings import Settings
from evolve.statistics import Interval, bootstrap_mean, finite, paired_bootstrap

FORMAT = 2
VERSION = "0.1.0"  # of a candidate that no registry knows
PRIVATE = {"problem", "data", "mlflow", "share"}  # settings that name places on this machine


@dataclass(frozen=True)
class Registered:
    """The candidate as a version of a registered model."""

    model: str
    version: int


@dataclass(frozen=True)
class Case:
    """What is published, and where it comes from."""

    problem: Problem
    settings: Settings
    journal: Journal
    lineage: Lineage
    candidate: Candidate
    module: str
    review: Review | None = None
    registered: Registered | None = None

    @property
    def version(self) -> str:
        """Of the package: that of the model registry, if it knows the candidate."""
        return f"0.{self.registered.version}.0" if self.registered else VERSION

    @property
    def instances(self) -> tuple[Instance, ...]:
        return self.problem.split(Split.HOLDOUT)


def facts(case: Case, measured: Measured) -> dict[str, Any]:
    """Everything that a reader needs to judge the claim; what is not a finite number is null."""
    growth = usage.growth(case.journal, case.problem, case.candidate, case.settings.jail.minimum)
    found: dict[str, Any] = finite(
        {
            "format": FORMAT,
            "module": case.module,
            "version": case.version,
            "registered": asdict(case.registered) if case.registered else None,
            "entry": _entry(case.problem),
            "problem": _problem(case.problem),
            "candidate": {
                "id": case.candidate.id,
                "operator": case.candidate.operator,
                "note": case.candidate.note,
                "number": case.candidate.number,
            },
            "holdout": {
                **_holdout(case, measured),
                "openings": [asdict(each) for each in measured.openings],
                "elsewhere": measured.elsewhere,
            },
            "rivals": [_rival(case, measured.evaluation, *pair) for pair in measured.rivals],
            "train": _stored(case, Split.TRAIN),
            "validation": _stored(case, Split.VALIDATION),
            "promotion": _promotion(case),
            "review": {"verdict": case.review.verdict, "reason": case.review.reason} if case.review else None,
            "search": _search(case),
            "lineage": _lineage(case),
            "usage": {
                "groups": _verdicts(case, measured),
                "shape": usage.shape(case.candidate),
                "growth": asdict(growth) if growth else None,
            },
        }
    )
    return found


def _entry(problem: Problem) -> dict[str, Any]:
    entry = problem.spec.entry
    return {
        "function": entry.function,
        "parameters": entry.parameters,
        "returns": entry.returns,
        "signature": entry.signature,
        "interactive": entry.interactive,
        "also": entry.optional,
        "harness": problem.spec.harness
        and {
            "program": problem.spec.program.removesuffix(".py"),
            "parameters": problem.spec.harness.parameters,
            "consults": problem.spec.harness.consults,
        },
    }


def _problem(problem: Problem) -> dict[str, Any]:
    spec = problem.spec
    return {
        "name": spec.name,
        "title": spec.title,
        "version": spec.version,
        "digest": problem.digest,
        "data": {"name": problem.data.path.name, "digest": problem.data.digest} if problem.data else None,
        "objective": msgspec.to_builtins(spec.objective),
        "score": {
            "zero": f"the program '{spec.score.baseline}'",
            "one": "the bound",
            "floor": spec.score.floor,
        },
        "limits": msgspec.to_builtins(spec.limits),
    }


def _lineage(case: Case) -> list[dict[str, Any]]:
    """The steps from the seed; each with its score on train, the first one with what it says of itself."""
    found = []
    for node in case.lineage.line(case.candidate.id):
        verdict = case.lineage.verdict(node.id, Split.TRAIN)
        found.append({**asdict(node), "train": verdict.score if verdict else None})
    seed = case.journal.candidate(found[0]["id"])
    if found[0]["operator"] == MIGRANT:  # it names the host of the other run, which is nobody's business
        found[0]["note"] = found[0]["note"].rpartition(" on ")[0]
    found[0]["about"] = story.about(seed.files.get(case.problem.spec.program, ""))
    return found


def _verdicts(case: Case, measured: Measured) -> list[dict[str, Any]]:
    sound = {rival.name: found for rival, found in measured.rivals if found.ok}
    keys = case.problem.spec.report.group_by
    level = case.settings.promotion.confidence
    return usage.verdicts(case.instances, keys, measured.evaluation, sound, level)


def _holdout(case: Case, measured: Measured) -> dict[str, Any]:
    evaluation, settings = measured.evaluation, case.settings.promotion
    intervals = {
        f"{name}_interval": _ends(bootstrap_mean(values, settings.confidence, settings.resamples))
        for name, values in (("objective", evaluation.objectives), ("score", evaluation.scores))
    }
    return {
        **figures(evaluation),
        **intervals,
        "confidence": settings.confidence,
        "bound": float(np.mean([instance.bound for instance in case.instances])),
        "summary": _summary(case, evaluation),
        "groups": _groups(case, measured),
    }


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation's figures; objectives in the objective's unit, CPU over all instances."""
    return {
        "status": str(evaluation.status),
        "objective": evaluation.objective,
        "score": evaluation.score,
        "worst_decile": evaluation.worst_decile,
        "instances": evaluation.instances,
        "cpu_s": evaluation.cpu_s,
        "slowest": evaluation.slowest,
        "peak_mb": evaluation.peak_mb,
        "jail": evaluation.jail,
        "feedback": "" if evaluation.ok else evaluation.feedback,
    }


def _ends(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


def _summary(case: Case, evaluation: Evaluation) -> dict[str, float]:
    summarise = getattr(case.problem.evaluator, "summary", None)
    found = summarise(case.instances, evaluation.objectives) if summarise else {}
    return {str(name): float(value) for name, value in found.items()}


def _groups(case: Case, measured: Measured) -> dict[str, list[dict[str, Any]]]:
    """For each key of the instance grid, in the order of the values: size and mean objectives."""
    return {
        key: [_group(case, measured, key, value) for value in _values(case.instances, key)]
        for key in case.problem.spec.report.group_by
    }


def _values(instances: Sequence[Instance], key: str) -> list[Any]:
    values = list(dict.fromkeys(instance.group.get(key) for instance in instances))
    return sorted(values, key=lambda value: (isinstance(value, str), value is None, value))


def _group(case: Case, measured: Measured, key: str, value: object) -> dict[str, Any]:
    chosen = [index for index, instance in enumerate(case.instances) if instance.group.get(key) == value]
    sound = {rival.name: found for rival, found in measured.rivals if found.ok}
    return {
        "value": value,
        "instances": len(chosen),
        "objective": float(np.mean([measured.evaluation.objectives[index] for index in chosen])),
        "score": float(np.mean([measured.evaluation.scores[index] for index in chosen])),
        "rivals": {
            name: float(np.mean([found.objectives[index] for index in chosen]))
            for name, found in sound.items()
        },
    }


def _rival(case: Case, ours: Evaluation, rival: Rival, theirs: Evaluation) -> dict[str, Any]:
    return {
        "name": rival.name,
        "role": rival.role,
        "candidate": rival.candidate.id,
        **figures(theirs),
        "difference": _difference(case, ours, theirs) if theirs.ok else None,
    }


def _difference(case: Case, ours: Evaluation, theirs: Evaluation) -> dict[str, Any]:
    """Paired, ours minus theirs, over the instances; a bootstrap interval for each."""
    chosen, families = case.settings.promotion, case.problem.families(ours.split)
    score, raw = (
        paired_bootstrap(one, other, chosen.confidence, chosen.resamples, families=families)
        for one, other in ((ours.scores, theirs.scores), (ours.objectives, theirs.objectives))
    )
    return {
        "score": score.mean,
        "score_interval": _ends(score),
        "objective": raw.mean,
        "objective_interval": _ends(raw),
        "better": score.low > 0,
    }


def _stored(case: Case, split: Split) -> dict[str, Any] | None:
    evaluation = case.lineage.evaluation(case.candidate.id, split)
    return figures(evaluation) if evaluation else None


def _promotion(case: Case) -> dict[str, Any] | None:
    verdicts = [p for p in case.lineage.promotions if p.challenger == case.candidate.id]
    return asdict(verdicts[-1]) if verdicts else None


def _search(case: Case) -> dict[str, Any]:
    journal = case.journal
    settings: dict[str, Any] = msgspec.to_builtins(case.settings)
    return {
        "proposer": case.settings.proposer,
        "seed": case.settings.seed,
        "started": journal.meta("started"),
        "elapsed_s": case.lineage.elapsed_s,
        "candidates": len(case.lineage.nodes),
        "evaluated": sum(split is Split.TRAIN for _, split in case.lineage.verdicts),
        "settings": {key: value for key, value in settings.items() if key not in PRIVATE},
        "versions": json.loads(journal.meta("versions") or "{}"),
    }
