"""Where candidates are evaluated: what every backend keeps to, and what a cluster adds: lost workers, foreign hosts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest

from evolve import problem, run, settings
from evolve.backends import check, make_backend
from evolve.backends.base import Backend, Host, Lost, Returned
from evolve.backends.crew import ATTEMPTS, Crew
from evolve.backends.environment import scrubbed
from evolve.backends.local import LocalWorkers, within_gpus
from evolve.backends.messages import Batch, Done, Examined, Reply, pack
from evolve.backends.pace import BATCH_S, Pace
from evolve.backends.parcel import Parcel, open_parcel, wrap
from evolve.backends.station import examine, serve
from evolve.errors import BackendError, SettingsError, UsageError
from evolve.evaluate import Evaluator
from evolve.jail import Level, machine
from evolve.journal import Entry
from evolve.problem import Problem
from evolve.records import Evaluation, Proposal, Split, Status
from evolve.search import Task
from evolve.settings import BackendSettings
from evolve.trial import Race, Seen
from tests.contracts.backend import (
    PATIENCE_S,
    ApartContract,
    BackendContract,
    chosen,
    essence,
    program,
    talking,
)
from tests.test_run import entries, facts, wait_for

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bench"))
import netns  # noqa: E402

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None,
    reason="dask is not installed: pip install 'evolve[dask]'",
)
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install 'evolve[ray]'"
)
IN_ORDER = "return list(range(len(p)))"
BUSY = "[None for _ in range(60000)]; " + IN_ORDER


class TestLoky(BackendContract):
    @staticmethod
    @contextmanager
    def make(the_problem: Problem, folder: Path, seen: Seen) -> Iterator[Backend]:
        with make_backend(the_problem, chosen(folder), seen) as made:
            yield made


class ClusterContract(ApartContract):
    def test_the_holdout_is_not_sent(self, backend: Backend) -> None:
        with pytest.raises(BackendError, match="the holdout is never sent"):
            backend.submit(Task(program(IN_ORDER), Split.HOLDOUT, None))


@needs_dask
class TestDask(ClusterContract):
    @staticmethod
    @contextmanager
    def make(the_problem: Problem, folder: Path, seen: Seen) -> Iterator[Backend]:
        with make_backend(the_problem, chosen(folder, kind="dask"), seen) as made:
            yield made

    def test_a_killed_worker_loses_nothing_and_blames_nobody(self, backend: Any, here: Evaluator) -> None:
        candidates = [program(BUSY, number) for number in range(12)]
        futures = [backend.submit(Task(candidate, Split.TRAIN, None)) for candidate in candidates]
        pids = backend._engine._client.run(os.getpid)
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        found = [future.result(PATIENCE_S) for future in futures]
        expected = [here.evaluate(candidate, Split.TRAIN) for candidate in candidates]
        assert list(map(essence, found)) == list(map(essence, expected))


@needs_ray
class TestRay(ClusterContract):
    @staticmethod
    @contextmanager
    def make(the_problem: Problem, folder: Path, seen: Seen) -> Iterator[Backend]:
        with make_backend(the_problem, chosen(folder, kind="ray"), seen) as made:
            yield made

    def test_it_listens_on_loopback_alone_and_asks_for_a_token(self, backend: Backend) -> None:
        import ray

        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]


@needs_dask
def test_with_one_worker_a_run_on_dask_is_the_run_here_and_goes_on_here(
    small_folder: Path, tmp_path: Path
) -> None:
    for kind in ("loky", "dask"):
        searched = run.start(tmp_path / kind, chosen(small_folder, 1, kind=kind))
        searched.execute()
        searched.journal.close()
    assert facts(tmp_path / "dask") == facts(tmp_path / "loky")
    again = run.reopen(
        tmp_path / "dask", settings.BudgetSettings(evaluations=60), backend=BackendSettings(), workers=1
    )
    assert again.execute().evaluations == 60
    again.journal.close()
    tried = [e.record for e in entries(tmp_path / "dask") if isinstance(e.record, Evaluation)]
    assert len({(each.candidate, each.split) for each in tried}) == len(tried)
    assert settings.load(tmp_path / "dask" / run.SETTINGS_FILE).backend.kind == "loky"


# -- hosts


@contextmanager
def process(*words: str, prefix: tuple[str, ...] = (), **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program of its own, killed with all its children at the end."""
    made = subprocess.Popen(
        [*prefix, sys.executable, "-m", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    try:
        yield made
    finally:
        with suppress(ProcessLookupError):
            os.killpg(made.pid, signal.SIGKILL)
        made.communicate()


@contextmanager
def scheduler(host: str) -> Iterator[str]:
    """A Dask scheduler that listens on `host`; its address."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        words = ("distributed.cli.dask_scheduler", "--host", host, "--port=0", "--no-dashboard")
        with process(*words, f"--scheduler-file={file}"):
            wait_for(lambda: file.is_file() and file.read_bytes().endswith(b"}"), PATIENCE_S)
            yield str(msgspec.json.decode(file.read_bytes())["address"])


def worker(address: str, *prefix: str, **environment: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """A Dask worker with one thread."""
    words = ("distributed.cli.dask_worker", address, "--nthreads=1", "--no-nanny", "--no-dashboard")
    return process(*words, prefix=prefix, **environment)


def await_workers(address: str, count: int) -> None:
    """Until so many are at the scheduler."""
    from distributed import Client

    with Client(address, timeout=PATIENCE_S, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=PATIENCE_S)


class Lasting:
    """Lets a search with a budget of seconds end once `enough` says so, however long that takes."""

    def __init__(self, enough: Callable[[run.Run], bool]) -> None:
        self.enough = enough
        self.until = time.monotonic() + PATIENCE_S

    def begin(self, running: run.Run) -> None: ...

    def entry(self, running: run.Run, entry: Entry) -> None: ...

    def end(self, running: run.Run, result: run.Result) -> None: ...

    def tick(self, running: run.Run) -> None:
        assert time.monotonic() < self.until, "waited in vain"
        if self.enough(running):
            running.search.budget.limits = settings.BudgetSettings(evaluations=1)


@needs_dask
@pytest.mark.skipif(machine().level is not Level.FULL, reason="this machine has no level to lose")
def test_a_host_below_the_minimum_gets_no_work_and_it_is_said_once(
    small_folder: Path, tmp_path: Path
) -> None:
    hidden = tmp_path / "bin"  # where a worker finds no bubblewrap
    hidden.mkdir()
    with scheduler("127.0.0.1") as address:
        the_settings = msgspec.structs.replace(
            chosen(small_folder),
            workers=0,
            backend=BackendSettings("dask", address),
            jail=settings.JailSettings("full"),
            budget=settings.BudgetSettings(seconds=2 * PATIENCE_S),
        )
        # either host may be the first to have been examined
        lasting = Lasting(lambda running: running.search.evaluations >= 40 and bool(running.remarks))
        with worker(address, PATH=str(hidden)), worker(address):
            await_workers(address, 2)
            search = run.start(tmp_path / "run", the_settings, [lasting])
            result = search.execute()
            noted = search.journal.meta(run.HOSTS_NOTE)
            search.journal.close()
    assert result.evaluations >= 40
    said = [remark for remark in search.remarks if "gets no work" in remark]
    assert len(said) == 1
    assert "jail level landlock+seccomp" in said[0]
    assert "the settings demand 'full'" in said[0]
    assert said[0] in msgspec.json.decode(noted)["remarks"]
    assert {
        entry.record.jail for entry in entries(tmp_path / "run") if isinstance(entry.record, Evaluation)
    } == {"full"}


def parcel_of(the_problem: Problem, folder: Path) -> Parcel:
    return wrap(the_problem, chosen(folder), False, False, "")


def test_searches_on_the_same_workers_do_not_know_each_others_decisions(small_folder: Path) -> None:
    parcel = parcel_of(problem.load(str(small_folder)), small_folder)
    sent = msgspec.msgpack.encode(parcel)

    def evaluate(name: str, horizon: int, *digests: str) -> Evaluation:
        task = Task(program(IN_ORDER), Split.TRAIN, Race((8,), None, 0.95, horizon))
        batch = pack(parcel.key, name, [(1, task)], 0, list(digests), 60.0)
        reply = msgspec.msgpack.decode(serve(batch, sent), type=Reply)
        assert reply.known == len(digests)
        (done,) = reply.done
        assert done.evaluation is not None
        return done.evaluation

    first = evaluate("one", 0)
    assert first.status is Status.OK
    assert evaluate("one", 1, first.decisions).status is Status.DUPLICATE
    assert evaluate("other", 1, "0" * 16).status is Status.OK


@pytest.mark.parametrize("name", ["online_paging", "smtt_dispatch"])
def test_a_host_without_the_folder_makes_the_same_problem(name: str, tmp_path: Path) -> None:
    found = problem.load(name)
    opened = open_parcel(parcel_of(found, found.folder), tmp_path)
    assert opened.folder.is_relative_to(tmp_path)
    assert opened.digest == found.digest


def test_a_problem_that_comes_out_otherwise_is_refused(small: Problem, small_folder: Path) -> None:
    def refusal(**changes: Any) -> str:
        changed = msgspec.structs.replace(parcel_of(small, small_folder), **changes)
        return msgspec.msgpack.decode(examine(msgspec.msgpack.encode(changed)), type=Examined).refusal

    sound = parcel_of(small, small_folder)
    text = sound.files["instances.py"]
    assert refusal() == ""
    assert "has the digest" in refusal(files={**sound.files, "instances.py": text + b"\n# other\n"})
    assert "come out otherwise here" in refusal(instances="0123456789abcdef")
    assert "the baseline of" in refusal(footing="0123456789abcdef")
    assert "the run has 0.0.0" in refusal(version="0.0.0")


def test_a_parcel_stays_in_its_folder(small: Problem, small_folder: Path, tmp_path: Path) -> None:
    sound = parcel_of(small, small_folder)
    with pytest.raises(BackendError, match="outside of its folder"):
        open_parcel(msgspec.structs.replace(sound, files={"../evil.py": b""}), tmp_path / "below")
    assert not (tmp_path / "evil.py").exists()


# -- an engine that fails on purpose: what Crew makes of it


class FlakyEngine:
    """Answers at once, in this process, but for the batches that `faults` names by their number from 0 on.

    opened: while it is not set, who sends waits, so that all that is submitted meanwhile is there when it goes on.
    """

    cost_s = 0.005

    def __init__(self, faults: dict[int, str], key: str, parcel: bytes) -> None:
        self.faults = faults
        self.sizes: list[int] = []
        self.held: list[tuple[Batch, Returned]] = []
        self.opened = threading.Event()
        self.opened.set()

    def look(self) -> None: ...

    def slots(self) -> int:
        return 2

    def hosts(self) -> list[Host]:
        return [Host("one", "full", self.slots())]

    def examining(self) -> bool:
        return False

    def send(self, batch: bytes, returned: Returned) -> None:
        assert self.opened.wait(PATIENCE_S)
        work = msgspec.msgpack.decode(batch, type=Batch)
        fault = self.faults.get(len(self.sizes), "")
        self.sizes.append(len(work.jobs))
        if fault == "lost":
            threading.Timer(0.01, returned, [Lost("its worker died")]).start()
        elif fault == "late":
            self.held.append((work, returned))
        elif fault == "half":
            returned(self.reply(work, work.jobs[: len(work.jobs) // 2]))
        else:
            returned(self.reply(work, work.jobs))

    def reply(self, work: Batch, jobs: list[Any]) -> bytes:
        done = [Done(job.number, 0.01, Evaluation(job.candidate, job.split, Status.OK)) for job in jobs]
        return msgspec.msgpack.encode(Reply("one", "w", work.start + len(work.digests), done))

    def close(self) -> None: ...


@contextmanager
def crew(
    small: Problem, folder: Path, faults: dict[int, str], workers: int = 0
) -> Iterator[tuple[Crew, Any]]:
    engines: list[FlakyEngine] = []

    def connect(key: str, parcel: bytes) -> FlakyEngine:
        engines.append(FlakyEngine(faults, key, parcel))
        return engines[0]

    the_settings = msgspec.structs.replace(chosen(folder, 2), workers=workers)
    with Crew(small, the_settings, Seen(), connect) as made:
        yield made, engines[0]


class SlowlyExamining(FlakyEngine):
    """Refuses one host at once, and takes a few looks for the other one."""

    looks = 0

    def look(self) -> None:
        self.looks += 1

    def slots(self) -> int:
        return 0 if self.examining() else 2

    def hosts(self) -> list[Host]:
        return [Host("refused", "", 0, "it has no jail"), *([] if self.examining() else super().hosts())]

    def examining(self) -> bool:
        return self.looks < 4


def test_a_host_that_is_refused_does_not_end_the_wait_for_one_that_is_still_examined(
    small: Problem, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evolve.backends.crew.REFUSED_S", 0.0)
    with Crew(small, chosen(small_folder, 2), Seen(), lambda *sent: SlowlyExamining({}, *sent)) as backend:
        assert backend.capacity() == 2
        assert submit(backend, 1)[0].result(PATIENCE_S).ok
        assert "host refused (no jail) gets no work: it has no jail" in backend.remarks()


def submit(backend: Backend, count: int, first: int = 0) -> list[Any]:
    numbers = range(first, first + count)
    return [backend.submit(Task(program(IN_ORDER, number), Split.TRAIN, None)) for number in numbers]


def test_an_engine_that_keeps_all_waiting_is_told_of_with_the_way_on(
    small: Problem, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crew(small, small_folder, {}) as (backend, engine):
        assert submit(backend, 1)[0].result(PATIENCE_S).ok
        assert backend.remarks() == []
        monkeypatch.setattr("evolve.backends.crew.SILENT_S", 0.2)
        engine.opened.clear()
        (future,) = submit(backend, 1, 10)
        end = time.monotonic() + PATIENCE_S
        while not (found := backend.remarks()) and time.monotonic() < end:
            time.sleep(0.05)
        assert any("has not answered" in each and "`evolve resume` goes on" in each for each in found)
        engine.opened.set()
        assert future.result(PATIENCE_S).ok


def test_what_was_lost_is_given_out_again_alone(small: Problem, small_folder: Path) -> None:
    with crew(small, small_folder, {2: "lost", 3: "half"}) as (backend, engine):
        submit(backend, 1)[0].result(PATIENCE_S)
        engine.opened.clear()
        futures = submit(backend, 60, 10)
        engine.opened.set()  # batch 1 may hold any part of what is waiting, those after it are full
        found = [future.result(PATIENCE_S) for future in futures]
        assert len({each.candidate for each in found}) == 60
        assert backend.counts.lost == 1
        assert engine.sizes[2] == engine.sizes[3] == 10
        assert engine.sizes.count(1) >= 1 + engine.sizes[2]


def test_a_job_that_always_loses_its_worker_stops_the_run_and_names_the_way_on(
    small: Problem, small_folder: Path
) -> None:
    with crew(small, small_folder, dict.fromkeys(range(ATTEMPTS), "lost")) as (backend, engine):
        (future,) = submit(backend, 1)
        with pytest.raises(BackendError, match=r"was lost 5 times with its worker.*`evolve resume` goes on"):
            future.result(PATIENCE_S)
        assert len(engine.sizes) == ATTEMPTS


def test_of_two_results_the_first_counts(small: Problem, small_folder: Path) -> None:
    # copies are given out once a second, so on a slow machine there may be two of them
    with crew(small, small_folder, {0: "late", 1: "late", 2: "late"}) as (backend, engine):
        (future,) = submit(backend, 1)
        wait_for(lambda: engine.held, PATIENCE_S)
        backend._flights[1].limit_s = 0.0  # its worker takes too long
        wait_for(lambda: len(engine.held) > 1, PATIENCE_S)
        answer(engine, 0)
        assert future.result(PATIENCE_S).ok
        engine.faults.clear()
        for place in range(1, len(engine.held)):
            answer(engine, place)
        submit(backend, 1, 1)[0].result(PATIENCE_S)
        assert backend.counts.repeated == backend.counts.late == len(engine.held) - 1


def answer(engine: FlakyEngine, place: int) -> None:
    """Do now what was held back."""
    work, returned = engine.held[place]
    returned(engine.reply(work, work.jobs))


def test_with_one_worker_evaluations_are_given_out_one_by_one(small: Problem, small_folder: Path) -> None:
    with crew(small, small_folder, {}, workers=1) as (backend, engine):
        for future in submit(backend, 30):
            future.result(PATIENCE_S)
        assert set(engine.sizes) == {1}
        assert backend.capacity() == 1


@pytest.mark.parametrize(
    ("mean_s", "size"), [(0.001, 100), (0.005, 20), (0.05, 2), (0.1, 1), (0.5, 1), (30.0, 1)]
)
def test_batches_keep_the_engines_share_small_and_make_nobody_wait(mean_s: float, size: int) -> None:
    pace = Pace(0.005)
    assert pace.size(Split.TRAIN) == 1, "nothing is known yet"
    for _ in range(3):
        pace.saw(Split.TRAIN, mean_s)
    assert pace.size(Split.TRAIN) == size
    assert size == 1 or size * mean_s <= BATCH_S
    tasks = [Task(program(IN_ORDER, number), Split.TRAIN, None) for number in range(150)]
    assert pace.fitting(tasks) == (size, True)
    assert pace.fitting(tasks[: size // 2]) == (size // 2, False)


# -- what is asked for wrongly


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(UsageError, match=r"pip install 'evolve\[ray\]'"):
        check(BackendSettings("ray"))


def test_an_address_belongs_to_a_cluster() -> None:
    with pytest.raises(SettingsError, match="only dask and ray have a cluster elsewhere"):
        settings.resolve("smtt", {"backend": {"address": "tcp://127.0.0.1:1"}})


@needs_dask
def test_a_scheduler_that_is_not_there_is_said_in_one_line(tmp_path: Path, small_folder: Path) -> None:
    words = [
        "run",
        str(small_folder),
        "--dask",
        "tcp://nowhere",
        "--no-mlflow",
        "--out",
        str(tmp_path / "r"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "evolve.cli", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert "no Dask scheduler answers" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU")
def test_a_problem_that_needs_a_gpu_is_refused_where_there_is_none(
    small_folder: Path, tmp_path: Path
) -> None:
    folder = talking(small_folder, tmp_path / "needy")
    text = (folder / "problem.toml").read_text()
    (folder / "problem.toml").write_text('needs = ["gpu"]\n' + text)
    kinds = ["loky"] + ["dask"] * (importlib.util.find_spec("distributed") is not None)
    for kind in kinds:
        with pytest.raises(BackendError, match="needs a GPU"):
            make_backend(problem.load(str(folder)), chosen(folder, kind=kind), Seen()).__enter__()


def test_a_gpu_is_given_one_evaluation_at_a_time(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: one (UUID: x)'\n")
    (tools / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    folder = talking(small_folder, tmp_path / "needy")
    text = (folder / "problem.toml").read_text()
    (folder / "problem.toml").write_text('needs = ["gpu"]\n' + text)
    resolved = within_gpus(problem.load(str(folder)), chosen(folder, workers=2))
    with LocalWorkers(problem.load(str(folder)), resolved, Seen()) as made:
        for future in [made.submit(Task(program(IN_ORDER, k), Split.TRAIN, None)) for k in range(3)]:
            assert future.result(PATIENCE_S).ok
        assert made.capacity() == 1
        assert len(made._evaluators) == 2  # the one of the founding thread, and that of the only worker


def test_keys_are_told_from_other_variables() -> None:
    given = {"PATH": "/bin", "OPENAI_API_KEY": "x", "hf_token": "x", "RAY_AUTH_TOKEN": "x", "KEYBOARD": "de"}
    assert set(scrubbed(given)) == {"PATH", "RAY_AUTH_TOKEN", "KEYBOARD"}


# -- hosts of a network of their own


class Cutter(Lasting):
    """Pulls a cable while the search runs, and puts it back after two seconds; the search goes on until then."""

    def __init__(self, cable: str, evaluations: int) -> None:
        super().__init__(lambda running: self.mended and running.search.evaluations >= evaluations)
        self.cable = cable
        self.mended = False
        self.timer = threading.Timer(2.0, self.mend)

    def mend(self) -> None:
        netns.ip("link", "set", self.cable, "up")
        self.mended = True

    def tick(self, running: run.Run) -> None:
        super().tick(running)
        if running.search.evaluations >= 30 and not self.timer.ident:
            netns.ip("link", "set", self.cable, "down")
            self.timer.start()


@needs_dask
@pytest.mark.skipif(not netns.available(), reason="network namespaces need root and the command ip")
def test_hosts_of_their_own_evaluate_and_a_cut_cable_loses_nothing(
    small_folder: Path, tmp_path: Path
) -> None:
    with netns.network(2) as made_hosts, scheduler(made_hosts[0].here) as address, ExitStack() as hosts:
        for made in made_hosts:
            hosts.enter_context(worker(address, "ip", "netns", "exec", made.name))
        await_workers(address, len(made_hosts))
        the_settings = msgspec.structs.replace(
            chosen(small_folder),
            workers=0,
            backend=BackendSettings("dask", address),
            budget=settings.BudgetSettings(seconds=2 * PATIENCE_S),
        )
        cutter = Cutter(made_hosts[1].cable, 120)
        search = run.start(tmp_path / "run", the_settings, [cutter])
        result = search.execute()
        search.journal.close()
    assert cutter.mended
    assert result.evaluations >= 120
    records = [entry.record for entry in entries(tmp_path / "run")]
    tried = [(each.candidate, each.split) for each in records if isinstance(each, Evaluation)]
    assert len(set(tried)) == len(tried)
    proposed = {each.candidate.id for each in records if isinstance(each, Proposal) and each.candidate}
    assert {candidate for candidate, split in tried if split is Split.TRAIN} == proposed
