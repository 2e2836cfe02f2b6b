"""MLflow as a mirror of the journal, filled by a process of its own.

    python -m evolve.observers.mlflow RUN [--follow] [--store URI]

The search never waits for MLflow and never imports it. If the mirror fails, the search goes on; what is
missing can be mirrored from the journal at any time.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from evolve import settings
from evolve.errors import EvolveError
from evolve.folders import FILE
from evolve.journal import Journal

if TYPE_CHECKING:
    from evolve.journal import Entry
    from evolve.observers.mlflow_mirror import Mirror
    from evolve.run import Result, Run

STATUS_FILE = "mlflow.json"
LOG_FILE = "mlflow.log"
LOCK_FILE = ".mlflow.lock"
POLL_S = 1.0  # between two looks at the journal
REPORT_S = 0.5  # between two writes of the status file
WAIT_S = 120.0  # after the search, while the mirror comes on
STUCK_S = 20.0  # after which nobody waits for a mirror that does not come on
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # before the mirror is begun again after a failure, doubling
TRIES = 3  # after the search; while it goes on, the mirror never gives up
HOST, PORT = "127.0.0.1", 5000
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
}


@dataclass(frozen=True)
class Progress:
    """How far a mirror has come, as its status file says.

    mirrored, total: entries of the journal. done: the search has ended and all of it is mirrored.
    error: why the mirror gave up; "" if it did not. trouble: why it is about to try again.
    """

    store: str = ""
    mirrored: int = 0
    total: int = 0
    experiment_id: str = ""
    parent_run_id: str = ""
    done: bool = False
    error: str = ""
    trouble: str = ""

    def save(self, folder: Path) -> None:
        temporary = folder / f".{STATUS_FILE}.tmp"
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        temporary.replace(folder / STATUS_FILE)


def pending(folder: Path) -> Progress | None:
    """How far the mirror of a run has come; None if there never was one."""
    try:
        return Progress(**json.loads((folder / STATUS_FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def summary(folder: Path, progress: Progress) -> str:
    """One line on the mirror of a run: where to look, or what to type to get it."""
    again = f"`evolve sync {folder}`"
    if progress.error:
        return (
            f"MLflow: {progress.error}; the run itself is complete, and what is missing is sent after the next run "
            f"into this store, or by {again}"
        )
    if progress.trouble:
        return f"MLflow: {progress.trouble}; the run itself is complete, the mirror tries again in the background"
    if progress.done:
        opened = "" if _is_server(progress.store) else "`evolve mlflow` shows "
        return f"MLflow: {opened}this run at {link(progress)}"
    return f"MLflow: {progress.mirrored} of {progress.total} entries so far; it goes on in the background"


def link(progress: Progress, port: int = PORT) -> str:
    """The address of a search's candidates in the MLflow UI.

    That of an SQLite store is served while `evolve mlflow` runs.
    """
    base = progress.store.rstrip("/") if _is_server(progress.store) else f"http://{HOST}:{port}"
    view = f"viewStateShareKey={view_key(progress.parent_run_id)}&workflowType=machine_learning"
    return f"{base}/#/experiments/{progress.experiment_id}/runs?{view}"


def _is_server(store: str) -> bool:
    return store.startswith(("http://", "https://"))


def view_key(parent_run_id: str) -> str:
    """The name of the view of a search's candidates."""
    return parent_run_id[:12]


def default_store(setting: str = "") -> str:
    """The tracking URI to use: the setting, or MLFLOW_TRACKING_URI, or SQLite under ./runs."""
    uri = setting or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        return f"sqlite:///{Path.cwd() / 'runs' / 'mlflow.db'}"
    if uri.startswith("sqlite:///"):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"
    return uri


def environment() -> dict[str, str]:
    """This process's environment, with MLflow told to send nothing home and not to wait long for a server."""
    return {**os.environ, **{name: os.environ.get(name, value) for name, value in QUIET.items()}}


class MlflowMirror:
    """Starts the mirror with the search, and leaves it to itself."""

    def __init__(self, store: str = "") -> None:
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self._total = 0

    def begin(self, run: Run) -> None:
        self._folder = run.folder
        (run.folder / STATUS_FILE).unlink(missing_ok=True)
        store = default_store(self._store or run.settings.mlflow.store)
        try:
            self._process = start(run.folder, store, follow=True)
        except OSError as error:
            Progress(store, error=f"the mirror cannot be started ({error})").save(run.folder)

    def tick(self, run: Run) -> None:
        """Nothing: the mirror reads the journal itself."""

    def entry(self, run: Run, entry: Entry) -> None:
        self._total = entry.seq

    def end(self, run: Run, result: Result) -> None:
        """Nothing: the mirror sees the end in the journal. `wait` waits for it."""

    def wait(self, console: Console, timeout_s: float = WAIT_S) -> Progress:
        """After the search: show how the mirror comes on until it is done, and say in one line where it is.

        After `timeout_s` seconds, or on Ctrl-C, it is left to go on by itself. Never raises for what MLflow
        does.
        """
        if self._process is None:
            progress = pending(self._folder) or Progress()
        else:
            progress = _watch(self._process, self._folder, console, timeout_s, self._total)
        console.print(summary(self._folder, progress), highlight=False, soft_wrap=True)
        return progress


def start(folder: Path, store: str, follow: bool) -> subprocess.Popen[bytes]:
    """Begin a mirror process, safe from the Ctrl-C that ends the search.

    Raises:
        OSError: no process can be started, or the log cannot be written.
    """
    command = ["evolve.observers.mlflow", str(folder.absolute()), "--store", store]
    if follow:
        command += ["--follow", "--parent", str(os.getpid())]
    return spawn(command, folder / LOG_FILE)


def spawn(command: Sequence[str], log_file: Path) -> subprocess.Popen[bytes]:
    """Begin a module of evolve as a process that a Ctrl-C here does not reach.

    Raises:
        OSError: no process can be started, or the log cannot be written.
    """
    with log_file.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(),
            start_new_session=True,
        )


def mirror(folder: Path, store: str = "", console: Console | None = None) -> Progress:
    """Mirror what a run's journal holds, and wait for it. What is there already is left alone.

    Args:
        store: tracking URI; "" = that of the run's settings, or the default.

    Raises:
        JournalError, SettingsError: the folder is no run.
        EvolveError: the mirror failed; the text says why.
    """
    Journal.open(folder, read_only=True).close()
    store = default_store(store or settings.load(folder / "settings.toml").mlflow.store)
    (folder / STATUS_FILE).unlink(missing_ok=True)
    console = console or Console(stderr=True)
    progress = _watch(start(folder, store, follow=False), folder, console, float("inf"))
    if progress.error:
        raise EvolveError(f"MLflow: {progress.error}; mend that and type the same again")
    console.print(summary(folder, progress), highlight=False, soft_wrap=True)
    return progress


def _watch(
    process: subprocess.Popen[bytes], folder: Path, console: Console, timeout_s: float, total: int = 0
) -> Progress:
    """Show how a mirror comes on until it ends, fails, or stands still for too long."""
    deadline = time.monotonic() + timeout_s
    patience = _Patience(STUCK_S if math.isfinite(timeout_s) else timeout_s)
    with console.status("MLflow: starting") as status, contextlib.suppress(KeyboardInterrupt):
        while process.poll() is None and time.monotonic() < deadline:
            progress = pending(folder) or Progress()
            if (progress.trouble and math.isfinite(timeout_s)) or patience.ends(progress.mirrored):
                break
            if progress.total and not progress.done:
                status.update(f"MLflow: {progress.mirrored} of {max(total, progress.total)} entries mirrored")
            time.sleep(0.1)
    return _outcome(process, folder)


class _Patience:
    """Ends when a figure has not changed for some time."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._seen = -1
        self._since = time.monotonic()

    def ends(self, figure: int) -> bool:
        now = time.monotonic()
        if figure != self._seen:
            self._seen, self._since = figure, now
        return now - self._since > self._limit_s


def _outcome(process: subprocess.Popen[bytes], folder: Path) -> Progress:
    progress = pending(folder) or Progress()
    if process.poll() and not progress.error:  # it died without a word, e.g. on a full disk
        error = f"the mirror ended with code {process.returncode}, see {folder / LOG_FILE}"
        return replace(progress, error=error)
    return progress


# ---- the mirror's process


class _Reporter:
    """Writes the status file, not too often."""

    def __init__(self, store: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._next = 0.0

    def __call__(self, mirror: Mirror) -> None:
        if self._clock() >= self._next:
            self.write(mirror, done=False)

    def write(self, mirror: Mirror, done: bool) -> None:
        total = max(mirror.seq, mirror.journal.last_seq())
        progress = Progress(self._store, mirror.seq, total, mirror.store.experiment, mirror.parent, done=done)
        progress.save(mirror.folder)
        self._next = self._clock() + REPORT_S


def mirror_run(folder: Path, store: str, is_over: Callable[[Journal], bool]) -> None:
    """Mirror a run until it is over and all of it is there.

    Raises:
        whatever the store, the journal or the disk raises; begin again to go on.
    """
    from evolve.observers.mlflow_mirror import Mirror

    report = _Reporter(store)
    mirror = Mirror(folder, store, report)
    over = False
    while not over:
        # asked before reading: what was appended before the end is read after it
        over = is_over(mirror.journal)
        mirror.catch_up()
        if not over:
            report.write(mirror, done=False)
            time.sleep(POLL_S)
    mirror.finish(mirror.journal.meta("ended"))
    report.write(mirror, done=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The mirror's process; its exit code: 0, or 1 if the mirror gave up (the status file says why)."""
    options = _parse(arguments)
    folder = options.run
    os.environ.update(environment())
    os.nice(19)
    with (folder / LOCK_FILE).open("w") as lock:
        # one mirror at a time: the one before may still be finishing
        fcntl.flock(lock, fcntl.LOCK_EX)
        code = _persist(folder, options.store, _end_of(options.follow, options.parent))
    if code == 0 and options.follow:
        _send_left_over(folder, options.store)
    return code


def _send_left_over(folder: Path, store: str) -> None:
    """Mirror the runs beside this one whose mirrors could not send everything to this store."""
    for path in sorted(folder.resolve().parent.glob(f"*/{STATUS_FILE}")):
        other, left = path.parent, pending(path.parent)
        if other == folder.resolve() or left is None or left.done or left.store != store:
            continue
        with (other / LOCK_FILE).open("w") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not if its own mirror is still at work
            if not (pending(other) or Progress()).done:
                _persist(other, store, lambda _journal: True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m evolve.observers.mlflow", description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("--follow", action="store_true", help="go on until the search is over")
    parser.add_argument("--store", default=default_store(), help="tracking URI (default: %(default)s)")
    parser.add_argument(
        "--parent", type=int, default=os.getppid(), help="the search is over when this process has gone"
    )
    options = parser.parse_args(arguments)
    if not (options.run / FILE).is_file():
        parser.error(f"{options.run}: no {FILE} there; give the folder of a run")
    return options


def _end_of(follow: bool, parent: int) -> Callable[[Journal], bool]:
    def is_over(journal: Journal) -> bool:
        return not follow or os.getppid() != parent or bool(journal.meta("ended"))

    return is_over


def _persist(folder: Path, store: str, is_over: Callable[[Journal], bool]) -> int:
    """Mirror a run; after a failure again, with growing pauses, as long as the search goes on, and then some times."""
    pause, tries = FIRST_PAUSE_S, TRIES
    while True:
        try:
            mirror_run(folder, store, is_over)
            return 0
        except ImportError as error:
            return _give_up(folder, store, f"{error}; `pip install mlflow` mends that")
        except EvolveError as error:
            return _give_up(folder, store, str(error))
        except Exception as error:  # MLflow, SQLAlchemy, requests and the disk each raise their own
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            trouble = f"the store {store} failed: {brief(error)}"
        tries -= _over(folder, is_over)
        if tries <= 0:
            return _give_up(folder, store, trouble)
        _note(replace(pending(folder) or Progress(), store=store, trouble=trouble), folder)
        _pause(pause, folder, is_over)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _over(folder: Path, is_over: Callable[[Journal], bool]) -> bool:
    with Journal.open(folder, read_only=True) as journal:
        return is_over(journal)


def _pause(seconds: float, folder: Path, is_over: Callable[[Journal], bool]) -> None:
    """Wait; only shortly once the search is over, since somebody may be waiting for the mirror then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(min(POLL_S, seconds))
        if seconds > POLL_S and _over(folder, is_over):
            return


def _note(progress: Progress, folder: Path) -> None:
    with contextlib.suppress(OSError):  # on a full disk the status stays what it was
        progress.save(folder)


def _give_up(folder: Path, store: str, reason: str) -> int:
    _note(replace(pending(folder) or Progress(), store=store, error=reason, trouble=""), folder)
    print(reason, file=sys.stderr)
    return 1


def brief(error: Exception) -> str:
    """What a store's failure was, in one line."""
    text = (str(error).splitlines() or [""])[0]
    if "Max retries exceeded" in text or "timed out" in text:
        return "no answer from the server"
    return f"{type(error).__name__}: {text[:200]}"


if __name__ == "__main__":
    sys.exit(main())
