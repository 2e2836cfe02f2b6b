"""The MLflow mirror: real journals, real SQLite stores, real processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import mlflow.pyfunc
import pandas as pd
import pytest

from evolve import settings
from evolve.errors import EvolveError, JournalError, UsageError
from evolve.folders import FILE
from evolve.journal import Journal, Placed
from evolve.observers.mlflow import (
    Progress,
    default_store,
    link,
    mirror,
    mirror_run,
    pending,
    start,
    summary,
)
from evolve.observers.mlflow_ui import ui_command
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.records import (
    Exchange,
    Outcome,
    Placement,
    Prompt,
    Proposal,
    Request,
)
from evolve.settings import ArchiveSettings
from tests.mlflow_tools import ESCAPE, Search, Viewer, at_once, fill, has_mirrored, until


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def viewer(store: str) -> Viewer:
    return Viewer(store)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory, small: Problem, store: str) -> Search:
    """A search of 40 proposals that has ended and is mirrored."""
    search = Search(tmp_path_factory.mktemp("runs") / "forty", small)
    with search.create("small") as journal:
        fill(journal, search.records(1, 40))
        journal.note("ended", "budget spent")
    mirror_run(search.folder, store, at_once)
    return search


def test_every_archived_candidate_has_one_finished_nested_run(mirrored: Search, viewer: Viewer) -> None:
    nested = viewer.nested(mirrored.folder)
    assert sorted(nested) == sorted(mirrored.archived(40))
    assert {run.info.status for run in nested.values()} == {"FINISHED"}


def test_a_nested_run_says_where_its_candidate_comes_from(mirrored: Search, viewer: Viewer) -> None:
    candidate = mirrored.candidate(10)
    tags = viewer.nested(mirrored.folder)[candidate.id].data.tags
    shown = {name: tags[name] for name in ("parents", "operator", "note", "outcome", "cell", "champion")}
    assert shown == {
        "parents": mirrored.candidate(7).id,
        "operator": "mutate",
        "note": "bias 10",
        "outcome": "new",
        "cell": "island 1",
        "champion": "false",
    }


def test_a_nested_run_has_the_measurements_of_both_splits(mirrored: Search, viewer: Viewer) -> None:
    metrics = viewer.nested(mirrored.folder)[mirrored.candidate(25).id].data.metrics
    assert metrics == pytest.approx(
        {
            "score.train": 0.025,
            "objective.train": 8.475,
            "worst_decile.train": -0.225,
            "score.validation": 0.025,
            "objective.validation": 8.475,
            "worst_decile.validation": -0.225,
            "cpu_s": 0.25,
            "peak_mb": 40.0,
            "number": 25.0,
        }
    )


def test_program_diff_and_feedback_are_artifacts(mirrored: Search, viewer: Viewer) -> None:
    candidate = mirrored.candidate(25)
    run = viewer.nested(mirrored.folder)[candidate.id]
    assert viewer.file(run, "program.py") == candidate.files["program.py"]
    assert mirrored.candidate(22).id in viewer.file(run, "diff.html")
    feedback = viewer.file(run, "feedback.txt")
    assert "worst: n=50" in feedback
    assert "promoted: better on validation; difference +0.02 [+0.01, +0.03] at 95%" in feedback


def test_a_model_its_prompt_and_its_reply_are_with_the_candidate(
    tmp_path: Path, small: Problem, store: str, viewer: Viewer
) -> None:
    search = Search(tmp_path / "asked", small)
    candidate = search.candidate(1)
    given = ["proposer=llm", "models=['http://127.0.0.1:80/v1#m']"]
    with search.create() as journal:
        tree = {"llm": {"prices": {"http://127.0.0.1:80/v1#m": "1/2"}}}
        settings.save(settings.resolve(str(small.folder), tree, given), search.folder / "settings.toml")
        model = "http://127.0.0.1:80/v1#m"
        journal.append(Request(1, "improve", model, (), Prompt("rules", "improve this"), 9, 0.1), 0.1)
        journal.append(Exchange(1, 1, model, reply="Idea: better"), 0.2)
        journal.append(Proposal(1, "improve", (), candidate, model=model), 0.2)
        journal.append(Placed(candidate.id, Placement(Outcome.NEW)), 0.3)
    mirror_run(search.folder, store, at_once)
    run = viewer.nested(search.folder)[candidate.id]
    assert run.data.tags["model"] == model
    assert viewer.file(run, "prompt.md") == "rules\n\nimprove this"
    assert viewer.file(run, "reply.md") == "Idea: better"


def test_the_duration_of_a_nested_run_is_its_cpu_time(mirrored: Search, viewer: Viewer) -> None:
    info = viewer.nested(mirrored.folder)[mirrored.candidate(25).id].info
    assert info.end_time - info.start_time == 250


def test_the_parent_run_has_the_settings_as_params(mirrored: Search, viewer: Viewer) -> None:
    params = viewer.parent(mirrored.folder).data.params
    assert params["archive.islands"] == str(ArchiveSettings().islands)
    assert params["problem.digest"] == mirrored.problem.digest
    assert params["version.python"] == "3.11.7"
    assert params["jail.level"] == "full"


def test_curves_are_drawn_against_evaluations(mirrored: Search, viewer: Viewer) -> None:
    curve = viewer.curve(mirrored.folder, "best.score.train")
    assert [step for step, _ in curve] == list(range(1, 41))
    assert curve[-1] == (40, pytest.approx(0.04))
    assert viewer.curve(mirrored.folder, "failures.share")[-1][1] == pytest.approx(13 / 40)


def test_a_search_that_ended_is_finished_and_one_that_was_killed_says_so(
    mirrored: Search, viewer: Viewer, tmp_path: Path, store: str
) -> None:
    assert viewer.parent(mirrored.folder).info.status == "FINISHED"
    search = Search(tmp_path / "killed", mirrored.problem)
    with search.create() as journal:
        fill(journal, search.records(1, 2))
    mirror_run(search.folder, store, at_once)
    assert viewer.parent(search.folder).info.status == "KILLED"


def test_mirroring_again_changes_nothing(mirrored: Search, viewer: Viewer, store: str) -> None:
    before = viewer.everything(mirrored.folder)
    mirror_run(mirrored.folder, store, at_once)
    assert viewer.everything(mirrored.folder) == before


def test_the_last_promoted_candidate_is_the_champion_of_the_model(mirrored: Search, viewer: Viewer) -> None:
    champion = viewer.client.get_model_version_by_alias("evolve-small", "champion")
    assert champion.tags["evolve.candidate"] == mirrored.candidate(25).id
    versions = viewer.client.search_model_versions("name = 'evolve-small'")
    assert sorted(v.tags["evolve.candidate"] for v in versions) == sorted(
        mirrored.candidate(number).id for number in (1, 25, 37)
    )
    assert viewer.nested(mirrored.folder)[mirrored.candidate(25).id].data.tags["champion"] == "true"
    assert viewer.nested(mirrored.folder)[mirrored.candidate(13).id].data.tags["champion"] == "false"


def test_the_best_that_was_not_shown_to_be_better_is_the_challenger(mirrored: Search, viewer: Viewer) -> None:
    challenger = viewer.client.get_model_version_by_alias("evolve-small", "challenger")
    assert challenger.tags["evolve.candidate"] == mirrored.candidate(37).id


def load_champion(store: str, name: str) -> mlflow.pyfunc.PyFuncModel:
    mlflow.set_tracking_uri(store)
    return mlflow.pyfunc.load_model(f"models:/evolve-{name}@champion")


def test_the_model_answers_with_decisions(mirrored: Search, store: str) -> None:
    model = load_champion(store, mirrored.problem.name)
    instances = pd.DataFrame([{"p": [3, 1, 2], "w": [1, 1, 1]}, {"p": [5, 1], "w": [1, 1]}])
    assert model.predict(instances) == [[1, 2, 0], [1, 0]]


def test_the_model_runs_the_program_in_the_jail(tmp_path: Path, small: Problem, store: str) -> None:
    search, trace = Search(tmp_path / "hostile", small), tmp_path / "trace"
    source = ESCAPE.replace("{path!r}", repr(str(trace)))
    with search.create("hostile") as journal:
        fill(journal, search.records(1, 1, source))
    mirror_run(search.folder, store, at_once)
    with pytest.raises(EvolveError, match="forbidden"):
        load_champion(store, "hostile").predict(pd.DataFrame([{"p": [1], "w": [1]}]))
    assert not trace.exists()


def test_a_champion_of_a_problem_that_has_gone_is_mirrored_without_a_model(
    tmp_path: Path, small: Problem, store: str, viewer: Viewer
) -> None:
    search = Search(tmp_path / "orphan", small)
    with search.create("orphan") as journal:
        journal.note("folder", str(tmp_path / "gone"))
        fill(journal, search.records(1, 1))
    mirror_run(search.folder, store, at_once)
    tags = viewer.nested(search.folder)[search.candidate(1).id].data.tags
    assert tags["champion"] == "true"
    assert "gone" in tags["model"]


def test_what_a_resumed_run_was_given_anew_goes_into_tags(
    tmp_path: Path, small: Problem, store: str, viewer: Viewer
) -> None:
    search = Search(tmp_path / "resumed", small)
    with search.create() as journal:
        fill(journal, search.records(1, 2))
        mirror_run(search.folder, store, at_once)
        more = settings.resolve(str(small.folder), {"budget": {"seconds": 90.0}})
        settings.save(more, search.folder / "settings.toml")
        fill(journal, search.records(3, 4), at=1.0)
    mirror_run(search.folder, store, at_once)
    parent = viewer.parent(search.folder)
    assert parent.data.params["budget.seconds"] == "60.0"
    assert parent.data.tags["resumed.budget.seconds"] == "90.0"
    assert sorted(viewer.nested(search.folder)) == sorted(search.archived(4))


def test_text_that_is_hostile_or_long_is_mirrored(
    tmp_path: Path, small: Problem, store: str, viewer: Viewer
) -> None:
    search = Search(tmp_path / 'it\'s "odd" #1 %41', small)
    candidate = make_candidate({"program.py": "x = '\u202e'"}, operator="o\n" * 9999, note="\0'\";--" * 2000)
    with search.create() as journal:
        journal.append(Proposal(1, candidate.operator, (), candidate), 0.1)
        journal.append(Placed(candidate.id, Placement(Outcome.NEW)), 0.1)
    mirror_run(search.folder, store, at_once)
    mirror_run(search.folder, store, at_once)
    assert list(viewer.nested(search.folder)) == [candidate.id]


def test_an_entry_that_is_missing_from_the_journal_does_not_stop_the_mirror(
    tmp_path: Path, small: Problem, store: str, viewer: Viewer
) -> None:
    search = Search(tmp_path / "gap", small)
    with search.create() as journal:
        fill(journal, search.records(1, 20))
    with sqlite3.connect(search.folder / FILE) as database:
        database.execute("DELETE FROM evaluations WHERE status = 'crashed'")
    mirror_run(search.folder, store, at_once)
    assert sorted(viewer.nested(search.folder)) == sorted(search.archived(20))


def test_a_deleted_experiment_comes_back_with_the_next_search(
    tmp_path: Path, small: Problem, store: str, viewer: Viewer
) -> None:
    search = Search(tmp_path / "deleted", small)
    with search.create("deleted") as journal:
        fill(journal, search.records(1, 2))
    mirror_run(search.folder, store, at_once)
    viewer.client.delete_experiment(pending(search.folder).experiment_id)  # type: ignore[union-attr]
    mirror_run(search.folder, store, at_once)
    assert viewer.client.get_experiment_by_name("deleted").lifecycle_stage == "active"


def test_a_mirror_that_is_killed_and_begun_again_misses_nothing_and_doubles_nothing(
    tmp_path: Path, small: Problem, store: str, viewer: Viewer
) -> None:
    search = Search(tmp_path / "followed", small)
    with search.create() as journal:
        first = start(search.folder, store, follow=True)
        at = fill(journal, search.records(1, 60), pause_s=0.005)
        until(has_mirrored(search.folder, 30))
        at = fill(journal, search.records(61, 100), at=at)
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        second = start(search.folder, store, follow=True)
        at = fill(journal, search.records(101, 130), pause_s=0.005, at=at)
        journal.note("ended", "budget spent")
    assert second.wait(120) == 0
    nested = viewer.nested(search.folder)
    assert sorted(nested) == sorted(search.archived(130))
    assert {run.info.status for run in nested.values()} == {"FINISHED"}
    assert all("score.train" in run.data.metrics for run in nested.values())
    assert [step for step, _ in viewer.curve(search.folder, "best.score.train")] == list(range(1, 131))
    progress = pending(search.folder)
    assert progress is not None
    assert progress.done
    assert progress.mirrored == progress.total


def test_a_mirror_whose_search_was_killed_mirrors_the_rest_and_ends(
    tmp_path: Path, small: Problem, store: str, viewer: Viewer
) -> None:
    search = Search(tmp_path / "left", small)
    with search.create() as journal:
        fill(journal, search.records(1, 9))
    code = (
        "import sys, time; from pathlib import Path; from evolve.observers.mlflow import start\n"
        f"start(Path({str(search.folder)!r}), {store!r}, follow=True)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    until(lambda: (pending(search.folder) or Progress()).done)
    assert sorted(viewer.nested(search.folder)) == sorted(search.archived(9))
    assert viewer.parent(search.folder).info.status == "KILLED"


SEARCH = """
import sys
from pathlib import Path
from rich.console import Console
from evolve import run, settings
from evolve.observers.mlflow import MlflowMirror
folder, problem, store = sys.argv[1:]
given = {"budget": {"evaluations": 30}, "workers": 1, "jail": {"minimum": "rlimits"}}
chosen = settings.resolve(problem, given)
mirror = MlflowMirror(store)
run.start(Path(folder), chosen, [mirror]).execute()
progress = mirror.wait(Console(width=300), float('inf'))
loaded = [name for name in ("mlflow", "sqlalchemy", "pandas") if name in sys.modules]
print(progress.done, progress.mirrored == progress.total, loaded)
"""


def test_a_search_is_mirrored_without_importing_mlflow_itself(
    tmp_path: Path, small_folder: Path, store: str, viewer: Viewer
) -> None:
    folder = tmp_path / "real"
    command = [sys.executable, "-c", SEARCH, str(folder), str(small_folder), store]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "True True []"
    assert "`evolve mlflow` shows this run at http://127.0.0.1:5000/#/experiments/" in output
    with Journal.open(folder, read_only=True) as journal:
        placed = [e.record.candidate for e in journal.entries() if isinstance(e.record, Placed)]
    assert sorted(viewer.nested(folder)) == sorted(placed)


def test_a_store_out_of_reach_is_said_with_what_to_type(tmp_path: Path, small: Problem) -> None:
    search = Search(tmp_path / "unreached", small)
    search.create().close()
    (tmp_path / "file").touch()
    with pytest.raises(EvolveError, match=r"Not a directory|File exists"):
        mirror(search.folder, f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")
    progress = pending(search.folder)
    assert progress is not None
    assert f"`evolve sync {search.folder}`" in summary(search.folder, progress)


def test_mirroring_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"no journal\.db there"):
        mirror(tmp_path)


def test_a_run_that_was_never_mirrored_has_no_progress(tmp_path: Path) -> None:
    assert pending(tmp_path) is None


def test_the_store_is_the_setting_then_the_environment_then_a_file_under_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_store() == f"sqlite:///{tmp_path}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9999")
    assert default_store() == "http://127.0.0.1:9999"
    assert default_store("sqlite:///own.db") == f"sqlite:///{tmp_path}/own.db"


@pytest.mark.usefixtures("mirrored")
def test_the_ui_is_served_to_this_machine_alone(store: str) -> None:
    command = ui_command(store, 5001)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--backend-store-uri") + 1] == store


def test_the_ui_of_a_store_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="evolve run PROBLEM"):
        ui_command(f"sqlite:///{tmp_path}/none.db")


def test_the_link_leads_to_a_view_of_the_candidates_of_the_search(mirrored: Search, viewer: Viewer) -> None:
    progress = pending(mirrored.folder)
    assert progress is not None
    address = urlsplit(urlsplit(link(progress)).fragment)
    assert address.path == f"/experiments/{progress.experiment_id}/runs"
    tags = viewer.client.get_experiment(progress.experiment_id).tags
    view = json.loads(tags["mlflow.sharedViewState." + parse_qs(address.query)["viewStateShareKey"][0]])
    shown = viewer.client.search_runs(
        [progress.experiment_id], view["searchFilter"], order_by=[view["orderByKey"]]
    )
    assert [run.data.tags["evolve.candidate"] for run in shown] == mirrored.archived(40)
