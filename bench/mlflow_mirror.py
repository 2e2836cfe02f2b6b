"""What mirroring one candidate to MLflow costs, call by call, and what the SQLite settings are worth.

    python bench/mlflow_mirror.py [--candidates 500] [--rounds 3]

Writes a journal with that many archived candidates, mirrors it into a new SQLite store in a temporary folder,
and times the calls from outside. "as MLflow sets it up" is the same mirror without the write-ahead log.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evolve.observers.mlflow import environment, mirror_run

os.environ.update(environment())

import mlflow
import sqlalchemy.event
from mlflow import MlflowClient
from sqlalchemy.engine import Engine

from evolve import new, settings
from evolve.journal import Journal, Placed
from evolve.observers import mlflow_mirror, mlflow_store
from evolve.program import make_candidate
from evolve.records import Evaluation, Outcome, Placement, Proposal, Split, Status

LINE = "    key_{number} = [p[j] / w[j] + {number} * 1e-9 for j in range(len(p))]\n"
PROGRAM = "def order(p, w):\n{lines}    return sorted(range(len(p)), key=lambda j: key_{last}[j])\n"
LINES = 20


def write_journal(folder: Path, problem_folder: Path, count: int) -> None:
    """A search whose every proposal enters the archive; each program changes one line of its parent."""
    folder.mkdir()
    settings.save(settings.resolve(str(problem_folder), {}), folder / "settings.toml")
    meta = {
        "problem": "bench",
        "folder": str(problem_folder),
        "digest": "0",
        "started": "2026-03-01T12:00:00+0000",
    }
    with Journal.create(folder, meta) as journal:
        parents: tuple[str, ...] = ()
        for number in range(1, count + 1):
            # line k holds the newest number that leaves the remainder k
            numbers = [max(0, number - (number - k) % LINES) for k in range(LINES)]
            lines = "".join(LINE.format(number=k) for k in numbers)
            source = PROGRAM.format(lines=lines, last=numbers[-1])
            made = make_candidate({"program.py": source}, parents, "mutate", f"line {number}")
            scores = (number / count,) * 50
            train = Evaluation(made.id, Split.TRAIN, Status.OK, scores, scores, 50, "worst: n=50", 0.1, 40.0)
            journal.append(Proposal(number, "mutate", parents, made), number * 0.01)
            journal.append(train, number * 0.01)
            journal.append(Placed(made.id, Placement(Outcome.NEW, "island 0")), number * 0.01)
            parents = (made.id,)
        journal.note("ended", "budget spent")


class Stopwatch:
    """Adds up the time spent in functions, each wrapped in place."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()

    def watch(self, owner: Any, name: str, label: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return inner(*arguments, **named)
            finally:
                self.spent[label] += time.perf_counter() - began  # type: ignore[assignment]

        setattr(owner, name, timed)


@contextmanager
def as_mlflow_sets_it_up() -> Iterator[None]:
    """While inside, new SQLite connections keep the settings that MLflow gives them."""
    tune = mlflow_store._tune
    sqlalchemy.event.remove(Engine, "connect", tune)
    mlflow_store._tune = lambda _connection, _record: None
    try:
        yield
    finally:
        sqlalchemy.event.remove(Engine, "connect", mlflow_store._tune)
        mlflow_store._tune = tune


def measure(run: Path, place: Path) -> float:
    """Seconds for mirroring a run into a store in a new folder; the making of the store is left out."""
    place.mkdir(exist_ok=True)
    uri = f"sqlite:///{place / 'mlflow.db'}"
    mlflow_store.Store(uri, "warm")
    began = time.perf_counter()
    mirror_run(run, uri, lambda _journal: True)
    return time.perf_counter() - began


def order_by_metric(uri: str) -> float:
    """Seconds for what the UI asks when somebody sorts the runs page."""
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("bench")
    assert experiment is not None
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        client.search_runs(
            [experiment.experiment_id], order_by=["metrics.`score.train` DESC"], max_results=100
        )
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def order_without_analyze(file: Path) -> float:
    """The same on a copy of the store from which the statistics of ANALYZE are taken away."""
    copy = file.with_name("copy.db")
    with closing(sqlite3.connect(file)) as database, closing(sqlite3.connect(copy)) as fresh:
        database.backup(fresh)
        fresh.execute("DELETE FROM sqlite_stat1")
        fresh.commit()
    return order_by_metric(f"sqlite:///{copy}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3, help="the least of so many measurements is shown")
    options = parser.parse_args()
    count = options.candidates
    watch = Stopwatch()
    for name in ("create", "log", "write", "end"):
        watch.watch(mlflow_store.Store, name, f"store: {name}")
    watch.watch(mlflow_mirror, "html_diff", "diff.html")
    with TemporaryDirectory() as folder:
        root = Path(folder)
        new.create(root / "problem")
        write_journal(root / "run", root / "problem", count)
        fast, slow, parts = [], [], []
        for number in range(options.rounds):
            watch.spent.clear()
            fast.append(measure(root / "run", root / f"fast{number}"))
            parts.append(dict(watch.spent))
            with as_mlflow_sets_it_up():
                slow.append(measure(root / "run", root / f"slow{number}"))
        again = min(measure(root / "run", root / "fast0") for _ in range(options.rounds))
        place = root / "fast0"
        artifacts = sum(path.stat().st_size for path in (place / "mlartifacts").rglob("*") if path.is_file())
        database = (place / "mlflow.db").stat().st_size
        ordered = order_by_metric(f"sqlite:///{place / 'mlflow.db'}")
        unanalysed = order_without_analyze(place / "mlflow.db")
    least = parts[fast.index(min(fast))]
    print(
        f"{count} candidates, least of {options.rounds} rounds, MLflow {mlflow.__version__}, {sys.platform}\n"
    )
    print("| | ms a candidate |\n| --- | --- |")
    print(f"| the whole mirror | {min(fast) / count * 1000:.1f} |")
    for name, spent in sorted(least.items(), key=lambda part: -part[1]):
        print(f"| of that, {name} | {spent / count * 1000:.1f} |")
    print(f"| the whole mirror, SQLite as MLflow sets it up | {min(slow) / count * 1000:.1f} |")
    print(f"| finding that all is there already | {again / count * 1000:.1f} |\n")
    print(
        f"Artifacts {artifacts / count / 1000:.1f} kB and database {database / count / 1000:.1f} kB a candidate;"
    )
    print(f"ordering {count} runs by a metric takes {ordered:.3f} s, without ANALYZE {unanalysed:.3f} s.")


if __name__ == "__main__":
    main()
