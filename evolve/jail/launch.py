"""Starts the zygote by exec and speaks its protocol; the trusted side's half of zygote.py."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evolve.errors import JailError
from evolve.jail import bubblewrap
from evolve.jail.core import HomeCore
from evolve.jail.level import Level, Limits
from evolve.jail.zygote import CORE, REAPED, STARTED

START_S = 60.0  # wall; importing scipy or numba from a cold disk takes several seconds
REPLY_S = 20.0  # wall; a fork or a wait, on a machine that may be very busy
PIDFD_INFO = struct.Struct("=QQI44x")  # mask, cgroup, pid, ...: struct pidfd_info of <linux/pidfd.h>
GET_PIDFD_INFO = 0xC040FF0B  # PIDFD_GET_INFO: _IOWR(0xFF, 11, struct pidfd_info)
_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # sets of strings iterate alike in every run
    "LANG": "C.UTF-8",
    "HOME": "/",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


class ZygoteError(Exception):
    """The zygote died or does not answer; starting it again may help."""


@dataclass(frozen=True)
class Usage:
    """What a session's process used, as the kernel counted it.

    cpu_s: user plus system CPU seconds. peak_mb: largest resident set, the warm interpreter included.
    status: how the process ended, as wait(2) encodes it.
    """

    cpu_s: float
    peak_mb: float
    status: int


class Process:
    """One forked child, seen from the trusted side."""

    def __init__(self, pid: int, pidfd: int | None) -> None:
        self.pidfd = pidfd
        self.pid = pid if pidfd is None else _outer_pid(pidfd, pid)
        self._started = time.monotonic()
        self.cpu_s: Callable[[], float | None] = self._cpu if pidfd is not None else self._wall

    def _cpu(self) -> float | None:
        """CPU seconds so far; None if the process is gone. The id is CPUCLOCK_SCHED of another process."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return None

    def _wall(self) -> float | None:
        """Stands in where the CPU clock cannot be read (macOS): never less than the CPU time."""
        return time.monotonic() - self._started

    def starved_s(self) -> float:
        """Wall seconds so far in which it could have run and got no core; 0 where the kernel does not tell."""
        return starved_s(str(self.pid)) if self.pidfd is not None else 0.0

    def kill(self) -> None:
        if self.pidfd is not None:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def ended(self, wait_s: float) -> bool:
        """Whether it ends within `wait_s` without being killed; False where that cannot be seen."""
        if self.pidfd is None:
            return False
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))

    def close(self) -> None:
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


def starved_s(task: str = "thread-self") -> float:
    """Wall seconds in which a task was ready to run and waited for a core: the second field of its schedstat.

    Args:
        task: its folder in /proc.
    """
    try:
        with open(f"/proc/{task}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _outer_pid(pidfd: int, inner: int) -> int:
    """The pid in our own namespace; the zygote only knows the one in its own."""
    info = bytearray(PIDFD_INFO.pack(1, 0, 0))  # asks for the pids
    try:
        fcntl.ioctl(pidfd, GET_PIDFD_INFO, info)
    except OSError:  # Linux before 6.13
        return _pid_by_file(pidfd, inner)
    return int(PIDFD_INFO.unpack(info)[2]) or inner


def _pid_by_file(pidfd: int, inner: int) -> int:
    try:
        file = os.open(f"/proc/self/fdinfo/{pidfd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return inner
    try:
        found = re.search(rb"^Pid:\s*(\d+)", os.read(file, 1000), re.MULTILINE)
    finally:
        os.close(file)
    return int(found[1]) if found else inner


def _site_folders(imports: tuple[str, ...]) -> list[str]:
    """Folders on sys.path that hold numpy, msgspec and the allowed modules.

    Raises:
        JailError: an allowed module is not installed.
    """
    library = os.path.dirname(os.__file__)
    folders: dict[str, None] = {}
    for module in ("numpy", "msgspec", *imports):
        top = module.partition(".")[0]
        spec = importlib.util.find_spec(top)
        if spec is None:
            raise JailError(
                f"the problem allows the module '{module}', which is not installed: pip install {top}"
            )
        if spec.origin in (None, "built-in", "frozen"):
            continue
        folder = os.path.dirname(
            os.path.dirname(spec.origin) if spec.submodule_search_locations else spec.origin
        )
        if folder != library and os.path.basename(folder) != "lib-dynload":
            folders[folder] = None
    return list(folders)


class Zygote:
    """The warm process; `start` forks a child, `reap` ends the oldest. One thread.

    A child may be forked ahead, while another runs: `prepare`, then `take`.
    """

    def __init__(self, limits: Limits, level: Level, settled: bool = False) -> None:
        """`settled`: it stays on one core with its children; see core.py."""
        self._asked = False  # for a child that nobody has heard of yet
        self._home = HomeCore(settled)
        self._prepared: Process | None = None
        self.control, theirs = socket.socketpair()
        self._heard = select.poll()
        self._heard.register(self.control, select.POLLIN)
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the zygote)
        try:
            self.process = self._spawn(theirs, limits, level)
        except OSError as error:
            self.control.close()
            self.errors.close()
            raise ZygoteError(str(error)) from error
        finally:
            theirs.close()
        try:
            self._greet()
            self._move()
        except ZygoteError:
            self.close()
            raise

    def _spawn(self, theirs: socket.socket, limits: Limits, level: Level) -> subprocess.Popen[bytes]:
        program = str(Path(__file__).with_name("zygote.py"))
        paths = _site_folders(limits.imports)
        settings = {
            "imports": limits.imports,
            "libraries": dict(limits.libraries),
            "memory_bytes": limits.memory_mb << 20,
            "answer_bytes": limits.answer_bytes,
            "landlock": level.filters,
            "seccomp": level.filters,
            "nobody": level is Level.RLIMITS,  # the one thing left that keeps root's child from root's files
        }
        python = [os.path.realpath(sys.executable), "-S", "-s", "-P", "-B", program]
        wrap = bubblewrap.command(paths, os.path.dirname(program)) if level.bubblewrap else []
        # No parent-death signal here: it fires when the *thread* that started the zygote ends. The end of the
        # control socket, which the kernel closes however we die, is what ends the zygote.
        return subprocess.Popen(
            [*wrap, *python, str(theirs.fileno()), json.dumps(settings), *paths],
            env=_ENVIRONMENT | {key: os.environ[key] for key in _KEPT if key in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            pass_fds=(theirs.fileno(),),
            cwd="/",  # the folder of the run, and with it the user's name, is nothing to a candidate
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        )

    def _greet(self) -> None:
        self.control.settimeout(START_S)
        try:
            greeting = self.control.recv(4096)
        except OSError as error:
            greeting = f"no sign of life: {error}".encode()
        if greeting != b"ready":
            self.errors.seek(0)
            text = greeting.decode(errors="replace") or self.errors.read(4000).decode(errors="replace")
            raise ZygoteError(text.strip() or "it ended without a word")
        self.control.settimeout(REPLY_S)

    def _move(self) -> None:
        """Puts the zygote, and the children to come, on the core that is theirs."""
        if self._home.core is None:
            return
        try:
            self.control.sendall(b"C" + CORE.pack(self._home.core))
        except OSError as error:
            raise ZygoteError(str(error)) from error

    def start(self, channel: socket.socket) -> Process:
        """Forks a child that serves on `channel`.

        Raises:
            ZygoteError: the zygote is gone.
        """
        self.prepare(channel)
        return self.take()

    def prepare(self, channel: socket.socket) -> None:
        """Has a child forked, and does not wait for it.

        Raises:
            ZygoteError: the zygote is gone.
        """
        try:
            socket.send_fds(self.control, [b"S"], [channel.fileno()])
        except OSError as error:
            self.control.close()
            raise ZygoteError(str(error)) from error
        self._asked = True

    def take(self) -> Process:
        """The child that `prepare` asked for.

        Raises:
            ZygoteError: the zygote is gone, and the child with it.
        """
        self._settle()
        process, self._prepared = self._prepared, None
        if process is None:  # its end was noticed while another child was reaped
            raise ZygoteError("it ended while it forked a child")
        if self._heard.poll(0):  # the end of the stream; a child that was forked ahead follows it in a moment
            process.close()
            raise ZygoteError("it ended between two candidates")
        return process

    @property
    def waiting(self) -> int | None:
        """Process id of the child that was forked ahead; None if there is none."""
        with contextlib.suppress(ZygoteError):
            self._settle()
        return self._prepared.pid if self._prepared is not None else None

    def _settle(self) -> None:
        """Hears of the child that was asked for, if there is one."""
        if self._asked:
            self._asked = False
            self._prepared = self._hear()

    def _hear(self) -> Process:
        try:
            reply, descriptors, _, _ = socket.recv_fds(self.control, STARTED.size, 1)
        except OSError as error:
            self.control.close()
            raise ZygoteError(str(error)) from error
        if len(reply) != STARTED.size:
            self.control.close()
            raise ZygoteError("it ended while it forked a child")
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return Process(STARTED.unpack(reply)[0], descriptors[0] if descriptors else None)

    def look(self, process: Process) -> None:
        """Before a child that ran is ended: was there room for it?"""
        if self._home.crowded(process.pid):
            with contextlib.suppress(ZygoteError):  # `reap` will tell
                self._move()

    def reap(self) -> Usage:
        """Kills what is left of the oldest child and returns what it used.

        Raises:
            ZygoteError: the zygote is gone, and the child with it.
        """
        self._settle()  # replies come in the order of the requests
        try:
            self.control.sendall(b"R")
            reply = self.control.recv(REAPED.size, socket.MSG_WAITALL)
        except OSError as error:
            self.control.close()  # a late reply must not be taken for the next one
            raise ZygoteError(str(error)) from error
        if len(reply) != REAPED.size:
            raise ZygoteError("it ended while a child was running")
        status, user, system, peak_kb = REAPED.unpack(reply)
        return Usage(user + system, peak_kb / 1024, status)

    def close(self) -> None:
        """Ends the zygote and whatever it has running."""
        self._home.leave()
        if self._prepared is not None:
            self._prepared.close()
        self.control.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()
