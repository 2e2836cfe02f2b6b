"""The levels of the jail, and the system call filter on an interpreter of its own."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator

import pytest

from evolve.errors import JailError
from evolve.jail import Jail, Level, kernel, machine
from evolve.records import Status
from tests.jail_tools import LIMITS, fail, healthy, levels_here, strong


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
