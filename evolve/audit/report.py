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
    kit: for a cheat, the file of this package that holds it.
    """

    part: str
    name: str
    tries: str
    outcome: str
    finding: str = ""
    kit: str = ""


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
    "answers": "answers that are no decision",
    "corruptions": "honest decisions, spoilt",
    "behaviours": "programs that cheat with their process",
}


def print_report(report: Report, console: Console) -> None:
    """Tables, then the findings in full."""
    console.print(_checks([row for row in report.rows if not row.kit]))
    for kit, title in _TITLES.items():
        console.print(_cheats(title, [row for row in report.rows if row.kit == kit]))
    cheats = len({(row.kit, row.name) for row in report.rows if row.kit})
    console.print(
        f"{report.problem}: {cheats} cheats, {report.programs} programs run (jail level {report.jail}), "
        f"{report.decisions} spoilt decisions checked directly, {report.seconds:.0f} s"
    )
    for row in report.findings:
        console.print(Text(f"finding: {row.name}: {row.finding}", style="bold red"), soft_wrap=True)
    if not report.findings:
        console.print(Text("no finding: no cheat gained, none left a trace", style="bold green"))


def _checks(rows: Sequence[Row]) -> Table:
    """What is checked once."""
    table = Table(title="what the problem promises", title_justify="left", header_style="bold")
    for column in ("check", "in full", "outcome"):
        table.add_column(column)
    for row in rows:
        table.add_row(Text(row.name), Text(row.tries), _outcome(row))
    return table


def _cheats(title: str, rows: Sequence[Row]) -> Table:
    """A line for each cheat: its program in the jail, and its decisions asked of the evaluator directly."""
    direct = {row.name: row for row in rows if row.part == "evaluator"}
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("cheat")
    table.add_column("what it tries", no_wrap=True)
    table.add_column("as a program in the jail", no_wrap=True)
    if direct:
        table.add_column("asked of the evaluator directly", no_wrap=True)
    for row in rows:
        if row.part == "program":
            other = [_outcome(direct[row.name])] if row.name in direct else []
            table.add_row(Text(row.name), Text(row.tries), _outcome(row), *other)
    return table


def _outcome(row: Row) -> Text:
    return Text("FINDING", style="bold red") if row.finding else Text(row.outcome)
