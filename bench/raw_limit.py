"""The whole system's evaluations a second, and what is left of the raw limit. Writes bench/raw_limit.md.

    python bench/raw_limit.py [--evaluations 400] [--rounds 3] [--problem smtt] [--workers 1 2]

A search of the genetic proposer with all defaults; then the very candidates that it evaluated, taken from its journal,
in a bare fork pool: warm processes with numpy, one for each worker, which fork for each candidate, load it and call it
on the instances that it was called on in the search. No jail, no scoring, no engine, and the answers are not even read:
no system can be quicker. Search and pool take turns, each time with another search seed, so that a busy machine slows
both. Founding is left out: all that follows the evaluation of the last seed counts, validation too.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolve import run, settings
from evolve.jail import machine
from evolve.journal import Journal
from evolve.problem import Problem, load
from evolve.records import Candidate, Evaluation, Intervention, Proposal, Split, Status
from evolve.settings import available_cores

WANTED = 0.8
COMPLETE = (Status.OK, Status.RACED_OUT, Status.DUPLICATE)
# A warm process. stdin: its core (-1: any), the entry, for each split its arguments by instance and CPU limits, and the
# jobs: program, split, indices, and whether one of them ends by its CPU limit. From the descriptor that it is given,
# all warm processes read the numbers of the jobs.
POOL = """
import os, pickle, signal, sys
os.register_at_fork = lambda **_: None
import gc, numpy, numpy.fft, numpy.linalg, numpy.polynomial, numpy.random, bisect, functools, heapq, itertools, math
import random
numbers = int(sys.argv[1])
core, entry, splits, jobs = pickle.load(sys.stdin.buffer)
if core >= 0:
    os.sched_setaffinity(0, {core})
gc.collect(); gc.freeze()
def work(program, split, indices, endless):
    space = {"__name__": "program"}
    exec(compile(program, "program.py", "exec"), space)
    arguments, limits = splits[split]
    for index in indices:
        if endless:
            signal.setitimer(signal.ITIMER_PROF, limits[index])
        try:
            space[entry](*arguments[index])
        except Exception:
            pass
os.write(1, b"ready")
os.read(0, 1)
while number := os.read(numbers, 4):
    pid = os.fork()
    if pid == 0:
        try:
            work(*jobs[int.from_bytes(number, "little")])
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
"""


@dataclass(frozen=True)
class Job:
    """An evaluation of the search. indices: of the instances that the program was called on, in order."""

    program: str
    split: Split
    indices: tuple[int, ...]
    endless: bool


@dataclass(frozen=True)
class Turn:
    """One search and the same candidates without it. jobs: evaluations on both splits; the times are wall seconds."""

    workers: int
    evaluations: int
    jobs: int
    system_s: float
    bare_s: float

    @property
    def share(self) -> float:
        return self.bare_s / self.system_s


class Searched:
    """Reads the evaluations after founding from a journal."""

    def __init__(self, journal: Journal, problem: Problem, order: Sequence[int]) -> None:
        self.problem = problem
        self.jobs: list[Job] = []
        self.evaluations = 0
        self.begun_at = self.ended_at = 0.0
        self._order: tuple[int, ...] = ()
        self._candidates: dict[str, tuple[Candidate, tuple[int, ...]]] = {}
        awaited = len(problem.seeds)
        for entry in journal.entries():
            match entry.record:
                case Intervention() if entry.record.order:
                    self._order = entry.record.order
                case Proposal(candidate=Candidate() as candidate):
                    self._candidates[candidate.id] = candidate, self._order
                case Evaluation():
                    awaited -= 1
                    if awaited < 0:
                        self._take(entry.record)
                        self.ended_at = entry.at
                    elif awaited == 0:
                        self.begun_at, self._order = entry.at, tuple(order)

    def _take(self, evaluation: Evaluation) -> None:
        candidate, order = self._candidates[evaluation.candidate]
        on_train = evaluation.split is Split.TRAIN
        self.evaluations += on_train
        whole = order if on_train and order else range(len(self.problem.split(evaluation.split)))
        failed = evaluation.status not in COMPLETE
        indices = tuple(whole[: evaluation.instances + failed])
        program = candidate.files[self.problem.spec.program]
        endless = evaluation.status is Status.TIMED_OUT
        self.jobs.append(Job(program, evaluation.split, indices, endless))


def search(problem: Problem, workers: int, evaluations: int, seed: int) -> Searched:
    given = {
        "budget": {"evaluations": evaluations + len(problem.seeds), "seconds": None},
        "workers": workers,
        "seed": seed,
        "mlflow": {"enabled": False},
    }
    with tempfile.TemporaryDirectory() as folder:
        running = run.start(Path(folder) / "run", settings.resolve(problem.name, given), [])
        running.execute()
        try:
            order = json.loads(running.journal.meta(run.ORDER_NOTE) or "[]")
            return Searched(running.journal, problem, order)
        finally:
            running.journal.close()


def bare(problem: Problem, jobs: Sequence[Job], workers: int) -> float:
    """Wall seconds that a fork pool takes for the jobs."""
    ours, theirs = os.pipe()
    cores = sorted(os.sched_getaffinity(0))
    settled = workers >= available_cores()  # as the workers of a search do it
    pool = [
        subprocess.Popen(
            [sys.executable, "-c", POOL, str(ours)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(ours,),
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        for _ in range(workers)
    ]
    os.close(ours)
    try:
        for number, process in enumerate(pool):
            assert process.stdin is not None
            assert process.stdout is not None
            pickle.dump(_told(problem, jobs, cores[number] if settled else -1), process.stdin)
            process.stdin.flush()
            process.stdout.read(len(b"ready"))
        os.write(theirs, b"".join(number.to_bytes(4, "little") for number in range(len(jobs))))
        os.close(theirs)
        began = time.perf_counter()
        for process in pool:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        for process in pool:
            process.wait()
        return time.perf_counter() - began
    finally:
        for process in pool:
            process.kill()
            process.communicate()


def _told(problem: Problem, jobs: Sequence[Job], core: int) -> tuple[Any, ...]:
    limits, splits = problem.spec.limits, {}
    for split in (Split.TRAIN, Split.VALIDATION):
        share = limits.train_share if split is Split.TRAIN else 1.0
        instances = problem.split(split)
        splits[str(split)] = (
            [list(instance.arguments.values()) for instance in instances],
            [share * (instance.cpu_s or limits.cpu_s) for instance in instances],
        )
    told = [(job.program, str(job.split), job.indices, job.endless) for job in jobs]
    return core, problem.spec.entry.function, splits, told


def turns(problem: Problem, workers: int, evaluations: int, rounds: int) -> Iterator[Turn]:
    for seed in range(1, rounds + 1):
        found = search(problem, workers, evaluations, seed)
        system_s = found.ended_at - found.begun_at
        turn = Turn(workers, found.evaluations, len(found.jobs), system_s, bare(problem, found.jobs, workers))
        print(f"{workers} workers, seed {seed}: {turn.share:.0%} of the raw limit", file=sys.stderr)
        yield turn


def row(workers: int, found: Sequence[Turn]) -> str:
    system = [turn.evaluations / turn.system_s for turn in found]
    raw = [turn.evaluations / turn.bare_s for turn in found]
    shares = [turn.share for turn in found]
    middle = statistics.median(shares)
    verdict = "reached" if middle >= WANTED else "missed"
    return (
        f"| {workers} | {sum(turn.jobs for turn in found)} | {statistics.median(system):.0f} | "
        f"{statistics.median(raw):.0f} | {middle:.0%} | {min(shares):.0%} to {max(shares):.0%} | {verdict} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problem", default="smtt")
    parser.add_argument("--evaluations", type=int, default=400, help="of each search, the seeds not counted")
    parser.add_argument("--rounds", type=int, default=3, help="searches with each number of workers")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    problem = load(options.problem)
    if problem.spec.entry.interactive or problem.spec.harness:
        parser.error(f"--problem {problem.name}: only programs that are called themselves, once an instance")
    rows = [
        row(workers, list(turns(problem, workers, options.evaluations, options.rounds)))
        for workers in options.workers
    ]
    text = (
        f"# What is left of the raw limit on {problem.name}\n\nMade by "
        f"`{' '.join(['python bench/raw_limit.py', *sys.argv[1:]])}` on Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, jail {machine().level}. Medians over "
        f"{options.rounds} search seeds. The raw limit is a pool of bare forks that runs the same candidates on the "
        f"same instances and does nothing else; both take turns. Evaluations are those on train; the time of both is "
        f"that of all, validation included. Wanted is a share of {WANTED:.0%}.\n\n"
        "| workers | candidates run | evaluations/s | raw limit/s | share | from, to | |\n"
        f"| ---: |{' ---: |' * 5} --- |\n" + "\n".join(rows) + "\n"
    )
    Path(__file__).with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
