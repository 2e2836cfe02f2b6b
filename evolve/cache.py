"""Evaluations kept across runs: what was evaluated before, under the very same conditions, costs no jail time.

A cached evaluation has to be what running would give, so three things decide:

- The context, a digest of everything that a result depends on besides the program: the sources of jail and
  evaluation, the problem (entry, limits, evaluator, version), the instances themselves, the jail's level, the
  order of the race, and the versions of Python, numpy and the allowed modules. An evaluator that reads files whose
  names it puts together at run time has to raise `version` in problem.toml when they change.
- What is kept: evaluations that ended by themselves (OK, INVALID, CRASHED, FORBIDDEN, IMPOSSIBLE), with the
  objective of every instance that was decided. Limits of time and memory depend on the machine's mood: what
  failed by them, or came near the limit of time, is run again. A race stopped early is not kept either; a kept
  evaluation goes through the race of its next run again (see trial.py), and stops where it would stop there.
- The program: one that names randomness, clocks, addresses or uninitialised memory is run anew each time. This is
  a look at its text, made for honest programs; whoever hides such a call from it gets their first result again.

The file lies on the trusted side, where the jail cannot write. Each row carries a checksum over its content and
its key: a row that is torn or in the wrong place is no row. That is no seal: at the level rlimits, where the jail has
no wall around files, a candidate of an ordinary user could write here as it could write into the journal; so do not
let runs at stronger levels share a folder with such a run. The holdout is never kept. Whatever goes wrong with the
file, the run goes on without it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import pickle
import platform
import re
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from evolve import __version__
from evolve.jail import Level
from evolve.problem import Problem
from evolve.records import Candidate, Evaluation, Split, Status

KEPT = frozenset({Status.OK, Status.INVALID, Status.CRASHED, Status.FORBIDDEN, Status.IMPOSSIBLE})
ROOMY = 0.5  # largest share of its CPU limit that an instance of a kept evaluation may have taken
BATCH = 64  # rows written together
BATCH_S = 2.0  # seconds after which fewer are written, too
OPEN_S = 5.0  # how long to wait for another process that is making the file
WAIT_S = 0.2  # for another process that is writing; then these rows wait for the next batch
BACKLOG = 4096  # rows that may wait; what comes then is lost, which costs an evaluation some day
LIMIT_BYTES = 512 << 20  # a larger file is emptied

_APART = str.maketrans({code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")})
_UNREPEATABLE = frozenset(
    {"random", "urandom", "secrets", "uuid", "id", "hash", "empty", "empty_like"}
    | {"datetime", "perf_counter", "monotonic", "process_time", "clock", "time_ns"}
    | {"sys", "os", "gc", "ctypes", "threading", "weakref"}
    | {"globals", "locals", "vars", "getattr", "eval", "exec"}
)
_CLOCK = re.compile(r"\b(?:import|from)\s+time\b|\btime\s*\.")  # the word alone is a fine name for a variable
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]+")
_TABLE = "evaluations_2"  # named after the format of its rows
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS {_TABLE} (
    context BLOB NOT NULL, candidate TEXT NOT NULL, content BLOB NOT NULL, checksum BLOB NOT NULL,
    PRIMARY KEY (context, candidate)) WITHOUT ROWID
"""


class Known(msgspec.Struct, frozen=True, array_like=True):
    """An evaluation as it is kept.

    values: objectives of the instances decided, in the order of the race; float64, little-endian.
    text: digest of the program's text; feedback on a failure quotes it.
    descriptors: of behaviour, where the archive asks for them.
    """

    status: Status
    values: bytes
    feedback: str
    decisions: str
    cpu_s: float
    peak_mb: float
    slowest: float
    text: bytes
    descriptors: dict[str, float] = {}

    @property
    def objectives(self) -> tuple[float, ...]:
        return tuple(np.frombuffer(self.values, "<f8").tolist())


class Cache:
    """The file. Safe for any number of threads and processes.

    fault: why there is no cache (any more), for the user; "" while all is well.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fault = ""
        self._lock = threading.Lock()
        self._waiting: list[tuple[bytes, str, bytes, bytes]] = []
        self._written = time.monotonic()
        self._database: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = _open(path)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what waits, and close the file."""
        with self._lock:
            self._write()
            if self._database is not None:
                self._database.close()
                self._database = None

    def get(self, context: bytes, candidate: str) -> Known | None:
        """What is known of a candidate in a context; None if nothing sound is."""
        with self._lock:
            if self._database is None:
                return None
            query = f"SELECT content, checksum FROM {_TABLE} WHERE context = ? AND candidate = ?"
            try:
                row = self._database.execute(query, (context, candidate)).fetchone()
            except sqlite3.Error as error:
                self._fail(error)
                return None
        if row is None or row[1] != _checksum(context, candidate, row[0]):
            return None
        try:
            return msgspec.msgpack.decode(row[0], type=Known)
        except msgspec.MsgspecError:
            return None

    def put(self, context: bytes, candidate: str, known: Known) -> None:
        """Keep an evaluation. It is written with others, a moment later or at the latest on `close`."""
        content = msgspec.msgpack.encode(known)
        with self._lock:
            if self._database is None or len(self._waiting) >= BACKLOG:
                return
            self._waiting.append((context, candidate, content, _checksum(context, candidate, content)))
            if len(self._waiting) >= BATCH or time.monotonic() - self._written > BATCH_S:
                self._write()

    def _write(self) -> None:
        if self._database is None or not self._waiting:
            return
        self._written = time.monotonic()
        try:
            with self._database:
                self._database.executemany(
                    f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?, ?, ?)", self._waiting
                )
            self._waiting.clear()
        except sqlite3.Error as error:
            self._fail(error)

    def _fail(self, error: sqlite3.Error) -> None:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            return  # another process is writing: the rows wait, a reader runs its program
        self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.fault = (
            f"the cache of evaluations {self.path} cannot be used ({error}); the run goes on without it. "
            f"Remove the file to begin a new one, or say --no-cache"
        )
        self._waiting.clear()
        if self._database is not None:
            self._database.close()
            self._database = None


class Shelf:
    """The place in the cache for evaluations of one problem, split, race and jail level."""

    def __init__(self, store: Cache, context: bytes, instances: int) -> None:
        self._store = store
        self._context = context
        self._instances = instances

    def find(self, candidate: Candidate) -> Known | None:
        """A kept evaluation that holds for this very program."""
        known = self._store.get(self._context, candidate.id)
        if known is None or len(known.values) % 8:
            return None
        # a failure's feedback quotes the program, which may have been formatted otherwise
        if known.status is not Status.OK and known.text != _text(candidate):
            return None
        complete = len(known.values) == 8 * self._instances
        return known if complete == (known.status is Status.OK) else None

    def keep(self, candidate: Candidate, evaluation: Evaluation, objectives: Sequence[float]) -> None:
        """Keep an evaluation if running it again would give the same.

        Args:
            objectives: of the instances decided, in the order of the race.
        """
        if (
            evaluation.status not in KEPT
            or evaluation.slowest > ROOMY
            or _ADDRESS.search(evaluation.feedback)
        ):
            return
        known = Known(
            evaluation.status,
            np.asarray(objectives, "<f8").tobytes(),
            "" if evaluation.ok else evaluation.feedback,
            evaluation.decisions,
            evaluation.cpu_s,
            evaluation.peak_mb,
            evaluation.slowest,
            _text(candidate),
            dict(evaluation.descriptors),
        )
        self._store.put(self._context, candidate.id, known)


class Shelves:
    """All places in the cache for one problem and jail level; made when they are first needed."""

    def __init__(self, store: Cache, problem: Problem, level: Level) -> None:
        self._store = store
        self._problem = problem
        self._level = level
        self._known: dict[tuple[Split, tuple[int, ...], int, bool], Shelf | None] = {}

    def shelf(
        self, candidate: Candidate, split: Split, order: tuple[int, ...], first: int, described: bool = False
    ) -> Shelf | None:
        """Where evaluations of a candidate belong; None if they are not to be kept.

        Args:
            order: in which the race takes the instances; () = as they are.
            first: how many instances the digest of decisions covers; 0 = there is none.
            described: whether evaluations have descriptors of behaviour.
        """
        if split is Split.HOLDOUT or self._store.fault or not repeatable(candidate.files):
            return None
        key = (split, order, first, described)
        if key not in self._known:
            self._known[key] = self._make(*key)
        return self._known[key]

    def _make(self, split: Split, order: tuple[int, ...], first: int, described: bool) -> Shelf | None:
        instances = self._problem.split(split)
        digest = hashlib.sha256(_engine())
        facts = (*_conditions(self._problem), str(self._level), str(split), repr(order), str(first))
        digest.update("\0".join(facts).encode())
        if described:
            digest.update(_references(self._problem))
        for source in _sources(self._problem):
            digest.update(hashlib.sha256(source).digest())
        try:
            for instance in instances:
                digest.update(pickle.dumps(instance, 4))
        except (pickle.PicklingError, TypeError, AttributeError):
            return None  # instances that cannot be told apart for certain
        return Shelf(self._store, digest.digest()[:16], len(instances))


def repeatable(files: Mapping[str, str]) -> bool:
    """Whether a program, by its text, does the same whenever it is run (see above)."""
    return all(_repeatable(text) for text in files.values())


def _repeatable(text: str) -> bool:
    words = text.translate(_APART).split()
    if "__" in text or not _UNREPEATABLE.isdisjoint(words):
        return False
    return "time" not in words or not _CLOCK.search(text)


def _text(candidate: Candidate) -> bytes:
    return hashlib.blake2b(repr(sorted(candidate.files.items())).encode(), digest_size=16).digest()


def _checksum(context: bytes, candidate: str, content: bytes) -> bytes:
    return hashlib.blake2b(context + candidate.encode() + content, digest_size=16).digest()


def _conditions(problem: Problem) -> tuple[str, ...]:
    """What a program meets in the jail, in words."""
    modules = sorted({name.partition(".")[0] for name in problem.spec.limits.imports})
    versions = (f"{name} {_version(name)}" for name in ("numpy", "msgspec", *modules))
    machine = (platform.python_version(), platform.platform(), platform.machine())
    return (problem.digest, __version__, *machine, *versions)


def _references(problem: Problem) -> bytes:
    """What descriptors are measured by: the axes that the problem declares, and the seeds that they name."""
    axes = problem.spec.descriptors
    named = [problem.seeds[axis.name].id for axis in axes if axis.name in problem.seeds]
    return repr((axes, named)).encode()


def _version(module: str) -> str:
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return ""  # of the standard library


def _sources(problem: Problem) -> list[bytes]:
    """The Python files beside the evaluator and beside the instances, and all files that those name or import."""
    spec = problem.spec
    folders = {(problem.folder / name).resolve().parent for name in (spec.evaluator, spec.instances)}
    beside = [path for folder in sorted(folders) for path in sorted(folder.glob("*.py"))]
    return [path.read_bytes() for path in (*beside, *problem.dependencies) if path.is_file()]


@cache
def _engine() -> bytes:
    """Digest of the sources that run and judge a program, so that a change of evolve leaves the old rows behind."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    judges = (here / f"{name}.py" for name in ("evaluate", "trial", "scoring", "feedback"))
    for path in (*judges, *sorted((here / "jail").glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.digest()


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=OPEN_S, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        with database:
            database.execute(_SCHEMA)
            if _used_bytes(database) > LIMIT_BYTES:
                database.execute(f"DELETE FROM {_TABLE}")
        database.execute(f"PRAGMA busy_timeout = {1000 * WAIT_S:.0f}")
    except sqlite3.Error:
        database.close()
        raise
    return database


def _used_bytes(database: sqlite3.Connection) -> int:
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
