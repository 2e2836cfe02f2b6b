"""`python -m evolve.cli`."""

from evolve.cli import main

main()
