"""The jail against its own attacks, and the attacks against a process without a jail."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from evolve.errors import JailError
from evolve.jail import AttackResult, Jail, Level, attacks, machine, probe, require_closed, self_attack
from evolve.jail.attacks import suite

STRONG = [level for level in (Level.LANDLOCK_SECCOMP, Level.FULL) if not probe.trial(level)]
results = functools.cache(lambda level: {result.name: result for result in self_attack(level)})
linux = pytest.mark.skipif(sys.platform != "linux", reason="written for Linux")


@pytest.mark.parametrize("level", STRONG)
@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_an_attack_is_stopped(level: Level, name: str) -> None:
    result = results(level)[name]
    if name in suite.LEFT_OPEN[level]:
        assert not result.stopped, "it is stopped after all: take it from LEFT_OPEN"
    else:
        assert result.stopped, result.by


def test_there_are_more_than_sixty_attacks_and_each_has_a_name_of_its_own() -> None:
    assert len(attacks.ATTACKS) > 60
    assert len(attacks.ATTACKS) == sum(len(theme.attacks) for theme in attacks.THEMES)


@pytest.mark.parametrize("level", STRONG)
def test_attacks_that_share_a_process_fare_as_they_do_alone(level: Level) -> None:
    alone = {result.name: result.stopped for result in self_attack(level, together=False)}
    assert alone == {name: result.stopped for name, result in results(level).items()}


THROUGH_RLIMITS = [
    "open a Unix socket",
    "listen on a port",
    "take over a core",
    "read the list of users",
    "find a place to write",
    "connect to a local server",
    "connect to an abstract Unix socket",
    "learn the host's name",
    "see that the supervisor runs",
    "leave System V memory behind",
    "leave a System V semaphore behind",
    "leave a System V queue behind",
    "lower its priority",
    "set a timer",
    "make its memory readable",
]


@linux
@pytest.mark.parametrize("name", THROUGH_RLIMITS)
def test_an_attack_on_resource_limits_alone_is_reported_as_getting_through(name: str) -> None:
    assert not results(Level.RLIMITS)[name].stopped


@linux
def test_what_attacks_leave_in_the_system_is_cleared_away() -> None:
    results(Level.RLIMITS)
    for kind in ("shm", "sem", "msg"):
        keys = {int(row.split()[0]) for row in Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]}
        with attacks.scene(1) as place:
            assert place.key not in keys
    assert not [name for name in os.listdir("/dev/shm") if "attack" in name or "planted" in name]


TEETH = {
    "files": [
        *(
            "read a file",
            "read a file from its own folder",
            "read a file through /proc/self/root",
            "map a file",
        ),
        *("see a file's size", "list a folder", "list the working folder", "learn the working folder"),
        *("read the jail's source", "write a file", "overwrite a file", "overwrite a file through a map"),
        *("truncate a file", "append to a file", "create a folder", "create a pipe with a name"),
        *(
            "change a file's mode",
            "change a file's times",
            "delete a file",
            "rename a file",
            "link to a file",
        ),
        *("link hard to a file", "change the jail's own code", "write to shared memory"),
        *("create a Unix socket with a name", "make an in-memory file", "watch a folder"),
    ],
    "network": [
        *("connect to a local server", "connect to an abstract Unix socket", "open a Unix socket"),
        *("listen on a port", "listen on an abstract Unix socket"),
    ],
    "processes": [
        "fork",
        "spawn a program",
        "run a program",
        "multiply",
        "start a thread",
        "start many threads",
    ],
    "trespass": [
        *("take another name", "signal its parent", "signal the supervisor", "see that the supervisor runs"),
        *("read the supervisor's command line", "list the processes", "find a secret in the environment"),
        *("find a secret in the C environment", "adopt orphans", "outlive its parent"),
    ],
    "resources": [
        *("allocate beyond its limit", "hoard small objects", "map shared memory beyond its limit"),
        *("map a terabyte", "open descriptors without end", "leave System V memory behind"),
        *("leave a System V semaphore behind", "leave a System V queue behind", "set a timer"),
    ],
    "escape": ["write to the terminal", "make its memory readable", "change its personality"],
}


@linux
@pytest.mark.parametrize(("theme", "name"), [(theme, name) for theme in TEETH for name in TEETH[theme]])
def test_an_attack_gets_through_where_there_is_no_jail(theme: str, name: str) -> None:
    themes = {theme.name: theme for theme in attacks.THEMES}
    with attacks.scene(1 << 20) as place:
        source = attacks.program(themes[theme], [name])
        code = f"{source}\nprint(bool(attack(0, {place.facts!r})[0]))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert place.damage() or done.stdout.endswith("True\n"), done.stdout


@pytest.mark.parametrize("level", STRONG)
def test_an_answer_that_was_forged_around_the_attack_counts_as_got_through(level: Level) -> None:
    theme = suite.Theme("test", {"forge": "os.write(3, bytes.fromhex(facts['forged']))"}, together=False)
    with attacks.scene(1) as place, probe_jail(level) as jail:
        (result,) = attacks.run_attacks(jail, place, theme, ["forge"])
    assert (result.stopped, result.by) == (False, "executed")


@pytest.mark.parametrize("level", STRONG)
def test_an_attack_that_gets_through_leaves_the_next_one_a_fresh_process(level: Level) -> None:
    bodies = {"mark": "os.marked = True; return 'marked'", "look": "return hasattr(os, 'marked')"}
    with attacks.scene(1) as place, probe_jail(level) as jail:
        marked, looked = attacks.run_attacks(jail, place, suite.Theme("test", bodies), list(bodies))
    assert (marked.stopped, looked.stopped) == (False, True)


def probe_jail(level: Level) -> Jail:
    return Jail(attacks.LIMITS, level=level)


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


@pytest.mark.usefixtures("cache")
def test_attacks_that_only_bubblewrap_stops_do_not_stop_the_program_without_it() -> None:
    if Level.LANDLOCK_SECCOMP not in STRONG:
        pytest.skip("this machine has no Landlock and seccomp")
    through = {result.name for result in require_closed(Level.LANDLOCK_SECCOMP) if not result.stopped}
    assert through == {"see a file's size", "see that the supervisor runs"}


def test_an_attack_that_gets_through_a_strong_level_stops_the_program(cache: Path, level: Level) -> None:
    cache.mkdir()
    row = asdict(AttackResult("read a file", False, "a secret"))
    attacks.cache(level).write_text(json.dumps([row]))
    with pytest.raises(JailError, match=r"1 of 1 attacks got through .*\n  read a file: a secret"):
        require_closed(level)
    assert not attacks.cache(level).exists()


def test_a_damaged_memory_of_the_attacks_is_made_anew(cache: Path, level: Level) -> None:
    cache.mkdir()
    attacks.cache(level).write_text('[{"nome": 1}]')
    assert len(require_closed(level)) == len(attacks.ATTACKS)


def test_a_home_that_cannot_be_written_is_no_obstacle(level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    assert len(require_closed(level)) == len(attacks.ATTACKS)
