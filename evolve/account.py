"""What models were asked in a run, what came of it, what it took, and every fault: read from the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from evolve.journal import Journal, Placed
from evolve.records import Exchange, Fault, Proposal, Request

NOTE = "note"  # the operator whose replies are not meant to be programs
WIDTH = 80  # columns that a table takes at most, but for names that are longer
COLUMNS = ("asked", "programs", "placed", "in", "cached", "out", "per ask", "dollars", "s")


@dataclass
class Line:
    """Requests of one kind.

    programs: proposals with a candidate. placed: of these, the ones that entered the archive. faults: of all
    exchanges, those included that were tried again with success.
    """

    name: str
    requests: int = 0
    programs: int = 0
    placed: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0
    dollars: float = 0.0
    latency_s: float = 0.0
    exchanges: int = 0
    faults: Counter[Fault] = field(default_factory=Counter)

    def add(self, exchange: Exchange) -> None:
        usage = exchange.usage
        self.exchanges += 1
        self.input += usage.input
        self.cached += usage.cached
        self.output += usage.output
        self.reasoning += usage.reasoning
        self.dollars += exchange.dollars
        self.latency_s += exchange.latency_s
        if exchange.fault is not None:
            self.faults[exchange.fault] += 1

    def facts(self) -> dict[str, Any]:
        """For --json."""
        return {
            "name": self.name,
            "requests": self.requests,
            "exchanges": self.exchanges,
            "programs": self.programs,
            "placed": self.placed,
            "tokens": {
                "input": self.input,
                "cached": self.cached,
                "output": self.output,
                "reasoning": self.reasoning,
            },
            "dollars": self.dollars,
            "mean_latency_s": self.latency_s / self.exchanges if self.exchanges else None,
            "faults": {str(fault): count for fault, count in sorted(self.faults.items())},
        }


@dataclass(frozen=True)
class Account:
    """The lines of a run, by model and by operator, and the reasons for which replies gave no program."""

    models: Mapping[str, Line]
    operators: Mapping[str, Line]
    reasons: Mapping[str, int]
    open: int  # requests without an answer

    @property
    def faults(self) -> Counter[Fault]:
        return sum((line.faults for line in self.models.values()), Counter())

    def facts(self) -> dict[str, Any]:
        """For --json."""
        return {
            "models": [line.facts() for line in self.models.values()],
            "operators": [line.facts() for line in self.operators.values()],
            "useless": dict(self.reasons),
            "unanswered": self.open,
        }


def read(journal: Journal) -> Account | None:
    """The account of a run; None if no model was asked."""
    requests: dict[int, Request] = {}
    makers: dict[str, Request] = {}  # by what they made
    models: dict[str, Line] = {}
    operators: dict[str, Line] = {}
    reasons: Counter[str] = Counter()

    def lines(request: Request) -> tuple[Line, Line]:
        return (
            models.setdefault(request.model, Line(request.model)),
            operators.setdefault(request.operator, Line(request.operator)),
        )

    unanswered: set[int] = set()
    for entry in journal.entries():
        match entry.record:
            case Request(number):
                requests[number] = entry.record
                unanswered.add(number)
                for line in lines(entry.record):
                    line.requests += 1
            case Exchange(number):
                for line in lines(requests[number]):
                    line.add(entry.record)
            case Proposal(number, _, _, candidate, reason) if number in requests:
                unanswered.discard(number)
                if candidate is None:
                    reasons[_kind(reason)] += requests[number].operator != NOTE
                    continue
                makers[candidate.id] = requests[number]
                for line in lines(requests[number]):
                    line.programs += 1
            case Placed(identity) if identity in makers:
                for line in lines(makers[identity]):
                    line.placed += 1
    if not requests:
        return None
    return Account(models, operators, dict((+reasons).most_common()), len(unanswered))


def _kind(reason: str) -> str:
    """A reason without what is particular to one reply."""
    head = reason.partition(": ")[0]
    return "an edit does not apply" if head.startswith(("edit ", "the edit ")) else head


def print_account(account: Account, console: Console) -> None:
    """The account as two tables, and the faults in a line."""
    for title, lines in (("Models, tokens", account.models), ("Operators, tokens", account.operators)):
        ranked = sorted(lines.values(), key=lambda line: -line.requests)
        console.print(_table(title, ranked), soft_wrap=True, highlight=False)
    if account.faults:
        faults = ", ".join(f"{count} {fault}" for fault, count in account.faults.most_common())
        console.print(f"Faults, each journaled: {faults}.", highlight=False, soft_wrap=True)
    if account.reasons:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in account.reasons.items())
        console.print(f"Replies without a new program: {reasons}.", highlight=False, soft_wrap=True)
    if account.open:
        console.print(f"{account.open} calls were not waited for; `evolve resume` asks again.")


def _table(title: str, lines: Sequence[Line]) -> Text:
    """A table that fits into 80 columns: where a name has no room beside its numbers, they come below it."""
    rows = [_cells(line) for line in lines]
    widths = [max(len(row[i]) for row in (COLUMNS, *rows)) for i in range(len(COLUMNS))]
    longest = max(len(line.name) for line in lines)
    beside = longest <= WIDTH - sum(width + 2 for width in widths) - 1
    edge = longest if beside else 0

    def numbers(name: str, cells: Sequence[str]) -> str:
        parts = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return f" {name.ljust(edge)}  {'  '.join(parts)}\n"

    table = Text(f"{title}\n", style="italic").append(numbers("", COLUMNS), "dim not italic")
    for line, row in zip(lines, rows, strict=True):
        if not beside:
            table.append(f" {line.name}\n", "not italic")
        table.append(numbers(line.name if beside else "", row), "not italic")
    table.rstrip()
    return table


def _cells(line: Line) -> list[str]:
    each = (line.input + line.output) / max(1, line.requests)
    return [
        str(line.requests),
        str(line.programs),
        str(line.placed),
        _short(line.input),
        f"{line.cached / line.input:.0%}" if line.input else "-",
        _short(line.output),
        _short(each),
        f"{line.dollars:.4f}",
        f"{line.latency_s / max(1, line.exchanges):.1f}",
    ]


def _short(tokens: float) -> str:
    """A number of tokens in four characters or so."""
    for unit in ("", "k", "M"):
        if tokens < 1000:
            return f"{tokens:.3g}{unit}" if unit else f"{tokens:.0f}"
        tokens /= 1000
    return f"{tokens:.0f}G"
