"""The levels of the jail, and the system call filter on an interpreter of its own."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner

from evolve.cli import main
from evolve.errors import JailError
from evolve.jail import Jail, Level, Limits, kernel, machine
from evolve.records import Status
from tests.jail_tools import LIMITS, ask, fail, healthy, levels_here, strong


def test_levels_are_ordered_by_strength() -> None:
    assert Level.FULL > Level.LANDLOCK_SECCOMP > Level.BUBBLEWRAP_RLIMITS > Level.RLIMITS
    assert Level.FULL >= Level.FULL <= Level.FULL
    assert not Level.RLIMITS < Level.RLIMITS


@pytest.mark.parametrize("level", levels_here())
def test_every_level_of_this_machine_answers(level: Level) -> None:
    with Jail(LIMITS, level=level) as jail:
        assert jail.level is level
        assert healthy(jail)
        assert fail(jail, "def f(): return 1 / 0")[0] is Status.CRASHED


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PATH", "/nonexistent")
    machine.cache_clear()
    yield
    machine.cache_clear()


@strong
@pytest.mark.usefixtures("no_bubblewrap")
def test_a_machine_without_bubblewrap_says_what_is_missing_and_how_to_go_on() -> None:
    assert machine().level is Level.LANDLOCK_SECCOMP
    with pytest.raises(JailError) as caught:
        Jail(LIMITS, minimum=Level.FULL)
    for words in (
        "'landlock+seccomp'",
        "'full'",
        "apt install bubblewrap",
        "--set jail.minimum=landlock+seccomp",
    ):
        assert words in str(caught.value)


@strong
@pytest.mark.usefixtures("no_bubblewrap")
def test_a_command_below_the_minimum_is_refused_with_the_setting_that_would_allow_it() -> None:
    shown = CliRunner().invoke(
        main, ["evaluate", "smtt", "seeds/smtt/edd.py", "--set", "jail.minimum=full"], catch_exceptions=False
    )
    assert shown.exit_code == 1
    assert "apt install bubblewrap" in shown.output
    assert "--set jail.minimum=landlock+seccomp" in shown.output


@strong
@pytest.mark.usefixtures("no_bubblewrap")
def test_doctor_without_bubblewrap_names_the_package_and_the_level_that_is_left() -> None:
    facts = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert facts["jail"] == "landlock+seccomp"
    assert any("apt install bubblewrap" in text for text in facts["missing"])
    assert facts["findings"] == []
    through = {attack["name"] for attack in facts["attacks"] if not attack["stopped"]}
    assert through == {"see a file's size", "see that the supervisor runs"}


# -- no scratch space -------------------------------------------------------------------------------------

COMPILED = """
import numba, numpy as np
@numba.njit
def total(x):
    s = 0.0
    for v in x: s += v
    return s
def f(x): return total(np.sort(np.array(x)))
"""


# without the other layers, root's candidates are the user nobody, who may not be able to read root's Python
@pytest.mark.parametrize("level", [level for level in levels_here() if level is not Level.RLIMITS])
def test_numba_compiles_and_runs_where_nothing_can_be_written(level: Level) -> None:
    pytest.importorskip("numba")
    limits = Limits(cpu_s=60.0, load_s=60.0, memory_mb=1024, imports=("numpy", "numba"))
    with Jail(limits, level=level) as jail:
        assert ask(jail, COMPILED, [3.0, 1.0, 2.0]).value == 6.0


@strong
@pytest.mark.parametrize("place", ["/", "/dev", "/dev/shm", "/tmp", "/proc/self", "/var/tmp", "/run"])
def test_a_candidate_can_write_nowhere(place: str) -> None:
    source = f"""
import os
def f():
    for flags in (os.O_CREAT | os.O_WRONLY, os.O_TMPFILE | os.O_RDWR):
        try:
            os.open('{place}' if flags & os.O_TMPFILE == os.O_TMPFILE else '{place}/x', flags, 0o600)
            return 'written'
        except OSError:
            pass
"""
    with Jail(Limits(imports=("os",)), minimum=Level.LANDLOCK_SECCOMP) as jail:
        assert ask(jail, source).value is None


# -- the system call filter -------------------------------------------------------------------------------


def decide(program: bytes, number: int, architecture: int, argument: int = 0) -> int:
    """A BPF interpreter for the six instructions that the filter uses."""
    data = struct.pack("<iIQ6Q", number, architecture, 0, 0, 0, argument, 0, 0, 0)
    lines = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    jumps: dict[int, Callable[[int, int], bool]] = {0x15: int.__eq__, 0x35: int.__ge__}
    accumulator = at = 0
    while True:
        code, yes, no, value = lines[at]
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            at += value
        else:
            at += yes if jumps[code](accumulator, value) else no


ALLOW, EPERM = 0x7FFF0000, 0x00050001
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


@pytest.mark.parametrize("reading", [True, False])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_filter_allows_exactly_the_calls_of_its_table(name: str, reading: bool) -> None:
    column, architecture = ARCHITECTURES[name]
    program = kernel.seccomp_program(reading, name)
    table = kernel._ALLOWED | (kernel._READING if reading else {})
    expected = {row[column] for row in table.values()} - {None}
    expected |= {kernel._OPENAT[column]} if reading else set()
    allowed = {number for number in range(1024) if decide(program, number, architecture) == ALLOW}
    assert allowed == expected
    assert all(decide(program, 0x40000000 | number, architecture) == EPERM for number in range(512))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_filter_allows_opening_for_reading_only(name: str) -> None:
    column, architecture = ARCHITECTURES[name]
    program = kernel.seccomp_program(True, name)
    reading = (os.O_RDONLY, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    writing = (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_WRONLY | os.O_APPEND, 0o20000000)
    number = kernel._OPENAT[column]
    assert {decide(program, number, architecture, flags) for flags in reading} == {ALLOW}
    assert {decide(program, number, architecture, flags) for flags in writing} == {EPERM}


def test_the_filter_kills_a_process_that_changes_its_architecture() -> None:
    program = kernel.seccomp_program(True, "x86_64")
    assert decide(program, 1, 0x40000003) == 0x80000000


def test_an_unknown_architecture_has_no_filter() -> None:
    with pytest.raises(kernel.KernelError, match="riscv64"):
        kernel.seccomp_program(True, "riscv64")
