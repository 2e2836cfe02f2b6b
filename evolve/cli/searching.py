"""Commands that search: run, resume, replay."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evolve.cli.group import FINDING, command
from evolve.cli.options import (
    absolute,
    backend_of,
    cache_option,
    data_option,
    json_option,
    model_option,
    price_option,
    with_backend,
)
from evolve.cli.terminal import console, open_journal, print_json, progress, say_source
from evolve.errors import UsageError
from evolve.folders import cache_file, new_folder, run_folder

LIMITS = ("evaluations", "seconds", "tokens", "dollars")  # options that bound a run

if TYPE_CHECKING:
    from evolve.cache import Cache
    from evolve.run import Result, Run


@command(
    "evolve run problems/smtt\n"
    "evolve run smtt --seeds edd --seconds 300 --seed 2\n"
    "evolve run smtt --evaluations 2000 --workers 1\n"
    "evolve run smtt --dask tcp://10.0.0.1:8786 --seconds 600\n"
    "evolve run smtt --model anthropic:claude-haiku-5-5 --dollars 1\n"
    "evolve run smtt --model http://127.0.0.1:8000/v1#qwen3-coder --seconds 600\n"
    "evolve run smtt --seed 2 --share /mnt/shared/smtt"
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
    help="Who may breed: best-of-n, top-k, islands, map-elites or islands-map-elites. [default: islands: four; "
    "with models one for every 500 of --evaluations, and one without]",
)
@click.option("--evaluations", type=int, help="Stop after N candidates.")
@click.option(
    "--seconds", type=float, help="Stop after S seconds. [default: 60, unless another limit is given]"
)
@click.option("--tokens", type=int, help="Stop before models have taken N tokens, prompts and replies.")
@click.option("--dollars", type=float, help="Stop before models have cost X dollars.")
@click.option("--seeds", help="First population, by seed names: edd,mdd. [default: all seeds of the problem]")
@with_backend
@click.option(
    "--seed", type=int, help="Seed of all randomness: with one worker, same seed, same run. [default: 1]"
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the run. [default: runs/PROBLEM-TIME]"
)
@click.option(
    "--mlflow/--no-mlflow", default=True, help="Mirror the run to MLflow in the background. [default: on]"
)
@click.option(
    "--share",
    metavar="DIR|mlflow",
    help="Exchange candidates with the other searches that share through this folder (programs that came from them "
    "have the operator `migrant`), or, with `mlflow`, with those mirrored to the same store.",
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
    _check_share(resolved.share.mlflow, resolved.mlflow.enabled)
    if remark:
        click.echo(remark, err=True)
    folder = out or new_folder(name)
    _execute(
        lambda observers, store: runs.start(folder, resolved, observers, store),
        resolved.mlflow.enabled,
        resolved.cache.enabled,
        as_json,
    )


@command(
    "evolve resume latest\n"
    "evolve resume runs/smtt-20260102-030405 --seconds 300\n"
    "evolve resume latest --backend loky    # what began on a cluster, on this machine"
)
@click.argument("run")
@click.option("--evaluations", type=int, help="New total of candidates.")
@click.option("--seconds", type=float, help="New total of seconds, those already spent included.")
@click.option("--tokens", type=int, help="New total of tokens of models.")
@click.option("--dollars", type=float, help="New total of dollars for models.")
@with_backend
@click.option(
    "--mlflow/--no-mlflow",
    default=None,
    help="Mirror the run to MLflow in the background. [default: as the run began]",
)
@cache_option
@json_option
def resume(run: str, mlflow: bool | None, cache: bool | None, as_json: bool, **options: Any) -> None:
    """Go on where a run stopped or was killed. RUN is a folder, a name under runs/, or 'latest'.

    It goes on with the backend that it had, or with the one that is named here.
    """
    from evolve import run as runs
    from evolve import settings

    folder = run_folder(run)
    as_begun = settings.load(folder / runs.SETTINGS_FILE)
    mirrored = as_begun.mlflow.enabled if mlflow is None else mlflow
    _check_share(as_begun.share.mlflow, mirrored)
    limits = {name: options[name] for name in LIMITS}
    asked = any(limit is not None for limit in limits.values())
    budget = settings.BudgetSettings(**limits) if asked else None
    named = backend_of(options)
    backend = settings.BackendSettings(**named) if named else None  # type: ignore[arg-type]
    cached = as_begun.cache.enabled if cache is None else cache
    _execute(
        lambda observers, store: runs.reopen(
            folder, budget, observers, store, backend=backend, workers=options["workers"]
        ),
        mirrored,
        cached,
        as_json,
    )


@command("evolve replay latest\nevolve replay runs/smtt-20260102-030405 --json")
@click.argument("run")
@json_option
def replay(run: str, as_json: bool) -> None:
    """Repeat a run from its journal without any model, and compare every step and score. Exit code 1 if one differs.

    Only the replies of models are taken from the journal; everything that followed from them is worked out anew.
    """
    from evolve import replay as replays

    folder = run_folder(run)
    with open_journal(run) as journal:
        total = journal.last_seq()
    with progress(total) as advance:
        found = replays.replay(folder, advance)
    if as_json:
        print_json(found.facts())
    else:
        replays.print_replayed(found, console())
    if not found.same:
        sys.exit(FINDING)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Settings from the options that were given; the others keep their defaults."""
    tree: dict[str, Any] = {
        key: options[key] for key in ("proposer", "workers", "seed") if options[key] is not None
    }
    tree["budget"] = {key: options[key] for key in LIMITS if options[key] is not None}
    backend = backend_of(options)
    if backend is not None:
        tree["backend"] = backend
    tree["mlflow"] = {"enabled": options["mlflow"]}
    if options["cache"] is not None:
        tree["cache"] = {"enabled": options["cache"]}
    if options["data"] is not None:
        tree["data"] = absolute(options["data"])
    if options["archive"] is not None:
        tree["archive"] = {"kind": options["archive"]}
    if options["share"] is not None:
        tree["share"] = _shared(options["share"])
    if options["seeds"] is not None:
        tree["seeds"] = [name.strip() for name in options["seeds"].split(",") if name.strip()]
    return tree


def _shared(through: str) -> dict[str, Any]:
    if not through.strip():
        raise UsageError("--share: name a folder that the searches can read and write, or mlflow")
    return {"mlflow": True} if through == "mlflow" else {"folder": absolute(Path(through))}


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


def _check_share(through_mlflow: bool, mirrored: bool) -> None:
    if through_mlflow and not mirrored:
        raise UsageError("--share mlflow: what this run has to give is its mirror; leave out --no-mlflow")


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
    from evolve.observers.mlflow import MlflowMirror, default_store

    screen = console(stderr=True)
    display = ConsoleObserver(screen)
    mirror = MlflowMirror() if mirrored else None
    with ExitStack() as stack:
        stack.callback(display.stop)
        store = stack.enter_context(Cache(cache_file())) if cached else None
        search = make([display, *([mirror] if mirror else [])], store)
        stack.enter_context(search.journal)
        screen.print(_opening(search), highlight=False, soft_wrap=True)
        say_source(search.problem)
        if search.settings.share.mlflow:
            from evolve.observers.mlflow_inbox import fetching

            store_uri = default_store(search.settings.mlflow.store)
            stack.enter_context(fetching(search.folder, store_uri))
        result = search.execute()
    _report(search, result, as_json)
    if mirror:
        mirror.wait(screen)
    if result.impossible or result.silence:
        sys.exit(FINDING)


def _opening(search: Run) -> str:
    settings = search.settings
    who = ", ".join(settings.models) or "no model, no key needed"
    crew = f"{settings.workers or 'all'} worker{'s' * (settings.workers != 1)}"
    if settings.backend.kind != "loky":
        crew += f" on {settings.backend.kind} {settings.backend.address or 'on this machine'}"
    return (
        f"{search.problem.spec.title}: proposer {settings.proposer} ({who}), "
        f"{crew}, seed {settings.seed}, run {search.folder}"
    )


def _report(search: Run, result: Result, as_json: bool) -> None:
    from evolve.evaluate import Evaluator
    from evolve.table import compare, print_result, result_facts

    with Evaluator(search.problem, search.settings.jail.minimum) as evaluator:
        rows = compare(search.problem, search.search, evaluator)
    if as_json:
        print_json(result_facts(search.problem, result, rows))
    else:
        print_result(search.problem, search.search, result, rows, console())
