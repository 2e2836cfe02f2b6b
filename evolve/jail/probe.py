"""What level of jail this machine has: found out by starting one and asking it something."""

from __future__ import annotations

import functools
import socket
import sys
from dataclasses import dataclass

from evolve.errors import JailError
from evolve.jail import bubblewrap, kernel, wire
from evolve.jail.launch import Zygote, ZygoteError
from evolve.jail.level import Level, Limits
from evolve.jail.pipe import Pipe
from evolve.jail.session import Session

_LIMITS = Limits(cpu_s=5.0, memory_mb=64, load_s=5.0, imports=())
_PROGRAM = wire.encode(wire.PROGRAM, [{"probe.py": "def probe(x):\n    return x + 1\n"}, "probe.py", "probe"])


@dataclass(frozen=True)
class Machine:
    """The strongest level that works here, and why the stronger ones do not."""

    level: Level | None
    missing: tuple[str, ...] = ()


def trial(level: Level) -> str:
    """Runs one tiny program at `level`. Empty if that works, else why not."""
    ours, theirs = socket.socketpair()
    try:
        zygote = Zygote(_LIMITS, level)
    except ZygoteError as error:
        ours.close()
        theirs.close()
        return str(error)
    try:
        with theirs:
            process = zygote.start(theirs)
        with Session(zygote, process, Pipe(ours, 1000), _LIMITS, _PROGRAM) as session:
            answer = next(session.ask([wire.encode_arguments([1])], [5.0]))
        return "" if answer.value == 2 else f"a test program failed: {answer.failure}"
    except (ZygoteError, JailError) as error:
        return str(error)
    finally:
        zygote.close()


def _explain(level: Level, trouble: str) -> str:
    """The reason in a user's words, with the next step where there is one."""
    if level.bubblewrap and sys.platform != "linux":
        return "bubblewrap: exists on Linux only"
    if level.bubblewrap and not bubblewrap.installed():
        return "bubblewrap: not installed (Debian and Ubuntu: apt install bubblewrap)"
    if level.filters and kernel.landlock_abi() == 0:
        return "Landlock: this kernel has none, or it is switched off (Linux 5.13 or newer, lsm=landlock,...)"
    if level.bubblewrap and not level.filters:
        return f"bubblewrap: this machine refuses it user namespaces ({trouble})"
    return f"{level}: {trouble}"


@functools.cache
def machine() -> Machine:
    """Tries the levels from the strongest on; the answer holds for the life of this process."""
    missing: list[str] = []
    for level in sorted(Level, reverse=True):
        trouble = trial(level)
        if not trouble:
            return Machine(level, tuple(dict.fromkeys(missing)))
        missing.append(_explain(level, trouble))
    return Machine(None, tuple(dict.fromkeys(missing)))


def strongest(minimum: Level) -> Level:
    """The strongest level of this machine.

    Raises:
        JailError: it is weaker than `minimum`.
    """
    found = machine()
    reasons = "".join(f"\n  {reason}" for reason in found.missing)
    if found.level is None:
        raise JailError(f"no jail can be built on this machine:{reasons}")
    if found.level < minimum:
        raise JailError(
            f"this machine's jail is at level '{found.level}'; the settings demand '{minimum}':{reasons}\n"
            f"To run with the weaker jail, name it: --set jail.minimum={found.level}"
        )
    return found.level
