"""Repeats a run from its journal: every step is made again where the journal has it, and compared.

The journal says in which order things happened; all else is worked out anew: which sample was drawn, what a model
was asked, which program came of its reply, how that program scores, who was placed and promoted. Only the replies
themselves, programs that came from other runs, and genetic proposals that were made apart from a busy loop are taken
from the journal, so no model is needed, no key, and no network.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from evolve import apart, settings
from evolve import program as programs
from evolve import run as runs
from evolve.assembly import make_search
from evolve.backends.local import LocalWorkers
from evolve.journal import Entry, Journal, Placed
from evolve.records import (
    MIGRANT,
    Candidate,
    Evaluation,
    Exchange,
    Intervention,
    Promotion,
    Proposal,
    Request,
    Resumed,
    Split,
    Status,
)
from evolve.search import Search, Task

SHOWN = 10  # differences that are printed
QUOTED = 80
# what a clock says, and where the result came from, differs from run to run
_MEASURED = {"cpu_s", "peak_mb", "slowest", "jail", "cached", "profile"}
_KINDS: dict[type, str] = {Placed: "placement"}
_CLOCKED = {Status.TIMED_OUT, Status.OUT_OF_MEMORY}


@dataclass(frozen=True)
class Difference:
    """A step that did not come out as the journal has it. clock: it depends on the machine's speed."""

    seq: int
    what: str
    clock: bool = False


@dataclass
class Replayed:
    """What a replay has come to. steps: how many of each kind were repeated."""

    folder: Path
    steps: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether all came out the same, but for what depends on the machine's speed."""
        return all(difference.clock for difference in self.differences)

    def facts(self) -> dict[str, Any]:
        """For --json."""
        return {
            "run": str(self.folder),
            "same": self.same,
            "steps": dict(self.steps),
            "differences": [
                {"entry": each.seq, "what": each.what, "clock": each.clock} for each in self.differences
            ],
        }


def replay(folder: Path, advance: Callable[[str], None] = lambda _: None) -> Replayed:
    """Repeat the run in a folder.

    Args:
        advance: is told the kind of each entry, before it is repeated.

    Raises:
        JournalError: there is no run, or its problem has changed since.
    """
    the_settings = settings.load(folder / runs.SETTINGS_FILE)
    with Journal.open(folder, read_only=True) as journal:
        the_problem = runs.unchanged_problem(folder, the_settings, journal)
        search = make_search(the_settings, the_problem, journal)
        with LocalWorkers(the_problem, the_settings, search.seen) as workers:
            again = _Replay(search, workers.submit, Replayed(folder), int(journal.meta(apart.NOTE) or 0))
            for entry in journal.entries():
                advance(type(entry.record).__name__.lower())
                try:
                    again.repeat(entry)
                except LookupError as error:  # what the journal speaks of is not there
                    text = f"from here on the journal cannot be followed: nothing known of {error}"
                    again.found.differences.append(Difference(entry.seq, text))
                    break
            workers.cancel()
    return again.found


def _identified(candidate: Candidate) -> Candidate:
    """A candidate of the journal with the id that its program has."""
    return replace(candidate, id=programs.identity(candidate.files))


class _Replay:
    """One replay: the search as it goes along with the journal, and what differs.

    apart: number of the first proposal that was made apart from the loop; 0 = all were made by it.
    """

    def __init__(
        self, search: Search, submit: Callable[[Task], Future[Evaluation]], found: Replayed, apart: int
    ) -> None:
        self.found = found
        self._apart = apart
        self._search = search
        self._submit = submit
        self._running: dict[tuple[str, Split], Future[Evaluation]] = {}
        self._derived: deque[Placed | Promotion] = deque()

    def repeat(self, entry: Entry) -> None:
        """Make a step again and compare it; go on with the journal's."""
        record, search = entry.record, self._search
        match record:
            case Resumed():
                search.resumed(record)
            case Request():
                self._compare(entry, search.ask(entry.at), record)
                search.asked(record)
            case Exchange():
                search.exchanged(record, entry.at)
            case Proposal():
                self._compare(entry, self._propose(record), record)
                search.proposed(record)
            case Evaluation(split=Split.HOLDOUT):
                return  # publishing is no step of the search
            case Evaluation():
                self._compare_evaluation(entry, self._evaluate(record), record)
                self._derived.extend(search.evaluated(record, entry.at))
            case Intervention():
                self._compare(entry, search.remedy(), record)
                search.intervened(record)
            case Placed() | Promotion():
                self._compare(entry, self._derived.popleft() if self._derived else None, record)
        self.found.steps[_KINDS.get(type(record), type(record).__name__.lower())] += 1
        self._begin()

    def _propose(self, record: Proposal) -> Proposal:
        answer = self._search.unread.get(record.number)
        if answer:
            return self._search.finish(answer)
        if record.operator == MIGRANT and record.candidate is not None:  # the other run is not needed again
            return self._search.admit(_identified(record.candidate))
        if 0 < self._apart <= record.number:
            candidate = _identified(record.candidate) if record.candidate else None
            return self._search.made(replace(record, candidate=candidate))
        return self._search.propose()

    def _begin(self) -> None:
        for task in self._search.take_begun():
            self._running[task.candidate.id, task.split] = self._submit(task)

    def _evaluate(self, record: Evaluation) -> Evaluation | None:
        key = (record.candidate, record.split)
        if key not in self._running:  # validated when the budget was spent
            self._search.close()
            self._begin()
        future = self._running.pop(key, None)
        return future.result() if future else None

    def _compare(self, entry: Entry, ours: object, theirs: object) -> None:
        if ours != theirs:
            self.found.differences.append(Difference(entry.seq, _first_difference(ours, theirs)))

    def _compare_evaluation(self, entry: Entry, ours: Evaluation | None, theirs: Evaluation) -> None:
        if ours is None:
            text = f"evaluation of {theirs.candidate} on {theirs.split} was not due"
            self.found.differences.append(Difference(entry.seq, text))
            return
        clock = bool({ours.status, theirs.status} & _CLOCKED)
        text = _first_difference(ours, theirs, _MEASURED | ({"feedback"} if clock else set()))
        if text:
            self.found.differences.append(Difference(entry.seq, text, clock))


def _first_difference(ours: object, theirs: object, but: AbstractSet[str] = frozenset()) -> str:
    """The first field in which two records differ, in words; "" if there is none."""
    if type(ours) is not type(theirs):
        return f"{_name(theirs)} instead of {_name(ours)}"
    for each in _fields(theirs, but):
        one, other = getattr(ours, each), getattr(theirs, each)
        if one != other:
            return f"{_name(theirs)}: {each} was {_quote(other)}, is {_quote(one)}"
    return ""


def _fields(record: object, but: AbstractSet[str]) -> Iterator[str]:
    return (each.name for each in fields(record) if each.name not in but)  # type: ignore[arg-type]


def _name(record: object) -> str:
    if record is None:
        return "nothing"
    identity = getattr(record, "candidate", None) or getattr(record, "number", "")
    return f"{type(record).__name__.lower()} {getattr(identity, 'id', identity)}".strip()


def _quote(value: object) -> str:
    text = repr(value)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


def print_replayed(found: Replayed, console: Console) -> None:
    """The outcome in words."""
    counts = ", ".join(f"{count} {name}s" for name, count in sorted(found.steps.items()))
    console.print(f"{found.folder}: {counts} repeated.", highlight=False, soft_wrap=True)
    for difference in found.differences[:SHOWN]:
        style = "yellow" if difference.clock else "bold red"
        remark = " (depends on the machine's speed)" if difference.clock else ""
        console.print(Text(f"  entry {difference.seq}: {difference.what}{remark}", style=style))
    rest = len(found.differences) - SHOWN
    if rest > 0:
        console.print(f"  and {rest} more differences")
    console.print("The same, bit for bit." if not found.differences else _verdict(found))


def _verdict(found: Replayed) -> str:
    if found.same:
        return "The same, but for what depends on the machine's speed."
    return "Not the same. Was it another version of evolve, or is a score not repeatable?"
