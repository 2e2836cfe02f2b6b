"""Brings the champions of other runs from an MLflow store into a run's inbox, in a process of its own.

    python -m evolve.observers.mlflow_inbox RUN [--store URI]

The inbox is a folder of offers like any that runs share through, so the search needs to know nothing of MLflow. What
a run gives in return is what its mirror writes into the store.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evolve import problem as problems
from evolve.folders import run_key
from evolve.journal import Journal
from evolve.observers.mlflow import brief, default_store, environment, spawn
from evolve.sharing import offers
from evolve.sharing.neighbours import INBOX
from evolve.sharing.offers import Offer, Origin, Program, UnusableOffer

if TYPE_CHECKING:
    from evolve.observers.mlflow_store import Winner

LOG_FILE = "inbox.log"
POLL_S = 5.0  # between two looks at the store
CHAMPIONS = 64  # the newest of all runs that a look asks for


class Inbox:
    """What one run takes from a store.

    Raises:
        JournalError: the folder is no run. ProblemError: its problem has gone.
        what Store raises: the store is out of reach.
    """

    def __init__(self, folder: Path, store: str) -> None:
        """store: tracking URI."""
        from evolve.observers.mlflow_store import Store

        with Journal.open(folder, read_only=True) as journal:
            self._digest = journal.meta("digest")
            self._key = run_key(folder, journal.meta("started"), self._digest)
            self._problem = problems.load(journal.meta("folder"), journal.meta("data"))
        self._folder = folder / INBOX
        self._store = Store(store, self._problem.name)
        self._texts: dict[str, dict[str, str] | None] = {}  # of nested runs that were fetched; None: no use

    def fetch(self) -> None:
        """Put what the champions of other runs are now into the inbox, a file for each run."""
        by_run: dict[str, list[Program]] = {}
        for winner in self._store.champions(self._digest, CHAMPIONS):
            made = by_run.setdefault(winner.key, [])
            if winner.key != self._key and len(made) < offers.OFFERED and (program := self._program(winner)):
                made.append(program)
        self._folder.mkdir(exist_ok=True)
        for key, programs in by_run.items():
            if programs:
                name, _, _ = key.partition(" ")
                origin = (name, "MLflow", self._problem.name, self._digest)
                offer = Offer(Origin(*map(offers.word, origin)), tuple(programs))
                offers.write(self._folder, hashlib.sha256(key.encode()).hexdigest()[:16], offer)

    def _program(self, winner: Winner) -> Program | None:
        if winner.run not in self._texts:
            try:
                self._texts[winner.run] = self._fetched(winner)
            except (
                Exception
            ) as error:  # see main; what one run lacks does not keep the others from being fetched
                _log(f"{winner.key}: {brief(error)}")
                return None
        files = self._texts[winner.run]
        return Program(winner.candidate, winner.number, files) if files else None

    def _fetched(self, winner: Winner) -> dict[str, str] | None:
        names = self._problem.spec.changing
        try:
            return self._store.texts(winner.run, names, 4 * offers.SOURCE_CHARACTERS)
        except (UnusableOffer, UnicodeDecodeError) as error:
            _log(f"{winner.key}: {error}")
            return None


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def fetching(folder: Path, store: str) -> Iterator[None]:
    """While inside, a process brings what others have found into a run's inbox.

    Raises:
        OSError: no process can be started, or its log cannot be written.
    """
    command = ["evolve.observers.mlflow_inbox", str(folder.absolute()), "--store", store]
    process = spawn([*command, "--parent", str(os.getpid())], folder / LOG_FILE)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """The process: it ends with the search."""
    parser = argparse.ArgumentParser(
        prog="python -m evolve.observers.mlflow_inbox", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("--store", default=default_store(), help="tracking URI (default: %(default)s)")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="end when this process has gone")
    options = parser.parse_args(arguments)
    os.environ.update(environment())
    os.nice(10)
    inbox: Inbox | None = None
    while os.getppid() == options.parent:
        try:
            inbox = inbox or Inbox(options.run, options.store)
            inbox.fetch()
        except (
            Exception
        ) as error:  # MLflow, SQLAlchemy, requests and the disk each raise their own; it comes again
            _log(f"the store {options.store}: {brief(error)}")
        time.sleep(POLL_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
