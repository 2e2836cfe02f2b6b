"""Who looked at a problem's holdout: a ledger in the runs folder, appended to by all who open it.

What a run's own journal notes is the run's; the ledger also knows of other runs, and of looks outside any run, which
weaken the proof of whatever is published afterwards.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from evolve import folders

FILE = "holdout.jsonl"


@dataclass(frozen=True)
class Look:
    """One opening of a holdout.

    digest: of the problem. candidate: whose program was measured. by: the run's name, or the command, that opened
    it. when: ISO 8601.
    """

    digest: str
    candidate: str
    by: str
    when: str


def record(digest: str, candidate: str, by: str) -> None:
    """Note a look, before it happens."""
    look = Look(digest, candidate, by, time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    folders.RUNS.mkdir(parents=True, exist_ok=True)
    with (folders.RUNS / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(look)) + "\n")  # one write: lines of several processes do not mix


def looks(digest: str) -> tuple[Look, ...]:
    """All looks at the holdout of a problem that this runs folder knows, in order; a torn line is skipped."""
    path = folders.RUNS / FILE
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(Look(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return tuple(look for look in found if look.digest == digest)
