"""`evolve report RUN`: a search as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolve import settings
from evolve.cache import Cache
from evolve.errors import UsageError
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.records import SPLITS, Split
from evolve.report import sections
from evolve.report.control import controls
from evolve.report.data import LIMIT, packed
from evolve.report.history import History
from evolve.report.page import page
from evolve.report.standings import Standing, Standings, Surveyor
from evolve.statistics import Interval, finite

FILE = "report.html"


@dataclass(frozen=True)
class Report:
    """A report that was written. programs: how many of the candidates' programs it holds."""

    file: Path
    size: int
    claim: str
    candidates: int
    programs: int
    standings: Standings

    def facts(self) -> dict[str, Any]:
        """For --json; what is not a finite number is null."""
        champion = self.standings.champion
        listed = [*([champion] if champion else []), *self.standings.baselines]
        written: dict[str, Any] = finite(
            {
                "report": str(self.file),
                "bytes": self.size,
                "claim": self.claim,
                "candidates": self.candidates,
                "programs": self.programs,
                "champion": champion.candidate if champion else None,
                "confidence": self.standings.confidence,
                "without": self.standings.without,
                "standings": [self._standing(each) for each in listed],
            }
        )
        return written

    def _standing(self, standing: Standing) -> dict[str, Any]:
        splits = [split for split in SPLITS if split in standing.found]
        return {
            "name": standing.name,
            "candidate": standing.candidate,
            **{str(split): self._split(standing, split) for split in splits},
        }

    def _split(self, standing: Standing, split: Split) -> dict[str, Any]:
        found = standing.found[split]
        own = standing is self.standings.champion
        return {
            "status": str(found.status),
            "raw": found.objective,
            "score": found.score,
            "interval": _ends(self.standings.interval(standing, split)),
            "lead": None if own else _lead(self.standings.lead(standing, split)),
        }


def _ends(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def _lead(interval: Interval | None) -> dict[str, Any] | None:
    """The champion's score minus this one's."""
    return {"score": interval.mean, "interval": _ends(interval)} if interval else None


def write(
    folder: Path,
    destination: Path | None = None,
    against: Sequence[Path] = (),
    measure: bool = True,
    cache: Cache | None = None,
    advance: Callable[[str], None] | None = None,
    limit: int = LIMIT,
) -> Report:
    """Write the report of a run.

    Args:
        destination: by default report.html in the run's folder.
        against: other runs whose curve is drawn beside this one's.
        measure: run the baselines that the journal has no figures of, on train and validation.
        cache: of evaluations, for those.
        advance: told what is measured next.
        limit: characters that candidates and their programs may take.

    Raises:
        JournalError, SettingsError: the folder is no run.
        UsageError: the destination cannot be written, or a run of `against` cannot be compared with.
    """
    with Journal.open(folder, read_only=True) as journal, Lineage(journal) as lineage:
        chosen = settings.load(folder / "settings.toml")
        others = controls(journal, against)
        standings = Surveyor(journal, lineage, measure, cache).survey(advance or (lambda _name: None))
        history = History(journal, lineage.costs())
        data = packed(history, standings, limit)
        text = page(history, standings, others, chosen, folder.resolve().name, data)
    file = destination or folder / FILE
    _save(file, text)
    claim = sections.claim(standings)
    return Report(file, len(text.encode()), claim, data.total, data.shown, standings)


def _save(file: Path, text: str) -> None:
    """Wholly or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}.tmp")
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")
        aside.replace(file)
    except OSError as error:
        raise UsageError(f"{file}: the report cannot be written there: {error.strerror}") from None
