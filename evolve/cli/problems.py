"""Commands about problems: evaluate, baselines, problems, new, audit."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from evolve.cli.group import FINDING, command
from evolve.cli.options import data_option, json_option
from evolve.cli.terminal import console, print_json, progress, say_source
from evolve.errors import UsageError


@command("evolve evaluate smtt seeds/smtt/mdd.py\nevolve evaluate smtt my.py --split validation --json")
@click.argument("problem")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--split", type=click.Choice(["train", "validation", "holdout"]), default="train", show_default=True
)
@click.option(
    "--open-holdout", is_flag=True, help="Needed with --split holdout: what was seen is no holdout any more."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="jail.minimum=LEVEL accepts a weaker jail."
)
@data_option
@json_option
def evaluate(
    problem: str,
    file: Path,
    split: str,
    open_holdout: bool,
    overrides: tuple[str, ...],
    data: Path | None,
    as_json: bool,
) -> None:
    """Score one program: status, raw and normalised score, CPU, memory, feedback. Exit code 1 unless it is OK.

    PROBLEM is a problem folder, or the bare name of a bundled problem; FILE is a program. A look at the holdout is
    noted in runs/holdout.jsonl and counted in every proof that is published afterwards.
    """
    from evolve import openings, settings
    from evolve import problem as problems
    from evolve.evaluate import Evaluator
    from evolve.records import Split
    from evolve.table import evaluation_facts, evaluation_table

    if split == "holdout" and not open_holdout:
        raise UsageError(
            "--split holdout: the holdout is sealed; add --open-holdout if you mean to look at it"
        )
    resolved = settings.resolve(problem, {}, overrides)
    loaded = problems.load(problem, data or "")
    say_source(loaded)
    candidate = problems.read_program(file, loaded.spec, loaded.folder)
    if split == "holdout":
        loaded.check_disjoint()
        openings.record(loaded.digest, candidate.id, "evolve evaluate")
    with Evaluator(loaded, resolved.jail.minimum) as evaluator:
        evaluation = evaluator.evaluate(candidate, Split(split))
    if as_json:
        print_json(evaluation_facts(loaded, evaluation))
    else:
        console().print(evaluation_table(loaded, evaluation))
    if not evaluation.ok:
        sys.exit(FINDING)


@command("evolve baselines smtt\nevolve baselines smtt --split validation --json")
@click.argument("problem")
@click.option(
    "--split", "splits", type=click.Choice(["train", "validation"]), multiple=True, help="[default: both]"
)
@data_option
@json_option
def baselines(problem: str, splits: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    """Score every seed: what a search has to beat. PROBLEM is a folder or a bundled name."""
    from evolve import problem as problems
    from evolve.evaluate import Evaluator
    from evolve.jail import Level
    from evolve.records import Split
    from evolve.settings import JailSettings
    from evolve.table import mean_bound, measure_seeds, render

    loaded = problems.load(problem, data or "")
    say_source(loaded)
    chosen = [Split(split) for split in splits or ("train", "validation")]
    with (
        Evaluator(loaded, Level(JailSettings().minimum)) as evaluator,
        progress(len(loaded.seeds)) as advance,
    ):
        rows = measure_seeds(loaded, evaluator, chosen, advance)
    if as_json:
        facts = {
            "problem": loaded.name,
            "data": loaded.source or None,
            "seeds": [row.facts() for row in rows],
        }
        print_json({**facts, "bound": {str(split): mean_bound(loaded, split) for split in chosen}})
    else:
        console().print(render(loaded, rows, chosen, f"{loaded.spec.title}: seeds"))


@command("evolve problems\nevolve problems --json")
@json_option
def problems(as_json: bool) -> None:
    """List the bundled problems: entry point, objective, instances, evaluator, needs (a GPU)."""
    from evolve import problem
    from evolve.table import problem_facts, problem_table

    names, facts = problem.bundled_problems(), []
    with progress(len(names)) as advance:
        for name in names:
            advance(name)
            facts.append(problem_facts(problem.load(name)))
    if as_json:
        print_json({"problems": facts})
    else:
        console().print(problem_table(facts))


@command("evolve new my_problem\nevolve run my_problem --seconds 20")
@click.argument("directory", type=click.Path(path_type=Path))
def new(directory: Path) -> None:
    """Write a complete small problem folder that runs as it is, to start your own from."""
    from evolve.new import create

    for path in create(directory):
        click.echo(path)
    click.echo(
        f"\nIt runs as it is:  evolve run {directory} --seconds 20\nThen read {directory / 'README.md'}."
    )


@command("evolve audit smtt\nevolve audit my_problem --split train --json")
@click.argument("problem")
@click.option(
    "--split", "splits", type=click.Choice(["train", "validation"]), multiple=True, help="[default: both]"
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="jail.minimum=LEVEL accepts a weaker jail."
)
@json_option
def audit(problem: str, splits: tuple[str, ...], overrides: tuple[str, ...], as_json: bool) -> None:
    """Attack a problem's evaluator with cheating programs made from its contract. Exit code 1 on a finding.

    A finding is a cheat that scores better than the same program without the trick, that stops the run, or that
    leaves a trace. PROBLEM is a problem folder, or the bare name of a bundled problem.
    """
    from evolve import audit as audits
    from evolve import problem as problems
    from evolve import settings
    from evolve.records import Split

    resolved = settings.resolve(problem, {}, overrides)
    loaded = problems.load(problem)
    chosen = [Split(split) for split in splits or ("train", "validation")]
    with progress(audits.steps()) as advance:
        report = audits.audit(loaded, resolved.jail.minimum, chosen, advance)
    if as_json:
        print_json(report.facts())
    else:
        audits.print_report(report, console())
    if report.findings:
        sys.exit(FINDING)
