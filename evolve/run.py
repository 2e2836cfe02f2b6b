"""The loop: one thread owns all mutable state; evaluations run in a pool and are taken as they complete."""

from __future__ import annotations

import gc
import json
import platform
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Protocol

import msgspec
import numpy as np

from evolve import __version__, account, apart, problem, settings, skills
from evolve.account import Account
from evolve.apart import Apart, Made
from evolve.assembly import BUDGET_NOTE, SKILLS_NOTE, make_proposer, make_search
from evolve.backends import Backend, make_backend
from evolve.backends import check as check_backend
from evolve.cache import Cache
from evolve.effects import ARMS_NOTE
from evolve.errors import JournalError, UsageError
from evolve.journal import Entry, Journal, Placed, Record
from evolve.models import cast as models
from evolve.models.calls import Calls
from evolve.models.retry import Policy
from evolve.pace import Pace
from evolve.problem import Problem
from evolve.records import (
    Candidate,
    Evaluation,
    Exchange,
    Intervention,
    Member,
    Promotion,
    Proposal,
    Repeats,
    Request,
    Resumed,
    Split,
)
from evolve.search import Impossible, Task
from evolve.settings import BackendSettings, BudgetSettings, Settings
from evolve.sharing import neighbours as sharing
from evolve.sharing.neighbours import Neighbours
from evolve.sharing.offers import Program, best_of

TICK_S = 0.25
QUEUED_PER_WORKER = 2  # one running, one waiting
FRUITLESS = 20_000  # proposals in a row without a new program before the run gives up
FRUITLESS_CALLS = 300  # the same where each costs a call to a model
GRACE_S = 30.0  # for which calls to models are waited for when the time is up: they are paid for
ATTEMPTS = 50  # proposals tried before results are looked at again
COLLECTION = (50_000, 20, 20)  # thresholds of the garbage collector during a search
BEST_FILE = "best.py"
BEST_FOLDER = "best"
SETTINGS_FILE = "settings.toml"
ORDER_NOTE = "racing_order"
HOSTS_NOTE = "hosts"


class Stop(StrEnum):
    """Why a run ended."""

    BUDGET = "budget spent"
    INTERRUPTED = "interrupted"
    EXHAUSTED = "no new program can be proposed"
    SILENT = "no model answers"
    USED_UP = "all replies of the other run are used up"


@dataclass(frozen=True)
class Shared:
    """What came of other runs. taken: programs taken in. placed: those that entered the archive.

    remarks: what was passed over, and why.
    """

    taken: int
    placed: int
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What a run has come to. Evaluations of the champion are None while there is no champion."""

    folder: Path
    champion: Member | None
    validation: Evaluation | None
    evaluations: int
    elapsed_s: float
    stopped: Stop
    impossible: tuple[Impossible, ...]
    repeats: Repeats
    cache_fault: str  # why the cache was not used (to the end); "" if it was, or was not asked for
    silence: str = ""  # why no model answers; "" if one did, or none was asked
    account: Account | None = None  # of the models; None if none was asked
    shared: Shared | None = None  # None if the run shared with nobody


class Observer(Protocol):
    """Sees what happens; changes nothing."""

    def begin(self, run: Run) -> None: ...

    def tick(self, run: Run) -> None: ...

    def entry(self, run: Run, entry: Entry) -> None: ...

    def end(self, run: Run, result: Result) -> None: ...


class Run:
    """One search in one folder."""

    def __init__(
        self,
        folder: Path,
        the_settings: Settings,
        the_problem: Problem,
        journal: Journal,
        observers: Sequence[Observer] = (),
        clock: Callable[[], float] = time.monotonic,
        cache: Cache | None = None,
    ) -> None:
        self.folder = folder
        self.settings = the_settings
        self.problem = the_problem
        self.journal = journal
        order = tuple(json.loads(journal.meta(ORDER_NOTE) or "[]"))
        self.search = make_search(the_settings, the_problem, journal, order)
        self.cache = cache
        self.neighbours: Neighbours | None = None  # while it searches, if it shares candidates
        self._observers = observers
        self._clock = clock
        self._before_s = 0.0  # running time of earlier parts
        self._began = clock()
        self._results: queue.SimpleQueue[Future[Evaluation] | Exchange | Exception | Made] = (
            queue.SimpleQueue()
        )
        self.apart = Apart(the_settings, the_problem, self._results.put)
        self._in_flight = 0
        self._pace = Pace()
        self._fruitless = 0
        # candidates evaluated when the neighbours are looked at again: at first each goes its own way
        self._next_look = the_settings.share.every
        self._reopened = False
        self._order_noted = bool(order)
        self._apart_noted = bool(journal.meta(apart.NOTE))
        self._interrupted = threading.Event()
        self.remarks: list[str] = []  # of the backend, for the user

    @property
    def elapsed_s(self) -> float:
        """Running time in seconds, earlier parts of a resumed run included."""
        return self._before_s + self._clock() - self._began

    @property
    def _profiled(self) -> bool:
        return self.search.asker is not None and self.settings.llm.profile

    def replay(self) -> None:
        """Feed the journal through the search: afterwards it stands where the run was stopped."""
        self._reopened = True
        derived: deque[Placed | Promotion] = deque()
        for entry in self.journal.entries():
            self._before_s = max(self._before_s, entry.at)
            match entry.record:
                case Resumed():
                    self.search.resumed(entry.record)
                case Request():
                    self.search.asked(entry.record)
                case Exchange():
                    self.search.exchanged(entry.record, entry.at)
                case Proposal():
                    self.search.proposed(entry.record)
                case Evaluation(split=Split.HOLDOUT):
                    pass  # publishing is no step of the search
                case Evaluation():
                    derived.extend(self.search.evaluated(entry.record, entry.at))
                case Intervention():
                    self.search.intervened(entry.record)
                case Placed() | Promotion():
                    if derived:
                        derived.popleft()
        for record in derived:  # killed between an evaluation and what follows from it
            self.journal.append(record, self._before_s)
        for exchange in list(self.search.unread.values()):  # killed between an answer and its proposal
            proposal = self.search.finish(exchange)
            self.journal.append(proposal, self._before_s)
            self.search.proposed(proposal)
        self._note_order()
        self._write_best()

    def execute(self) -> Result:
        """Search until the budget is spent or somebody interrupts.

        Raises:
            EvaluatorError, JailError: the run cannot go on; its journal is intact and can be resumed.
        """
        self._began = self._clock()
        self.journal.note("ended", "")
        if self._reopened:
            again = Resumed(**msgspec.structs.asdict(self.settings.budget))
            self._journal(again)
            self.search.resumed(again)
        self.search.take_begun()  # they are among the pending
        with (
            _interruptible(self._interrupted),
            _rarely_collecting(),
            make_backend(
                self.problem, self.settings, self.search.seen, self.cache, self._profiled
            ) as workers,
            self.apart,
            self._calls() as calls,
            self._neighbourhood(),
        ):
            for observer in self._observers:
                observer.begin(self)
            try:
                for task in self.search.pending:
                    self._submit(workers, task)
                self._take_up(calls)
                stopped = self._loop(workers, calls)
            finally:
                self._note_hosts(workers)
                workers.cancel()
        self._write_best()
        self._keep_skills()
        self.journal.note("ended", stopped)
        result = self._result(stopped)
        for observer in self._observers:
            observer.end(self, result)
        return result

    def _loop(self, workers: Backend, calls: Calls | None) -> Stop:
        while not self._interrupted.is_set():
            more = self._fill(workers, calls)
            if not self._busy:
                if not self.search.budget.timed_out(self.elapsed_s):
                    self.search.close()
                self._submit_begun(workers)
            if not self._busy or self._overdue:
                return self._why()
            self._take(workers, 0.0 if more else TICK_S)
            while (
                more or self.apart.asked
            ) and not self._results.empty():  # before more children of old parents are made
                self._take(workers, 0.0)
            if remarks := workers.remarks():
                self.remarks += remarks
                self._note_hosts(workers)
            for observer in self._observers:
                observer.tick(self)
        return Stop.INTERRUPTED

    @property
    def _busy(self) -> bool:
        """Whether something will happen: work is under way, or a model that is set aside will be tried again."""
        if self._in_flight or self.search.open or (self.apart.asked and self._may_begin()):
            return True
        at = self.elapsed_s
        return self.search.asker is not None and self.search.asker.paused(at) and self._may_begin()

    @property
    def _overdue(self) -> bool:
        """Whether only models are waited for, and they have had their time."""
        limit = self.settings.budget.seconds
        return not self._in_flight and limit is not None and self.elapsed_s > limit + GRACE_S

    def _why(self) -> Stop:
        if self.search.asker is not None and self.search.asker.silence:
            return Stop.USED_UP if self.settings.proposer == "replay" else Stop.SILENT
        return Stop.EXHAUSTED if self._fruitless >= self._fruitless_limit else Stop.BUDGET

    @property
    def _fruitless_limit(self) -> int:
        return FRUITLESS_CALLS if self.search.asker else FRUITLESS

    def _fill(self, workers: Backend, calls: Calls | None) -> bool:
        """Propose until all workers have enough; True if they have not, and results need not be waited for."""
        if self.neighbours is not None and self.search.ready and not self.search.founding:
            self._share(workers, self.neighbours)
        if calls is not None and not self.search.founding:
            self._ask(workers, calls)
            return False
        if self.search.ready and not self.search.founding and self.apart.worthwhile(workers.capacity()):
            self._take_made(workers)
            return False
        for _ in range(ATTEMPTS):
            if self._in_flight >= QUEUED_PER_WORKER * workers.capacity() or self._fruitless >= FRUITLESS:
                return False
            if not self.search.ready or not self._may_begin():
                return False
            self._intervene(workers)
            self._propose(workers, self.search.propose())
        # one worker's results come at their time in the order of things: the same seed gives the same run
        return workers.capacity() > 1

    def _take_made(self, workers: Backend) -> None:
        """Take what other processes have proposed, and have more proposed, until all workers have enough."""
        for proposal in self.apart.made():
            if self._may_begin():
                if not self._apart_noted:
                    self.journal.note(apart.NOTE, str(self.search.proposals + 1))
                    self._apart_noted = True
                self._intervene(workers)
                self._propose(workers, self.search.made(proposal))
        enough = QUEUED_PER_WORKER * workers.capacity()
        while self.apart.room and self._in_flight + self.apart.asked < enough:
            if self._fruitless >= FRUITLESS or not self._may_begin():
                break
            self.apart.ask(*self.search.sampled(self.apart.asked))
        self.apart.send()

    def _propose(self, workers: Backend, proposal: Proposal) -> None:
        self._journal(proposal)
        self.search.proposed(proposal)
        self._fruitless = 0 if proposal.candidate else self._fruitless + 1
        self._submit_begun(workers)

    # ---- other runs

    @contextmanager
    def _neighbourhood(self) -> Iterator[None]:
        """The runs that candidates are exchanged with, if the settings name any."""
        share = self.settings.share
        if not (share.folder or share.mlflow):
            yield
            return
        self.neighbours = sharing.join(share, self.problem, self.journal, self.search.knows)
        try:
            yield
        finally:
            self.neighbours.leave(self._to_give())

    def _share(self, workers: Backend, neighbours: Neighbours) -> None:
        """Take in what has arrived, and look again every so many candidates."""
        if self.search.evaluations >= self._next_look:
            self._next_look = self.search.evaluations + self.settings.share.every
            neighbours.look(self._to_give())
        for candidate in neighbours.arrived():
            if self._may_begin() and not self.search.knows(candidate.id):
                self._intervene(workers)
                self._propose(workers, self.search.admit(candidate))

    def _to_give(self) -> tuple[Program, ...]:
        search = self.search
        return best_of(search.champion, search.archive.members(), self.problem.spec.changing)

    # ---- models

    @contextmanager
    def _calls(self) -> Iterator[Calls | None]:
        """Threads that ask models; None where the proposer asks none."""
        if self.search.asker is None:
            yield None
            return
        llm = self.settings.llm
        lines = models.lines(self.settings, self.folder)
        calls = Calls(lines, llm.in_flight, Policy(llm.retries, llm.retry_s), self._results.put)
        try:
            yield calls
        finally:
            calls.close()

    def _take_up(self, calls: Calls | None) -> None:
        """Ask again what was being asked when the run was stopped."""
        if calls is not None:
            for request in self.search.unanswered:
                self._call(calls, request)

    def _ask(self, workers: Backend, calls: Calls) -> None:
        """Begin as many requests as are due. What waits for evaluation bounds how old a sample can get."""
        waiting = max(calls.in_flight, QUEUED_PER_WORKER * workers.capacity())
        while len(self.search.open) < calls.in_flight and self._in_flight < waiting:
            at = self.elapsed_s
            if not self.search.ready or not self.search.budget.allows(at):
                return
            if self.settings.llm.paced and not self._pace.due(at, workers.capacity()):
                return
            self._intervene(workers)
            request = self.search.ask(at) if self._fruitless < FRUITLESS_CALLS else None
            if request is None:
                return
            self._journal(request, at)
            self.search.asked(request)
            self._call(calls, request)

    def _call(self, calls: Calls, request: Request) -> None:
        self._pace.asked(request.number, self.elapsed_s)
        calls.submit(request)

    def _take_exchange(self, workers: Backend, exchange: Exchange) -> None:
        entry = self._journal(exchange)
        self.search.exchanged(exchange, entry.at)
        if exchange.final:
            self._pace.answered(exchange.number, entry.at)
            self._propose(workers, self.search.finish(exchange))
            models.require_key(exchange)

    # ---- evaluations

    def _intervene(self, workers: Backend) -> None:
        while (step := self.search.remedy()) is not None:
            self._journal(step)
            self.search.intervened(step)
        self._submit_begun(workers)

    def _may_begin(self) -> bool:
        # the seeds are what everything is measured against: they are evaluated whatever the budget says
        return self.search.founding or self.search.budget.allows(self.elapsed_s)

    def _submit_begun(self, workers: Backend) -> None:
        for task in self.search.take_begun():
            self._submit(workers, task)

    def _submit(self, workers: Backend, task: Task) -> None:
        self._in_flight += 1
        self._pace.begun(self.elapsed_s, workers.capacity())
        workers.submit(task).add_done_callback(self._results.put)

    def _take(self, workers: Backend, wait_s: float) -> None:
        try:
            result = self._results.get(timeout=wait_s)
        except queue.Empty:
            return
        match result:
            case Exchange():
                self._take_exchange(workers, result)
            case Exception():
                raise result
            case Made():
                self.apart.came(result)
            case _:
                self._take_evaluation(workers, result)

    def _take_evaluation(self, workers: Backend, future: Future[Evaluation]) -> None:
        self._in_flight -= 1
        self._pace.ended(self.elapsed_s, workers.capacity())
        evaluation = future.result()
        # journal first: a crash after this line must not lose the evaluation
        entry = self._journal(evaluation)
        for record in self.search.evaluated(evaluation, entry.at):
            self._journal(record)
            if isinstance(record, Promotion) and record.promoted:
                self._write_best()
        self._note_order()
        self._submit_begun(workers)

    def _note_hosts(self, workers: Backend) -> None:
        """Who evaluates and who may not, and what happened to them; of the latest part of the run."""
        self.remarks += workers.remarks()
        facts = {"hosts": [asdict(host) for host in workers.hosts()], "remarks": self.remarks}
        self.journal.note(HOSTS_NOTE, json.dumps(facts))

    def _note_order(self) -> None:
        """The order of the races follows from the seeds' scores; a resumed run keeps it, whatever evolve it is."""
        if self.search.order and not self._order_noted:
            self.journal.note(ORDER_NOTE, json.dumps(self.search.order))
            self._order_noted = True

    def _journal(self, record: Record, at: float | None = None) -> Entry:
        entry = self.journal.append(record, self.elapsed_s if at is None else at)
        for observer in self._observers:
            observer.entry(self, entry)
        return entry

    def _write_best(self) -> None:
        best = self.search.champion or self.search.archive.best
        if best is not None:
            write_program(self.folder, best.candidate)

    def _keep_skills(self) -> None:
        champion = self.search.champion
        if self.settings.llm.skills and champion is not None:
            found = skills.learn(self.journal, self.folder.name, champion.candidate.id)
            skills.keep(self.problem.digest, found)

    def _result(self, stopped: Stop) -> Result:
        search = self.search
        return Result(
            self.folder,
            search.champion,
            search.champion_validation,
            search.evaluations,
            self.elapsed_s,
            stopped,
            tuple(search.impossible),
            search.repeats,
            self.cache.fault if self.cache else "",
            search.asker.silence if search.asker and stopped is Stop.SILENT else "",
            account.read(self.journal) if search.asker else None,
            Shared(search.migrants, search.settled, tuple(self.neighbours.remarks))
            if self.neighbours
            else None,
        )


def write_program(folder: Path, candidate: Candidate) -> None:
    """Write `best.py`; a program of several files goes into the folder `best`, each file wholly or not at all."""
    place = folder / BEST_FOLDER if len(candidate.files) > 1 else folder
    place.mkdir(exist_ok=True)
    for name, text in candidate.files.items():
        target = place / (name if place is not folder else BEST_FILE)
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)


def start(
    folder: Path,
    the_settings: Settings,
    observers: Sequence[Observer] = (),
    cache: Cache | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Run:
    """A new run in a folder that does not exist or is empty. `clock`: what its seconds are counted by.

    Args:
        cache: evaluations of earlier runs, and for later ones. The run is the same with it and without it.

    Raises:
        UsageError: the folder is not empty, or the one to share through cannot be used.
        ProblemError: the problem breaks a rule; for one, its splits share an instance.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"--out {folder}: the folder is not empty; name a new one, or `evolve resume {folder}`"
        )
    the_problem = problem.load(the_settings.problem, the_settings.data)
    the_problem.check_disjoint()
    founders = problem.select_seeds(the_problem, the_settings.seeds)
    proposer = make_proposer(the_settings, the_problem, list(founders.values()))
    models.check_keys(the_settings)
    check_backend(the_settings.backend)
    if the_settings.share.folder:
        sharing.prepare(the_settings.share.folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings.save(the_settings, folder / SETTINGS_FILE)
    meta = {
        "problem": the_problem.name,
        "folder": str(the_problem.folder),
        "data": the_problem.source,
        "digest": the_problem.digest,
        ARMS_NOTE: json.dumps(dict(proposer.arms)),
        "founders": json.dumps([candidate.id for candidate in founders.values()]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": json.dumps(versions()),
        SKILLS_NOTE: json.dumps(
            skills.lines(skills.load(the_problem.digest)) if the_settings.llm.skills else []
        ),
        BUDGET_NOTE: msgspec.json.encode(the_settings.budget).decode(),
    }
    sources = "".join(text for candidate in founders.values() for text in candidate.files.values())
    journal = Journal.create(folder, meta, sources.encode())
    _lock(journal)
    return Run(folder, the_settings, the_problem, journal, observers, clock, cache)


def reopen(
    folder: Path,
    budget: BudgetSettings | None = None,
    observers: Sequence[Observer] = (),
    cache: Cache | None = None,
    clock: Callable[[], float] = time.monotonic,
    backend: BackendSettings | None = None,
    workers: int | None = None,
) -> Run:
    """A run as it was when it stopped or was killed, with a new total budget if one is given.

    Args:
        backend: who evaluates from now on; None = who did before.
        workers: how many, from now on; None = as before, or as many as another backend has.

    Raises:
        JournalError: there is no run, it is going on elsewhere, or its problem has changed since.
    """
    journal = Journal.open(folder)
    _lock(journal)
    the_settings = settings.load(folder / SETTINGS_FILE)
    models.check_keys(the_settings)
    the_problem = unchanged_problem(folder, the_settings, journal)
    if budget is not None:
        the_settings = _with(the_settings, {"budget": budget})
    if backend is not None:
        the_settings = settings.on(the_settings, backend, workers)
    elif workers is not None:
        the_settings = _with(the_settings, {"workers": workers})
    check_backend(the_settings.backend)
    settings.save(the_settings, folder / SETTINGS_FILE)
    run = Run(folder, the_settings, the_problem, journal, observers, clock, cache)
    run.replay()
    return run


def unchanged_problem(folder: Path, the_settings: Settings, journal: Journal) -> Problem:
    """The problem of a run, as it was then.

    Raises:
        JournalError: the problem or its seeds have changed since.
    """
    the_problem = problem.load(journal.meta("folder"), journal.meta("data"))
    if the_problem.digest != journal.meta("digest"):
        raise JournalError(
            f"{folder}: the problem {the_problem.folder} has changed since this run (instances, data, evaluator "
            f"or limits); old and new scores cannot be compared: begin a new run"
        )
    founders = problem.select_seeds(the_problem, the_settings.seeds)
    if [candidate.id for candidate in founders.values()] != json.loads(journal.meta("founders")):
        raise JournalError(
            f"{folder}: the seeds of {the_problem.name} have changed since this run; begin a new run"
        )
    return the_problem


def versions() -> dict[str, str]:
    """What a run's results may depend on besides its settings."""
    return {
        "evolve": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": platform.platform(),
    }


def _with(the_settings: Settings, changes: dict[str, object]) -> Settings:
    return settings.convert({**msgspec.to_builtins(the_settings), **msgspec.to_builtins(changes)})


def _lock(journal: Journal) -> None:
    """Hold the run for this process; the lock goes with the process, however it ends."""
    try:
        journal.lock()
    except BlockingIOError:
        journal.close()
        raise JournalError(
            f"{journal.path.parent}: another process is running this search; wait for it or stop it"
        ) from None


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """While inside, look for reference cycles less often: a search makes many objects and hardly a cycle."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*COLLECTION)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def _interruptible(flag: threading.Event) -> Iterator[None]:
    """While inside, the first Ctrl-C (or SIGTERM) sets the flag and the second one breaks off."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
