"""Searches share candidates through the MLflow store that they are mirrored to."""

from __future__ import annotations

from pathlib import Path

from evolve import run
from evolve.observers.mlflow import mirror_run
from evolve.observers.mlflow_inbox import LOG_FILE, fetching
from evolve.problem import Problem
from evolve.sharing import offers
from evolve.sharing.neighbours import INBOX
from tests.mlflow_tools import Search, at_once, fill
from tests.test_run import resolved, wait_for
from tests.test_sharing import Patient, ended, migrants, trained


def mirrored(folder: Path, problem: Problem, store: str, digest: str) -> Search:
    """A search that has ended, with champions number 1 and 25."""
    search = Search(folder, problem)
    with search.create(problem.name) as journal:
        journal.note("digest", digest)
        fill(journal, search.records(1, 25))
        journal.note("ended", "budget spent")
    mirror_run(search.folder, store, at_once)
    return search


def test_champions_of_other_runs_come_through_the_store(tmp_path: Path, small: Problem) -> None:
    store, folder, lost = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "run", tmp_path / "lost"
    other = mirrored(tmp_path / "other", small, store, small.digest)
    mirrored(tmp_path / "older", small, store, "0123456789abcdef")
    settings = resolved(small.folder, "share.mlflow=true", "share.every=5", evaluations=20)
    made, astray = (run.start(each, settings, [Patient()]) for each in (folder, lost))
    inbox = folder / INBOX
    with fetching(folder, store), fetching(lost, "sqlite:////proc/nothing/mlflow.db"):
        wait_for(lambda: inbox.is_dir() and offers.names(inbox, ""), 60)
        wait_for(lambda: (lost / LOG_FILE).read_text(), 60)
    assert len(offers.names(inbox, "")) == 1, "only runs of the same version of the problem"
    result = ended(made)
    came = migrants(folder)
    assert [each.files for each in came] == [other.candidate(number).files for number in (25, 1)]
    assert came[0].note == f"candidate {other.candidate(25).id} (#25) of other on MLflow"
    assert {each.id for each in came} <= trained(folder).keys()
    assert result.shared is not None
    assert ended(astray).evaluations == 20
    assert "nothing/mlflow.db" in (lost / LOG_FILE).read_text()
