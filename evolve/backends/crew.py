"""Evaluation on a cluster: what is open, what is under way, and that each evaluation counts exactly once.

The cluster's engine schedules; here is what no engine knows. Jobs have numbers: the first result of one counts, later
ones are dropped and counted. A job that was lost with its worker is the machine's fault: it is given out again, alone,
and after `ATTEMPTS` losses the run stops, to be resumed. One thread owns all of this.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from evolve.archives import needs_descriptors
from evolve.backends.base import Engine, Host, Lost
from evolve.backends.messages import Done, Reply, pack
from evolve.backends.pace import BATCH_S, Pace
from evolve.backends.parcel import evaluated, wrap
from evolve.backends.station import footing
from evolve.errors import BackendError, EvaluatorError
from evolve.evaluate import Evaluator
from evolve.problem import Problem
from evolve.records import Evaluation, Split
from evolve.search import Task
from evolve.settings import Settings
from evolve.trial import Seen

ATTEMPTS = 5  # times that a job may be lost before the run stops
COPIES = 2  # further copies of a job whose worker takes too long, beside the first
OVERDUE = 20.0  # times as long as expected is too long,
OVERDUE_S = 10.0  # but not before so many seconds
UNKNOWN_S = 60.0  # the same, beside the limits of CPU time, before any evaluation has come back
PATIENCE_S = 60.0  # for which a cluster may be without any worker,
REFUSED_S = 10.0  # or, at the start, have none but those that may not have work,
EXAMINED_S = (
    180.0  # or none that has been examined: to start there, and to attack the jail, takes long on a busy host
)
QUEUED = 2  # batches for each slot: one running, one on its way
LINGER_S = 0.005  # without a new task before a batch that is not full is sent
LOOK_S = 1.0  # between two looks at the hosts
SILENT_S = 15.0  # for which the engine may keep us waiting before that is said
KEPT_S = 60.0  # after which a worker that was not heard of does not hold back digests


@dataclass
class _Open:
    """A job without a result. lost: times with a worker. copies: given out because it took too long."""

    task: Task
    future: Future[Evaluation]
    lost: int = 0
    copies: int = 0


@dataclass
class _Flight:
    """A batch under way. limit_s: after which copies of its jobs are given out."""

    numbers: list[int]
    sent: float
    limit_s: float


@dataclass
class Counts:
    """What happened besides results. lost: batches. repeated: jobs given out again. late: results not needed."""

    lost: int = 0
    repeated: int = 0
    late: int = 0


@dataclass
class _Known:
    """Digests of decisions: which of them each worker knows, by what it answered last, and when."""

    digests: list[str] = field(default_factory=list)
    workers: dict[str, tuple[int, float]] = field(default_factory=dict)

    def start(self, now: float) -> int:
        """How many digests all workers know that were heard of lately."""
        recent = [count for count, at in self.workers.values() if now - at < KEPT_S]
        return min(recent, default=0)


class Crew:
    """Evaluates on a cluster. A context manager; see base.Backend.

    Args:
        connect: makes the engine, given the key of the problem and the problem as it is sent to workers.

    With one worker in the settings, evaluations are given out one at a time: the same seed gives the same run.
    """

    def __init__(
        self,
        the_problem: Problem,
        the_settings: Settings,
        seen: Seen,
        connect: Callable[[str, bytes], Engine],
        profiled: bool = False,
    ) -> None:
        self.counts = Counts()
        self._problem = the_problem
        self._settings = the_settings
        self._seen = seen
        self._connect = connect
        self._profiled = profiled
        self._run = uuid.uuid4().hex[:12]
        self._limit = the_settings.workers  # 0 = all that there are
        self._inbox: queue.SimpleQueue[tuple[int, bytes | Lost] | _Open | None] = queue.SimpleQueue()
        self._remarks: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._open: dict[int, _Open] = {}
        self._waiting: deque[int] = deque()  # numbers of open jobs that are to be given out
        self._flights: dict[int, _Flight] = {}
        self._number = 0
        self._flown = 0
        self._known = _Known()
        self._told: set[str] = set()
        self._looked = 0.0
        self._stepped = 0.0  # when the thread below last began a step
        self._manned = time.monotonic()  # when there was last a worker
        self._slots = 0
        self._all = True  # whether all slots of the cluster are ours to use
        self._ended = threading.Event()
        self._failure: BackendError | None = None

    def __enter__(self) -> Crew:
        with Evaluator(self._problem, self._settings.jail.minimum) as evaluator:
            # an evaluator that fails is told here, before anything is sent
            scales = [evaluator.scale(split) for split in evaluated(self._problem)]
        # a problem that needs special hardware measures there: its baseline differs from host to host
        found = "" if self._problem.spec.needs else footing([scale.baseline for scale in scales])
        self._longest = {scale.split: sum(scale.cpu_s) for scale in scales}
        describe = needs_descriptors(self._settings.archive)
        parcel = wrap(self._problem, self._settings, describe, self._profiled, found)
        self._key = parcel.key
        self._engine = self._connect(self._key, msgspec.msgpack.encode(parcel))
        self._pace = Pace(self._engine.cost_s, alone=self._limit == 1)
        try:
            self._await_hosts()
        except BaseException:
            self._engine.close()
            raise
        self._stepped = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="crew", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()
        self._thread.join()
        self._engine.close()

    # ---- for the loop's thread

    def submit(self, task: Task) -> Future[Evaluation]:
        if task.split is Split.HOLDOUT:
            raise BackendError("the holdout is never sent to another host; `evolve publish` opens it here")
        future: Future[Evaluation] = Future()
        # what the loop knows by now is what the task's race may count on
        self._known.digests += self._seen.since(len(self._known.digests))
        self._inbox.put(_Open(task, future))
        return future

    def capacity(self) -> int:
        return max(1, self._slots) * self._pace.size(Split.TRAIN)

    def hosts(self) -> Sequence[Host]:
        return self._engine.hosts()

    def cancel(self) -> None:
        self._ended.set()
        self._inbox.put(None)

    def remarks(self) -> Sequence[str]:
        if time.monotonic() - self._stepped > SILENT_S and not self._ended.is_set():
            self._say(
                f"the cluster has not answered for {SILENT_S:.0f} s, and evaluations wait for it; if its engine ends "
                "this program, `evolve resume` goes on with all that was evaluated"
            )
        found = []
        with suppress(queue.Empty):
            while True:
                found.append(self._remarks.get_nowait())
        return found

    # ---- the thread that owns what is open

    def _work(self) -> None:
        try:
            while not self._ended.is_set():
                try:
                    self._step()
                except BackendError as error:
                    self._fail(error)
        finally:  # whatever happened here, nobody waits in vain
            if not self._ended.is_set():
                self._fail(BackendError("the thread that hands out evaluations has ended; see above for why"))
            for job in self._open.values():
                job.future.cancel()

    def _step(self) -> None:
        self._stepped = time.monotonic()
        try:
            self._take(self._inbox.get(timeout=LINGER_S if self._waiting else LOOK_S / 4))
            idle = False
        except queue.Empty:
            idle = True
        self._give_out(partly=idle)
        self._mind()

    def _take(self, message: tuple[int, bytes | Lost] | _Open | None) -> None:
        match message:
            case None:
                pass
            case _Open():
                if self._failure is not None:
                    message.future.set_exception(self._failure)
                    return
                self._number += 1
                self._open[self._number] = message
                self._waiting.append(self._number)
            case (flight, answer):
                self._take_answer(self._flights.pop(flight), answer)

    def _take_answer(self, flight: _Flight, answer: bytes | Lost) -> None:
        if isinstance(answer, Lost):
            self._lose(flight.numbers, str(answer))
            return
        try:
            reply = msgspec.msgpack.decode(answer, type=Reply)
        except msgspec.MsgspecError as error:
            self._lose(flight.numbers, f"a worker's answer cannot be read: {error}")
            return
        if reply.refusal:
            self._lose(flight.numbers, f"{reply.host}: {reply.refusal}")
            return
        self._known.workers[reply.worker] = (reply.known, time.monotonic())
        done = {each.number for each in reply.done}
        # what the batch had no time for, or the worker not the digests for
        self._again([number for number in flight.numbers if number not in done])
        for each in reply.done:
            self._finish(each)

    def _finish(self, done: Done) -> None:
        job = self._open.get(done.number)
        if job is None:
            self.counts.late += 1
        elif done.evaluation is not None:
            self._pace.saw(job.task.split, done.seconds)
            self._close(done.number, job)
            job.future.set_result(done.evaluation)
        elif done.evaluator:
            self._close(done.number, job)
            job.future.set_exception(EvaluatorError(done.fault))
        else:
            self._lose([done.number], done.fault)

    def _close(self, number: int, job: _Open) -> None:
        del self._open[number]
        if job.lost or job.copies:  # another copy may wait
            with suppress(ValueError):
                self._waiting.remove(number)

    def _lose(self, numbers: Sequence[int], reason: str) -> None:
        """Jobs that came back without a result, by no fault of theirs."""
        self.counts.lost += 1
        self._say(f"evaluations came back undone and are given out again: {reason}")
        for number in numbers:
            job = self._open.get(number)
            if job is None:
                continue
            job.lost += 1
            if job.lost >= ATTEMPTS:
                raise BackendError(
                    f"the evaluation of {job.task.candidate.id} was lost {job.lost} times with its worker "
                    f"({reason}); the run stops here, and `evolve resume` goes on with all that was evaluated"
                )
            self.counts.repeated += 1
        self._again(numbers)

    def _again(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        waiting = set(self._waiting)
        self._waiting.extendleft(
            number for number in reversed(numbers) if number in self._open and number not in waiting
        )

    # ---- sending

    @property
    def _room(self) -> int:
        """Batches that may be under way. The engine runs as many as it can: where that is too many, none waits."""
        return QUEUED * self._slots if self._all else self._slots

    def _give_out(self, partly: bool) -> None:
        """Send full batches while there is room; others only where a worker would have nothing to do."""
        while self._waiting and len(self._flights) < self._room:
            numbers, full = self._next()
            if not full and not (partly and len(self._flights) < self._slots):
                return
            try:
                self._send(numbers)
            except Lost as error:  # the engine is away; `_mind` decides for how long that is all right
                self._say(str(error))
                return
            for _ in numbers:
                self._waiting.popleft()

    def _next(self) -> tuple[list[int], bool]:
        """The numbers of the next batch, the first ones that wait, and whether it is full."""
        first = self._open[self._waiting[0]]
        if first.lost or first.copies:
            return [self._waiting[0]], True  # alone: it may be what ended its worker
        fresh = []
        for number in self._waiting:
            if self._open[number].lost or self._open[number].copies:
                break
            fresh.append(number)
            if len(fresh) > self._pace.size(Split.TRAIN):
                break
        count, full = self._pace.fitting(self._open[number].task for number in fresh)
        return fresh[:count], full or count < len(fresh)

    def _send(self, numbers: list[int]) -> None:
        now = time.monotonic()
        tasks = [(number, self._open[number].task) for number in numbers]
        # no job looks beyond its own horizon, and what every worker knows is not sent again
        horizon = max((task.race.horizon for _, task in tasks if task.race), default=0)
        start = min(self._known.start(now), horizon)
        batch = pack(self._key, self._run, tasks, start, self._known.digests[start:horizon], BATCH_S)
        self._flown += 1
        flight = self._flown
        self._flights[flight] = _Flight(numbers, now, sum(self._patience(task) for _, task in tasks))
        try:
            self._engine.send(batch, lambda answer: self._inbox.put((flight, answer)))
        except Lost:
            del self._flights[flight]
            raise

    def _patience(self, task: Task) -> float:
        expected = self._pace.expected(task.split)
        if expected is None:
            return UNKNOWN_S + 2 * self._longest[task.split]
        return max(OVERDUE_S, OVERDUE * expected)

    # ---- minding

    def _mind(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        self._look()
        if self._slots or not self._open:
            self._manned = now
        elif now - self._manned > PATIENCE_S:
            raise BackendError(
                f"no worker of the cluster may have work since {PATIENCE_S:.0f} s, and {len(self._open)} evaluations "
                f"wait{self._refusals()}; the run stops here, and `evolve resume` goes on with all that was evaluated"
            )
        for flight in self._flights.values():
            if now - flight.sent > flight.limit_s:
                flight.sent = now
                self._copy(flight.numbers)

    def _copy(self, numbers: Sequence[int]) -> None:
        """Give out once more what takes too long; the first result counts."""
        late = [n for n in numbers if n in self._open and self._open[n].copies < COPIES]
        for number in late:
            self._open[number].copies += 1
        if late:
            self.counts.repeated += len(late)
            self._say("a worker takes very long; what it was given is also done elsewhere")
            self._again(late)

    def _look(self) -> None:
        before = {host.name for host in self._engine.hosts()}
        self._engine.look()
        for name in sorted(before - {host.name for host in self._engine.hosts()}):
            self._say(f"host {name} is gone; what it had under way is done elsewhere")
        slots = self._engine.slots()
        self._all = self._limit != 1 and slots <= (self._limit or slots)
        self._slots = min(slots, self._limit) if self._limit else slots
        for host in self._engine.hosts():
            if host.refusal:
                level = f"jail level {host.level}" if host.level else "no jail"
                self._say(f"host {host.name} ({level}) gets no work: {host.refusal}")

    def _await_hosts(self) -> None:
        """Until there is a worker that may have work."""
        began = time.monotonic()
        self._look()
        while not self._slots:
            if time.monotonic() - began > self._start_s():
                late = f"; one is still being examined after {EXAMINED_S:.0f} s" * self._engine.examining()
                raise BackendError(f"the cluster has no worker that may have work{late}{self._refusals()}")
            time.sleep(0.1)
            self._look()

    def _start_s(self) -> float:
        """How long a first worker is waited for."""
        if self._engine.examining():
            return EXAMINED_S
        # others may join; where some came and all were refused, not many more will
        return REFUSED_S if self._engine.hosts() else PATIENCE_S

    def _refusals(self) -> str:
        return "".join(f"\n  {host.name}: {host.refusal}" for host in self._engine.hosts() if host.refusal)

    def _say(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._remarks.put(text)

    def _fail(self, error: BackendError) -> None:
        """Nothing more can be done: everybody who waits is told."""
        self._failure = error
        for job in self._open.values():
            job.future.set_exception(error)
        self._open.clear()
        self._waiting.clear()
