"""The verdict of the self-attack: made once a boot and version, kept in a file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from evolve.errors import JailError
from evolve.jail.attacks.suite import AttackResult, breaches, self_attack
from evolve.jail.level import Level


def cache(level: Level) -> Path:
    """Where the verdict is kept: another kernel, Python, user or jail must be attacked anew."""
    digest = hashlib.sha256(
        f"{level} {sys.version} {os.path.realpath(sys.executable)} {os.geteuid()}".encode()
    )
    with contextlib.suppress(OSError):
        digest.update(Path("/proc/sys/kernel/random/boot_id").read_bytes())
    digest.update(" ".join(os.uname()).encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "evolve", f"jail-{digest.hexdigest()[:16]}.json")


def _read(path: Path) -> list[AttackResult]:
    try:
        return [AttackResult(**row) for row in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return []


def _write(path: Path, results: list[AttackResult]) -> None:
    with contextlib.suppress(OSError):  # a home that cannot be written costs a second at each start
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps([asdict(result) for result in results]))
        new.replace(path)


def require_closed(level: Level) -> list[AttackResult]:
    """Attacks the jail once per boot and version, and answers from a cache after that.

    At the two levels with Landlock and seccomp no attack may get through that the level should stop. The
    weaker levels are known to be open, so that there the caller shows what got through.

    Raises:
        JailError: an attack got through a level that should stop it.
    """
    path = cache(level)
    results = _read(path)
    if not results:
        results = self_attack(level)
        _write(path, results)
    through = breaches(level, results)
    if through:
        path.unlink(missing_ok=True)
        rows = "".join(f"\n  {result.name}: {result.by}" for result in through)
        raise JailError(
            f"{len(through)} of {len(results)} attacks got through the jail at level '{level}':{rows}"
        )
    return results
