"""Workers of this machine with a process each, for problems whose simulators talk with the program."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evolve import problem
from evolve.backends import make_backend
from evolve.backends.base import Backend
from evolve.backends.local import LocalWorkers
from evolve.backends.process import EvaluatorProcess
from evolve.cache import Cache
from evolve.errors import BackendError, EvaluatorError
from evolve.evaluate import Evaluator
from evolve.problem import Problem
from evolve.records import Split
from evolve.search import Task
from evolve.trial import CancelledEvaluation, Seen
from tests.contracts.backend import PATIENCE_S, ApartContract, chosen, essence, program, talking
from tests.test_run import wait_for

IN_ORDER = "return list(range(len(p)))"
SLEEPS = """
    if decision == "sleep":
        open(_os.path.dirname(__file__) + "/asleep", "w").close()
        __import__("time").sleep(3600)
    return _check(instance, decision)
"""


@contextmanager
def apart(the_problem: Problem, folder: Path, seen: Seen, cache: Cache | None = None) -> Iterator[Any]:
    """Two workers with processes, whatever the problem."""
    made = LocalWorkers(the_problem, chosen(folder), seen, cache)
    made._apart = True
    with made:
        yield made


class TestProcesses(ApartContract):
    @staticmethod
    @contextmanager
    def make(the_problem: Problem, folder: Path, seen: Seen) -> Iterator[Backend]:
        with apart(the_problem, folder, seen) as made:
            yield made

    def test_a_process_that_is_killed_loses_nothing(self, backend: Any, here: Evaluator) -> None:
        candidates = [program("[None for _ in range(60000)]; " + IN_ORDER, each) for each in range(12)]
        futures = [backend.submit(Task(candidate, Split.TRAIN, None)) for candidate in candidates]
        for each in backend._processes:
            os.kill(each._process.pid, signal.SIGKILL)
        found = [future.result(PATIENCE_S) for future in futures]
        assert [essence(each) for each in found] == [
            essence(here.evaluate(candidate, Split.TRAIN)) for candidate in candidates
        ]


def test_a_process_that_always_ends_stops_the_run_and_names_the_way_on(
    small: Problem, small_folder: Path
) -> None:
    with apart(small, small_folder, Seen()) as made:
        for each in made._processes:
            each._setup = msgspec.structs.replace(each._setup, folder="/nonexistent")
        task = Task(program(IN_ORDER), Split.TRAIN, None)
        with pytest.raises(BackendError, match=r"ended 3 times.*evolve resume"):
            made.submit(task).result(PATIENCE_S)


def test_a_problem_that_changes_under_a_run_stops_it(small_folder: Path, tmp_path: Path) -> None:
    folder = talking(small_folder, tmp_path / "changing")
    with apart(problem.load(str(folder)), folder, Seen()) as made:
        with (folder / "evaluator.py").open("a") as file:
            file.write("# another evaluator\n")
        with pytest.raises(EvaluatorError, match="was changed while a run of it was under way"):
            made.submit(Task(program(IN_ORDER), Split.TRAIN, None)).result(PATIENCE_S)


def test_a_simulator_that_goes_on_and_on_is_ended_with_the_run(small_folder: Path, tmp_path: Path) -> None:
    folder = talking(small_folder, tmp_path / "sleepy")
    evaluator = folder / "evaluator.py"
    evaluator.write_text(evaluator.read_text().replace("    return _check(instance, decision)\n", SLEEPS))
    with apart(problem.load(str(folder)), folder, Seen()) as made:
        future = made.submit(Task(program("return 'sleep'"), Split.TRAIN, None))
        wait_for((folder / "asleep").exists)
        processes = [each._process for each in made._processes if each._process]
    with pytest.raises(CancelledEvaluation):
        future.result(PATIENCE_S)
    assert processes
    assert all(process.returncode is not None for process in processes)


def test_what_processes_found_is_in_the_cache_for_the_next_run(
    small: Problem, small_folder: Path, tmp_path: Path
) -> None:
    candidates = [program(IN_ORDER, each) for each in range(6)]
    results = []
    for _ in range(2):
        with (
            Cache(tmp_path / "cache.db") as cache,
            apart(small, small_folder, Seen(), cache) as made,
        ):
            futures = [made.submit(Task(each, Split.TRAIN, None)) for each in candidates]
            results.append([future.result(PATIENCE_S) for future in futures])
    first, second = results
    assert not any(each.cached for each in first)
    assert all(each.cached for each in second)
    assert [essence(replace(each, cached=False)) for each in second] == [essence(each) for each in first]


def test_only_problems_that_talk_with_the_program_and_several_workers_have_processes(
    small: Problem, small_folder: Path
) -> None:
    paging = problem.load("online_paging")
    for the_problem, workers, count in ((paging, 2, 2), (paging, 1, 0), (small, 2, 0)):
        with make_backend(the_problem, chosen(small_folder, workers), Seen()) as made:
            assert isinstance(made, LocalWorkers)
            assert len(made._processes) == count


def test_a_worker_that_is_told_to_stop_before_it_began_does_not_begin(
    small: Problem, small_folder: Path
) -> None:
    with apart(small, small_folder, Seen()) as made:
        cancelled = threading.Event()
        cancelled.set()
        idle = EvaluatorProcess(made._setup(), Seen(), cancelled)
        with pytest.raises(CancelledEvaluation):
            idle.evaluate(Task(program(IN_ORDER), Split.TRAIN, None))
        assert idle._process is None
