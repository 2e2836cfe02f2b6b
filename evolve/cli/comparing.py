"""The command that sets ways to search against each other."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from evolve.cli.group import FINDING, command
from evolve.cli.options import absolute, data_option, json_option
from evolve.cli.terminal import console, print_json
from evolve.errors import UsageError


@command(
    "evolve compare smtt_dispatch --arm islands --arm hill-climbing --repeats 5 --evaluations 2000\n"
    "evolve compare smtt --arm default --arm small:archive.islands=2,archive.size=8 --seconds 60"
)
@click.argument("problem")
@click.option(
    "--arm",
    "arms",
    multiple=True,
    required=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="A way to search, by settings; or a name alone: default, an archive, hill-climbing or tournament.",
)
@click.option("--repeats", type=int, default=5, show_default=True, help="Runs an arm, with seeds 1 to K.")
@click.option("--evaluations", type=int, help="Candidates a run. [default: 1000, unless --seconds is given]")
@click.option("--seconds", type=float, help="CPU seconds a run, proposing and evaluating together.")
@click.option("--jobs", type=int, help="Runs at a time, of one worker each. [default: CPU cores]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder. [default: runs/compare-PROBLEM-, and a hash of the above]",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting of every arm.")
@data_option
@json_option
def compare(
    problem: str,
    arms: tuple[str, ...],
    repeats: int,
    evaluations: int | None,
    seconds: float | None,
    jobs: int | None,
    out: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    as_json: bool,
) -> None:
    """Compare ways to search PROBLEM at equal budget; best-of-n, which evolves nothing, always is an arm.

    The same command, typed again, goes on where it was stopped or killed; with more --repeats it adds to what
    is there.
    """
    from evolve import compare as comparing
    from evolve import compare_report as report
    from evolve import settings

    plan = comparing.make_plan(problem, arms, repeats, evaluations, seconds, overrides, absolute(data))
    folder = out or comparing.default_folder(plan)
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least 1 run at a time")
    with report.display(plan, folder, console(stderr=True)) as progress:
        comparing.execute(plan, folder, jobs or settings.available_cores(), progress)
    found = report.facts(plan, folder, list(comparing.outcomes(plan, folder)))
    report.write(found, folder)
    if as_json:
        print_json(found)
    else:
        report.print_comparison(found, folder, comparing.loaded(plan), console())
    if any(arm["impossible"] for arm in found["arms"]):
        sys.exit(FINDING)
