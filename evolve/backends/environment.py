"""What a worker process may know of the environment: no keys but the engine's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

SECRET = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_CREDENTIALS")
ENGINES = ("RAY_", "DASK_")  # what the engines' own processes talk to each other with


def secret(name: str) -> bool:
    """Whether a variable looks like a key of something else than an engine."""
    return name.upper().endswith(SECRET) and not name.startswith(ENGINES)


def scrubbed(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment (this process's own if none is given) without keys."""
    given = os.environ if environment is None else environment
    return {name: value for name, value in given.items() if not secret(name)}


def for_children() -> dict[str, str]:
    """For processes of the very evolve that this one runs, wherever it was imported from; without keys."""
    found = scrubbed()
    root = str(Path(__file__).parents[2])
    found["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [found.get("PYTHONPATH")])])
    return found


def scrub(environment: MutableMapping[str, str]) -> None:
    """Remove the keys from an environment."""
    for name in [name for name in environment if secret(name)]:
        del environment[name]
