"""Searches share candidates through the MLflow store that they are mirrored to."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from evolve import run
from evolve.observers.mlflow import mirror_run
from evolve.observers.mlflow_inbox import LOG_FILE, Inbox, fetching
from evolve.problem import Problem
from evolve.records import Candidate
from evolve.sharing import offers
from evolve.sharing.neighbours import INBOX
from tests.mlflow_tools import Search, at_once, fill
from tests.test_run import children, resolved
from tests.test_sharing import Patient, ended, migrants, placed, trained


def mirrored(folder: Path, problem: Problem, store: str, digest: str) -> Candidate:
    """The champion of a search that has ended."""
    search = Search(folder, problem)
    with search.create(problem.name) as journal:
        journal.note("digest", digest)
        fill(journal, search.records(1, 1))
        journal.note("ended", "budget spent")
    mirror_run(search.folder, store, at_once)
    return search.candidate(1)


def test_champions_of_other_runs_come_through_the_store(tmp_path: Path, small: Problem) -> None:
    store, folder = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "run"
    champion = mirrored(tmp_path / "other", small, store, small.digest)
    mirrored(tmp_path / "older", small, store, "0123456789abcdef")
    settings = resolved(small.folder, "share.mlflow=true", "share.every=5", evaluations=20)
    made = run.start(folder, settings, [Patient()])
    inbox = folder / INBOX
    Inbox(folder, store).fetch()
    assert len(offers.names(inbox, "")) == 1, "only runs of the same version of the problem"
    assert ended(made).shared == run.Shared(1, len(placed(folder) & {champion.id}), ())
    (came,) = migrants(folder)
    assert came.files == champion.files
    assert came.note == f"candidate {champion.id} (#1) of other on MLflow"
    assert came.id in trained(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="walks /proc")
def test_the_process_that_fetches_ends_with_the_search(tmp_path: Path, small: Problem) -> None:
    folder = tmp_path / "run"
    made = run.start(folder, resolved(small.folder, "share.mlflow=true", evaluations=5))
    before = set(children(os.getpid()))
    with fetching(folder, f"sqlite:///{tmp_path / 'mlflow.db'}"):
        (process,) = set(children(os.getpid())) - before
    assert not Path(f"/proc/{process}").exists()
    assert (folder / LOG_FILE).is_file()
    made.journal.close()
