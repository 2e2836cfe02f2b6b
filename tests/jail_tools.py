"""What the tests of the jail share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from evolve.jail import Answer, Jail, Level, Limits, Session, encode_arguments, machine, probe
from evolve.records import Status

LIMITS = Limits(
    cpu_s=0.3, memory_mb=96, load_s=0.3, answer_bytes=4_000_000, imports=("math", "numpy", "random", "heapq")
)
TOOLS = ("os", "sys", "time", "signal", "ctypes", "numpy", "threading")
STRONG = machine().level is not None and machine().level >= Level.LANDLOCK_SECCOMP
strong = pytest.mark.skipif(not STRONG, reason="this machine has no Landlock and seccomp")


def open_session(jail: Jail, source: str, entry: str = "f") -> Session:
    return jail.session({"program.py": source}, "program.py", entry)


def ask(jail: Jail, source: str, *arguments: Any, entry: str = "f", cpu_s: float | None = None) -> Answer:
    with open_session(jail, source, entry) as session:
        question = encode_arguments(arguments)
        return next(session.ask([question], [jail.limits.cpu_s if cpu_s is None else cpu_s]))


def fail(jail: Jail, source: str, *arguments: Any, **keywords: Any) -> tuple[Status, str]:
    failure = ask(jail, source, *arguments, **keywords).failure
    assert failure is not None
    return failure.status, failure.feedback


def healthy(jail: Jail) -> bool:
    return ask(jail, "def f(x):\n    return sorted(x)", [3, 1, 2]).value == [1, 2, 3]


def gone(pid: int) -> bool:
    """Whether the process ends within ten seconds (a zombie has ended)."""
    for _ in range(1000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def levels_here() -> list[Level]:
    return [level for level in Level if not probe.trial(level)]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
