"""Commands about this machine and its MLflow store: mlflow, sync, doctor."""

from __future__ import annotations

import sys

import click

from evolve.cli.group import FINDING, command
from evolve.cli.options import json_option, model_option
from evolve.cli.terminal import console, print_json
from evolve.errors import UsageError
from evolve.folders import run_folder


@command("evolve mlflow\nevolve mlflow --port 5001")
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


@command("evolve sync latest\nevolve sync latest --store http://127.0.0.1:5000")
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


@command(
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
        print_json(found)
    else:
        print_examination(found, console())
    if found["findings"]:
        sys.exit(FINDING)
