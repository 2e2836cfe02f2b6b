"""The live display of a run in the terminal."""

from __future__ import annotations

import time
from collections import deque

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from evolve.journal import Entry, Placed
from evolve.records import Evaluation, Intervention, Promotion, Split, Status
from evolve.run import Result, Run
from evolve.search import DUPLICATE
from evolve.table import shown_score
from evolve.yields import SEED

REFRESH_S = 0.5
PLAIN_S = 10.0  # between two lines where the output is no terminal
WINDOW_S = 10.0  # over which evaluations per second are counted
EVENTS = 5


class ConsoleObserver:
    """Best score against the baselines, evaluations per second, archive size, time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._drawn = 0.0
        self._remarked = 0  # remarks of the backend that were shown
        self._finished: deque[float] = deque()
        self._events: deque[Text] = deque(maxlen=EVENTS)
        self._told = 0  # remarks on other runs

    def begin(self, run: Run) -> None:
        if run.cache is not None and run.cache.fault:
            self._console.print(Text(f"Warning: {run.cache.fault}.", style="yellow"), soft_wrap=True)
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def entry(self, run: Run, entry: Entry) -> None:
        match entry.record:
            case Evaluation(split=Split.TRAIN):
                self._finished.append(entry.at)
                self._note_impossible(run, entry.record)
            case Placed(candidate) if run.search.archive.best is not None:
                best = run.search.archive.best
                if best.candidate.id == candidate and best.candidate.operator != SEED:
                    how = f"{best.candidate.operator}: {best.candidate.note}"
                    self._say(entry.at, f"best on train {best.evaluation.objective:.5g}  {how}")
            case Intervention() if entry.record.place < 0:
                self._say(entry.at, f"{entry.record.remedy}: {entry.record.reason}")
            case Promotion() if entry.record.promoted:
                self._say(entry.at, f"champion {entry.record.challenger}  {_interval(entry.record)}")

    def _note_impossible(self, run: Run, evaluation: Evaluation) -> None:
        if evaluation.status is Status.IMPOSSIBLE:
            self._say(run.elapsed_s, f"IMPOSSIBLE {evaluation.candidate}: {evaluation.feedback}", "bold red")

    def _say(self, at: float, text: str, style: str = "") -> None:
        line = " ".join(text.split())
        self._events.append(Text(f"{at:7.1f} s  {line}", style=style, overflow="ellipsis", no_wrap=True))

    def tick(self, run: Run) -> None:
        self._tell_remarks(run)
        now = time.monotonic()
        pause = REFRESH_S if self._live else PLAIN_S
        if now - self._drawn < pause:
            return
        self._drawn = now
        if self._live:
            self._live.update(self._draw(run), refresh=True)
        else:
            self._console.print(self._line(run), highlight=False, soft_wrap=True)

    def _tell_remarks(self, run: Run) -> None:
        """Print what is new to be said of hosts, and of other runs."""
        for remark in run.remarks[self._remarked :]:
            self._warn(remark)
        self._remarked = len(run.remarks)
        remarks = run.neighbours.remarks if run.neighbours else []
        for remark in remarks[self._told :]:
            self._warn(f"{remark}.")
            self._told += 1

    def _warn(self, text: str) -> None:
        self._console.print(Text(f"Warning: {text}", style="yellow"), soft_wrap=True)

    def end(self, run: Run, result: Result) -> None:
        self._tell_remarks(run)
        self.stop()

    def stop(self) -> None:
        """Give the terminal back, however the run ended."""
        if self._live:
            self._live.stop()
            self._live = None

    def _rate(self, elapsed_s: float) -> float:
        while self._finished and self._finished[0] < elapsed_s - WINDOW_S:
            self._finished.popleft()
        return len(self._finished) / max(min(WINDOW_S, elapsed_s), 0.1)

    def _line(self, run: Run) -> str:
        search, elapsed = run.search, run.elapsed_s
        best = search.archive.best
        shown = f"{best.evaluation.objective:.5g} {run.problem.spec.objective.unit}" if best else "-"
        champion = search.champion_validation
        validated = f", champion on validation {champion.objective:.5g}" if champion else ""
        return (
            f"{elapsed:6.0f} s  {search.evaluations} evaluated, {self._rate(elapsed):.0f}/s, "
            f"archive {len(search.archive)}, best on train {shown}{validated}{_models(run)}, {_left(run)}"
        )

    def _draw(self, run: Run) -> RenderableType:
        search = run.search
        bar = ProgressBar(total=1.0, completed=search.budget.spent(run.elapsed_s), width=60)
        head = Text(f"evolve  {run.problem.spec.title}   {_left(run)}", style="bold")
        line = Table.grid()
        line.add_row(bar)
        return Group(head, line, _scores(run), self._counts(run), Text(), *self._events)

    def _counts(self, run: Run) -> Text:
        search = run.search
        failed = sum(
            search.statuses[status]
            for status in Status
            if status not in (Status.OK, Status.RACED_OUT, Status.DUPLICATE)
        )
        return Text(
            f"{search.evaluations} evaluated   {self._rate(run.elapsed_s):.0f} per second   "
            f"archive {len(search.archive)}   {search.statuses[Status.RACED_OUT]} stopped early   "
            f"{search.statuses[Status.DUPLICATE] + search.reasons[DUPLICATE]} duplicates   "
            f"{search.cached} from the cache   {failed} failed{_models(run)}"
        )


def _scores(run: Run) -> Table:
    search, objective = run.search, run.problem.spec.objective
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in (
        "",
        f"{objective.name} {objective.unit} on train",
        "score",
        f"{objective.name} on validation",
    ):
        table.add_column(column, justify="left" if not column else "right")
    best, champion, validation = search.archive.best, search.champion, search.champion_validation
    if champion and validation:
        table.add_row(
            "champion", *_cells(champion.evaluation), f"{validation.objective:.5g}", style="bold green"
        )
    if best and best is not champion:
        table.add_row("best on train", *_cells(best.evaluation), "")
    names = [run.problem.spec.score.baseline, *run.problem.spec.report.key_seeds]
    founders = sorted(
        search.founders.values(), key=lambda founder: -founder.score if founder.evaluation.ok else 9e9
    )
    if founders and founders[0].evaluation.ok:
        table.add_row(f"{founders[0].candidate.note} (best seed)", *_cells(founders[0].evaluation), "")
    for founder in founders[1:]:
        if founder.candidate.note in names:
            table.add_row(founder.candidate.note, *_cells(founder.evaluation), "")
    return table


def _cells(evaluation: Evaluation) -> tuple[str, str]:
    if not evaluation.ok:
        return str(evaluation.status), ""
    return f"{evaluation.objective:.5g}", shown_score(evaluation)


def _models(run: Run) -> str:
    """What is being asked of models, and what they took; "" where none is asked."""
    if run.search.asker is None:
        return ""
    budget, aside = run.search.budget, run.search.asker.aside(run.elapsed_s)
    down = f", set aside: {aside}" if aside else ""
    return f", {len(run.search.open)} calls under way, {budget.tokens:,} tokens, ${budget.dollars:.4f}{down}"


def _left(run: Run) -> str:
    budget = run.search.budget.limits
    parts = []
    if budget.seconds is not None:
        parts.append(f"{max(0.0, budget.seconds - run.elapsed_s):.0f} s left")
    if budget.evaluations is not None:
        parts.append(f"{max(0, budget.evaluations - run.search.evaluations)} evaluations left")
    if budget.tokens is not None:
        parts.append(f"{max(0, budget.tokens - run.search.budget.tokens):,} tokens left")
    if budget.dollars is not None:
        parts.append(f"${max(0.0, budget.dollars - run.search.budget.dollars):.4f} left")
    return ", ".join(parts)


def _interval(promotion: Promotion) -> str:
    if not promotion.champion:
        return "(first)"
    return f"+{promotion.difference:.5f} [{promotion.low:.5f}, {promotion.high:.5f}] on validation"
