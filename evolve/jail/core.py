"""Which CPU core a candidate runs on.

Two that take turns share one: they gain nothing from a second core, and between cores each of them has to be woken by
an interrupt (measured: 45 microseconds a round trip through pipes, against 5 on one core).

A warm process and its children stay on one: a child that starts elsewhere finds none of its memory in the cache, and
what it copies of its parent's crosses between cores (measured with a worker for each of two cores: 84 % of the
throughput of bare forks, against 71 % where the kernel is free to move them).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
from collections import Counter
from pathlib import Path
from typing import ClassVar

LOOK = 16  # a candidate in so many tells whether its core was free
BUSY = 0.5  # seconds of waiting for a core, per second of CPU, from which another core is tried
LEAST_S = 0.002  # CPU of a candidate that can tell
LEASES = f"\0evolve/{os.getuid()}/core"  # names of sockets that no file stands for

_libc = ctypes.CDLL(None)


def _current() -> int:
    """The core that this thread runs on; below 0 where that is unknown."""
    getcpu = getattr(_libc, "sched_getcpu", None)
    return int(getcpu()) if getcpu is not None else -1


def _lease(core: int) -> socket.socket | None:
    """What keeps all others of this user who ask from a core, until it is closed; None if one has it already.

    A name among the kernel's abstract sockets: nothing is left behind, however the holder ends.
    """
    lease = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lease.bind(f"{LEASES}/{core}")
    except OSError:
        lease.close()
        return None
    return lease


class SharedCore:
    """While entered, this thread and the process `pid` stay on one core, which no other such pair has.

    It is the core that this thread is on now, if it is to be had: what the kernel has spread stays spread, and two
    pairs that met on one, where they would stay, part. Where all are taken or none can be chosen, nothing happens. A
    context manager, to be left on the thread that entered it.
    """

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._before: set[int] | None = None
        self._leased: socket.socket | None = None

    def __enter__(self) -> SharedCore:
        current = _current()
        if self._pid is None or current < 0 or not hasattr(os, "sched_setaffinity"):
            return self
        allowed = os.sched_getaffinity(0)
        for core in sorted(allowed, key=lambda each: (each - current) % (max(allowed) + 1)):
            self._leased = _lease(core)
            if self._leased is not None:
                with contextlib.suppress(OSError):  # a core that was taken from us, a process that has ended
                    os.sched_setaffinity(self._pid, {core})
                    os.sched_setaffinity(0, {core})
                    self._before = allowed
                break
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, self._before)
            self._before = None
        if self._leased is not None:
            self._leased.close()
            self._leased = None

    def part(self) -> None:
        """Let both run anywhere again: a third one may have taken the core."""
        if self._pid is not None and self._before is not None:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(self._pid, self._before)
        self.__exit__()


class HomeCore:
    """The core that a warm process and its children stay on, until another program is in their way.

    The cores that this process may use are shared out among its warm processes. `core` is None where there is nothing
    to choose, or nothing wanted: where cores are left over, a warm process forks on one while its child runs on
    another.
    """

    _lock = threading.Lock()
    _taken: ClassVar[Counter[int]] = Counter()

    def __init__(self, wanted: bool) -> None:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        turn = os.getpid() % len(cores) if cores else 0  # another evolve beside this one begins elsewhere
        self._cores = cores[turn:] + cores[:turn]
        self._ended = 0
        self.core: int | None = self._take() if wanted and len(cores) > 1 else None

    def _take(self) -> int:
        with self._lock:
            core = min(self._cores, key=lambda each: self._taken[each])
            self._taken[core] += 1
        return core

    def leave(self) -> None:
        """The core is free for another warm process. Once only."""
        if self.core is not None:
            with self._lock:
                self._taken[self.core] -= 1
            self.core = None

    def crowded(self, pid: int) -> bool:
        """Asked about every child before it is ended: whether the core has changed, since this one had to wait."""
        self._ended += 1
        if self.core is None or self._ended % LOOK or not _had_to_wait(pid):
            return False
        place = self._cores.index(self.core)
        self._cores = (
            self._cores[place + 1 :] + self._cores[: place + 1]
        )  # the same one only if nothing else is left
        self.leave()
        self.core = self._take()
        return True


def _had_to_wait(pid: int) -> bool:
    """Whether a process waited long for a core that others had; see "schedstat" in proc(5)'s kernel documentation."""
    try:
        ran, waited, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
    except (OSError, ValueError):  # ended, or a kernel that keeps no such figures
        return False
    return ran > LEAST_S * 1e9 and waited > BUSY * ran
