"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

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


def absolute(data: Path | None) -> str:
    """As a run notes it, which may be resumed from another folder."""
    return str(data.resolve()) if data else ""
