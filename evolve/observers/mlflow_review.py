"""Reads what reviewers have said in an MLflow store: the tags `review` and `review.reason` of nested runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from evolve import settings
from evolve.errors import EvolveError
from evolve.folders import run_key
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.observers.mlflow import brief, default_store, environment, pending
from evolve.publish.proof import Registered
from evolve.publish.review import Review, choose, keep


def read(folder: Path, store: str = "") -> Mapping[str, Review]:
    """The reviews of a run's candidates, those of the store and those kept with the run.

    Args:
        store: tracking URI; "" = that of the run's settings, or the default.

    Raises:
        JournalError, SettingsError: the folder is no run.
        EvolveError: the store cannot be read.
    """
    uri = default_store(store or settings.load(folder / "settings.toml").mlflow.store)
    with Journal.open(folder, read_only=True) as journal:
        key, name = run_key(folder, journal.meta("started"), journal.meta("digest")), journal.meta("problem")
    os.environ.update(environment())
    from evolve.observers.mlflow_store import Store

    try:
        found = Store(uri, name).reviewed(key)
    except Exception as error:  # MLflow, SQLAlchemy and requests each raise their own
        raise EvolveError(f"the MLflow store {uri} cannot be read: {brief(error)}") from None
    reviews = [
        Review(identity, _word(nested.review[0]), nested.review[1], uri) for identity, nested in found.items()
    ]
    return keep(folder, reviews)


def approved(folder: Path, identity: str | None, store: str = "") -> Review:
    """The review of what may be published (see `publish.review.choose`).

    Raises:
        PublishError: nothing was approved, or not this.
        what `read` raises.
    """
    reviews = read(folder, store)
    with Journal.open(folder, read_only=True) as journal, Lineage(journal) as lineage:
        return choose(lineage, identity, reviews)


def registered(folder: Path, identity: str) -> Registered | None:
    """A candidate's version of the registered model in the store that the run was mirrored to; None if unknown.

    A store that is out of reach knows nothing: publishing needs none.
    """
    progress = pending(folder)
    if progress is None or not progress.parent_run_id:
        return None
    os.environ.update(environment())
    with Journal.open(folder, read_only=True) as journal:
        key, name = run_key(folder, journal.meta("started"), journal.meta("digest")), journal.meta("problem")
    from evolve.observers.mlflow_store import Store

    model = f"evolve-{name}"
    try:
        version = Store(progress.store, name).versions(model, key).get(identity)
    except Exception as error:  # MLflow, SQLAlchemy and requests each raise their own
        print(f"the MLflow store {progress.store} cannot be read: {brief(error)}", file=sys.stderr)
        return None
    return Registered(model, int(version)) if version else None


def _word(verdict: str) -> str:
    return verdict.strip().lower()
