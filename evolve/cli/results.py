"""Commands about what a run has found: show, lineage, diff, report, publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evolve.cli.group import command
from evolve.cli.options import json_option
from evolve.cli.terminal import console, open_journal, print_json, spinner
from evolve.errors import UsageError
from evolve.folders import cache_file, run_folder

if TYPE_CHECKING:
    from evolve.report import Report


@command("evolve show latest\nevolve show latest 3f2a")
@click.argument("run")
@click.argument("candidate", required=False)
@json_option
def show(run: str, candidate: str | None, as_json: bool) -> None:
    """Show a candidate (the champion, unless an id is given): origin, evaluations, program."""
    from evolve.review import candidate_facts, print_candidate

    with open_journal(run) as journal:
        facts = candidate_facts(journal, candidate)
    if as_json:
        print_json(facts)
    else:
        print_candidate(facts, console())


@command("evolve lineage latest\nevolve lineage latest 3f2a")
@click.argument("run")
@click.argument("candidate", required=False)
@json_option
def lineage(run: str, candidate: str | None, as_json: bool) -> None:
    """Show the run at a glance, and how a candidate (the champion, unless an id is given) came about."""
    from evolve.review import lineage_facts, print_lineage

    with open_journal(run) as journal:
        if as_json:
            print_json(lineage_facts(journal, candidate))
        else:
            print_lineage(journal, candidate, console())


@command("evolve diff latest 3f2a\nevolve diff latest 3f2a 77b0")
@click.argument("run")
@click.argument("a", required=False)
@click.argument("b", required=False)
@json_option
def diff(run: str, a: str | None, b: str | None, as_json: bool) -> None:
    """Show what changed from A's first parent to A, or from B to A. Without A: the champion."""
    from evolve.review import diff_facts, print_diff

    with open_journal(run) as journal:
        facts = diff_facts(journal, a, b)
    if as_json:
        print_json(facts)
    else:
        print_diff(facts, console())


@command(
    "evolve report latest\nevolve report runs/smtt-20260102-030405 --out report.html --against runs/best-of-n"
)
@click.argument("run")
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write. [default: report.html in the run's folder]"
)
@click.option(
    "--against",
    multiple=True,
    metavar="RUN",
    help="Draw another run's curve beside this one's. [default: best-of-n runs that lie beside it]",
)
@click.option(
    "--measure/--no-measure", default=True, help="Run baselines that the journal lacks. [default: on]"
)
@json_option
def report(run: str, out: Path | None, against: tuple[str, ...], measure: bool, as_json: bool) -> None:
    """Write one HTML file on a run: baselines, curves, lineage, where it wins and loses, failures, conditions.

    It needs no network and no server. The holdout is shown if `evolve publish` has opened it, and never opened here.
    """
    from evolve.cache import Cache
    from evolve.report import write

    folder = run_folder(run)
    others = [run_folder(name) for name in against]
    with Cache(cache_file()) as cache, spinner("baselines") as advance:
        written = write(folder, out, others, measure, cache, advance)
    if as_json:
        print_json(written.facts())
    else:
        _print_report(written)


def _print_report(written: Report) -> None:
    from rich.text import Text

    screen = console()
    screen.print(Text(written.claim), soft_wrap=True)
    if written.standings.without:
        screen.print(Text(f"Warning: {written.standings.without}.", style="yellow"), soft_wrap=True)
    text = f"{written.file}, {written.size / 1e6:.2f} MB, {written.programs} of {written.candidates} programs in it"
    screen.print(Text(text), soft_wrap=True)


@command("evolve publish latest --to my_heuristic\npip install ./my_heuristic")
@click.argument("run")
@click.argument("candidate", required=False)
@click.option(
    "--to",
    "destination",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder to write; new or empty.",
)
@click.option("--name", help="Name of the Python module. [default: PROBLEM_heuristic]")
@click.option(
    "--again", is_flag=True, help="Open the holdout for another candidate of this run; the proof counts it."
)
@click.option(
    "--approved",
    is_flag=True,
    help="Only what a reviewer approved in MLflow (tag `review` of its run); rejected or not reviewed: exit code 1.",
)
@click.option("--store", default="", help="With --approved: tracking URI. [default: the run's]")
@json_option
def publish(
    run: str,
    candidate: str | None,
    destination: Path,
    name: str | None,
    again: bool,
    approved: bool,
    store: str,
    as_json: bool,
) -> None:
    """Write a candidate (the champion, unless an id is given) as a pip-installable package with its proof.

    This opens the sealed holdout instances, once for a run.
    """
    from functools import partial

    from evolve.observers.mlflow_review import registered
    from evolve.publish import publish as publish_package

    folder = run_folder(run)
    review = None
    if approved:
        from evolve.observers.mlflow_review import approved as approved_one

        review = approved_one(folder, candidate, store)
        candidate = review.candidate
    elif store:
        raise UsageError("--store: needed for --approved alone")
    published = publish_package(
        folder,
        candidate,
        destination,
        name=name,
        again=again,
        review=review,
        registry=partial(registered, folder),
    )
    if as_json:
        print_json(published.facts())
    else:
        published.print(console())
