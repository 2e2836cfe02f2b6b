"""Evaluation on a cluster: evaluations per second of each backend, the loop's own ceiling, and faults on purpose.

    python bench/backends.py rates [--seconds 5] [--workers 2]         writes bench/backends_rates.md
    python bench/backends.py ceiling [--seconds 20] [--hosts 1000]     writes bench/backends_ceiling.md
    python bench/backends.py faults [--times 20] [--engine ray]        writes bench/backends_faults.md

`faults` makes hosts out of network namespaces, so it needs root, the command `ip`, and 'evolve[dask]' or 'evolve[ray]'.
It notes each fault in bench/backends_faults.jsonl, and makes only those that are missing there; with `--fault`, several
of these commands may run at once.
"""

from __future__ import annotations

import argparse
import heapq
import importlib.util
import multiprocessing
import os
import platform
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import msgspec

from evolve import new, problem, run, settings
from evolve.backends import make_backend
from evolve.backends.base import Backend, Host, Returned
from evolve.backends.crew import Crew
from evolve.backends.messages import Batch, Done, Job, Reply
from evolve.backends.station import serve
from evolve.evaluate import Evaluator
from evolve.journal import Entry
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.proposers.base import Proposer
from evolve.records import Candidate, Evaluation, Proposal, Sample, Split, Status
from evolve.search import Task
from evolve.settings import Settings, available_cores
from evolve.trial import Seen

sys.path.insert(0, str(Path(__file__).parent))
import sabotage

ROOT = Path(__file__).parent
MILLISECONDS = (5, 50, 500)
BACKENDS = ("loky", "processes", "dask", "ray")
NAMES = {
    "loky": "`loky`: threads with a jail each",
    "processes": "joblib's loky processes",
    "dask": "`dask`, local cluster",
    "ray": "`ray`, local cluster",
}


def small_problem(folder: Path) -> Problem:
    """The problem that `evolve new` writes, with two instances a split and room for slow programs."""
    new.create(folder)
    for name, changes in {
        "instances.py": {
            "(8, 12, 20, 30)": "(8,)",
            "(10, 20, 40)": "(10,)",
            '"train": 5, "validation": 10': '"train": 1, "validation": 1',
        },
        "problem.toml": {"cpu_s = 0.05 ": "cpu_s = 5.0 "},
    }.items():
        text = (folder / name).read_text()
        for old, fresh in changes.items():
            assert old in text, f"the template of {name} has changed: no {old}"
            text = text.replace(old, fresh)
        (folder / name).write_text(text)
    return problem.load(str(folder))


def spinning(rounds: int, number: int) -> Candidate:
    """A program that counts for a while; `number` makes it another one."""
    count = f"    for _ in range({rounds}):\n        pass\n"
    return make_candidate(
        {"program.py": f"def order(p, w):\n    n = {number}\n{count}    return list(range(len(p)))\n"}
    )


def rounds_for(seconds: float, evaluator: Evaluator) -> int:
    """How far a program has to count so that its evaluation takes so long, two instances together."""

    def took(rounds: int) -> float:
        began = time.perf_counter()
        found = evaluator.evaluate(spinning(rounds, 0), Split.TRAIN)
        assert found.ok, found.feedback
        return time.perf_counter() - began

    took(1000)
    base, probe = min(took(1) for _ in range(5)), 200_000
    each = (min(took(probe) for _ in range(5)) - base) / probe
    return max(1, round((seconds - base) / each))


# -- evaluations per second


class ProcessEngine:
    """joblib's loky: processes of this machine, each with an evaluator and its jail."""

    cost_s = 0.001

    def __init__(self, workers: int, key: str, parcel: bytes) -> None:
        from joblib.externals.loky import get_reusable_executor

        self._parcel = parcel
        self._workers = workers
        self._pool = get_reusable_executor(max_workers=workers, timeout=600)

    def look(self) -> None: ...

    def slots(self) -> int:
        return self._workers

    def hosts(self) -> Sequence[Host]:
        return [Host(platform.node(), "full", self._workers)]

    def examining(self) -> bool:
        return False

    def send(self, batch: bytes, returned: Returned) -> None:
        self._pool.submit(serve, batch, self._parcel).add_done_callback(lambda done: returned(done.result()))

    def close(self) -> None:
        self._pool.shutdown(wait=True, kill_workers=True)


def chosen(the_problem: Problem, workers: int, **backend: str) -> Settings:
    given = {"workers": workers, "backend": backend}
    return settings.resolve(str(the_problem.folder), given, ["jail.minimum=rlimits", "mlflow.enabled=false"])


@contextmanager
def backend_of(kind: str, the_problem: Problem, workers: int) -> Iterator[Backend]:
    if kind == "processes":
        the_settings = chosen(the_problem, workers)
        with Crew(the_problem, the_settings, Seen(), lambda *sent: ProcessEngine(workers, *sent)) as crew:
            yield crew
        return
    with make_backend(the_problem, chosen(the_problem, workers, kind=kind), Seen()) as backend:
        yield backend


def rate(backend: Backend, rounds: int, seconds: float) -> float:
    """Evaluations per second, after as long a time to get going."""
    numbers, done = iter(range(10**9)), 0
    under_way = threading.Semaphore(0)
    statuses: set[Status] = set()

    def ended(future: Future[Evaluation]) -> None:
        if not future.cancelled():
            statuses.add(future.result().status)
        under_way.release()

    def submit() -> None:
        future = backend.submit(Task(spinning(rounds, next(numbers)), Split.TRAIN, None))
        future.add_done_callback(ended)

    began, started, flying = 0.0, time.perf_counter(), 0
    while True:
        while flying < 2 * backend.capacity():
            submit()
            flying += 1
        under_way.acquire()
        flying -= 1
        now = time.perf_counter()
        if not began and now - started > max(2.0, seconds / 2):
            began, done = now, 0
        done += 1
        if began and now - began > seconds:
            break
    found = done / (now - began)
    for _ in range(flying):
        under_way.acquire()
    assert statuses == {Status.OK}, statuses  # else it was not the evaluations that were timed
    return found


def rates(seconds: float, workers: int) -> str:
    kinds = [kind for kind in BACKENDS if kind not in ("dask", "ray") or importlib.util.find_spec(kind)]
    with tempfile.TemporaryDirectory() as folder:
        the_problem = small_problem(Path(folder) / "small")
        with Evaluator(the_problem, "rlimits") as evaluator:
            rounds = {ms: rounds_for(ms / 1000, evaluator) for ms in MILLISECONDS}
        found: dict[str, list[float]] = {}
        for kind in kinds:
            with backend_of(kind, the_problem, workers) as backend:
                found[kind] = [rate(backend, rounds[ms], seconds) for ms in MILLISECONDS]
            print(kind, found[kind], flush=True)
    lines = [
        f"# Evaluations per second on each backend\n\n{machine_line()} Programs that count for 5, 50 and 500 ms, in "
        f"the jail; {workers} workers; {seconds:g} s a figure after half as long to get going. In brackets: in "
        f"relation to `loky`. Here engine, workers and loop share the cores, which a cluster does not ask of them. "
        f"Made by `python bench/backends.py rates`.\n",
        "| backend | " + " | ".join(f"{ms} ms" for ms in MILLISECONDS) + " |",
        "| --- |" + " ---: |" * len(MILLISECONDS),
    ]
    for kind, values in found.items():
        cells = [
            f"{value:.1f} ({value / base:.0%})" for value, base in zip(values, found["loky"], strict=True)
        ]
        lines.append(f"| {NAMES[kind]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


# -- the loop's own ceiling


def simulate(pipe: Connection, hosts: int, seconds: float, sizes: dict[str, int]) -> None:
    """A cluster that only sleeps: each evaluation takes `seconds`, and gives scores at random.

    Args:
        sizes: instances of each split.
    """
    free = [0.0] * hosts
    heapq.heapify(free)
    due: list[tuple[float, int, bytes]] = []
    rng, count = random.Random(1), 0
    while True:
        wait = max(0.0, due[0][0] - time.monotonic()) if due else None
        if pipe.poll(wait):
            try:
                message = pipe.recv_bytes()
            except EOFError:
                return
            batch = msgspec.msgpack.decode(message[8:], type=Batch)
            count += 1
            end = max(time.monotonic(), heapq.heappop(free)) + seconds * len(batch.jobs)
            heapq.heappush(free, end)
            reply = Reply(
                "host", "w", 10**9, [_made_up(job, seconds, sizes[job.split], rng) for job in batch.jobs]
            )
            heapq.heappush(due, (end, count, message[:8] + msgspec.msgpack.encode(reply)))
        while due and due[0][0] <= time.monotonic():
            pipe.send_bytes(heapq.heappop(due)[2])


def _made_up(job: Job, seconds: float, size: int, rng: random.Random) -> Done:
    scores = tuple(rng.gauss(0.0, 0.1) for _ in range(size))
    found = Evaluation(
        job.candidate,
        job.split,
        Status.OK,
        scores,
        scores,
        size,
        "made up",
        0.01,
        30.0,
        0.1,
        "full",
        f"{rng.getrandbits(64):016x}",
    )
    return Done(job.number, seconds, found)


class SimulatedEngine:
    """A cluster of sleepers in another process; see `simulate`."""

    cost_s = 0.005

    def __init__(self, hosts: int, seconds: float, sizes: dict[str, int], key: str, parcel: bytes) -> None:
        self._hosts = hosts
        self._returned: dict[int, Returned] = {}
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=simulate, args=(theirs, hosts, seconds, sizes)
        )
        self._process.start()
        theirs.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                message = self._pipe.recv_bytes()
            except (EOFError, OSError):
                return
            self._returned.pop(int.from_bytes(message[:8], "little"))(message[8:])

    def look(self) -> None: ...

    def slots(self) -> int:
        return self._hosts

    def hosts(self) -> Sequence[Host]:
        return [Host("simulated", "full", self._hosts)]

    def examining(self) -> bool:
        return False

    def send(self, batch: bytes, returned: Returned) -> None:
        number = id(returned)
        self._returned[number] = returned
        self._pipe.send_bytes(number.to_bytes(8, "little") + batch)

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


class Mark(NamedTuple):
    """How far a run was, in seconds.

    process, loop: CPU of this process, and of the loop's thread in it. proposing: of that, for making proposals.
    waited: for which the loop's thread could have gone on, but had no core.
    """

    wall: float
    process: float
    loop: float
    proposing: float
    waited: float
    candidates: int


class Ceiling(NamedTuple):
    """offered: evaluations per second that the workers could do, each of which takes `seconds`. spent: see Mark."""

    how: str
    seconds: float
    offered: float
    spent: Mark

    @property
    def rate(self) -> float:
        """Candidates per second."""
        return self.spent.candidates / self.spent.wall

    def ms(self, cpu_s: float) -> float:
        """CPU milliseconds per candidate."""
        return 1000 * cpu_s / self.spent.candidates


class Given(Proposer):
    """Proposals that cost next to nothing, as a model's do for the loop: a parent's program and a number."""

    name = "given"

    def __init__(self, like: Proposer) -> None:
        self.arms = like.arms
        self._names = list(like.arms)

    def propose(self, sample: Sample, number: int, rng: random.Random) -> Proposal:
        parent = sample.parent.candidate
        files = {name: f"{text}\n_{number} = 0\n" for name, text in parent.files.items()}
        operator = self._names[number % len(self._names)]
        candidate = Candidate(f"{number:016x}", files, (parent.id,), operator, "given", number)
        return Proposal(number, operator, (parent.id,), candidate)


class Meter:
    """Measures for some seconds, once `hosts` workers have all that they can take, and ends the run then."""

    def __init__(self, hosts: int, seconds: float, given: bool) -> None:
        self.hosts = hosts
        self.seconds = seconds
        self.given = given
        self.proposing = 0.0
        self.first: Mark | None = None
        self.last = Mark(0.0, 0.0, 0.0, 0.0, 0.0, 0)

    def begin(self, running: run.Run) -> None:
        search = running.search
        if self.given:
            assert search._proposer is not None
            search._proposer = Given(search._proposer)
            return
        propose = search.propose

        def timed() -> Proposal:
            began = time.thread_time()
            proposal = propose()
            self.proposing += time.thread_time() - began
            return proposal

        search.propose = timed  # type: ignore[method-assign]

    def entry(self, running: run.Run, entry: Entry) -> None: ...

    def end(self, running: run.Run, result: run.Result) -> None: ...

    def tick(self, running: run.Run) -> None:
        search, now = running.search, time.perf_counter()
        if self.first is not None and now - self.first.wall > self.seconds:
            if self.last is self.first:
                self.last = self._mark(now, search.evaluations)
                signal.raise_signal(signal.SIGINT)  # the run ends cleanly
        elif self.first is None and search.evaluations > self.hosts:
            self.first = self.last = self._mark(now, search.evaluations)

    def _mark(self, now: float, evaluations: int) -> Mark:
        cpu = time.process_time(), time.thread_time(), self.proposing
        return Mark(now, *cpu, waited_s(), evaluations)


def waited_s() -> float:
    """Seconds for which this thread was ready to run and had no core; 0 where the system does not tell."""
    with suppress(OSError):
        return (
            int(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()[1]) / 1e9
        )
    return 0.0


HOWS = {
    "loop": "genetic, by the loop",
    "processes": "genetic, in processes of their own",
    "given": "given",
}


def ceiling_at(hosts: int, eval_s: float, seconds: float, how: str, name: str = "smtt_dispatch") -> Ceiling:
    """A search with made-up scores on `hosts` workers that each sleep `eval_s` an evaluation.

    Args:
        how: proposals are made, a key of HOWS.
    """
    meter = Meter(hosts, seconds, how == "given")

    def simulated(the_problem: Problem, the_settings: Settings, seen: Seen, *_rest: object) -> Backend:
        sizes = {str(split): len(the_problem.split(split)) for split in (Split.TRAIN, Split.VALIDATION)}
        return Crew(
            the_problem, the_settings, seen, lambda *sent: SimulatedEngine(hosts, eval_s, sizes, *sent)
        )

    with tempfile.TemporaryDirectory() as folder, sabotage.replaced(simulated):
        kind = "dask" if how == "processes" else "loky"  # which has no processes that propose
        given = {"workers": hosts, "backend": {"kind": kind}, "budget": {"seconds": 1e6}}
        options = ["jail.minimum=rlimits", "mlflow.enabled=false", "stagnation.patience=0"]
        search = run.start(Path(folder) / "run", settings.resolve(name, given, options), [meter])
        search.execute()
        search.journal.close()
    assert meter.first is not None
    spent = Mark(*(late - early for late, early in zip(meter.last, meter.first, strict=True)))
    return Ceiling(how, eval_s, hosts / eval_s, spent)


def ceiling(seconds: float, hosts: int) -> str:
    rows = []
    for how, eval_s in (
        ("loop", 0.1),
        ("processes", 0.1),
        ("given", 0.1),
        ("processes", 0.5),
        ("processes", 5.0),
    ):
        rows.append(ceiling_at(hosts, eval_s, seconds, how))
        print(f"{how}, {eval_s} s: {rows[-1].rate:.0f} candidates/s", flush=True)
    lines = [
        f"# The loop's own ceiling\n\n{machine_line()} A search on smtt_dispatch with its journal, on a simulated "
        f"cluster of {hosts:,} workers in another process: evaluations sleep and give scores at random. "
        f"{seconds:g} s a figure, from when all workers have work; load {os.getloadavg()[0]:.0f}. Proposals are made "
        f"by the loop, by processes of their own, or are given: a parent's program with a number, which costs "
        f"nothing, as a model's proposals cost the loop nothing. CPU is that of the loop's process, per candidate. "
        f"`by its CPU`: the rate at which that would fill one core. `without a core`: of the time, for how much the "
        f"loop was ready to go on and other processes had all cores. Made by `python bench/backends.py ceiling`.\n",
        "| proposals | an evaluation takes | the workers could do | CPU proposing | loop besides | handing out "
        "| by its CPU | without a core | candidates/s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        spent = row.spent
        cpu = (spent.proposing, spent.loop - spent.proposing, spent.process - spent.loop)
        shown = " | ".join(f"{row.ms(each):.2f} ms" for each in cpu)
        lines.append(
            f"| {HOWS[row.how]} | {row.seconds * 1000:g} ms | {row.offered:,.0f}/s | {shown} "
            f"| {1000 / row.ms(spent.process):,.0f}/s | {spent.waited / spent.wall:.0%} | {row.rate:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def machine_line() -> str:
    return f"{available_cores()} cores ({platform.machine()}), Python {platform.python_version()}."


def faults(engine: str, names: Sequence[str], times: int, cut_s: float) -> str:
    """Make the faults that are still missing; the table of all that were ever noted."""
    sabotage.make(engine, names, times, cut_s, sabotage.COUNTS)
    head = (
        f"# Faults on purpose\n\n{machine_line()} Runs on two hosts, each a network namespace with a cable of its "
        f"own; in each run one fault, after {sabotage.BEFORE} evaluations; the network is cut for {cut_s:g} s. "
        f"Afterwards the journal is compared with the proposals, and every evaluation is made again here. "
        f"`stopped`: runs that stopped with a line that says so, and were resumed. `pause`: the longest between two "
        f"evaluations of a run. Made by `python bench/backends.py faults --times {times} --cut {cut_s:g}` "
        f"(`--engine ray` for Ray), which goes on with what `{sabotage.COUNTS.name}` holds.\n"
    )
    return "\n".join([head, *sabotage.table(sabotage.COUNTS)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("rates", "ceiling", "faults"))
    parser.add_argument("--seconds", type=float, help="a figure takes; default 5, or 20 for the ceiling")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--cut", type=float, default=20.0, help="seconds for which the network is cut")
    parser.add_argument("--engine", choices=sabotage.ENGINES, default="dask")
    parser.add_argument(
        "--fault", choices=sabotage.FAULTS, action="append", help="this fault only; repeatable"
    )
    parser.add_argument("--out", type=Path, help="default: bench/backends_WHAT.md")
    options = parser.parse_args()
    match options.what:
        case "rates":
            text = rates(options.seconds or 5.0, options.workers)
        case "ceiling":
            text = ceiling(options.seconds or 20.0, options.hosts)
        case _:
            text = faults(options.engine, options.fault or list(sabotage.FAULTS), options.times, options.cut)
    (options.out or ROOT / f"backends_{options.what}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
