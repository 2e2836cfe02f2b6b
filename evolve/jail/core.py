"""Keeps two that take turns on one CPU core: waking a sleeper on another core costs ten times as much.

Two that never work at the same time gain nothing from a second core, and between cores each of them has to be
woken by an interrupt (measured: 45 microseconds a round trip through pipes, against 5 on one core).
"""

from __future__ import annotations

import contextlib
import ctypes
import os

_libc = ctypes.CDLL(None)


def _current() -> int:
    """The core that this thread runs on; below 0 where that is unknown."""
    getcpu = getattr(_libc, "sched_getcpu", None)
    return int(getcpu()) if getcpu is not None else -1


class SharedCore:
    """While entered, this thread and the process `pid` stay on the core that this thread is on now.

    The core is chosen anew each time, so threads that the kernel has spread over the cores stay spread. Where
    cores cannot be chosen, nothing happens. A context manager, to be left on the thread that entered it.
    """

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._before: set[int] | None = None

    def __enter__(self) -> SharedCore:
        core = _current()
        if self._pid is not None and core >= 0 and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(OSError):  # a core that was taken from us, a process that has ended
                before = os.sched_getaffinity(0)
                os.sched_setaffinity(self._pid, {core})
                os.sched_setaffinity(0, {core})
                self._before = before
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, self._before)
            self._before = None

    def part(self) -> None:
        """Let both run anywhere again: a third one may have taken the core."""
        if self._pid is not None and self._before is not None:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(self._pid, self._before)
        self.__exit__()
