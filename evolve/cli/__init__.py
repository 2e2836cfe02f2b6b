"""The command line. Commands only: each is a few lines over functions that a notebook can call.

Heavy modules are imported inside the commands, so that `evolve --help` stays quick. Commands are listed in the order
in which their modules are imported here.
"""

# isort: off
from evolve.cli.group import main
from evolve.cli import searching, problems, results, comparing, desk
# isort: on

__all__ = ["comparing", "desk", "main", "problems", "results", "searching"]
