"""`python -m evolve`, where the command `evolve` is not on the path."""

from evolve.cli import main

main()
