"""Which attacks each level of the jail stops, as root and as an ordinary user.

python bench/jail_attacks.py                    all levels of this machine, a minute; writes bench/jail_attacks.md
python bench/jail_attacks.py --levels full      one level
python bench/jail_attacks.py --out TABLE.md     elsewhere

Every attack has a process of its own here. Root also measures as an ordinary user, in a process of uid 65534
with a copy of the packages that this user can read.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy

import evolve
from evolve.jail import AttackResult, Level, probe, self_attack
from evolve.jail.attacks import THEMES

NOBODY = 65534
LEVELS = tuple(sorted(Level, reverse=True))


@dataclass(frozen=True)
class Tried:
    """One user's attacks on one level. seconds: wall, of the attack as a run starts with it. trouble: why there
    is no such jail here, if there is none."""

    level: Level
    results: tuple[AttackResult, ...]
    seconds: float = 0.0
    trouble: str = ""

    @property
    def stopped(self) -> str:
        if self.trouble:
            return "no such jail"
        return f"{sum(result.stopped for result in self.results)} of {len(self.results)}"

    @property
    def through(self) -> dict[str, str]:
        return {result.name: result.by for result in self.results if not result.stopped}


def attack(level: Level) -> Tried:
    """Attacks one level as the user that this process has."""
    trouble = probe.trial(level)
    if trouble:
        return Tried(level, (), trouble=trouble)
    start = time.perf_counter()
    self_attack(level)
    seconds = time.perf_counter() - start
    return Tried(level, tuple(self_attack(level, together=False)), seconds)


def attack_as_nobody(levels: Sequence[Level]) -> list[Tried]:
    """The same, in a process that root has made an ordinary user's."""
    with tempfile.TemporaryDirectory(prefix="evolve-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _copy_packages(folder)
        script = shutil.copy(__file__, folder)
        command = [_interpreter(), "-B", script, "--json", "--levels", *levels]
        environment = {"PYTHONPATH": name, "PATH": os.defpath, "HOME": "/nonexistent"}
        done = subprocess.run(
            command, env=environment, cwd=name, capture_output=True, text=True, user=NOBODY, group=NOBODY,
            extra_groups=[],
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the ordinary user's process failed:\n{done.stderr}")
    return [_parse(row) for row in json.loads(done.stdout)]


def _parse(row: Mapping[str, object]) -> Tried:
    return msgspec.convert(row, Tried)


def _copy_packages(folder: Path) -> None:
    """What the jail needs, where everybody can read it."""
    libraries = Path(numpy.__file__).parent.with_name("numpy.libs")
    for path in (Path(evolve.__file__).parent, Path(numpy.__file__).parent, libraries):
        if path.exists():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    shutil.copytree(Path(msgspec.__file__).parent, folder / "msgspec")
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def _interpreter() -> str:
    """A Python of this version that an ordinary user may run; ours may lie in root's home."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (os.path.realpath(sys.executable), f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        if os.path.exists(path) and _reachable(path):
            return path
    raise SystemExit(f"no {name} that an ordinary user can run; install one in /usr")


def _reachable(path: str) -> bool:
    tried = subprocess.run(["test", "-x", path], user=NOBODY, group=NOBODY, extra_groups=[])
    return tried.returncode == 0


# -- the report -------------------------------------------------------------------------------------------


def report(users: Mapping[str, Sequence[Tried]]) -> str:
    count = max(len(tried.results) for rows in users.values() for tried in rows)
    themes = ", ".join(f"{theme.name} {len(theme.attacks)}" for theme in THEMES)
    system = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores"
    return f"""# Attacks on the jail

{count} attacks ({themes}),
each in a process of its own; [what they do](../evolve/jail/attacks). An attack got through if the trusted side
saw damage (a file, a process, a connection, a descriptor, a system object, a later program's answer) or if it
says that it reached something. {system}, Python {platform.python_version()}.
Made by `python bench/jail_attacks.py`.

{_table(users)}

The time is that of the self-attack with which the first run after a boot begins, where attacks that do not
disturb each other share a process.

## What got through

Nothing, where a level is not named.

{_through(users)}
"""


def _table(users: Mapping[str, Sequence[Tried]]) -> str:
    heads = [f"stopped, {user} | self-attack, s" for user in users]
    lines = [f"| level | {' | '.join(heads)} |", "| --- |" + " ---: | ---: |" * len(users)]
    for rows in zip(*users.values(), strict=True):
        cells = [f"{row.stopped} | {row.seconds:.1f}" for row in rows]
        lines.append(f"| {rows[0].level} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _through(users: Mapping[str, Sequence[Tried]]) -> str:
    """For each level the attacks that got through, by theme, with who they got through as if not all users."""
    parts = []
    for rows in zip(*users.values(), strict=True):
        reached = {user: set(row.through) for user, row in zip(users, rows, strict=True) if not row.trouble}
        if not any(reached.values()):
            continue
        lines = [f"**{rows[0].level}**", ""]
        for theme in THEMES:
            names = [
                _mark(name, reached) for name in theme.attacks if any(name in s for s in reached.values())
            ]
            if names:
                lines.append(f"- {theme.name}: {', '.join(names)}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) or "Nothing."


def _mark(name: str, reached: Mapping[str, set[str]]) -> str:
    users = [user for user, names in reached.items() if name in names]
    return name if len(users) == len(reached) else f"{name} ({', '.join(users)} only)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--levels", nargs="+", type=Level, default=LEVELS, metavar="LEVEL")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--json", action="store_true", help="print this user's results; write nothing")
    options = parser.parse_args()
    own = [attack(level) for level in options.levels]
    if options.json:
        print(json.dumps([asdict(tried) for tried in own]))
        return
    users = (
        {"as root": own, "as a user": attack_as_nobody(options.levels)}
        if os.geteuid() == 0
        else {"as a user": own}
    )
    text = report(users)
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
