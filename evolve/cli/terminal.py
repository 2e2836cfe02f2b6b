"""What commands print to, and the journals that they read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from evolve.folders import run_folder

if TYPE_CHECKING:
    from rich.console import Console

    from evolve.journal import Journal
    from evolve.problem import Problem


def open_journal(name: str) -> Journal:
    from evolve.journal import Journal

    return Journal.open(run_folder(name), read_only=True)


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)


def progress(total: int) -> Any:
    from evolve.table import progress

    return progress(total, console(stderr=True))


@contextmanager
def spinner(what: str) -> Iterator[Callable[[str], None]]:
    """Says on a terminal what is under way."""
    with console(stderr=True).status(what) as status:
        yield lambda name: status.update(f"{what}: {name}")


def say_source(problem: Problem) -> None:
    """Where the instances come from, if the user has the choice."""
    if problem.data:
        click.echo(f"instances: from {problem.data.path} (content {problem.data.digest})", err=True)
    elif problem.takes_data:
        click.echo("instances: generated; --data PATH takes real ones", err=True)


def print_json(facts: object) -> None:
    click.echo(json.dumps(facts, indent=2, allow_nan=False))
