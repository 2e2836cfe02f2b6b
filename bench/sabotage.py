"""Faults on purpose, on a cluster of two hosts made of network namespaces; see `python bench/backends.py faults`."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from netns import ip, network

from evolve import new, problem, run, settings
from evolve.backends import Backend, make_backend
from evolve.errors import BackendError
from evolve.evaluate import Evaluator
from evolve.journal import Entry, Journal
from evolve.problem import Problem
from evolve.records import Evaluation, Proposal, Split
from evolve.settings import Settings

# as docs/scaling.md says: that a host is gone is known, and calls to it end, within ten seconds instead of minutes
HEALTH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_grpc_client_keepalive_time_ms": "5000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
}
COUNTS = Path(__file__).parent / "backends_faults.jsonl"  # one line for each fault that was made
HOSTS = 2
APART_S = 8  # between the starts of two nodes of Ray
STARTS = 5  # times that a first worker is waited for
BEFORE, AFTER = 30, 60  # evaluations with all hosts before a fault, and once it is over


@dataclass(frozen=True)
class Site:
    """A cluster of two hosts in network namespaces, with its head here; whatever ends is started again.

    A site does so: systemd, Slurm's requeueing, a Kubernetes deployment.
    """

    engine: str
    address: str
    head: int  # process id of the supervisor of the Dask scheduler, or of Ray's head node
    workers: tuple[int, ...]  # the same of the workers
    hosts: tuple[str, ...]  # namespaces
    cables: tuple[str, ...]
    cut_s: float  # for which the network is cut

    def kept(self, supervisor: int) -> list[int]:
        """What a supervisor keeps running."""
        return list(map(int, Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()))

    def evaluating(self) -> list[int]:
        """The processes of the second host that evaluate."""
        if self.engine == "dask":
            return self.kept(self.workers[1])
        # its agents are called ray::, too; a node that loses one ends
        return [each for each in self.all() if _command(each).startswith("ray::serve")]

    def all(self) -> list[int]:
        """All processes of the second host, but for the supervisor."""
        done = subprocess.run(
            ["ip", "netns", "pids", self.hosts[1]], capture_output=True, text=True, check=True
        )
        return [each for each in map(int, done.stdout.split()) if each != self.workers[1]]


def _command(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text()
    return ""


def send(processes: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to those that are still there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


@contextmanager
def site(engine: str, environment: dict[str, str], cut_s: float) -> Iterator[Site]:
    with network(HOSTS) as hosts, ExitStack() as stack:

        def supervised(words: str, *prefix: str) -> int:
            line = f"while :; do {words}; sleep 0.2; done"
            made = subprocess.Popen(
                [*prefix, "sh", "-c", line],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )
            stack.callback(made.wait)
            stack.callback(os.killpg, made.pid, signal.SIGKILL)
            return made.pid

        here = hosts[0].here
        address, head, worker = ENGINES[engine](here)
        first = supervised(head)
        workers = tuple(
            supervised(
                worker.format(there=host.there, after=APART_S * place), "ip", "netns", "exec", host.name
            )
            for place, host in enumerate(hosts, 1)
        )
        names, cables = tuple(host.name for host in hosts), tuple(host.cable for host in hosts)
        made = Site(engine, address, first, workers, names, cables, cut_s)
        stack.callback(_end_all, made)
        yield made


def _end_all(where: Site) -> None:
    """Ray's processes are not all in the group of the one that began them."""
    kept = where.kept(where.head)
    send((*where.workers, where.head), signal.SIGKILL)
    send(kept, signal.SIGKILL)
    for host in where.hosts:
        done = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True, check=False)
        send([*map(int, done.stdout.split())], signal.SIGKILL)


def dask_site(here: str) -> tuple[str, str, str]:
    """The address of the scheduler, and the commands that keep it and a worker running."""
    python = f"{sys.executable} -m distributed.cli"
    address = f"tcp://{here}:18786"
    return (
        address,
        f"{python}.dask_scheduler --host {here} --port 18786 --no-dashboard",
        f"{python}.dask_worker {address} --nthreads 1 --no-nanny --no-dashboard",
    )


def ray_site(here: str) -> tuple[str, str, str]:
    """The same for Ray: its head node gets no work, so that all of it is done by the two hosts."""
    start = f"{sys.executable} -m ray.scripts.scripts start --block --object-store-memory 100000000"
    address = f"{here}:6399"
    head = "--head --port 6399 --num-cpus 0 --include-dashboard false --temp-dir {folder}"
    folder = tempfile.mkdtemp(prefix="ray-")
    return (
        address,
        f"{start} {head.format(folder=folder)} --node-ip-address {here}",
        # nodes of one machine that start at the same time choose the same names for their sockets
        f"sleep {{after}}; {start} --address {address} --num-cpus 1 --node-ip-address {{there}}",
    )


ENGINES: dict[str, Callable[[str], tuple[str, str, str]]] = {"dask": dask_site, "ray": ray_site}


def kill_worker(where: Site) -> None:
    send(where.evaluating(), signal.SIGKILL)


def vanish(where: Site) -> None:
    """A host that is gone with everything, and comes back as another one after the run."""
    ip("link", "set", where.cables[1], "down")
    send(where.all(), signal.SIGKILL)


def slow_down(where: Site) -> None:
    """A worker that runs a tenth of the time, for five seconds."""
    until, processes = time.monotonic() + 5.0, where.evaluating()
    while time.monotonic() < until:
        send(processes, signal.SIGSTOP)
        time.sleep(0.09)
        send(processes, signal.SIGCONT)
        time.sleep(0.01)


def cut_network(where: Site) -> None:
    ip("link", "set", where.cables[1], "down")
    time.sleep(where.cut_s)
    ip("link", "set", where.cables[1], "up")


def restart_scheduler(where: Site) -> None:
    send(where.kept(where.head), signal.SIGKILL)


FAULTS: dict[str, tuple[str, Callable[[Site], None]]] = {
    "killed": ("a worker is killed (SIGKILL)", kill_worker),
    "vanished": ("a host vanishes", vanish),
    "slow": ("a host is ten times slower", slow_down),
    "cut": ("the network to a host is cut", cut_network),
    "scheduler": ("the scheduler is killed and started again", restart_scheduler),
}
# with its head, Ray ends the program that uses it: that is no fault that a run could live through
OF_ENGINE = {"dask": tuple(FAULTS), "ray": ("killed", "vanished", "slow", "cut")}


@contextmanager
def replaced(make: Callable[..., Backend]) -> Iterator[None]:
    """Inside, runs have this backend."""
    before = run.make_backend
    run.make_backend = make
    try:
        yield
    finally:
        run.make_backend = before


class Saboteur:
    """Does the fault once both hosts are at work, and lets it end when it has gone on for long enough afterwards."""

    def __init__(self, fault: Callable[[], None]) -> None:
        self.thread = threading.Thread(target=fault, daemon=True)
        self.backend: Backend | None = None
        self.pause = 0.0  # the longest between two evaluations, in seconds
        self._seen = 0
        self._at = time.monotonic()
        self._begin = 0
        self._enough = 0

    def make_backend(self, *given: Any, **named: Any) -> Backend:
        self.backend = make_backend(*given, **named)
        return self.backend

    @property
    def _complete(self) -> bool:
        return self.backend is not None and sum(host.slots for host in self.backend.hosts()) == HOSTS

    def begin(self, running: run.Run) -> None:
        self._at = time.monotonic()

    def entry(self, running: run.Run, entry: Entry) -> None: ...

    def end(self, running: run.Run, result: run.Result) -> None: ...

    def tick(self, running: run.Run) -> None:
        now, count = time.monotonic(), running.search.evaluations
        if count > self._seen:
            self.pause = max(self.pause, now - self._at)
            self._seen, self._at = count, now
        if not self.thread.ident:
            if self._complete:
                self._begin = self._begin or count + BEFORE
            if self._begin and count >= self._begin:
                self.thread.start()
        elif not self.thread.is_alive():
            self._enough = self._enough or count + AFTER
            if count >= self._enough:  # nothing new is begun; what is under way is waited for
                running.search.budget.limits = settings.BudgetSettings(evaluations=1)


class Outcome(msgspec.Struct):
    """What became of a run with a fault. wrong: evaluations that come out otherwise here.

    stopped: the run stopped, and was resumed. pause_s: the longest between two evaluations.
    differences: what was wrong.
    """

    engine: str
    fault: str
    cut_s: float
    evaluations: int = 0
    missing: int = 0
    twice: int = 0
    wrong: int = 0
    stopped: int = 0
    pause_s: float = 0.0
    differences: list[str] = []


def sabotaged(where: Site, name: str, the_problem: Problem, folder: Path, seed: int) -> Outcome:
    """One run with one fault; a run that stops is resumed, as its last line says.

    Raises:
        KeyboardInterrupt: it was interrupted, so that nothing can be said about the fault.
    """
    _, fault = FAULTS[name]
    outcome = Outcome(where.engine, name, where.cut_s if name == "cut" else 0.0)
    saboteur = Saboteur(lambda: fault(where))
    search = run.start(folder, on_site(where, the_problem, {"seconds": 1e6}, seed), [saboteur])
    with replaced(saboteur.make_backend):
        try:
            result = search.execute()
        except BackendError as error:
            print(f"stopped: {error}", flush=True)
            outcome.stopped += 1
            search.journal.close()
            search = run.reopen(folder, observers=[saboteur])
            result = search.execute()
    search.journal.close()
    if result.stopped is run.Stop.INTERRUPTED:  # somebody ended this program, not only its search
        raise KeyboardInterrupt
    outcome.pause_s = round(saboteur.pause, 1)
    saboteur.thread.join()
    count(folder, the_problem, outcome)
    return outcome


def warm_up(where: Site, the_problem: Problem, folder: Path) -> None:
    """Until a worker is there and knows the problem; on a busy machine, Ray's nodes take minutes to come."""
    search = run.start(folder, on_site(where, the_problem, {"evaluations": 100}))
    for attempt in range(STARTS):
        try:
            search.execute()
            break
        except BackendError:
            if attempt + 1 == STARTS:
                raise
    search.journal.close()


def on_site(where: Site, the_problem: Problem, budget: dict[str, float], seed: int = 1) -> Settings:
    backend = {"kind": where.engine, "address": where.address}
    given = {"workers": 0, "backend": backend, "budget": budget, "seed": seed}
    options = ["jail.minimum=rlimits", "mlflow.enabled=false", "racing.enabled=false", "racing.stages=[]"]
    return settings.resolve(str(the_problem.folder), given, options)


def count(folder: Path, the_problem: Problem, outcome: Outcome) -> None:
    """What is in the journal, against what was proposed and what the evaluations are here."""
    with Journal.open(folder, read_only=True) as journal:
        records = [entry.record for entry in journal.entries()]
    programs = {
        each.candidate.id: each.candidate for each in records if isinstance(each, Proposal) and each.candidate
    }
    found = [each for each in records if isinstance(each, Evaluation)]
    on_train = [each.candidate for each in found if each.split is Split.TRAIN]
    outcome.evaluations = len(found)
    outcome.missing = len(programs.keys() - set(on_train))
    outcome.twice = len(found) - len({(each.candidate, each.split) for each in found})
    with Evaluator(the_problem, "rlimits") as evaluator:
        for each in found:
            here = evaluator.evaluate(programs[each.candidate], each.split)
            if (here.status, here.objectives) != (each.status, each.objectives):
                outcome.wrong += 1
                texts = [
                    f"{one.status} {one.score:g} {one.cpu_s:.3g} s {one.feedback}" for one in (each, here)
                ]
                outcome.differences.append(f"{each.candidate} on {each.split}: {texts[0]}; here {texts[1]}")


def noted(counts: Path) -> list[Outcome]:
    """What was made so far."""
    if not counts.is_file():
        return []
    return [msgspec.json.decode(line, type=Outcome) for line in counts.read_bytes().splitlines()]


def note(counts: Path, outcome: Outcome) -> None:
    """Several processes may do so: a line is written at once."""
    with counts.open("ab", buffering=0) as file:
        file.write(msgspec.json.encode(outcome) + b"\n")


def make(engine: str, names: Sequence[str], times: int, cut_s: float, counts: Path) -> None:
    """Do each fault until it is noted so many times."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    if engine == "ray":
        # read when Ray is imported, here and on its nodes
        access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        os.environ.update(access | HEALTH)
        environment |= {"RAY_USAGE_STATS_ENABLED": "0", **access, **HEALTH}
    with tempfile.TemporaryDirectory() as folder:
        new.create(Path(folder) / "small")
        the_problem = problem.load(str(Path(folder) / "small"))
        for name in names:
            if name not in OF_ENGINE[engine]:
                continue
            done = sum((each.engine, each.fault) == (engine, name) for each in noted(counts))
            if done >= times:
                continue
            with site(engine, environment, cut_s) as where:
                warm_up(where, the_problem, Path(folder) / name)
                for number in range(done, times):
                    made = sabotaged(where, name, the_problem, Path(folder) / f"{name}-{number}", number + 1)
                    note(counts, made)
                    ip("link", "set", where.cables[1], "up")
                    print(made, flush=True)


def table(counts: Path) -> list[str]:
    """Sums over the times that each fault was made."""
    lines = [
        "| engine | fault | times | evaluations | lost | counted twice | other than here | stopped "
        "| pause, median and longest |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    found = noted(counts)
    for engine in ENGINES:
        for name in OF_ENGINE[engine]:
            made = [each for each in found if (each.engine, each.fault) == (engine, name)]
            if not made:
                continue
            sums = [
                sum(getattr(each, key) for each in made)
                for key in ("evaluations", "missing", "twice", "wrong", "stopped")
            ]
            pauses = sorted(each.pause_s for each in made)
            cells = (
                engine,
                FAULTS[name][0],
                len(made),
                *sums,
                f"{pauses[len(pauses) // 2]:.0f} s, {pauses[-1]:.0f} s",
            )
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines
