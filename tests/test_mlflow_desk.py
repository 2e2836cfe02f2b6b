"""MLflow as the review desk: what a reviewer sees and says, and a store that is down, slow, full or another one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mlflow.entities import Trace
from rich.console import Console

from evolve import run, settings
from evolve.errors import EvolveError, PublishError
from evolve.journal import Journal, Placed
from evolve.lineage import Lineage
from evolve.observers.mlflow import (
    MlflowMirror,
    Progress,
    environment,
    mirror_run,
    pending,
    start,
)
from evolve.observers.mlflow_family import escaped
from evolve.observers.mlflow_review import approved, read
from evolve.problem import Problem
from evolve.publish.review import Review, choose, kept
from evolve.records import Exchange, Fault, Outcome, Placement, Prompt, Proposal, Request, Split, Usage
from tests.mlflow_tools import Search, Viewer, at_once, fill, has_mirrored, until


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def viewer(store: str) -> Viewer:
    return Viewer(store)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory, small: Problem, store: str) -> Search:
    """A search of 40 proposals that has ended and is mirrored; tests only look at it."""
    search = Search(tmp_path_factory.mktemp("runs") / "forty", small)
    with search.create("small") as journal:
        fill(journal, search.records(1, 40))
        journal.note("ended", "budget spent")
    mirror_run(search.folder, store, at_once)
    return search


# ---- what a reviewer sees


def test_beside_the_diff_to_the_parent_there_is_one_to_the_best_seed(
    mirrored: Search, viewer: Viewer
) -> None:
    page = viewer.file(viewer.nested(mirrored.folder)[mirrored.candidate(25).id], "diff_to_best_seed.html")
    assert "compared with</dt><dd>the best seed, bias 3" in page
    assert "bias = 25" in page.replace('<i class="n">', "").replace("</i>", "").replace("<mark>", "").replace(
        "</mark>", ""
    )


def test_the_description_links_to_parents_and_children(mirrored: Search, viewer: Viewer) -> None:
    nested = viewer.nested(mirrored.folder)
    run_ = nested[mirrored.candidate(10).id]
    experiment = run_.info.experiment_id
    for relative in (7, 13):
        other = nested[mirrored.candidate(relative).id].info.run_id
        assert f"](#/experiments/{experiment}/runs/{other})" in run_.data.tags["mlflow.note.content"]


def test_the_last_candidate_has_no_children(mirrored: Search, viewer: Viewer) -> None:
    assert (
        "child"
        not in viewer.nested(mirrored.folder)[mirrored.candidate(40).id].data.tags["mlflow.note.content"]
    )


@pytest.mark.parametrize("text", ["[a](javascript:alert(1))", "<img src=x>", "**b** `c`", "a\nb\u202ec"])
def test_a_candidates_words_are_no_markup(text: str) -> None:
    shown = escaped(text)
    assert "\n" not in shown
    assert "\u202e" not in shown
    assert "<" not in shown
    for sign in "[]()*`":
        assert shown.count(sign) == shown.count(f"\\{sign}")


def test_operators_are_told_by_what_they_yield(mirrored: Search, viewer: Viewer) -> None:
    metrics = viewer.parent(mirrored.folder).data.metrics
    assert metrics["yield.archived/mutate"] == pytest.approx(13 / 37)
    assert metrics["yield.archived/seed"] == pytest.approx(1 / 3)


def test_the_parent_run_holds_the_report_and_says_what_was_shown(mirrored: Search, viewer: Viewer) -> None:
    parent = viewer.parent(mirrored.folder)
    assert "★ champion" in viewer.file(parent, "report.html")
    champion = viewer.nested(mirrored.folder)[mirrored.candidate(25).id].info.run_id
    assert f"runs/{champion})" in parent.data.tags["mlflow.note.content"]


def test_scores_are_told_by_group_of_instances(
    tmp_path: Path, small: Problem, store: str, viewer: Viewer
) -> None:
    search = Search(tmp_path / "groups", small)
    instances = small.split(Split.TRAIN)
    with search.create("groups") as journal:
        candidate = search.candidate(1)
        scores = tuple(float(instance.group["n"]) for instance in instances)
        found = replace(search.evaluation(candidate, Split.TRAIN), scores=scores, objectives=scores)
        journal.append(Proposal(1, "seed", (), candidate), 0.1)
        journal.append(found, 0.1)
        journal.append(Placed(candidate.id, Placement(Outcome.NEW)), 0.1)
    mirror_run(search.folder, store, at_once)
    metrics = viewer.nested(search.folder)[candidate.id].data.metrics
    for size in {instance.group["n"] for instance in instances}:
        assert metrics[f"score.train/n:{size}"] == size


def test_an_opened_holdout_is_no_evaluation_of_the_search(
    tmp_path: Path, small: Problem, store: str, viewer: Viewer
) -> None:
    search = Search(tmp_path / "opened", small)
    with search.create("opened") as journal:
        at = fill(journal, search.records(1, 4))
        journal.append(search.evaluation(search.candidate(1), Split.HOLDOUT), at)
    mirror_run(search.folder, store, at_once)
    assert [step for step, _ in viewer.curve(search.folder, "best.score.train")] == [1, 2, 3, 4]
    assert "score.holdout" in viewer.nested(search.folder)[search.candidate(1).id].data.metrics


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, small: Problem, store: str) -> Search:
    """A mirrored search that asked a model twice: the first call failed, the second one was answered."""
    search = Search(tmp_path_factory.mktemp("runs") / "asking", small)
    with search.create("asking") as journal:
        candidate = search.candidate(1)
        journal.append(Request(1, "improve", "some-model", (), Prompt("be brief", "make it better")), 1.0)
        journal.append(Exchange(1, 1, "some-model", fault=Fault.OVERLOADED, detail="busy", final=False), 2.0)
        usage = Usage(input=100, output=20)
        journal.append(
            Exchange(1, 2, "some-model", "here it is", usage=usage, dollars=0.25, latency_s=1.5), 4.0
        )
        journal.append(Proposal(1, "improve", (), candidate, "", "some-model", 120, 0.25), 4.0)
        journal.append(search.evaluation(candidate, Split.TRAIN), 5.0)
        journal.append(Placed(candidate.id, Placement(Outcome.NEW)), 5.0)
    mirror_run(search.folder, store, at_once)
    return search


def traces(viewer: Viewer, search: Search) -> list[Trace]:
    parent = viewer.parent(search.folder)
    found = viewer.client.search_traces(locations=[parent.info.experiment_id], run_id=parent.info.run_id)
    return sorted(found, key=lambda trace: trace.info.request_time)


def test_calls_to_models_are_traces_with_tokens_and_cost(asking: Search, viewer: Viewer) -> None:
    failed, answered = traces(viewer, asking)
    assert (failed.info.state, failed.info.tags["fault"]) == ("ERROR", "overloaded")
    assert answered.info.token_usage["total_tokens"] == 120
    assert answered.info.cost["total_cost"] == 0.25
    assert answered.info.execution_duration == 1500
    span = answered.data.spans[0]
    assert span.inputs["messages"][1]["content"] == "make it better"
    assert span.outputs["choices"][0]["message"]["content"] == "here it is"


def test_the_parent_run_counts_tokens_and_dollars(asking: Search, viewer: Viewer) -> None:
    metrics = viewer.parent(asking.folder).data.metrics
    assert (metrics["tokens"], metrics["dollars"]) == (120, 0.25)


def test_traces_are_not_doubled(asking: Search, viewer: Viewer, store: str) -> None:
    mirror_run(asking.folder, store, at_once)
    assert len(traces(viewer, asking)) == 2


LOAD = """
import mlflow.pyfunc, pandas as pd
mlflow.set_tracking_uri({store!r})
for alias in ("champion", "challenger"):
    model = mlflow.pyfunc.load_model(f"models:/evolve-small@{{alias}}")
    print(model.predict(pd.DataFrame([{{"p": [3, 1, 2], "w": [1, 1, 1]}}])))
    print(model.metadata.signature is not None, model.input_example is not None)
"""


def test_models_load_by_alias_in_a_fresh_process(mirrored: Search, store: str, tmp_path: Path) -> None:
    assert mirrored.problem.name == "small"
    code = LOAD.format(store=store)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:4] == ["[[1, 2, 0]]", "True True"] * 2


def test_the_alias_is_the_best_champions_in_whatever_order_runs_are_mirrored(
    tmp_path: Path, small: Problem, store: str, viewer: Viewer
) -> None:
    searches = [Search(tmp_path / name, small) for name in ("better", "worse")]
    for search, count in zip(searches, (25, 1), strict=True):
        with search.create("order") as journal:
            fill(journal, search.records(1, count))
        mirror_run(search.folder, store, at_once)
    champion = viewer.client.get_model_version_by_alias("evolve-order", "champion")
    assert champion.tags["evolve.candidate"] == searches[0].candidate(25).id
    # two champions and a challenger of the one, and the other's champion, which is the first one's seed
    assert len(viewer.client.search_model_versions("name = 'evolve-order'")) == 4


# ---- what a reviewer says


def say(viewer: Viewer, folder: Path, candidate: str, verdict: str, reason: str = "") -> None:
    nested = viewer.nested(folder)[candidate].info.run_id
    viewer.client.set_tag(nested, "review", verdict)
    if reason:
        viewer.client.set_tag(nested, "review.reason", reason)


@pytest.fixture
def reviewed(tmp_path: Path, small: Problem, viewer: Viewer, store: str) -> Search:
    """A mirrored run with two champions, the second of them rejected and the first approved."""
    search = Search(tmp_path / "reviewed", small)
    with search.create("reviewed") as journal:
        fill(journal, search.records(1, 30))
    mirror_run(search.folder, store, at_once)
    say(viewer, search.folder, search.candidate(25).id, "Rejected ", "too slow")
    say(viewer, search.folder, search.candidate(1).id, "approved", "reads well")
    return search


def test_the_newest_approved_champion_is_chosen(reviewed: Search, store: str) -> None:
    review = approved(reviewed.folder, None, store)
    assert (review.candidate, review.reason) == (reviewed.candidate(1).id, "reads well")


def test_what_was_rejected_is_refused_with_the_reason(reviewed: Search, store: str) -> None:
    with pytest.raises(PublishError, match="was rejected by its reviewer: too slow"):
        approved(reviewed.folder, reviewed.candidate(25).id[:8], store)


def test_what_nobody_reviewed_is_refused_with_what_to_do(reviewed: Search, store: str) -> None:
    with pytest.raises(PublishError, match="was not reviewed; set the tag `review`"):
        approved(reviewed.folder, reviewed.candidate(13).id, store)


def test_another_word_than_approved_or_rejected_is_named(
    reviewed: Search, store: str, viewer: Viewer
) -> None:
    say(viewer, reviewed.folder, reviewed.candidate(13).id, "fine")
    with pytest.raises(PublishError, match="is 'fine'"):
        approved(reviewed.folder, reviewed.candidate(13).id, store)


def test_of_several_approved_candidates_that_are_no_champions_one_has_to_be_named(reviewed: Search) -> None:
    names = [reviewed.candidate(number).id for number in (4, 7)]
    reviews = {name: Review(name, "approved") for name in names}
    with Journal.open(reviewed.folder, read_only=True) as journal, Lineage(journal) as lineage:
        with pytest.raises(PublishError, match="name one"):
            choose(lineage, None, reviews)
        assert choose(lineage, None, {names[0]: reviews[names[0]]}).candidate == names[0]


def test_reviews_survive_the_loss_of_the_store(reviewed: Search, store: str, tmp_path: Path) -> None:
    mirror_run(reviewed.folder, store, at_once)
    assert kept(reviewed.folder)[reviewed.candidate(25).id].verdict == "rejected"
    another = f"sqlite:///{tmp_path / 'another' / 'mlflow.db'}"
    mirror_run(reviewed.folder, another, at_once)
    tags = Viewer(another).nested(reviewed.folder)[reviewed.candidate(1).id].data.tags
    assert (tags["review"], tags["review.reason"]) == ("approved", "reads well")


def test_a_store_that_cannot_be_read_is_said(reviewed: Search, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EvolveError, match="cannot be read"):
        read(reviewed.folder, f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")


def test_an_approval_is_published_with_its_reason(
    tmp_path: Path, small_folder: Path, store: str, viewer: Viewer
) -> None:
    folder = tmp_path / "run"
    given = {"budget": {"evaluations": 20}, "workers": 1}
    run.start(folder, settings.resolve(str(small_folder), given)).execute()
    mirror_run(folder, store, at_once)
    with Journal.open(folder, read_only=True) as journal, Lineage(journal) as lineage:
        champion = lineage.champion
    say(viewer, folder, champion, "approved", "short and clear")
    command = [sys.executable, "-m", "evolve.cli", "publish", str(folder), "--approved", "--store", store]
    done = subprocess.run(
        [*command, "--to", str(tmp_path / "package")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "| review | approved: short and clear |" in (tmp_path / "package" / "README.md").read_text()
    say(viewer, folder, champion, "rejected", "second thoughts")
    done = subprocess.run(
        [*command, "--to", str(tmp_path / "again")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "second thoughts" in done.stderr
    assert not (tmp_path / "again").exists()


# ---- a store that is down, slow or full


def test_a_store_that_comes_back_during_the_search_gets_everything(tmp_path: Path, small: Problem) -> None:
    search = Search(tmp_path / "runs" / "back", small)
    (tmp_path / "gone").touch()
    store = f"sqlite:///{tmp_path / 'gone' / 'mlflow.db'}"
    with search.create() as journal:
        process = start(search.folder, store, follow=True)
        until(lambda: bool((pending(search.folder) or Progress()).trouble))
        at = fill(journal, search.records(1, 9))
        (tmp_path / "gone").unlink()
        until(has_mirrored(search.folder, 9))
        fill(journal, search.records(10, 12), at=at)
        journal.note("ended", "budget spent")
    assert process.wait(120) == 0
    assert sorted(Viewer(store).nested(search.folder)) == sorted(search.archived(12))
    progress = pending(search.folder)
    assert progress is not None
    assert (progress.done, progress.trouble, progress.error) == (True, "", "")


def test_what_one_mirror_could_not_send_the_next_one_sends(tmp_path: Path, small: Problem) -> None:
    store = f"sqlite:///{tmp_path / 'gone' / 'mlflow.db'}"
    (tmp_path / "gone").touch()
    searches = [Search(tmp_path / "runs" / name, small) for name in ("first", "second")]
    for search in searches:
        with search.create() as journal:
            fill(journal, search.records(1, 3))
            journal.note("ended", "budget spent")
    assert start(searches[0].folder, store, follow=True).wait(120) == 1
    (tmp_path / "gone").unlink()
    assert start(searches[1].folder, store, follow=True).wait(120) == 0
    for search in searches:
        assert sorted(Viewer(store).nested(search.folder)) == sorted(search.archived(3))
        assert (pending(search.folder) or Progress()).done


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    held.append(listening.accept()[0])
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        for each in held:
            each.close()


def test_a_server_that_never_answers_does_not_stop_a_search(
    tmp_path: Path, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(
        "evolve.observers.mlflow.STUCK_S", 600.0
    )  # a crowded machine takes long to import MLflow
    given = {"budget": {"evaluations": 20}, "workers": 1}
    with silent_server() as store:
        mirror = MlflowMirror(store)
        result = run.start(tmp_path / "run", settings.resolve(str(small_folder), given), [mirror]).execute()
        assert result.evaluations == 20
        progress = mirror.wait(Console(stderr=True), timeout_s=600)
        assert progress.trouble or progress.error
        until(lambda: bool((pending(tmp_path / "run") or Progress()).error))


def test_a_full_disk_is_said_and_what_is_missing_is_sent_when_there_is_room(
    tmp_path: Path, small: Problem
) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    first = Search(tmp_path / "runs" / "first", small)
    with first.create() as journal:
        fill(journal, first.records(1, 3))
    mirror_run(first.folder, store, at_once)
    search = Search(tmp_path / "runs" / "search", small)
    with search.create() as journal:
        fill(journal, search.records(1, 60))
    blocks = (tmp_path / "mlflow.db").stat().st_size // 1024 + 8
    command = f"ulimit -f {blocks}; exec {sys.executable} -m evolve.observers.mlflow {search.folder} --store {store}"
    done = subprocess.run(
        ["bash", "-c", command], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    progress = pending(search.folder)
    assert progress is not None
    assert "failed" in progress.error
    mirror_run(search.folder, store, at_once)
    assert sorted(Viewer(store).nested(search.folder)) == sorted(search.archived(60))


# ---- a server of its own, on PostgreSQL


def postgres() -> Path | None:
    """The folder of PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def cluster() -> Iterator[str]:
    """A PostgreSQL server with a database; gives its address."""
    # not in pytest's own folders, which the server's user cannot enter
    with TemporaryDirectory(prefix="evolve-postgresql-") as folder:
        yield from _serve(Path(folder))


def _serve(folder: Path) -> Iterator[str]:
    bin_ = postgres()
    assert bin_ is not None
    user = "postgres" if os.getuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(folder, user)
    data, port = str(folder / "data"), free_port()
    init = [str(bin_ / "initdb"), "-D", data, "-U", "evolve", "--auth=trust", "--no-sync"]
    subprocess.run(init, user=user, cwd="/", check=True, capture_output=True)
    command = [str(bin_ / "postgres"), "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data, "-F"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, user=user, cwd="/", stdout=log, stderr=log)
    try:
        ready = [
            str(bin_ / "pg_isready"),
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-U",
            "evolve",
            "-d",
            "postgres",
        ]
        until(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0)
        yield f"postgresql+psycopg2://evolve@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(60)


@contextmanager
def server(backend: str, folder: Path) -> Iterator[str]:
    """An MLflow server as a team would run it, which keeps the artifacts itself; gives its address."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--backend-store-uri", backend, "--artifacts-destination", str(folder)]
    with (folder.parent / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log, start_new_session=True)

    def answers() -> bool:
        assert process.poll() is None, (folder.parent / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    try:
        until(answers, 300)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):  # it has failed
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.mark.slow
@pytest.mark.skipif(
    postgres() is None or (os.getuid() == 0 and not Path("/usr/lib/postgresql").exists()),
    reason="needs PostgreSQL (Debian and Ubuntu: `apt install postgresql`)",
)
def test_a_remote_server_on_postgresql_shows_the_same_as_a_local_store(
    tmp_path_factory: pytest.TempPathFactory, small: Problem, mirrored: Search, viewer: Viewer
) -> None:
    pytest.importorskip("psycopg2", reason="needs psycopg2")
    tmp_path = tmp_path_factory.mktemp("remote")
    expected = viewer.nested(mirrored.folder)
    with cluster() as backend, server(backend, tmp_path / "artifacts") as uri:
        copy = Search(tmp_path / "runs" / mirrored.folder.name, small)
        shutil.copytree(mirrored.folder, copy.folder)
        mirror_run(copy.folder, uri, at_once)
        remote = Viewer(uri)
        before = remote.everything(copy.folder)
        found = remote.nested(copy.folder)
        assert {key: each.data.metrics for key, each in found.items()} == {
            key: each.data.metrics for key, each in expected.items()
        }
        one = mirrored.candidate(25)
        assert remote.file(found[one.id], "program.py") == one.files["program.py"]
        assert "★ champion" in remote.file(remote.parent(copy.folder), "report.html")
        champion = remote.client.get_model_version_by_alias("evolve-small", "champion")
        assert champion.tags["evolve.candidate"] == one.id
        mirror_run(copy.folder, uri, at_once)
        assert remote.everything(copy.folder) == before
        say(remote, copy.folder, one.id, "approved", "from afar")
        assert approved(copy.folder, None, uri).reason == "from afar"
