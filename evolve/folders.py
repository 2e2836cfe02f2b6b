"""Where runs lie: `runs/` below the working folder, unless the user says otherwise."""

from __future__ import annotations

import time
from pathlib import Path

from evolve.errors import JournalError

FILE = "journal.db"
RUNS = Path("runs")
LATEST = "latest"
CACHE = "cache.db"


def new_folder(problem: str) -> Path:
    """A folder for a new run that does not exist yet, named after the problem and the time."""
    base = RUNS / f"{problem}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, count = base, 1
    while folder.exists():
        count += 1
        folder = base.with_name(f"{base.name}-{count}")
    return folder


def cache_file() -> Path:
    """Where evaluations are kept for the runs to come."""
    return RUNS / CACHE


def run_folder(name: str) -> Path:
    """The folder of a run, given its path, its name under runs/, or 'latest'.

    Raises:
        JournalError: there is no run.
    """
    if name == LATEST:
        journals = sorted(RUNS.glob(f"*/{FILE}"), key=lambda path: path.parent.stat().st_mtime)
        if not journals:
            raise JournalError(f"there is no run under {RUNS}/ yet; `evolve run smtt` makes one")
        return journals[-1].parent
    for folder in (Path(name), RUNS / name):
        if (folder / FILE).is_file():
            return folder
    raise JournalError(f"{name}: no run there (no {FILE}); give the folder of a run, or '{LATEST}'")


def run_key(folder: Path, started: str, digest: str) -> str:
    """What tells a run from all others, also in a store that several folders of runs share.

    Args:
        started: when it began, ISO 8601. digest: of its problem.
    """
    return f"{folder.resolve().name} {started} {digest}".replace("'", "")
