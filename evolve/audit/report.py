"""What an audit found, as facts and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Row:
    """One check or cheat.

    part: "contract", "evaluator" (asked directly) or "program" (through the jail).
    tries: what it tries, in a few words. outcome: what came of it. finding: what is wrong; "" if nothing is.
    """

    part: str
    name: str
    tries: str
    outcome: str
    finding: str = ""


@dataclass(frozen=True)
class Report:
    """An audit. jail: the level at which the programs ran. decisions: asked of the evaluator directly."""

    problem: str
    jail: str
    rows: tuple[Row, ...]
    programs: int
    decisions: int
    seconds: float

    @property
    def findings(self) -> list[Row]:
        return [row for row in self.rows if row.finding]

    def facts(self) -> dict[str, object]:
        """For --json."""
        return {
            "problem": self.problem,
            "jail": self.jail,
            "programs": self.programs,
            "decisions": self.decisions,
            "seconds": round(self.seconds, 3),
            "findings": [f"{row.name}: {row.finding}" for row in self.findings],
            "cheats": [asdict(row) for row in self.rows],
        }


_TITLES = {
    "contract": "what the problem promises",
    "evaluator": "the evaluator, asked directly",
    "program": "cheating programs, in the jail",
}


def print_report(report: Report, console: Console) -> None:
    """Tables, then the findings in full."""
    for part, title in _TITLES.items():
        console.print(_table(title, [row for row in report.rows if row.part == part]))
    cheats = sum(row.part != "contract" for row in report.rows)
    console.print(
        f"{report.problem}: {cheats} cheats, {report.programs} programs run (jail level {report.jail}), "
        f"{report.decisions} spoilt decisions checked directly, {report.seconds:.0f} s"
    )
    for row in report.findings:
        console.print(Text(f"finding: {row.name}: {row.finding}", style="bold red"), soft_wrap=True)
    if not report.findings:
        console.print(Text("no finding: no cheat gained, none left a trace", style="bold green"))


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in ("cheat" if rows and rows[0].part != "contract" else "check", "what it tries", "outcome"):
        table.add_column(column)
    for row in rows:
        outcome = Text("FINDING", style="bold red") if row.finding else Text(row.outcome)
        table.add_row(Text(row.name), Text(row.tries), outcome)
    return table
