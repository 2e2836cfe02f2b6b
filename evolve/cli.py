"""The command line. Commands only: each is a few lines over functions that a notebook can call.

Heavy modules are imported inside the commands, so that `evolve --help` stays quick.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evolve import __version__
from evolve.errors import (
    EvolveError,
    JournalError,
    ModelError,
    ProblemError,
    ProgramError,
    SettingsError,
    UsageError,
)
from evolve.folders import cache_file, new_folder, run_folder

if TYPE_CHECKING:
    from rich.console import Console

    from evolve.cache import Cache
    from evolve.journal import Journal
    from evolve.problem import Problem
    from evolve.report import Report
    from evolve.run import Result, Run

FINDING = 1
WRONG_USE = 2


class _Commands(click.Group):
    """A group that shows a user's mistake in one line and keeps commands in the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (
            UsageError,
            SettingsError,
            ProblemError,
            ProgramError,
            JournalError,
            ModelError,
        ) as error:
            click.echo(f"evolve: {error}", err=True)
            ctx.exit(WRONG_USE)
        except EvolveError as error:
            click.echo(f"evolve: {error}", err=True)
            ctx.exit(FINDING)


def _command(example: str) -> Callable[[Callable[..., None]], click.Command]:
    epilog = "\b\nExample:\n" + "\n".join(f"  {line}" for line in example.splitlines())
    return main.command(epilog=epilog, context_settings={"help_option_names": ["-h", "--help"]})


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else on stdout."
)


model_option = click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME[=WEIGHT]",
    help="A model to ask: openai:NAME, anthropic:NAME, or URL#NAME for any OpenAI-compatible server. Repeatable.",
)
price_option = click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="NAME=IN/OUT",
    help="What a model costs, in dollars per million tokens, if evolve does not know it.",
)
data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="File or folder of real data to make the instances from. [default: they are generated]",
)


cache_option = click.option(
    "--cache/--no-cache",
    default=None,
    help="Take evaluations known from earlier runs out of runs/cache.db. [default: on, or as the run began]",
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="evolve")
def main() -> None:
    """Discover scheduling and placement algorithms whose scores can be trusted.

    \b
    Start:       evolve run smtt
    Look:        evolve show latest, evolve lineage latest, evolve report latest, evolve mlflow
    Use it:      evolve publish latest --to my_heuristic
    Your own:    evolve new my_problem, then evolve run my_problem
    """


@_command(
    "evolve run problems/smtt\n"
    "evolve run smtt --seeds edd --seconds 300 --seed 2\n"
    "evolve run smtt --evaluations 2000 --workers 1\n"
    "evolve run smtt --model anthropic:claude-haiku-5-5 --dollars 1\n"
    "evolve run smtt --model http://127.0.0.1:8000/v1#qwen3-coder --seconds 600"
)
@click.argument("problem")
@click.option(
    "--proposer",
    default=None,
    help="Who writes candidates: genetic (built in, needs no key), llm (language models), replay (replies of "
    "another run), manual (you, through files). [default: genetic; llm with --model]",
)
@model_option
@price_option
@click.option(
    "--from", "source", metavar="RUN", help="With --proposer replay: the run whose replies are used."
)
@click.option(
    "--archive",
    help="Who may breed: best-of-n, top-k, islands, map-elites or islands-map-elites. [default: islands-map-elites]",
)
@click.option("--evaluations", type=int, help="Stop after N candidates.")
@click.option(
    "--seconds", type=float, help="Stop after S seconds. [default: 60, unless another limit is given]"
)
@click.option("--tokens", type=int, help="Stop before models have taken N tokens, prompts and replies.")
@click.option("--dollars", type=float, help="Stop before models have cost X dollars.")
@click.option("--seeds", help="First population, by seed names: edd,mdd. [default: all seeds of the problem]")
@click.option("--workers", type=int, help="Evaluations at a time. [default: CPU cores]")
@click.option(
    "--seed", type=int, help="Seed of all randomness: with one worker, same seed, same run. [default: 1]"
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the run. [default: runs/PROBLEM-TIME]"
)
@click.option(
    "--mlflow/--no-mlflow", default=True, help="Mirror the run to MLflow in the background. [default: on]"
)
@data_option
@cache_option
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Any setting, e.g. archive.islands=4."
)
@json_option
def run(problem: str, overrides: tuple[str, ...], out: Path | None, as_json: bool, **options: Any) -> None:
    """Search for a better program. PROBLEM is a problem folder, or the bare name of a bundled problem.

    Ctrl-C ends it cleanly with the best so far; `evolve resume` goes on.
    """
    from evolve import problem as problems
    from evolve import run as runs
    from evolve import settings

    tree, remark = _with_models(_given(options), options)
    resolved = settings.resolve(problem, tree, overrides)
    name = problems.load(problem, resolved.data).name
    if remark:
        click.echo(remark, err=True)
    folder = out or new_folder(name)
    _execute(
        lambda observers, store: runs.start(folder, resolved, observers, store),
        resolved.mlflow.enabled,
        resolved.cache.enabled,
        as_json,
    )


@_command("evolve resume latest\nevolve resume runs/smtt-20260102-030405 --seconds 300")
@click.argument("run")
@click.option("--evaluations", type=int, help="New total of candidates.")
@click.option("--seconds", type=float, help="New total of seconds, those already spent included.")
@click.option("--tokens", type=int, help="New total of tokens of models.")
@click.option("--dollars", type=float, help="New total of dollars for models.")
@click.option(
    "--mlflow/--no-mlflow", default=True, help="Mirror the run to MLflow in the background. [default: on]"
)
@cache_option
@json_option
def resume(run: str, mlflow: bool, cache: bool | None, as_json: bool, **limits: Any) -> None:
    """Go on where a run stopped or was killed. RUN is a folder, a name under runs/, or 'latest'."""
    from evolve import run as runs
    from evolve import settings

    folder = run_folder(run)
    asked = any(limit is not None for limit in limits.values())
    budget = settings.BudgetSettings(**limits) if asked else None
    cached = settings.load(folder / runs.SETTINGS_FILE).cache.enabled if cache is None else cache
    _execute(lambda observers, store: runs.reopen(folder, budget, observers, store), mlflow, cached, as_json)


@_command("evolve replay latest\nevolve replay runs/smtt-20260102-030405 --json")
@click.argument("run")
@json_option
def replay(run: str, as_json: bool) -> None:
    """Repeat a run from its journal without any model, and compare every step and score. Exit code 1 if one differs.

    Only the replies of models are taken from the journal; everything that followed from them is worked out anew.
    """
    from evolve import replay as replays

    folder = run_folder(run)
    with _open(run) as journal:
        total = journal.last_seq()
    with _progress(total) as advance:
        found = replays.replay(folder, advance)
    if as_json:
        _print_json(found.facts())
    else:
        replays.print_replayed(found, _console())
    if not found.same:
        sys.exit(FINDING)


@_command("evolve evaluate smtt seeds/smtt/mdd.py\nevolve evaluate smtt my.py --split validation --json")
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
    _say_source(loaded)
    candidate = problems.read_program(file, loaded.spec, loaded.folder)
    if split == "holdout":
        loaded.check_disjoint()
        openings.record(loaded.digest, candidate.id, "evolve evaluate")
    with Evaluator(loaded, resolved.jail.minimum) as evaluator:
        evaluation = evaluator.evaluate(candidate, Split(split))
    if as_json:
        _print_json(evaluation_facts(loaded, evaluation))
    else:
        _console().print(evaluation_table(loaded, evaluation))
    if not evaluation.ok:
        sys.exit(FINDING)


@_command("evolve baselines smtt\nevolve baselines smtt --split validation --json")
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
    from evolve.table import measure_seeds, render

    loaded = problems.load(problem, data or "")
    _say_source(loaded)
    chosen = [Split(split) for split in splits or ("train", "validation")]
    with (
        Evaluator(loaded, Level(JailSettings().minimum)) as evaluator,
        _progress(len(loaded.seeds)) as advance,
    ):
        rows = measure_seeds(loaded, evaluator, chosen, advance)
    if as_json:
        _print_json(
            {"problem": loaded.name, "data": loaded.source or None, "seeds": [row.facts() for row in rows]}
        )
    else:
        _console().print(render(loaded, rows, chosen, f"{loaded.spec.title}: seeds"))


@_command("evolve problems\nevolve problems --json")
@json_option
def problems(as_json: bool) -> None:
    """List the bundled problems: entry point, objective, instances, bound, evaluator."""
    from evolve import problem
    from evolve.table import problem_facts, problem_table

    facts = [problem_facts(problem.load(name)) for name in problem.bundled_problems()]
    if as_json:
        _print_json({"problems": facts})
    else:
        _console().print(problem_table(facts))


@_command("evolve new my_problem\nevolve run my_problem --seconds 20")
@click.argument("directory", type=click.Path(path_type=Path))
def new(directory: Path) -> None:
    """Write a complete small problem folder that runs as it is, to start your own from."""
    from evolve.new import create

    for path in create(directory):
        click.echo(path)
    click.echo(
        f"\nIt runs as it is:  evolve run {directory} --seconds 20\nThen read {directory / 'README.md'}."
    )


@_command("evolve audit smtt\nevolve audit my_problem --split train --json")
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
    with _progress(audits.steps()) as advance:
        report = audits.audit(loaded, resolved.jail.minimum, chosen, advance)
    if as_json:
        _print_json(report.facts())
    else:
        audits.print_report(report, _console())
    if report.findings:
        sys.exit(FINDING)


@_command("evolve show latest\nevolve show latest 3f2a")
@click.argument("run")
@click.argument("candidate", required=False)
@json_option
def show(run: str, candidate: str | None, as_json: bool) -> None:
    """Show a candidate (the champion, unless an id is given): origin, evaluations, program."""
    from evolve.review import candidate_facts, print_candidate

    with _open(run) as journal:
        facts = candidate_facts(journal, candidate)
    if as_json:
        _print_json(facts)
    else:
        print_candidate(facts, _console())


@_command("evolve lineage latest\nevolve lineage latest 3f2a")
@click.argument("run")
@click.argument("candidate", required=False)
@json_option
def lineage(run: str, candidate: str | None, as_json: bool) -> None:
    """Show the run at a glance, and how a candidate (the champion, unless an id is given) came about."""
    from evolve.review import lineage_facts, print_lineage

    with _open(run) as journal:
        if as_json:
            _print_json(lineage_facts(journal, candidate))
        else:
            print_lineage(journal, candidate, _console())


@_command("evolve diff latest 3f2a\nevolve diff latest 3f2a 77b0")
@click.argument("run")
@click.argument("a", required=False)
@click.argument("b", required=False)
@json_option
def diff(run: str, a: str | None, b: str | None, as_json: bool) -> None:
    """Show what changed from A's first parent to A, or from B to A. Without A: the champion."""
    from evolve.review import diff_facts, print_diff

    with _open(run) as journal:
        facts = diff_facts(journal, a, b)
    if as_json:
        _print_json(facts)
    else:
        print_diff(facts, _console())


@_command(
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
    with Cache(cache_file()) as cache, _spinner("baselines") as advance:
        written = write(folder, out, others, measure, cache, advance)
    if as_json:
        _print_json(written.facts())
    else:
        _print_report(written)


@_command("evolve publish latest --to my_heuristic\npip install ./my_heuristic")
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
        _print_json(published.facts())
    else:
        published.print(_console())


@_command(
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

    plan = comparing.make_plan(problem, arms, repeats, evaluations, seconds, overrides, _absolute(data))
    folder = out or comparing.default_folder(plan)
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least 1 run at a time")
    with report.display(plan, folder, _console(stderr=True)) as progress:
        comparing.execute(plan, folder, jobs or settings.available_cores(), progress)
    found = report.facts(plan, folder, list(comparing.outcomes(plan, folder)))
    report.write(found, folder)
    if as_json:
        _print_json(found)
    else:
        report.print_comparison(found, folder, comparing.loaded(plan), _console())
    if any(arm["impossible"] for arm in found["arms"]):
        sys.exit(FINDING)


@_command("evolve mlflow\nevolve mlflow --port 5001")
@click.option(
    "--store", default="", help="Tracking URI. [default: MLFLOW_TRACKING_URI, else the SQLite file in runs/]"
)
@click.option("--port", type=int, default=5000, show_default=True)
def mlflow(store: str, port: int) -> None:
    """Open the MLflow page on the runs' store: the review desk.

    A reviewer sets the tag `review` of a candidate's run to approved or rejected, and `review.reason` to why;
    `evolve publish --approved` goes by it.
    """
    from evolve.observers.mlflow import default_store
    from evolve.observers.mlflow_ui import open_ui

    open_ui(store or default_store(), port)


@_command("evolve sync latest\nevolve sync latest --store http://127.0.0.1:5000")
@click.argument("run")
@click.option(
    "--store",
    default="",
    help="Tracking URI. [default: the run's, else MLFLOW_TRACKING_URI, else runs/mlflow.db]",
)
def sync(run: str, store: str) -> None:
    """Mirror a run to MLflow now. What is there already is left alone; an empty store gets everything."""
    from evolve.observers.mlflow import mirror

    mirror(run_folder(run), store=store)


@_command(
    "evolve doctor\nevolve doctor --json\n"
    "evolve doctor --models\nevolve doctor --models --model http://127.0.0.1:8000/v1#qwen3-coder"
)
@click.option(
    "--models",
    "ask",
    is_flag=True,
    help="Make one cheap call to each model: those of --model, or of your keys.",
)
@model_option
@json_option
def doctor(ask: bool, models: tuple[str, ...], as_json: bool) -> None:
    """Say what this machine offers: jail and self-attack, versions, keys, models, MLflow. Exit code 1 on a finding."""
    from evolve.doctor import examine, print_examination

    if models and not ask:
        raise UsageError("--model: say --models as well, which makes a call to it")
    found = examine(models if ask else None)
    if as_json:
        _print_json(found)
    else:
        print_examination(found, _console())
    if found["findings"]:
        sys.exit(FINDING)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Settings from the options that were given; the others keep their defaults."""
    tree: dict[str, Any] = {
        key: options[key] for key in ("proposer", "workers", "seed") if options[key] is not None
    }
    limits = ("evaluations", "seconds", "tokens", "dollars")
    tree["budget"] = {key: options[key] for key in limits if options[key] is not None}
    tree["mlflow"] = {"enabled": options["mlflow"]}
    if options["cache"] is not None:
        tree["cache"] = {"enabled": options["cache"]}
    if options["data"] is not None:
        tree["data"] = _absolute(options["data"])
    if options["archive"] is not None:
        tree["archive"] = {"kind": options["archive"]}
    if options["seeds"] is not None:
        tree["seeds"] = [name.strip() for name in options["seeds"].split(",") if name.strip()]
    return tree


def _with_models(tree: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The same settings with what concerns models, and a remark for the user if another proposer is taken."""
    models, source = list(options["models"]), options["source"]
    prices = dict(_price(text) for text in options["prices"])
    if source and options["proposer"] != "replay":
        raise UsageError(f"--from {source}: only --proposer replay takes the replies of a run")
    if source:
        tree["llm"] = {"source": str(run_folder(source).resolve())}
    if models and options["proposer"] is None:
        tree["proposer"] = "llm"
    remark = ""
    if options["proposer"] == "llm" and not models:
        from evolve.models.cast import default

        models = [default()] if default() else []
        if not models:
            tree["proposer"] = "genetic"
            remark = "no --model, and no key (OPENAI_API_KEY, ANTHROPIC_API_KEY): going on with the genetic proposer"
    if models:
        tree["models"] = models
    if prices:
        tree["llm"] = {**tree.get("llm", {}), "prices": prices}
    return tree, remark


def _price(text: str) -> tuple[str, str]:
    name, equals, price = text.rpartition("=")
    if not equals or not name:
        raise UsageError(f"--price {text}: expected NAME=INPUT/OUTPUT in dollars per million tokens")
    return name, price


def _execute(
    make: Callable[[list[Any], Cache | None], Run], mirrored: bool, cached: bool, as_json: bool
) -> None:
    from evolve.cache import Cache
    from evolve.observers.console import ConsoleObserver
    from evolve.observers.mlflow import MlflowMirror

    console = _console(stderr=True)
    display = ConsoleObserver(console)
    mirror = MlflowMirror() if mirrored else None
    with ExitStack() as stack:
        stack.callback(display.stop)
        store = stack.enter_context(Cache(cache_file())) if cached else None
        search = make([display, *([mirror] if mirror else [])], store)
        stack.enter_context(search.journal)
        console.print(_opening(search), highlight=False, soft_wrap=True)
        _say_source(search.problem)
        result = search.execute()
    _report(search, result, as_json)
    if mirror:
        mirror.wait(console)
    if result.impossible or result.silence:
        sys.exit(FINDING)


def _opening(search: Run) -> str:
    settings = search.settings
    who = ", ".join(settings.models) or "no model, no key needed"
    return (
        f"{search.problem.spec.title}: proposer {settings.proposer} ({who}), "
        f"{settings.workers} worker{'s' * (settings.workers != 1)}, seed {settings.seed}, run {search.folder}"
    )


def _absolute(data: Path | None) -> str:
    """As a run notes it, which may be resumed from another folder."""
    return str(data.resolve()) if data else ""


def _say_source(problem: Problem) -> None:
    """Where the instances come from, if the user has the choice."""
    if problem.data:
        click.echo(f"instances: from {problem.data.path} (content {problem.data.digest})", err=True)
    elif problem.takes_data:
        click.echo("instances: generated; --data PATH takes real ones", err=True)


def _report(search: Run, result: Result, as_json: bool) -> None:
    from evolve.evaluate import Evaluator
    from evolve.table import compare, print_result, result_facts

    with Evaluator(search.problem, search.settings.jail.minimum) as evaluator:
        rows = compare(search.problem, search.search, evaluator)
    if as_json:
        _print_json(result_facts(search.problem, result, rows))
    else:
        print_result(search.problem, search.search, result, rows, _console())


def _open(name: str) -> Journal:
    from evolve.journal import Journal

    return Journal.open(run_folder(name), read_only=True)


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)


def _progress(total: int) -> Any:
    from evolve.table import progress

    return progress(total, _console(stderr=True))


@contextmanager
def _spinner(what: str) -> Iterator[Callable[[str], None]]:
    """Says on a terminal what is under way."""
    with _console(stderr=True).status(what) as status:
        yield lambda name: status.update(f"{what}: {name}")


def _print_report(written: Report) -> None:
    from rich.text import Text

    console = _console()
    console.print(Text(written.claim), soft_wrap=True)
    if written.standings.without:
        console.print(Text(f"Warning: {written.standings.without}.", style="yellow"), soft_wrap=True)
    text = f"{written.file}, {written.size / 1e6:.2f} MB, {written.programs} of {written.candidates} programs in it"
    console.print(Text(text), soft_wrap=True)


def _print_json(facts: object) -> None:
    click.echo(json.dumps(facts, indent=2, allow_nan=False))


if __name__ == "__main__":
    main()
