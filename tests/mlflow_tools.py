"""Journals such as a search appends them, and what somebody sees who looks at the store with MLflow's own client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from evolve import settings
from evolve.journal import Journal, Placed, Record
from evolve.observers.mlflow import Progress, pending
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.records import Candidate, Evaluation, Outcome, Placement, Promotion, Proposal, Split, Status

PROGRAM = """def order(p, w):
    bias = {number}
    return sorted(range(len(p)), key=lambda j: p[j] / w[j] + bias)
"""
ESCAPE = """def order(p, w):
    open({path!r}, "w").write("{number}")
    return list(range(len(p)))
"""


@dataclass
class Search:
    """A run's folder, and records such as a search appends: a third fails, a third enters the archive."""

    folder: Path
    problem: Problem
    began: str = "2026-03-01T12:00:00+0000"

    def create(self, name: str = "other") -> Journal:
        self.folder.mkdir(parents=True)
        settings.save(settings.resolve(str(self.problem.folder), {}), self.folder / "settings.toml")
        meta = {
            "problem": name,
            "folder": str(self.problem.folder),
            "digest": self.problem.digest,
            "started": self.began,
            "versions": '{"evolve": "0.1.0", "python": "3.11.7"}',
        }
        return Journal.create(self.folder, meta)

    def records(self, first: int, last: int, source: str = PROGRAM) -> Iterator[Record]:
        for number in range(first, last + 1):
            candidate = self.candidate(number, source)
            yield Proposal(number, candidate.operator, candidate.parents, candidate)
            if number % 3 == 2:
                yield Evaluation(candidate.id, Split.TRAIN, Status.CRASHED, feedback="instance a: IndexError")
                continue
            yield self.evaluation(candidate, Split.TRAIN)
            if number % 3 == 1:
                yield Placed(candidate.id, Placement(Outcome.NEW, "island 1"))
            if number % 12 == 1:
                yield self.evaluation(candidate, Split.VALIDATION)
                yield self.promotion(candidate, promoted=number % 24 == 1)

    def candidate(self, number: int, source: str = PROGRAM) -> Candidate:
        parents = (self.candidate(number - 3, source).id,) if number > 3 else ()
        made = make_candidate({"program.py": source.replace("{number}", str(number))}, parents)
        return Candidate(
            made.id, made.files, parents, "mutate" if parents else "seed", f"bias {number}", number
        )

    def evaluation(self, candidate: Candidate, split: Split) -> Evaluation:
        score = candidate.number / 1000
        return Evaluation(
            candidate=candidate.id,
            split=split,
            status=Status.OK,
            objectives=(9.0 - score, 8.0 - score),
            scores=(score - 0.25, score + 0.25),
            instances=2,
            feedback="worst: n=50",
            cpu_s=0.25,
            peak_mb=40.0,
            jail="full",
        )

    def promotion(self, candidate: Candidate, promoted: bool) -> Promotion:
        before = self.candidate(candidate.number - 12).id if candidate.number > 12 else ""
        return Promotion(candidate.id, before, promoted, 0.02, 0.01, 0.03, 0.95, 2, "better on validation")

    def archived(self, last: int) -> list[str]:
        return [self.candidate(number).id for number in range(1, last + 1) if number % 3 == 1]


def fill(journal: Journal, records: Iterator[Record], pause_s: float = 0.0, at: float = 0.0) -> float:
    for record in records:
        at += 0.01
        journal.append(record, at)
        time.sleep(pause_s)
    return at


@dataclass
class Viewer:
    """What somebody sees who looks at the store with MLflow's own client."""

    uri: str

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri, self.uri)

    def runs(self, folder: Path) -> list[Run]:
        progress = pending(folder)
        assert progress is not None
        found = self.client.search_runs([progress.experiment_id], "", ViewType.ALL, 5000)
        parent = progress.parent_run_id
        return [run for run in found if parent in (run.info.run_id, run.data.tags.get("mlflow.parentRunId"))]

    def parent(self, folder: Path) -> Run:
        return next(run for run in self.runs(folder) if "mlflow.parentRunId" not in run.data.tags)

    def nested(self, folder: Path) -> dict[str, Run]:
        runs = [run for run in self.runs(folder) if "mlflow.parentRunId" in run.data.tags]
        by_candidate = {run.data.tags["evolve.candidate"]: run for run in runs}
        assert len(by_candidate) == len(runs), "a candidate has two runs"
        return by_candidate

    def curve(self, folder: Path, metric: str) -> list[tuple[int, float]]:
        history = self.client.get_metric_history(self.parent(folder).info.run_id, metric)
        return [(point.step, point.value) for point in history]

    def file(self, run: Run, name: str) -> str:
        return Path(self.client.download_artifacts(run.info.run_id, name)).read_text(encoding="utf-8")

    def everything(self, folder: Path) -> list[object]:
        client, metrics = self.client, ("best.score.train", "champion.score.validation", "failures.share")
        return [
            sorted((run.info.run_id, *sorted(run.data.tags.items())) for run in self.runs(folder)),
            [self.curve(folder, metric) for metric in metrics],
            sorted((v.name, v.version, v.tags["evolve.candidate"]) for v in client.search_model_versions("")),
        ]


def until(happened: Callable[[], bool], limit_s: float = 120.0) -> None:
    deadline = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def has_mirrored(folder: Path, entries: int) -> Callable[[], bool]:
    return lambda: (pending(folder) or Progress()).mirrored >= entries


def at_once(_journal: Journal) -> bool:
    return True
