"""Other runs beside the reported one: best-of-n above all, which evolves nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evolve import settings
from evolve.errors import JournalError, SettingsError, UsageError
from evolve.folders import FILE
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.report.history import Step

CONTROL = "best-of-n"


@dataclass(frozen=True)
class Control:
    """Another run's best score on train so far. name: for the legend."""

    name: str
    best: tuple[Step, ...]


def controls(journal: Journal, named: Sequence[Path]) -> list[Control]:
    """The named runs; without any, the best-of-n runs in the same folder of runs that began alike.

    Raises:
        UsageError: a named run is on another problem, or on another version of it.
        JournalError: a named folder is no run.
    """
    found = [_named(folder, journal) for folder in named]
    return found or list(_siblings(journal))


def _named(folder: Path, journal: Journal) -> Control:
    with Journal.open(folder, read_only=True) as other:
        if other.meta("digest") != journal.meta("digest"):
            raise UsageError(
                f"--against {folder}: a run on {other.meta('problem')} in another version than "
                f"{journal.path.parent} has; only scores on the same instances can be compared"
            )
        return _read(other)


def _siblings(journal: Journal) -> Iterator[Control]:
    own = journal.path.resolve()
    for path in sorted(own.parent.parent.glob(f"*/{FILE}")):
        if path != own and _is_control(path.parent):
            try:
                with Journal.open(path.parent, read_only=True) as other:
                    if _began_alike(journal, other):
                        yield _read(other)
            except JournalError:  # somebody else's, or another version's: it is not asked for
                continue


def _is_control(folder: Path) -> bool:
    try:
        return settings.load(folder / "settings.toml").archive.kind == CONTROL
    except SettingsError:
        return False


def _began_alike(ours: Journal, theirs: Journal) -> bool:
    same = all(ours.meta(key) == theirs.meta(key) for key in ("digest", "founders"))
    seeds = [settings.load(each.path.parent / "settings.toml").seed for each in (ours, theirs)]
    return same and seeds[0] == seeds[1]


def _read(journal: Journal) -> Control:
    best: list[Step] = []
    with Lineage(journal) as lineage:
        for number, (at, score) in enumerate(lineage.trained(), 1):
            if score == score and (not best or score > best[-1].score):
                best.append(Step(number, at, score))
    kind = settings.load(journal.path.parent / "settings.toml").archive.kind
    name = journal.path.resolve().parent.name
    return Control(f"{kind} ({name})", tuple(best))
