"""A worker process of a cluster: the problem, unpacked and checked, and a warm evaluator for each of its threads.

Everything here runs on the worker's host, on the trusted side of that host's jail.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from evolve.backends.environment import scrub
from evolve.backends.messages import Batch, Done, Examined, Reply, unpack
from evolve.backends.parcel import Parcel, evaluated, open_parcel
from evolve.errors import BackendError, EvaluatorError, EvolveError, JailError
from evolve.evaluate import Evaluator
from evolve.jail import machine
from evolve.jail.attacks import require_closed
from evolve.search import Task
from evolve.trial import Seen

RUNS = 16  # searches whose decisions a worker remembers; one that is forgotten tells them again
_WORKER = uuid.uuid4().hex[:12]
_stations: dict[str, Station | str] = {}  # or why there is none
_lock = threading.Lock()


class Station:
    """One problem in this process.

    Raises:
        EvolveError: this host may not evaluate it; the text says why.
    """

    def __init__(self, parcel: Parcel) -> None:
        scrub(os.environ)
        self._folder = tempfile.TemporaryDirectory(prefix="evolve-")
        self._parcel = parcel
        self._problem = open_parcel(parcel, Path(self._folder.name))
        self._seen: dict[str, Seen] = {}  # what is known of each run; that of the last one comes last
        self._learning = threading.Lock()
        self._idle: list[Evaluator] = []
        self._first = self._evaluator()
        self.level = str(self._first.jail.level)  # raises where the host is below the minimum
        require_closed(self._first.jail.level)
        self._check_footing()
        self._idle.append(self._first)

    def _check_footing(self) -> None:
        baselines = [self._first.scale(split).baseline for split in evaluated(self._problem)]
        if self._parcel.footing and footing(baselines) != self._parcel.footing:
            raise BackendError(
                f"the baseline of {self._parcel.name} has other objectives here than on the machine of the run; "
                f"install the same versions of Python, numpy and what the problem imports"
            )

    def _evaluator(self) -> Evaluator:
        parcel = self._parcel
        return Evaluator(self._problem, parcel.minimum, describe=parcel.describe, profiled=parcel.profiled)

    @contextmanager
    def _warm(self) -> Iterator[Evaluator]:
        """An evaluator for this thread alone."""
        try:
            evaluator = self._idle.pop()
        except IndexError:
            evaluator = self._evaluator()
            evaluator.share_scales(self._first)
        try:
            yield evaluator
        finally:
            self._idle.append(evaluator)

    def learn(self, run: str, start: int, digests: Sequence[str]) -> Seen:
        """What is known of a run: with its digests from the `start`-th on, unless some before them are missing."""
        with self._learning:
            seen = self._seen[run] = self._seen.pop(run, Seen())
            if len(self._seen) > RUNS:
                del self._seen[next(iter(self._seen))]
            known = len(seen)
            if start <= known:
                for digest in digests[known - start :]:
                    seen.add(digest)
            return seen

    def work(self, batch: Batch) -> Reply:
        """Do the jobs of a batch, until its time is over; the first one in any case."""
        seen = self.learn(batch.run, batch.start, batch.digests)
        known = len(seen)
        if known < batch.start:
            return Reply(_host(), _WORKER, known)
        began = time.monotonic()
        done: list[Done] = []
        with self._warm() as evaluator:
            evaluator.use(seen)
            for job in batch.jobs:
                if done and time.monotonic() - began > batch.seconds:
                    break
                done.append(do(evaluator, unpack(batch, job), job.number))
        return Reply(_host(), _WORKER, known, done)

    def close(self) -> None:
        """End the jails, and remove the files."""
        for evaluator in self._idle:
            evaluator.close()
        self._folder.cleanup()


def do(evaluator: Evaluator, task: Task, number: int) -> Done:
    """Evaluate, whatever comes of it."""
    began = time.monotonic()
    try:
        found = evaluator.evaluate(task.candidate, task.split, task.race)
    except EvaluatorError as error:
        return Done(number, 0.0, fault=str(error), evaluator=True)
    except (JailError, OSError, MemoryError) as error:
        return Done(number, 0.0, fault=f"{_host()}: {error}")
    return Done(number, time.monotonic() - began, found)


def footing(baselines: Sequence[Sequence[float]]) -> str:
    """Digest of the baseline's objectives, by which two hosts know that they score alike."""
    return hashlib.sha256(
        repr([[float(each) for each in values] for values in baselines]).encode()
    ).hexdigest()[:16]


def examine(parcel: bytes) -> bytes:
    """Make this process ready for a problem; what kind of host this is, and whether it may have work."""
    found = msgspec.msgpack.decode(parcel, type=Parcel)
    station = _station(found.key, parcel)
    if isinstance(station, str):
        return msgspec.msgpack.encode(Examined(_host(), str(machine().level or ""), station))
    return msgspec.msgpack.encode(Examined(_host(), station.level))


def serve(batch: bytes, parcel: bytes | None = None) -> bytes:
    """Do a batch of evaluations.

    Args:
        parcel: the problem, for a process that was not examined.
    """
    work = msgspec.msgpack.decode(batch, type=Batch)
    station = _station(work.problem, parcel)
    if isinstance(station, str):
        return msgspec.msgpack.encode(Reply(_host(), _WORKER, 0, refusal=station))
    return msgspec.msgpack.encode(station.work(work))


def _station(key: str, parcel: bytes | None) -> Station | str:
    with _lock:
        if key not in _stations:
            if parcel is None:
                return "this process was started anew and does not know the problem yet"
            _stations[key] = _make(msgspec.msgpack.decode(parcel, type=Parcel))
        return _stations[key]


def _make(parcel: Parcel) -> Station | str:
    try:
        station = Station(parcel)
    except EvolveError as error:
        return str(error)
    atexit.register(station.close)
    return station


def _host() -> str:
    return socket.gethostname()
