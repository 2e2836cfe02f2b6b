"""What a proposer may read of a failure: enough to mend the program, nothing of places or of hidden instances."""

from __future__ import annotations

import re
import sys
import sysconfig
from functools import cache
from pathlib import Path

from evolve.jail.session import clean
from evolve.records import Split, Status

SHORTEST_ROOT = 4  # characters; "/" as a working folder would make every fraction a path

_HIDDEN = {
    Status.INVALID: "a decision breaks a rule of the problem",
    Status.CRASHED: "the program raised an exception or died",
    Status.TIMED_OUT: "the program took too long",
    Status.OUT_OF_MEMORY: "the program passed its memory limit",
    Status.FORBIDDEN: "the program tried what the jail refuses",
}


def of_failure(split: Split, name: str, status: Status, text: str) -> str:
    """The feedback of a failure on the instance `name`; "" for one of a batch, which fails as a whole.

    On train: the instance and the text, without control characters and without the folders of this machine.
    Elsewhere only what kind of failure it was: the text of an exception is the program's own, and could carry
    the instance out. An impossible score is a defect of the problem and keeps its figures.
    """
    if split is Split.TRAIN:
        where = f"instance {name}" if name else "one of the instances"
        return f"{where}: {_fit(text)}"
    return f"an instance of {split}: {_HIDDEN.get(status, text)}"


def _fit(text: str) -> str:
    return _places().sub(lambda found: found[0].rpartition("/")[2], clean(text))


@cache
def _places() -> re.Pattern[str]:
    """Paths below the folders of this machine that an exception may name, libraries above all."""
    folders = {sys.prefix, sys.base_prefix, str(Path.home()), str(Path.cwd()), str(Path(__file__).parents[1])}
    folders |= {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    roots = sorted((root for root in folders if len(root) >= SHORTEST_ROOT), key=len, reverse=True)
    return re.compile(f"(?:{'|'.join(map(re.escape, roots))})(?:/[^\\s'\"(),:;]*)?")
