"""The jail against its own attacks, and the attacks against a process without a jail."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path

import pytest

from evolve.errors import JailError
from evolve.jail import AttackResult, Level, attacks, machine, probe, require_closed, self_attack

STRONG = [level for level in (Level.LANDLOCK_SECCOMP, Level.FULL) if not probe.trial(level)]
results = functools.cache(lambda level: {result.name: result for result in self_attack(level)})


@pytest.mark.parametrize("level", STRONG)
@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_an_attack_is_stopped(level: Level, name: str) -> None:
    result = results(level)[name]
    assert result.stopped, result.by


@pytest.mark.parametrize("name", ["open a Unix socket", "listen on a port", "take over a core"])
@pytest.mark.skipif(sys.platform != "linux", reason="written for Linux")
def test_an_attack_on_resource_limits_alone_is_reported_as_getting_through(name: str) -> None:
    assert not results(Level.RLIMITS)[name].stopped


TEETH = [
    "read a file",
    "list a folder",
    "write a file",
    "overwrite a file",
    "create a folder",
    "change a file's mode",
    "delete a file",
    "rename a file",
    "link to a file",
    "find a secret in the environment",
    "connect to a local server",
    "open a Unix socket",
    "fork",
    "start a thread",
    "run a program",
    "signal its parent",
    "allocate beyond its limit",
    "write to the terminal",
]


@pytest.mark.skipif(sys.platform != "linux", reason="written for Linux")
@pytest.mark.parametrize("name", TEETH)
def test_an_attack_gets_through_where_there_is_no_jail(name: str) -> None:
    code = textwrap.indent(textwrap.dedent(attacks.ATTACKS[name]).strip(), "    ")
    with attacks._scene() as scene:
        source = f"{attacks._HEADER}{code}\nprint(bool(attack({scene.facts()!r})))"
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
        assert scene.damage() or done.stdout.endswith("True\n")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "evolve"


@pytest.fixture
def level() -> Level:
    level = machine().level
    if level is None or not level.filters:
        pytest.skip("this machine has no Landlock and seccomp")
    return level


def test_the_attacks_are_run_once_and_remembered(cache: Path, level: Level) -> None:
    assert all(result.stopped for result in require_closed(level))
    (file,) = cache.iterdir()
    remembered = AttackResult("a marker", True, "the cache")
    file.write_text(json.dumps([asdict(remembered)]))
    assert require_closed(level) == [remembered]


def test_an_attack_that_gets_through_a_strong_level_stops_the_program(cache: Path, level: Level) -> None:
    cache.mkdir()
    row = asdict(AttackResult("read a file", False, "a secret"))
    attacks._cache(level).write_text(json.dumps([row]))
    with pytest.raises(JailError, match=r"1 of 1 attacks got through .*\n  read a file: a secret"):
        require_closed(level)
    assert not attacks._cache(level).exists()


def test_a_damaged_memory_of_the_attacks_is_made_anew(cache: Path, level: Level) -> None:
    cache.mkdir()
    attacks._cache(level).write_text('[{"nome": 1}]')
    assert len(require_closed(level)) == len(attacks.ATTACKS)


def test_a_home_that_cannot_be_written_is_no_obstacle(level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    assert len(require_closed(level)) == len(attacks.ATTACKS)
