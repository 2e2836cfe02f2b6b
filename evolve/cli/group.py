"""The group of commands: what a user's mistake looks like, and how a command is declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

FINDING = 1


WRONG_USE = 2


class Commands(click.Group):
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


def command(example: str) -> Callable[[Callable[..., None]], click.Command]:
    epilog = "\b\nExample:\n" + "\n".join(f"  {line}" for line in example.splitlines())
    return main.command(epilog=epilog, context_settings={"help_option_names": ["-h", "--help"]})


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="evolve")
def main() -> None:
    """Discover scheduling and placement algorithms whose scores can be trusted.

    \b
    Start:       evolve run smtt
    Look:        evolve show latest, evolve lineage latest, evolve report latest, evolve mlflow
    Use it:      evolve publish latest --to my_heuristic
    Your own:    evolve new my_problem, then evolve run my_problem
    """
