"""What every backend keeps to. A new backend inherits this class and gives `make`."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from evolve import problem, settings
from evolve.backends.base import Backend
from evolve.errors import EvaluatorError
from evolve.evaluate import Evaluator
from evolve.jail import Level
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.records import Candidate, Evaluation, Split, Status
from evolve.search import Task
from evolve.settings import Settings
from evolve.trial import Race, Seen

PATIENCE_S = 240.0  # for what has to come some time; the machine may be crowded

# decisions that make the evaluator of `talking` speak of the process that it runs in
TELLS = """

import os as _os

_check = check


def check(instance, decision):
    if decision == "names":
        raise Invalid(" ".join(sorted(_os.environ)))
    if decision == "fail":
        raise RuntimeError("the evaluator has failed")
    return _check(instance, decision)
"""


def talking(small: Path, folder: Path) -> Path:
    """The small problem, with an evaluator that tells of its process when it is asked to."""
    for path in small.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = folder / path.relative_to(small)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    with (folder / "evaluator.py").open("a") as file:
        file.write(TELLS)
    return folder


def program(body: str, number: int = 0) -> Candidate:
    """A program for the small problem."""
    return make_candidate({"program.py": f"def order(p, w):\n    number = {number}\n    {body}\n"})


def chosen(folder: Path, workers: int = 2, **backend: str) -> Settings:
    given = {"workers": workers, "backend": backend, "budget": {"evaluations": 40}}
    return settings.resolve(str(folder), given, ["jail.minimum=rlimits", "mlflow.enabled=false"])


def essence(evaluation: Evaluation) -> Evaluation:
    """Without what a clock says."""
    return replace(evaluation, cpu_s=0.0, peak_mb=0.0, slowest=0.0)


class BackendContract:
    @staticmethod
    @contextmanager
    def make(the_problem: Problem, folder: Path, seen: Seen) -> Iterator[Backend]:
        """A backend of two workers, entered."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return talking(small_folder, tmp_path_factory.mktemp("talking") / "talking")

    @pytest.fixture(scope="class")
    @classmethod
    def seen(cls) -> Seen:
        return Seen()

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, folder: Path, seen: Seen) -> Iterator[Backend]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", "sk-not-for-workers")
            patch.setenv("STORE_TOKEN", "not-for-workers")
            with cls.make(problem.load(str(folder)), folder, seen) as made:
                yield made

    @pytest.fixture(scope="class")
    @classmethod
    def here(cls, folder: Path) -> Iterator[Evaluator]:
        with Evaluator(problem.load(str(folder)), Level.RLIMITS) as evaluator:
            yield evaluator

    def test_results_are_those_of_an_evaluator_here(self, backend: Backend, here: Evaluator) -> None:
        candidates = [*here.problem.seeds.values()]
        candidates += [program("return list(range(len(p)))[::-1]", each) for each in range(20)]
        candidates += [program("return []"), program("return 1 / 0")]
        splits = (Split.TRAIN, Split.VALIDATION)
        futures = {(c.id, s): backend.submit(Task(c, s, None)) for c in candidates for s in splits}
        for candidate in candidates:
            for split in splits:
                found = futures[candidate.id, split].result(PATIENCE_S)
                assert essence(found) == essence(here.evaluate(candidate, split))

    def test_a_race_knows_the_decisions_that_the_loop_knew_when_it_began(
        self, backend: Backend, here: Evaluator, seen: Seen
    ) -> None:
        stages = (8,)

        def evaluate(number: int, horizon: int) -> Evaluation:
            race = Race(stages, None, 0.95, horizon)
            candidate = program("return list(range(len(p)))", number)
            return backend.submit(Task(candidate, Split.TRAIN, race)).result(PATIENCE_S)

        first = evaluate(1, 0)
        assert first.status is Status.OK
        for number in range(50):
            seen.add(f"{number:016x}")
        seen.add(first.decisions)
        assert evaluate(2, len(seen)).status is Status.DUPLICATE
        assert evaluate(3, len(seen) - 1).status is Status.OK

    def test_a_lost_race_ends_early(self, backend: Backend, here: Evaluator) -> None:
        best = max((here.evaluate(seed, Split.TRAIN) for seed in here.problem.seeds.values()), key=_score)
        race = Race((8, 16), tuple(value + 1 for value in best.scores), 0.95, 0)
        found = backend.submit(Task(program("return list(range(len(p)))"), Split.TRAIN, race)).result(
            PATIENCE_S
        )
        assert (found.status, found.instances) == (Status.RACED_OUT, 8)

    def test_an_evaluator_that_fails_blames_nobody(self, backend: Backend) -> None:
        task = Task(program("return 'fail'"), Split.TRAIN, None)
        with pytest.raises(EvaluatorError, match="the evaluator has failed"):
            backend.submit(task).result(PATIENCE_S)
        sound = Task(program("return list(range(len(p)))"), Split.TRAIN, None)
        assert backend.submit(sound).result(PATIENCE_S).ok

    def test_hosts_have_names_levels_and_slots(self, backend: Backend) -> None:
        def manned() -> bool:
            return sum(host.slots for host in backend.hosts()) == 2 and backend.capacity() >= 2

        # a cluster begins with its first worker; the second may still be on its way, or be starting again
        until = time.monotonic() + PATIENCE_S
        while not manned() and time.monotonic() < until:
            time.sleep(0.1)
        assert manned()
        assert all(host.name and Level(host.level) and not host.refusal for host in backend.hosts())


class ApartContract(BackendContract):
    """For backends whose evaluators are in other processes than the loop."""

    def test_workers_know_no_keys(self, backend: Backend) -> None:
        found = backend.submit(Task(program("return 'names'"), Split.TRAIN, None)).result(PATIENCE_S)
        assert found.status is Status.INVALID
        assert "PATH" in found.feedback
        assert "OPENAI_API_KEY" not in found.feedback
        assert "STORE_TOKEN" not in found.feedback


def _score(evaluation: Evaluation) -> float:
    return evaluation.score if evaluation.ok else -math.inf
