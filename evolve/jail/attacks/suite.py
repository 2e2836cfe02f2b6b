"""Runs the attacks behind a real jail, and judges them.

An attack is the body of a function that has every module at hand (the import guard is off: it is no defence)
and gets `facts` from the trusted side. It got through if the trusted side sees damage, if the zygote died, if
an honest program that runs next answers wrongly, or if it returns a text that says what it reached. An
exception, or nothing to return, means that it was stopped. Attacks on the protocol are not asked: what they
return is theirs to choose.
"""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from evolve.errors import JailError
from evolve.jail import wire
from evolve.jail.attacks.escape import ESCAPE
from evolve.jail.attacks.files import FILES
from evolve.jail.attacks.network import NETWORK
from evolve.jail.attacks.processes import PROCESSES, TRESPASS
from evolve.jail.attacks.protocol import PROTOCOL
from evolve.jail.attacks.resources import ENDLESS, RESOURCES
from evolve.jail.attacks.scene import Scene, scene
from evolve.jail.jail import Jail
from evolve.jail.level import Level, Limits
from evolve.jail.session import Answer, Session

MODULES = (
    *("builtins", "ctypes", "fcntl", "mmap", "numpy", "os", "pickle", "random", "resource", "signal"),
    *("socket", "struct", "subprocess", "threading", "time"),
)
LIMITS = Limits(cpu_s=0.5, memory_mb=64, load_s=1.0, answer_bytes=1 << 20, imports=MODULES)
JAILS = 2  # that are attacked at once
HEADER = f"""
import ctypes, mmap, os, resource, signal, socket, struct, subprocess, threading, time
MACHINE = {platform.machine()!r}
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
def raw(x86_64, aarch64, *values):
    return check(libc.syscall({{'x86_64': x86_64, 'aarch64': aarch64}}[MACHINE], *values))
def permitted(x86_64, aarch64, *values):
    try:
        return f'returned {{raw(x86_64, aarch64, *values)}}'
    except OSError as error:
        if error.errno in (1, 13, 38):  # not permitted, denied, not there
            raise
        return f'permitted, but: {{error}}'
"""
_CAUTIOUS = """
def attack(number, facts):
    try:
        found = globals()[f'attack_{number}'](facts)
    except Exception as error:
        return ['', f'{type(error).__name__}: {error}'[:160]]
    return [str(found)[:80] if found else '', 'nothing was found']
"""
_RAW = """
def attack(number, facts):
    return globals()[f'attack_{number}'](facts)
"""
_HONEST = {
    "honest.py": "import numpy\ndef honest(x):\n    return [sorted(x), len(x), max(x), int(numpy.sum(x)), 7]\n"
}
_TRUTH = [[1, 2, 3], 3, 3, 6, 7]
_QUESTION = wire.encode_arguments([[3, 1, 2]])


@dataclass(frozen=True)
class Theme:
    """Attacks of one kind.

    asked: whether what they return counts. cpu_s: CPU seconds that each may take. together: whether one
    process may try them one after the other, as long as none gets through. forks: whether to look for a
    process that was left behind, which takes longer than most attacks.
    """

    name: str
    attacks: Mapping[str, str]
    asked: bool = True
    cpu_s: float = LIMITS.cpu_s
    together: bool = True
    forks: bool = False


THEMES = (
    Theme("files", FILES),
    Theme("network", NETWORK),
    Theme("processes", PROCESSES, together=False, forks=True),
    Theme("trespass", TRESPASS),
    Theme("resources", RESOURCES),
    Theme("time", ENDLESS, cpu_s=0.05),
    Theme("escape", ESCAPE),
    Theme("protocol", PROTOCOL, asked=False, together=False),
)
ATTACKS: dict[str, str] = {name: body for theme in THEMES for name, body in theme.attacks.items()}
# Landlock knows no right to look at a file's or a process's presence. A name that is known can be tried, no
# content can be had; only bubblewrap, where neither is there, hides that too.
LEFT_OPEN: dict[Level, frozenset[str]] = {
    Level.FULL: frozenset(),
    Level.LANDLOCK_SECCOMP: frozenset({"see a file's size", "see that the supervisor runs"}),
}


@dataclass(frozen=True)
class AttackResult:
    """name: what was tried. stopped: whether the jail held. by: what stopped it, or what got through."""

    name: str
    stopped: bool
    by: str
    theme: str = ""


def breaches(level: Level, results: Sequence[AttackResult]) -> list[AttackResult]:
    """The attacks that got through a level that should stop them. The weaker two levels promise nothing."""
    if not level.filters:
        return []
    return [result for result in results if not result.stopped and result.name not in LEFT_OPEN[level]]


def layer(level: Level, by: str) -> str:
    """Which layer of a jail at `level` stopped an attack, by the error that it met."""
    rights = "rights of the user"
    signs = {
        "[Errno 1]": "seccomp" if level.filters else rights,
        "maximum limit": "seccomp" if level.filters else rights,
        "refuses": "seccomp",
        "new thread": "seccomp" if level.filters else "rlimits",
        "[Errno 13]": "Landlock" if level.filters else rights,
        "[Errno 2]": "bubblewrap: nothing there" if level.bubblewrap else "nothing there",
        "Memory": "rlimits: memory",
        "[Errno 12]": "rlimits: memory",
        "of CPU": "CPU budget",
        "answer cannot be": "the answer is refused",
        "ended its process": "it ended itself",
    }
    return next((name for sign, name in signs.items() if sign in by), by)


def program(theme: Theme, names: Sequence[str]) -> str:
    """The source of attacks: one file with the function `attack(number, facts)`.

    If the theme's are asked, it returns what the attack returned, as a text, and, if that is empty, what
    stopped it; else whatever the attack returns.
    """
    functions = [
        f"def attack_{number}(facts):\n"
        + textwrap.indent(textwrap.dedent(theme.attacks[name]).strip(), "    ")
        for number, name in enumerate(names)
    ]
    return "\n".join((HEADER, *functions, _CAUTIOUS if theme.asked else _RAW))


def self_attack(level: Level, together: bool = True) -> list[AttackResult]:
    """Runs every attack in a jail of exactly this level.

    Args:
        level: what to attack.
        together: whether attacks may share a process where that is harmless, which is three times as fast.

    Raises:
        JailError: no such jail can be built here.
    """
    shares = [(theme, list(theme.attacks)[first::JAILS]) for first in range(JAILS) for theme in THEMES]
    half = len(THEMES)
    with ThreadPoolExecutor(JAILS) as pool:
        parts = pool.map(lambda at: _attack_all(level, shares[at : at + half], together), (0, half))
        found = {result.name: result for part in parts for result in part}
    return [found[name] for name in ATTACKS]


def _attack_all(
    level: Level, work: Sequence[tuple[Theme, Sequence[str]]], together: bool
) -> list[AttackResult]:
    results: list[AttackResult] = []
    with scene(LIMITS.memory_mb << 20) as place, Jail(LIMITS, level=level) as jail:
        for theme, names in work:
            shares = [names] if theme.together and together else [[name] for name in names]
            results += [result for share in shares for result in run_attacks(jail, place, theme, share)]
    return results


def run_attacks(jail: Jail, place: Scene, theme: Theme, names: Sequence[str]) -> list[AttackResult]:
    """Attacks on `jail`, whose limits are LIMITS, in one process as long as none gets through.

    One that got through may have changed its process, so that the next one finds a new one.

    Raises:
        JailError: the jail cannot be started at all.
    """
    if jail.zygote is None:
        _ask_honest(jail)
    results: list[AttackResult] = []
    while len(results) < len(names):
        results += _run_some(jail, place, theme, names[len(results) :])
    return results


def _run_some(jail: Jail, place: Scene, theme: Theme, names: Sequence[str]) -> list[AttackResult]:
    """At least one, up to and with the first that gets through or ends its process."""
    results: list[AttackResult] = []
    source = program(theme, names)
    zygote = jail.zygote
    with jail.session({"attack.py": source}, "attack.py", "attack") as session:
        for number, name in enumerate(names):
            place.restore()
            result, alive = _run_one(jail, place, theme, name, session, number)
            if result.stopped and jail.zygote != zygote:
                result = AttackResult(name, False, "the zygote died", theme.name)
            results.append(result)
            if not result.stopped or not alive:
                break
    return results


def _run_one(
    jail: Jail, place: Scene, theme: Theme, name: str, session: Session, number: int
) -> tuple[AttackResult, bool]:
    """The verdict, and whether the session can be asked again."""
    try:
        answer = next(session.ask([wire.encode_arguments([number, place.facts])], [theme.cpu_s]))
        if not theme.together:
            session.close()
        damage = place.damage(theme.forks) or ("" if theme.asked else _aftermath(jail))
    except JailError as error:
        return AttackResult(name, False, f"the jail broke: {error}", theme.name), False
    reached, reason = _read(answer) if theme.asked or answer.failure else ("", "nothing came of it")
    if answer.failure is not None and not answer.failure.feedback.replace("\n", "").isprintable():
        damage = damage or "control characters came through"
    through = damage or reached
    result = AttackResult(name, not through, _printable(through[:80] or reason), theme.name)
    return result, answer.failure is None and theme.together


def _read(answer: Answer) -> tuple[str, str]:
    """What the attack says it reached, and what stopped it."""
    if answer.failure is not None:
        return "", answer.failure.feedback.partition(", in attack.py")[0][:160]
    match answer.value:
        case [str(reached), str(reason)]:
            return reached, reason
        case forged:  # an answer that was not made by the function around the attack
            return str(forged), ""


def _ask_honest(jail: Jail) -> Answer:
    with jail.session(_HONEST, "honest.py", "honest") as session:
        return next(session.ask([_QUESTION], [LIMITS.cpu_s]))


def _aftermath(jail: Jail) -> str:
    answer = _ask_honest(jail)
    return "" if answer.value == _TRUTH else f"an honest program then answered {answer}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
