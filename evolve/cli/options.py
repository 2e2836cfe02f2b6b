"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from evolve.errors import UsageError

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


backend_options = (
    click.option(
        "--backend",
        type=click.Choice(["loky", "dask", "ray"]),
        help="Who evaluates: loky (this machine), dask or ray (a cluster; see docs/scaling.md). [default: loky]",
    ),
    click.option(
        "--dask",
        metavar="ADDRESS",
        help="A Dask scheduler: tcp://HOST:8786. Without one, --backend dask starts one.",
    ),
    click.option(
        "--ray",
        metavar="ADDRESS",
        help="A Ray cluster: HOST:6379 or ray://HOST:10001. Without, as with --dask.",
    ),
    click.option(
        "--workers",
        type=int,
        help="Evaluations at a time. [default: CPU cores, or all slots of the cluster that --dask or --ray names]",
    ),
)


def with_backend(function: Callable[..., None]) -> Callable[..., None]:
    """A command that takes `--backend`, `--dask`, `--ray` and `--workers`."""
    for option in reversed(backend_options):
        function = option(function)
    return function


def backend_of(options: Mapping[str, Any]) -> dict[str, str] | None:
    """The settings of the backend that was asked for; None if none was.

    Raises:
        UsageError: two were.
    """
    asked = {kind: options[kind] for kind in ("dask", "ray") if options[kind] is not None}
    kind = options["backend"] or next(iter(asked), None)
    other = [name for name in asked if name != kind]
    if other:
        raise UsageError(
            f"--{other[0]} {asked[other[0]]}: with --{'backend ' * (kind not in asked)}{kind}; name one"
        )
    return None if kind is None else {"kind": kind, "address": asked.get(kind, "")}


cache_option = click.option(
    "--cache/--no-cache",
    default=None,
    help="Take evaluations known from earlier runs out of runs/cache.db. [default: on, or as the run began]",
)


def absolute(data: Path | None) -> str:
    """As a run notes it, which may be resumed from another folder."""
    return str(data.resolve()) if data else ""
