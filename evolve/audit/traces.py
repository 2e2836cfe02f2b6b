"""What a cheating program may leave behind: processes, files, descriptors, connections, signals."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from evolve.jail import wire, zygote

Stamp = dict[str, tuple[int, int]]
"""Size and time of change in nanoseconds, by path."""


class Watch:
    """Looks for traces of one program after another; a context manager.

    Whatever the programs leave carries `token`, so that other work on the machine is never blamed on them.

    Args:
        files: files and folders that belong to the problem; nothing in them may change.
        waiting: gives the process that the jail itself has forked ahead, if there is one.
    """

    def __init__(self, files: Sequence[Path], waiting: Callable[[], int | None] = lambda: None) -> None:
        self._waiting = waiting
        self.token = f"audit-{secrets.token_hex(8)}"
        self.daemon = f"audit{self.token[-8:]}"  # a process's name has at most 15 characters
        self._scene = tempfile.TemporaryDirectory(prefix="evolve-audit-")
        self.marker = f"marker-{self.token[-8:]}"
        (Path(self._scene.name) / self.marker).touch()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self._files = tuple(files)
        self._signals = 0
        self._handler: Any = None

    def __enter__(self) -> Watch:
        os.environ[self.marker] = self.marker
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGURG, self._count)
        self.settle()
        return self

    def __exit__(self, *error: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGURG, self._handler)
        os.environ.pop(self.marker, None)
        self._server.close()
        self._scene.cleanup()

    def settle(self) -> None:
        """What is there now is no trace."""
        self._processes = set(_descendants(os.getpid()))
        self._descriptors = len(os.listdir("/proc/self/fd")) if _PROC else 0
        self._stamps = _stamps(self._files)
        self._signals = 0

    def facts(self) -> dict[str, Any]:
        """What the programs are told of what they may try."""
        return {
            "token": self.token,
            "daemon": self.daemon,
            "marker": self.marker,
            "pid": os.getpid(),
            "port": self._server.getsockname()[1],
            "python": os.path.realpath(sys.executable),
            "folders": [str(folder) for folder in self._folders()],
            "files": list(_stamps(self._files))[:20],
        }

    def traces(self) -> list[str]:
        """What is there now and was not before, in words; it is cleared away."""
        found = [*self._left_files(), *self._left_processes()]
        if self._reached():
            found.append("a connection reached a server of the trusted side")
        if self._signals:
            found.append("a signal reached the trusted process")
            self._signals = 0
        if _PROC and (extra := len(os.listdir("/proc/self/fd")) - self._descriptors) > 0:
            found.append(f"{extra} descriptors of the trusted process are left open")
            self._descriptors += extra
        return found

    def changed_files(self) -> list[str]:
        """The problem's files that changed since `settle`."""
        now = _stamps(self._files)
        return sorted(name for name in {*now, *self._stamps} if now.get(name) != self._stamps.get(name))

    def _folders(self) -> list[Path]:
        own = [path if path.is_dir() else path.parent for path in self._files]
        package = Path(__file__).parent
        shared = [Path(name) for name in (self._scene.name, tempfile.gettempdir(), "/dev/shm", "/var/tmp")]
        places = dict.fromkeys([*shared, Path.home(), Path.cwd(), *own, package])
        return [path for path in places if path.is_dir()]

    def _left_files(self) -> list[str]:
        found = []
        for folder in self._folders():
            with contextlib.suppress(OSError):
                for path in folder.iterdir():
                    if self.token in path.name:
                        found.append(f"a file is left in {folder}")
                        _remove(path)
        return found

    def _left_processes(self) -> list[str]:
        ours = set(_descendants(os.getpid()))
        new = ours - self._processes - {self._waiting()}
        strays = {pid for pid in _pids() if _comm(pid) == self.daemon}
        for pid in strays | {pid for pid in new if _parent(pid) == 1}:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self._processes = ours
        return ["a process is left"] * bool(new | strays)

    def _reached(self) -> bool:
        try:
            self._server.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def _count(self, number: int, frame: object) -> None:
        self._signals += 1


@cache
def jailed_modules() -> list[str]:
    """The project's modules that a candidate's process has loaded by design, by what the zygote's source imports.

    All lie beside zygote.py, whose process can import nothing else of the project.
    """
    found: dict[str, None] = {}
    waiting = [Path(zygote.__file__)]
    while waiting:
        tree = ast.parse(waiting.pop().read_text(encoding="utf-8"))
        froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names = [alias.name for node in froms if node.module == "evolve.jail" for alias in node.names]
        new = [name for name in names if f"evolve.jail.{name}" not in found]
        found |= {f"evolve.jail.{name}": None for name in new}
        waiting += [Path(zygote.__file__).with_name(f"{name}.py") for name in new]
    return list(found)


def frames(claim: float) -> dict[str, str]:
    """Forged frames in hexadecimal digits, by name."""
    made = {
        "answer": wire.encode(wire.ANSWER, claim),
        "score": wire.encode(wire.ANSWER, {"score": claim, "status": "ok", "objective": claim}),
        "status": wire.encode(wire.FAILURE, ["ok", f"score {claim}"]),
        "json": f'{{"status": "ok", "score": {claim}}}\n'.encode(),
        "garbage": bytes(range(256)) * 4,
        "endless": wire.HEADER.pack(2**32 - 1) + b"\x02",
        "pickle": wire.HEADER.pack(40) + b"\x80\x04cposix\nsystem\n(S'exit 0'\ntR.".ljust(40, b"\0"),
    }
    return {name: data.hex() for name, data in made.items()}


_PROC = os.path.isdir("/proc/self/fd")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()] if _PROC else []


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # the name in brackets may hold anything; a process that has ended but was not yet reaped does not count
    state, parent = text.rpartition(")")[2].split()[:2]
    return 0 if state == "Z" else int(parent)


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _descendants(root: int) -> Iterator[int]:
    """Living processes that descend from `root`."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        children.setdefault(_parent(pid), []).append(pid)
    waiting = children.get(root, [])
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting = [*waiting, *children.get(pid, [])]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _stamps(files: Sequence[Path]) -> Stamp:
    """Of the files, and of all that lies in the folders, save what Python caches."""
    found: Stamp = {}
    for top in files:
        for path in [top, *top.rglob("*")] if top.is_dir() else [top]:
            if path.is_file() and not re.search(r"__pycache__|\.pyc$", str(path)):
                state = path.stat()
                found[str(path)] = (state.st_size, state.st_mtime_ns)
    return found
