"""An MLflow tracking store, written in few calls, each of which can be repeated without doubling anything.

Imports MLflow, so only the mirror's process imports this file.

A nested run costs 92 ms on SQLite as MLflow sets it up, most of it waiting for the disk; with a write-ahead
log and synchronous=NORMAL a power cut may lose the last writes, which the journal can give back at any time.
"""

from __future__ import annotations

import fcntl
import json
import math
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import sqlalchemy.event
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import Engine

from evolve.sharing.offers import UnusableOffer, read_bytes

BUSY_S = 60  # how long to wait for another writer of the same SQLite file
METRICS = 1000  # a batch holds at most this many, by MLflow's rule
PARAMS = 100
PAGE = 1000
TAG_CHARACTERS = 5000
PARAM_CHARACTERS = 6000
CHAMPION, CHALLENGER = "champion", "challenger"  # aliases of the registered model

RUN, CANDIDATE, JUDGED, CHILDREN = "evolve.run", "evolve.candidate", "evolve.judged", "evolve.children"
REVIEW, REASON = "review", "review.reason"  # tags that a reviewer sets
NOTE = "mlflow.note.content"  # shown as Markdown
KIND = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens it as runs, not as traces
PARENT = "mlflow.parentRunId"

Point = tuple[str, float, int, int]
"""A metric: its name, its value, the time in ms since 1970, and the step."""


@dataclass(frozen=True)
class Nested:
    """A nested run as the store has it.

    artifacts: where its artifacts are (a URI). done: all of it was written. judged: so was its promotion.
    children: how many its description names. review: verdict and reason of a reviewer; "" if there is none.
    """

    run: str
    artifacts: str
    done: bool = False
    judged: bool = False
    children: int = 0
    review: tuple[str, str] = ("", "")

    @classmethod
    def of(cls, run: Run) -> Nested:
        tags = run.data.tags
        return cls(
            run.info.run_id,
            run.info.artifact_uri,
            run.info.status == "FINISHED",
            JUDGED in tags,
            int(tags.get(CHILDREN, "0")),
            (tags.get(REVIEW, ""), tags.get(REASON, "")),
        )


@dataclass(frozen=True)
class Winner:
    """A nested run of a candidate that was promoted. key: of its search. number: of its proposal there."""

    run: str
    key: str
    candidate: str
    number: int


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite store; None for any other store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def artifact_folder(uri: str) -> Path | None:
    """Where artifacts of an SQLite store go: beside it. None for a store that decides that itself."""
    file = sqlite_file(uri)
    return file.resolve().parent / "mlartifacts" if file else None


class Store:
    """One experiment of one tracking store.

    Raises:
        MlflowException, OSError, sqlalchemy.exc.SQLAlchemyError: the store is out of reach (every method).
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        with _opening(uri):
            self._client = MlflowClient(uri, uri)
            self.experiment = self._experiment(experiment)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            folder = artifact_folder(self.uri)
            location = (folder / name).as_uri() if folder else None
            return str(self._client.create_experiment(name, location, tags=KIND))
        if found.lifecycle_stage == LifecycleStage.DELETED:
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    # ---- runs

    def parent(self, key: str) -> Run | None:
        """The parent run of a search, if the store has it."""
        found = self._runs(f"tags.`{RUN}` = '{key}'")
        return next((run for run in found if PARENT not in run.data.tags), None)

    def nested(self, parent: str) -> dict[str, Nested]:
        """The nested runs of a search by candidate."""
        return {
            run.data.tags[CANDIDATE]: Nested.of(run)
            for run in self._runs(f"tags.`{PARENT}` = '{parent}'")
            if CANDIDATE in run.data.tags
        }

    def reviewed(self, key: str) -> dict[str, Nested]:
        """The nested runs of a search that have a reviewer's verdict, by candidate."""
        found = self._runs(f"tags.`{RUN}` = '{key}' AND tags.`{REVIEW}` LIKE '%'")
        return {run.data.tags[CANDIDATE]: Nested.of(run) for run in found if CANDIDATE in run.data.tags}

    def champions(self, digest: str, count: int) -> list[Winner]:
        """Candidates that were promoted by any search of this version of a problem, the newest first."""
        rule = f"tags.champion = 'true' AND tags.`{RUN}` LIKE '% {digest}'"
        newest = ["attributes.start_time DESC"]
        found = self._client.search_runs([self.experiment], rule, ViewType.ACTIVE_ONLY, count, newest)
        return [
            Winner(
                run.info.run_id,
                run.data.tags[RUN],
                run.data.tags[CANDIDATE],
                _count(run.data.metrics.get("number", 0.0)),
            )
            for run in found
            if CANDIDATE in run.data.tags
        ]

    def texts(self, run: str, names: Sequence[str], limit: int) -> dict[str, str]:
        """Artifacts of a run by name, of at most `limit` bytes each.

        Raises:
            UnusableOffer: one is missing or larger.
            UnicodeDecodeError: one is no text.
        """
        sizes = {found.path: found.file_size or 0 for found in self._client.list_artifacts(run)}
        found = {}
        with tempfile.TemporaryDirectory(prefix="evolve-") as folder:
            for name in names:
                if sizes.get(name, limit + 1) > limit:
                    raise UnusableOffer(f"{name}: missing, or more than {limit} bytes")
                place = Path(self._client.download_artifacts(run, name, folder))
                found[name] = read_bytes(place, limit).decode()
        return found

    def _runs(self, rule: str) -> Iterator[Run]:
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs(
                [self.experiment], rule, ViewType.ACTIVE_ONLY, PAGE, page_token=token or None
            )
            yield from page
            token = page.token or None

    def create(self, key: str, name: str, at_ms: int, tags: Mapping[str, str]) -> Nested:
        """A new run."""
        source = {RUN: key, "mlflow.source.name": "evolve", "mlflow.source.type": "LOCAL"}
        clipped = {name: value[:TAG_CHARACTERS] for name, value in {**source, **tags}.items()}
        info = self._client.create_run(self.experiment, at_ms, clipped, name).info
        return Nested(info.run_id, info.artifact_uri)

    def log(
        self,
        run: str,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Metrics, then params, then tags; tags come last, so they may say that the rest is written."""
        metrics = [Metric(name, value, time, step) for name, value, time, step in points]
        listed = [Param(name, value[:PARAM_CHARACTERS]) for name, value in (params or {}).items()]
        marks = [RunTag(name, value[:TAG_CHARACTERS]) for name, value in (tags or {}).items()]
        for batch in _batches(metrics, METRICS):
            self._client.log_batch(run, metrics=batch)
        for batch in _batches(listed, PARAMS):
            self._client.log_batch(run, params=batch)
        if marks:
            self._client.log_batch(run, tags=marks)

    def write(self, nested: Nested, files: Mapping[str, str]) -> None:
        """Artifacts of a run, by name; those of the same name are replaced."""
        if nested.artifacts.startswith("file:"):
            # what the client would do, without asking the store for the run each time
            _write(Path(url2pathname(urlsplit(nested.artifacts).path)), files)
            return
        with tempfile.TemporaryDirectory(prefix="evolve-") as folder:
            _write(Path(folder), files)
            self._client.log_artifacts(nested.run, folder)

    def resume(self, run: str) -> None:
        """Show a run as going on."""
        self._client.update_run(run, status="RUNNING")

    def end(self, run: str, at_ms: int, status: Literal["FINISHED", "KILLED"] = "FINISHED") -> None:
        self._client.set_terminated(run, status, at_ms)

    def share_view(self, key: str, parent: str, order: str, columns: Sequence[str]) -> None:
        """A view of one search's nested runs, with the columns that matter, best first.

        The UI opens a runs page without any metric; it takes a view from an experiment's tag, by the key in
        its address (`viewStateShareKey`).
        """
        view = {
            "searchFilter": f"tags.`{PARENT}` = '{parent}'",
            "orderByKey": order,
            "orderByAsc": False,
            "selectedColumns": list(columns),
        }
        self._client.set_experiment_tag(self.experiment, f"mlflow.sharedViewState.{key}", json.dumps(view))

    # ---- models

    def versions(self, model: str, key: str) -> dict[str, str]:
        """Versions of a model that came from one search: number of the version by candidate."""
        found = self._client.search_model_versions(f"name = '{model}'", max_results=10_000)
        return {
            version.tags[CANDIDATE]: str(version.version) for version in found if version.tags.get(RUN) == key
        }

    def register(self, model: str, nested: Nested, folder: Path, tags: Mapping[str, str], text: str) -> str:
        """Put a saved model among a run's artifacts and make it the newest version of a registered model."""
        self._client.log_artifacts(nested.run, str(folder), "model")
        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made: Any = self._client.create_model_version(
            model, f"{nested.artifacts}/model", nested.run, dict(tags), description=text, await_creation_for=0
        )
        return str(made.version)

    def holder(self, model: str, alias: str) -> dict[str, str]:
        """The tags of the version that an alias points to; empty if there is none."""
        try:
            return dict(self._client.get_model_version_by_alias(model, alias).tags)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return {}
            raise

    def point(self, model: str, alias: str, version: str) -> None:
        """Point an alias at a version."""
        self._client.set_registered_model_alias(model, alias, version)

    def analyse(self) -> None:
        """Let SQLite count its rows: ordering 10,000 runs by a metric then takes 0.05 s instead of 5.2 s."""
        file = sqlite_file(self.uri)
        if file:
            with closing(sqlite3.connect(file, timeout=BUSY_S)) as database:
                database.execute("PRAGMA analysis_limit = 1000")
                database.execute("ANALYZE")


def _count(value: float) -> int:
    return int(value) if math.isfinite(value) and value >= 0 else 0


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        place = folder / name.replace("/", "_")
        place.write_text(text, encoding="utf-8", errors="backslashreplace")


def _batches(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


@contextmanager
def _opening(uri: str) -> Iterator[None]:
    """While a store is opened, its tables are made or migrated: one process at a time."""
    file = sqlite_file(uri)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    if not sqlalchemy.event.contains(Engine, "connect", _tune):
        sqlalchemy.event.listen(Engine, "connect", _tune)
    with (file.parent / f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tune(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
