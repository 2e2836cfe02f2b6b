"""Settings against each other: the same problem, budget and seeds for every arm, and the control always among them.

A comparison is a folder of ordinary runs, one for each arm and seed. What is complete is not run again and what
was broken off is resumed, so the same command, typed again, goes on.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import msgspec

from evolve import problem, run, settings
from evolve.errors import EvolveError, JournalError, UsageError
from evolve.folders import FILE, RUNS
from evolve.journal import Entry, Journal
from evolve.problem import Problem
from evolve.records import Evaluation, Promotion, Split, Status
from evolve.run import SETTINGS_FILE, Result, Run, Stop
from evolve.settings import ARCHIVES, Settings

CONTROL = "best-of-n"
DEFAULT_EVALUATIONS = 1000
PLAIN = ("bandit.enabled=false", "genetic.tuning=false", "genetic.simplification=0", "stagnation.patience=0")
PRESETS: dict[str, tuple[str, ...]] = {
    "default": (),
    **{kind: (f"archive.kind={kind}",) for kind in ARCHIVES},
    CONTROL: (f"archive.kind={CONTROL}", *PLAIN),
    "hill-climbing": ("archive.kind=top-k", "archive.size=1", *PLAIN),
    "tournament": ("archive.kind=top-k", "archive.size=96", *PLAIN),
}
"""Arms that need no settings: the defaults, each archive, and two classic searches; these and the control are plain,
without what this search adds to them."""
RESERVED = {"problem", "data", "seed", "budget", "mlflow", "share"}  # what a comparison sets itself
LOOK_S = 0.5


@dataclass(frozen=True)
class Arm:
    """A way to search: overrides of the default settings."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What is compared. One of evaluations and cpu_s is given; seeds are 1..repeats."""

    problem: str
    arms: tuple[Arm, ...]
    repeats: int
    evaluations: int | None
    cpu_s: float | None
    overrides: tuple[str, ...] = ()  # of every arm
    data: str = ""  # that the instances are made from; "" = they are generated

    def settings(self, arm: Arm, seed: int) -> Settings:
        """The settings of one run.

        Raises:
            SettingsError, UsageError: an override is refused.
        """
        given = {
            "data": self.data,
            "seed": seed,
            "workers": 1,  # one worker: the same seed gives the same run
            "budget": {"evaluations": self.evaluations, "seconds": self.cpu_s},
            "mlflow": {"enabled": False},
        }
        return settings.resolve(self.problem, given, [*self.overrides, *arm.overrides])

    def jobs(self) -> list[Job]:
        """All runs, seed by seed: whenever it is broken off, every arm has had about as much."""
        return [
            Job(arm, seed, self.settings(arm, seed))
            for seed in range(1, self.repeats + 1)
            for arm in self.arms
        ]

    @property
    def key(self) -> str:
        """Names the comparison; more repeats of the same one keep it."""
        parts = [(arm.name, self.settings(arm, 1)) for arm in self.arms]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:8]


@dataclass(frozen=True)
class Job:
    """One run of a comparison."""

    arm: Arm
    seed: int
    settings: Settings

    @property
    def name(self) -> str:
        return f"{self.arm.name}-{self.seed}"


def make_plan(
    name: str,
    arms: Sequence[str],
    repeats: int,
    evaluations: int | None = None,
    cpu_s: float | None = None,
    overrides: Sequence[str] = (),
    data: str = "",
) -> Plan:
    """A checked plan; the control is put first if it is not among the arms.

    Raises:
        UsageError, SettingsError: an arm, a setting or the budget is refused.
    """
    if evaluations is not None and cpu_s is not None:
        raise UsageError("--evaluations and --seconds: a comparison has one budget; give one of them")
    if evaluations is None and cpu_s is None:
        evaluations = DEFAULT_EVALUATIONS
    if repeats < 1:
        raise UsageError(f"--repeats {repeats}: at least 1 run an arm is needed")
    parsed = [parse_arm(text) for text in arms]
    if CONTROL not in {arm.name for arm in parsed}:
        parsed.insert(0, Arm(CONTROL, PRESETS[CONTROL]))
    _refuse_reserved("--set", overrides)
    plan = Plan(name, tuple(parsed), repeats, evaluations, cpu_s, tuple(overrides), data)
    _check_different(plan)
    return plan


def parse_arm(text: str) -> Arm:
    """An arm from `NAME:key=value,key=value`, or from the name of a preset.

    Raises:
        UsageError: the name is no preset or cannot name a folder, or a setting is not an arm's to make.
    """
    name, colon, rest = text.partition(":")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UsageError(f"--arm {text}: the name '{name}' has to consist of letters, digits, - _ and .")
    if colon and name == CONTROL:
        raise UsageError(f"--arm {text}: {CONTROL} is the control; give an arm of your own another name")
    if not colon and name not in PRESETS:
        raise UsageError(f"--arm {text}: expected NAME:key=value,key=value, or one of: {', '.join(PRESETS)}")
    # commas inside brackets belong to a list
    overrides = tuple(re.split(r",(?![^\[]*\])", rest)) if colon else PRESETS[name]
    _refuse_reserved(f"--arm {text}", overrides)
    return Arm(name, overrides)


def _refuse_reserved(where: str, overrides: Sequence[str]) -> None:
    for override in overrides:
        key = override.partition("=")[0].partition(".")[0].strip()
        if key in RESERVED:
            raise UsageError(f"{where}: '{key}' is the same for every arm; the comparison itself sets it")


def _check_different(plan: Plan) -> None:
    known: dict[str, str] = {}
    for arm in plan.arms:
        if arm.name in known.values():
            raise UsageError(f"--arm {arm.name}: there are two arms of this name")
        resolved = repr(plan.settings(arm, 1))
        if resolved in known:
            raise UsageError(f"--arm {arm.name}: the same settings as the arm {known[resolved]}")
        known[resolved] = arm.name


def default_folder(plan: Plan) -> Path:
    """Where the comparison lies unless the user says otherwise: the same place for the same command."""
    return RUNS / f"compare-{loaded(plan).name}-{plan.key}"


# ---- running


class CpuClock:
    """CPU seconds of this process and of the candidates that it has had evaluated; an observer that counts."""

    def __init__(self) -> None:
        self._jail_s = 0.0

    def __call__(self) -> float:
        return time.process_time() + self._jail_s

    def entry(self, run: Run, entry: Entry) -> None:
        if isinstance(entry.record, Evaluation):
            self._jail_s += entry.record.cpu_s

    def begin(self, run: Run) -> None:
        """Nothing to do."""

    def tick(self, run: Run) -> None:
        """Nothing to do."""

    def end(self, run: Run, result: Result) -> None:
        """Nothing to do."""


def complete(folder: Path) -> bool:
    """Whether the run in a folder has spent its budget."""
    if not (folder / FILE).is_file():
        return False
    with Journal.open(folder, read_only=True) as journal:
        return journal.meta("ended") in (Stop.BUDGET, Stop.EXHAUSTED)


def check_folder(plan: Plan, folder: Path) -> None:
    """Refuse a folder with runs of other settings, or of the problem as it was before a change.

    Raises:
        UsageError: naming the run.
        JournalError: the problem has changed.
    """
    digest = loaded(plan).digest
    for job in plan.jobs():
        place = folder / job.name
        if not (place / FILE).is_file():
            continue
        if settings.load(place / SETTINGS_FILE) != job.settings:
            raise UsageError(
                f"{place}: a run with other settings than the arm {job.arm.name} now has; give another --out"
            )
        with Journal.open(place, read_only=True) as journal:
            if journal.meta("digest") != digest:
                raise JournalError(
                    f"{place}: the problem {plan.problem} has changed since this run; delete {folder}, or give "
                    f"another --out"
                )


def execute(plan: Plan, folder: Path, processes: int, report: Callable[[list[Job], list[Job]], None]) -> None:
    """Make all runs that are missing or incomplete, `processes` at a time.

    Args:
        report: called again and again with the jobs that are complete and those under way.

    Raises:
        EvolveError: a run failed, or it was interrupted; what was done is kept.
    """
    check_folder(plan, folder)
    jobs = plan.jobs()
    todo = [job for job in jobs if not complete(folder / job.name)]
    done = [job for job in jobs if job not in todo]
    report(done, [])
    if processes == 1 or len(todo) < 2:
        for job in todo:
            report(done, [job])
            _check_ended(job, _execute(folder / job.name, job.settings))
            done.append(job)
    else:
        _execute_all(folder, todo, done, processes, report)
    report(done, [])


def _execute_all(
    folder: Path,
    todo: list[Job],
    done: list[Job],
    processes: int,
    report: Callable[[list[Job], list[Job]], None],
) -> None:
    # spawned, not forked: a forked copy would share this process's threads and open journals
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin_worker, (os.getpid(),))
    waiting, under_way = list(todo), dict[Future[str], Job]()
    try:
        while waiting or under_way:
            while waiting and len(under_way) < processes:
                job = waiting.pop(0)
                under_way[pool.submit(_execute, folder / job.name, job.settings)] = job
            report(done, list(under_way.values()))
            for future in wait(under_way, LOOK_S, FIRST_COMPLETED).done:
                job = under_way.pop(future)
                _check_ended(job, future.result())
                done.append(job)
    except KeyboardInterrupt:
        raise EvolveError("interrupted; the same command goes on with what is missing") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker(parent: int) -> None:
    """A worker ends with its parent, however that ends: the journals stand it."""
    # the terminal's Ctrl-C reaches it too; while a run goes on, the run itself takes it
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _check_ended(job: Job, stopped: str) -> None:
    if stopped == Stop.INTERRUPTED:
        raise EvolveError(f"interrupted in the run {job.name}; the same command goes on with what is missing")


def _execute(folder: Path, the_settings: Settings) -> str:
    """Make or resume one run; gives why it ended."""
    cpu = CpuClock()
    by_time = the_settings.budget.seconds is not None
    clock, observers = (cpu, [cpu]) if by_time else (time.monotonic, [])
    if (folder / FILE).is_file():
        searched = run.reopen(folder, observers=observers, clock=clock)
    else:
        shutil.rmtree(folder, ignore_errors=True)  # killed before its journal was there
        searched = run.start(folder, the_settings, observers, clock=clock)
    try:
        return str(searched.execute().stopped)
    finally:
        searched.journal.close()


# ---- what came out


@dataclass(frozen=True)
class Step:
    """A best so far. at: seconds of the run (CPU seconds if they were its budget)."""

    evaluations: int
    at: float
    score: float


@dataclass(frozen=True)
class Outcome:
    """What one run came to.

    train: steps of the best score on train; champions: of the champion's score on validation, empty if there
        was none. objective: the champion's on validation. cpu_s: CPU seconds in the jail.
    """

    arm: str
    seed: int
    folder: Path
    evaluations: int
    valid: int
    impossible: int
    cpu_s: float
    elapsed_s: float
    champion: str
    objective: float
    train: tuple[Step, ...]
    champions: tuple[Step, ...]

    @property
    def validation(self) -> float:
        """The champion's score on validation; nan if there is no champion."""
        return self.champions[-1].score if self.champions else float("nan")


def outcomes(plan: Plan, folder: Path) -> Iterator[Outcome]:
    """The outcomes of all runs, which are complete, in the order of the arms."""
    for job in sorted(plan.jobs(), key=lambda job: (plan.arms.index(job.arm), job.seed)):
        with Journal.open(folder / job.name, read_only=True) as journal:
            yield _Reader(journal).outcome(job, folder / job.name)


class _Reader:
    """Reads a journal from its beginning to its end."""

    def __init__(self, journal: Journal) -> None:
        self.evaluations = self.valid = self.impossible = 0
        self.cpu_s = self.elapsed_s = 0.0
        self.champion, self.objective = "", float("nan")
        self.train: list[Step] = []
        self.champions: list[Step] = []
        self._validations: dict[str, Evaluation] = {}
        for entry in journal.entries():
            self.elapsed_s = entry.at
            if isinstance(entry.record, Evaluation):
                self._evaluated(entry.record, entry.at)
            elif isinstance(entry.record, Promotion) and entry.record.promoted:
                self._promoted(entry.record, entry.at)

    def _evaluated(self, evaluation: Evaluation, at: float) -> None:
        self.cpu_s += evaluation.cpu_s
        if evaluation.split is Split.VALIDATION:
            self._validations[evaluation.candidate] = evaluation
        if evaluation.split is not Split.TRAIN:
            return
        self.evaluations += 1
        self.valid += evaluation.status in (Status.OK, Status.RACED_OUT, Status.DUPLICATE)
        self.impossible += evaluation.status is Status.IMPOSSIBLE
        if evaluation.ok and (not self.train or evaluation.score > self.train[-1].score):
            self.train.append(Step(self.evaluations, at, evaluation.score))

    def _promoted(self, promotion: Promotion, at: float) -> None:
        validation = self._validations[promotion.challenger]
        self.champion, self.objective = promotion.challenger, validation.objective
        self.champions.append(Step(self.evaluations, at, validation.score))

    def outcome(self, job: Job, folder: Path) -> Outcome:
        return Outcome(
            arm=job.arm.name,
            seed=job.seed,
            folder=folder,
            evaluations=self.evaluations,
            valid=self.valid,
            impossible=self.impossible,
            cpu_s=self.cpu_s,
            elapsed_s=self.elapsed_s,
            champion=self.champion,
            objective=self.objective,
            train=tuple(self.train),
            champions=tuple(self.champions),
        )


def share_done(plan: Plan, folder: Path, done: Sequence[Job], under_way: Sequence[Job]) -> float:
    """How much of the whole comparison has been searched, 0 to 1; runs that were broken off count when resumed."""
    shares = [1.0] * len(done) + [_share(folder / job.name, plan) for job in under_way]
    return sum(shares) / (len(plan.arms) * plan.repeats)


def _share(folder: Path, plan: Plan) -> float:
    if not (folder / FILE).is_file():
        return 0.0
    with Journal.open(folder, read_only=True) as journal:
        evaluations, at = journal.progress()
    return min(1.0, evaluations / plan.evaluations if plan.evaluations else at / (plan.cpu_s or 1.0))


def loaded(plan: Plan) -> Problem:
    """The problem of a comparison."""
    return problem.load(plan.problem, plan.data)
