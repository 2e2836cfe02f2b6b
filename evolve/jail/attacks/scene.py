"""What the attacks aim at, and the trusted side's eyes on it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from evolve.jail import wire
from evolve.records import Value

_JAIL = Path(__file__).parents[1]
_SYSTEM_V = {"shm": "shmctl", "sem": "semctl", "msg": "msgctl"}


class Scene:
    """A secret file, a secret in the environment, a server on loopback and one on an abstract Unix socket.

    Args:
        folder: empty, and this scene's alone.
        allowance: bytes that an attack may have; `facts` tells it to take sixteen times as much.
    """

    def __init__(self, folder: Path, allowance: int) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        self.secret = folder / "secret"
        self.name = f"EVOLVE_JAIL_{self.token[8:16]}"
        self.daemon = f"attack-{self.token[:8]}"  # at most 15 characters
        self.planted = _JAIL / f"planted_{self.token[:8]}.py"
        self.key = int(self.token[:7], 16)
        self.allowance = allowance
        self.server = socket.create_server(("127.0.0.1", 0))
        self.servers = [self.server, *self._abstract_server()]
        for server in self.servers:
            server.setblocking(False)
        os.environ[self.name] = self.token
        self.restore()

    def _abstract_server(self) -> list[socket.socket]:
        if sys.platform != "linux":
            return []
        server = socket.socket(socket.AF_UNIX)
        server.bind(b"\0" + self.token.encode())
        server.listen()
        return [server]

    def restore(self) -> None:
        """Puts the secret back as it was, and removes what an attack left."""
        for path in self.folder.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
        self.secret.write_text(self.token)
        self.secret.chmod(0o600)
        self.before = self._fingerprint()
        for kind in self._left_objects():
            _remove_object(kind, self.key)

    @cached_property
    def facts(self) -> dict[str, Value]:
        """What an attack is told; the secrets themselves are not among it."""
        return {
            "secret": str(self.secret),
            "folder": str(self.folder),
            "jail": str(_JAIL),
            "project": str(_JAIL.parent),
            "site": os.path.dirname(os.path.dirname(np.__file__)),
            "home": os.path.expanduser("~"),
            "cwd": os.getcwd(),
            "planted": self.planted.name,
            "name": self.name,
            "daemon": self.daemon,
            "key": self.key,
            "forged": wire.encode(wire.ANSWER, "executed").hex(),
            "blame": wire.encode(wire.FAILURE, ["evaluator-failed", "the evaluator failed"]).hex(),
            "claim": wire.encode(wire.FAILURE, ["ok", "all is well"]).hex(),
            "loaded": wire.encode(wire.LOADED, None).hex(),
            "abstract": (b"\0" + self.token.encode()).hex(),
            "pid": os.getpid(),
            "port": self.server.getsockname()[1],
            "hostname": socket.gethostname(),
            "python": os.path.realpath(sys.executable),
            "bytes": 16 * self.allowance,
        }

    def damage(self, processes: bool = True) -> str:
        """What can be seen from here; empty if nothing happened. `processes`: look through all of them."""
        checks: dict[str, Callable[[], bool]] = {
            "the folder changed": lambda: sorted(os.listdir(self.folder)) != ["secret"],
            "the file changed": lambda: self.secret.read_text() != self.token,
            "the file's mode, owner, times or attributes changed": lambda: self._fingerprint() != self.before,
            "a file was planted in the jail": self.planted.exists,
            "a server was reached": self._reached,
            "a process is left": lambda: processes and self._haunted(),
            "a system object is left": lambda: bool(self._left_objects()),
            "a descriptor came in": self._intruded,
        }
        return next((text for text, check in checks.items() if check()), "")

    def _fingerprint(self) -> tuple[object, ...]:
        status = self.secret.stat()
        attributes = os.listxattr(self.secret) if hasattr(os, "listxattr") else []
        return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, attributes

    def _reached(self) -> bool:
        for server in self.servers:
            with contextlib.suppress(BlockingIOError):
                server.accept()[0].close()
                return True
        return False

    def _haunted(self) -> bool:
        for name in filter(str.isdecimal, os.listdir("/proc")) if sys.platform == "linux" else ():
            with contextlib.suppress(OSError), open(f"/proc/{name}/comm") as comm:
                if comm.read().strip() == self.daemon:
                    return True
        return False

    def _left_objects(self) -> list[str]:
        return [kind for kind in _SYSTEM_V if _find_object(kind, self.key) is not None]

    def _intruded(self) -> bool:
        """Whether a descriptor of ours is the one that an attack tries to hand over."""
        for number in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/self/fd/{number}") == os.path.realpath(sys.executable):
                    return True
        return False

    def close(self) -> None:
        for server in self.servers:
            server.close()
        os.environ.pop(self.name, None)
        self.planted.unlink(missing_ok=True)


def _find_object(kind: str, key: int) -> int | None:
    """The identifier of the System V object with this key, if there is one."""
    with contextlib.suppress(OSError), open(f"/proc/sysvipc/{kind}") as file:
        for row in file.read().splitlines()[1:]:
            if int(row.split()[0]) == key:
                return int(row.split()[1])
    return None


def _remove_object(kind: str, key: int) -> None:
    number = _find_object(kind, key)
    if number is not None:
        control = getattr(ctypes.CDLL(None), _SYSTEM_V[kind])
        control(number, 0, 0, None) if kind == "sem" else control(number, 0, None)


@contextlib.contextmanager
def scene(allowance: int) -> Iterator[Scene]:
    """A scene in a temporary folder, cleared away at the end."""
    with tempfile.TemporaryDirectory(prefix="evolve-jail-") as folder:
        made = Scene(Path(folder), allowance)
        try:
            yield made
        finally:
            made.restore()
            made.close()
