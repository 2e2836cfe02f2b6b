"""What a comparison says: facts, a table, and a plot as PNG and in one self-contained HTML file."""

from __future__ import annotations

import html
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from evolve.compare import CONTROL, Job, Outcome, Plan, Step, loaded, share_done
from evolve.problem import Problem
from evolve.run import versions
from evolve.statistics import Floats, bootstrap_median, finite

JSON_FILE, HTML_FILE, PNG_FILE = "compare.json", "compare.html", "compare.png"
CONFIDENCE = 0.95
MIN_SEEDS = 5  # with fewer, an arm that always wins by chance is no rarer than 1 in 8
POINTS = 60  # of a curve
TERMINAL = (0, 1, 3, 4, 5)  # columns of the table that are shown in the terminal
SMALLEST = 1e-6  # of a share on the logarithmic axis
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; width: 100% }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left } svg { width: 100%; height: auto } code { font-size: 13px }
"""


def facts(plan: Plan, folder: Path, found: Sequence[Outcome]) -> dict[str, Any]:
    """Everything that was measured, for compare.json and --json; what is not a finite number is null.

    Scores are normalised (0 = baseline, 1 = bound); intervals are bootstrap intervals of the median over seeds.
    """
    problem = loaded(plan)
    arms = [_arm(arm.name, found) for arm in plan.arms]
    written: dict[str, Any] = finite(
        {
            "problem": problem.name,
            "digest": problem.digest,
            "objective": msgspec.to_builtins(problem.spec.objective),
            "folder": str(folder),
            "budget": {"evaluations": plan.evaluations, "cpu_s": plan.cpu_s},
            "repeats": plan.repeats,
            "control": CONTROL,
            "confidence": CONFIDENCE,
            "settings": {arm.name: [*plan.overrides, *arm.overrides] for arm in plan.arms},
            "arms": arms,
            "curves": _curves(plan, found),
            "runs": [_run(each) for each in found],
            "versions": versions(),
        }
    )
    return written


def _arm(name: str, found: Sequence[Outcome]) -> dict[str, Any]:
    own = [each for each in found if each.arm == name]
    control = {each.seed: each for each in found if each.arm == CONTROL}
    gains = [each.validation - control[each.seed].validation for each in own]
    return {
        "arm": name,
        "champions": sum(bool(each.champions) for each in own),
        "validation": _interval([each.validation for each in own]),
        "objective": _interval([each.objective for each in own]),
        "train": _interval([each.train[-1].score for each in own if each.train]),
        "difference": _interval(gains) | {"wins": sum(gain > 0 for gain in gains)},
        "evaluations": float(np.median([each.evaluations for each in own])),
        "valid": sum(each.valid for each in own) / max(1, sum(each.evaluations for each in own)),
        "jail_cpu_s": float(np.median([each.cpu_s for each in own])),
        "seconds": float(np.median([each.elapsed_s for each in own])),
        "impossible": sum(each.impossible for each in own),
    }


def _interval(values: Sequence[float]) -> dict[str, float]:
    """The median over seeds with its interval, a run without the figure left out."""
    median, low, high = bootstrap_median(values or [math.nan], CONFIDENCE)
    return {"median": float(median), "low": float(low), "high": float(high)}


def _run(each: Outcome) -> dict[str, Any]:
    return {
        "arm": each.arm,
        "seed": each.seed,
        "folder": str(each.folder),
        "evaluations": each.evaluations,
        "jail_cpu_s": each.cpu_s,
        "seconds": each.elapsed_s,
        "champion": each.champion or None,
        "validation": each.validation,
        "objective": each.objective,
        "train": each.train[-1].score if each.train else None,
    }


def _curves(plan: Plan, found: Sequence[Outcome]) -> dict[str, Any]:
    """Best so far on train, and the champion's score on validation, at equal budget: medians over seeds."""
    by_time = plan.cpu_s is not None
    last = plan.cpu_s or float(plan.evaluations or 0)
    grid = np.linspace(last / POINTS, last, POINTS)
    curves = {}
    for arm in plan.arms:
        own = [each for each in found if each.arm == arm.name]
        curves[arm.name] = {
            split: _curve([_steps(getattr(each, field), grid, by_time) for each in own])
            for split, field in (("train", "train"), ("validation", "champions"))
        }
    return {"unit": "CPU seconds" if by_time else "evaluations", "at": grid.tolist(), "arms": curves}


def _steps(steps: Iterable[Step], grid: Floats, by_time: bool) -> Floats:
    """The score reached by each point of the grid; nan before the first."""
    reached = list(steps)
    places = [step.at if by_time else step.evaluations for step in reached]
    scores = np.array([math.nan, *(step.score for step in reached)])
    found: Floats = scores[np.searchsorted(places, grid, side="right")]
    return found


def _curve(rows: Sequence[Floats]) -> dict[str, list[float]]:
    median, low, high = bootstrap_median(np.array(rows), CONFIDENCE)
    return {"median": median.tolist(), "low": low.tolist(), "high": high.tolist()}


# ---- table


def rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The comparison as a table, its head first; the best median on validation at the top."""
    objective = found["objective"]
    head = [
        "arm",
        "score on validation",
        f"{objective['name']} {objective['unit']}",
        f"difference to {CONTROL}",
        "won",
        "verdict",
        "best on train",
        "evaluations",
        "valid",
    ]
    ranked = sorted(found["arms"], key=lambda arm: -(arm["validation"]["median"] or -math.inf))
    return [head, *(_row(arm, found["repeats"]) for arm in ranked)]


def _row(arm: Mapping[str, Any], repeats: int) -> list[str]:
    own = arm["arm"] == CONTROL
    return [
        arm["arm"] + ("" if arm["champions"] == repeats else f" ({arm['champions']} of {repeats} have one)"),
        _shown(arm["validation"], ".5f"),
        _shown(arm["objective"], ".4g"),
        "-" if own else _shown(arm["difference"], "+.5f"),
        "-" if own else f"{arm['difference']['wins']} of {repeats}",
        "control" if own else verdict(arm["difference"], repeats),
        _shown({"median": arm["train"]["median"]}, ".5f"),
        f"{arm['evaluations']:.0f}",
        f"{arm['valid']:.0%}",
    ]


def verdict(difference: Mapping[str, float | None], repeats: int) -> str:
    """What the interval of the paired difference to the control says; nothing, of too few seeds."""
    low, high = difference["low"], difference["high"]
    if repeats < MIN_SEEDS:
        return "unclear"
    if low is not None and low > 0:
        return "better"
    if high is not None and high < 0:
        return "worse"
    return "unclear"


def _shown(interval: Mapping[str, float | None], form: str) -> str:
    median = interval["median"]
    if median is None:
        return "-"
    text = format(median, form)
    if "low" not in interval:
        return text
    return f"{text} [{interval['low']:{form}}, {interval['high']:{form}}]"


def table(found: Mapping[str, Any]) -> Table:
    """For the terminal: what fits into 80 columns, intervals below their medians."""
    head, *body = ([row[column] for column in TERMINAL] for row in rows(found))
    made = Table(title=title(found), title_justify="left", header_style="bold", box=SIMPLE, padding=(0, 1))
    for index, name in enumerate(head):
        made.add_column(name, justify="right" if index else "left")
    for row in body:
        style = "bold green" if row[-1] == "better" else ""
        made.add_row(*(Text(cell.replace(" [", "\n[").replace(", ", ",")) for cell in row), style=style)
    return made


def markdown(found: Mapping[str, Any]) -> str:
    """The table for a markdown file."""
    head, *body = rows(found)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def title(found: Mapping[str, Any]) -> str:
    """What was compared, in a line."""
    budget = found["budget"]
    spent = f"{budget['evaluations']} evaluations" if budget["evaluations"] else f"{budget['cpu_s']:g} CPU s"
    return (
        f"{found['problem']}: {spent} a run, {found['repeats']} seeds, "
        f"medians with {found['confidence']:.0%} bootstrap intervals"
    )


# ---- files


def write(found: Mapping[str, Any], folder: Path) -> None:
    """Write compare.json, compare.html and compare.png."""
    (folder / JSON_FILE).write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    figure = draw(found)
    figure.savefig(folder / PNG_FILE, dpi=130)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    svg = text.getvalue()
    (folder / HTML_FILE).write_text(page(found, svg[svg.index("<svg") :]), encoding="utf-8")


def draw(found: Mapping[str, Any]) -> Any:
    """A matplotlib figure: what is left to the bound against the budget spent, on train and on validation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    curves = found["curves"]
    for axis, split in zip(figure.subplots(1, 2), ("train", "validation"), strict=True):
        for index, (name, curve) in enumerate(curves["arms"].items()):
            left = {key: _left(curve[split][key]) for key in ("median", "low", "high")}
            colour = "0.4" if name == CONTROL else f"C{index % 10}"
            style = "--" if name == CONTROL else "-"
            axis.step(curves["at"], left["median"], style, where="post", color=colour, label=name)
            axis.fill_between(
                curves["at"], left["high"], left["low"], step="post", color=colour, alpha=0.12, linewidth=0
            )
        what = "best so far on train" if split == "train" else "champion on validation"
        axis.set(title=what, xlabel=curves["unit"], yscale="log")
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("1 - score: what is left to the bound\n(1 = baseline)")
    figure.axes[1].legend(fontsize=8, frameon=False)
    return figure


def _left(scores: Sequence[float | None]) -> Floats:
    known = np.array([math.nan if score is None else score for score in scores])
    left: Floats = np.maximum(1 - known, SMALLEST)
    return left


def page(found: Mapping[str, Any], svg: str) -> str:
    """One HTML file that needs no other."""
    head, *body = [[html.escape(cell) for cell in row] for row in rows(found)]
    heading = html.escape(title(found))
    settings = [
        f"<li><b>{html.escape(name)}</b>: <code>{html.escape(', '.join(overrides) or 'the defaults')}</code></li>"
        for name, overrides in found["settings"].items()
    ]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{heading}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{heading}</h1>",
            "<table><thead><tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr></thead><tbody>",
            *("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body),
            "</tbody></table>",
            f"<p>{html.escape(EXPLANATION)}</p>",
            svg,
            f"<h2>Arms</h2><ul>{''.join(settings)}</ul></body></html>",
        ]
    )


EXPLANATION = (
    "Scores are the champion's: 0 is the baseline, 1 the bound that no answer can beat. Differences are paired by "
    "search seed; an arm is called better or worse if the interval of the median difference leaves out 0, else (and "
    "with fewer than 5 seeds) unclear. Bands are intervals of the median."
)


def print_comparison(found: Mapping[str, Any], folder: Path, problem: Problem, console: Console) -> None:
    """The table, and where everything lies."""
    console.print(table(found))
    console.print(EXPLANATION, style="dim")
    console.print(
        f"The runs of {problem.spec.title} lie in {folder}, with {HTML_FILE}, {PNG_FILE} and {JSON_FILE}.",
        soft_wrap=True,
        highlight=False,
    )


@contextmanager
def display(plan: Plan, folder: Path, console: Console) -> Iterator[Any]:
    """A progress bar; yields what `compare.execute` reports to."""
    total = len(plan.arms) * plan.repeats
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        printed: set[str] = set()

        def report(done: list[Job], under_way: list[Job]) -> None:
            names = ", ".join(job.name for job in under_way)
            text = f"{len(done)} of {total} runs{f'; {names}' if names else ''}"
            bar.update(task, description=text, completed=share_done(plan, folder, done, under_way))
            if not console.is_terminal and text not in printed:
                printed.add(text)
                console.print(text, highlight=False, soft_wrap=True)

        yield report
