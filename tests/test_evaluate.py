"""What a candidate returns is checked and scored on the trusted side; failure is a status, never a number."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolve import problem
from evolve.errors import EvaluatorError
from evolve.evaluate import Evaluator
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.records import Candidate, Evaluation, Split, Status
from evolve.settings import JailSettings
from evolve.trial import Race, Seen

MINIMUM = "rlimits"  # these tests are about scoring; the jail has its own

SMITH = "import numpy as np\ndef order(p, w):\n    return np.argsort(p / w, kind='stable').tolist()\n"


def program(source: str) -> Candidate:
    return make_candidate({"program.py": source})


@pytest.fixture(scope="module")
def evaluator(small: Problem) -> Iterator[Evaluator]:
    with Evaluator(small, MINIMUM) as made:
        yield made


def evaluated(evaluator: Evaluator, source: str, race: Race | None = None) -> Evaluation:
    return evaluator.evaluate(program(source), Split.TRAIN, race)


def test_the_baseline_scores_0_and_an_optimal_program_1(evaluator: Evaluator, small: Problem) -> None:
    baseline = evaluator.evaluate(small.seeds[small.spec.score.baseline], Split.TRAIN)
    assert baseline.score == pytest.approx(0.0, abs=1e-12)
    assert evaluated(evaluator, SMITH).score == pytest.approx(1.0)


def test_an_evaluation_counts_time_and_memory_and_names_the_jail(evaluator: Evaluator) -> None:
    found = evaluated(evaluator, SMITH)
    assert found.cpu_s > 0
    assert found.peak_mb > 1
    assert found.jail == evaluator.jail.level
    assert 0 < found.slowest <= 1


FAILURES = [
    ("def order(p, w):\n    return [0] * len(p)\n", Status.INVALID, "0"),
    ("def order(p, w):\n    return 0.0\n", Status.INVALID, "list"),
    ("def order(p, w):\n    return list(range(len(p) - 1))\n", Status.INVALID, ""),
    ("def order(p, w):\n    return [float(j) for j in range(len(p))]\n", Status.INVALID, "integer"),
    ("def order(p, w):\n    raise KeyError('k')\n", Status.CRASHED, "KeyError"),
    ("def order(p, w):\n    while True:\n        pass\n", Status.TIMED_OUT, "CPU"),
    ("import os\ndef order(p, w):\n    return []\n", Status.FORBIDDEN, "os"),
    ("def order(p, w):\n    x = [0] * 10**10\n    return x\n", Status.OUT_OF_MEMORY, ""),
    ("def order(p, w):\n    import sys\n", Status.FORBIDDEN, "sys"),
    ("x = 1\n", Status.CRASHED, "order"),
]


@pytest.mark.parametrize(("source", "status", "word"), FAILURES)
def test_a_failure_is_a_status_with_a_text_and_no_score(
    evaluator: Evaluator, source: str, status: Status, word: str
) -> None:
    found = evaluated(evaluator, source)
    assert (found.status, found.scores, found.objectives) == (status, (), ())
    assert found.score != found.score
    assert word in found.feedback
    assert found.feedback.startswith("instance train/")


def test_printing_megabytes_changes_nothing(evaluator: Evaluator) -> None:
    loud = SMITH.replace("    return", "    print('x' * 3_000_000)\n    return")
    found = evaluated(evaluator, loud)
    assert found.status is Status.OK, found.feedback
    assert found.score == pytest.approx(1.0)


def test_feedback_says_nothing_of_hidden_instances(evaluator: Evaluator) -> None:
    source = "def order(p, w):\n    return [1]\n"
    found = evaluator.evaluate(program(source), Split.VALIDATION)
    assert found.status is Status.INVALID
    assert "validation/" not in found.feedback


def test_a_clearly_worse_candidate_is_stopped_early(evaluator: Evaluator) -> None:
    bar = evaluated(evaluator, SMITH).scores
    worst = SMITH.replace("p / w", "-p / w")
    found = evaluated(evaluator, worst, Race((8, 24), bar, 0.95, 0))
    assert (found.status, found.instances, found.scores) == (Status.RACED_OUT, 8, ())
    assert evaluated(evaluator, SMITH + "\n\nx = 1\n", Race((8, 24), bar, 0.95, 0)).ok


def test_a_program_that_decides_like_a_known_one_is_dropped(small: Problem) -> None:
    seen = Seen()
    with Evaluator(small, MINIMUM, seen) as evaluator:
        race = Race((8, 24), None, 0.95, 1)
        first = evaluated(evaluator, SMITH, race)
        assert first.ok
        seen.add(first.decisions)
        twin = SMITH.replace("p / w", "p * 2 / w")
        assert evaluated(evaluator, twin, race).status is Status.DUPLICATE
        assert evaluated(evaluator, twin, Race((8, 24), None, 0.95, 0)).ok, "not known at that horizon"


def broken(small_folder: Path, tmp_path: Path, old: str, new: str) -> Problem:
    folder = Path(shutil.copytree(small_folder, tmp_path / "broken"))
    for path in (folder / "evaluator.py", folder / "instances.py"):
        path.write_text(path.read_text().replace(old, new))
    return problem.load(str(folder))


def test_better_than_the_bound_is_impossible(small_folder: Path, tmp_path: Path) -> None:
    loose = broken(small_folder, tmp_path, "bound=smith(p, w)", "bound=smith(p, w) + 1")
    with Evaluator(loose, MINIMUM) as evaluator:
        found = evaluated(evaluator, SMITH)
    assert (found.status, found.scores) == (Status.IMPOSSIBLE, ())
    assert "better than the bound" in found.feedback


def test_a_fault_of_the_evaluator_is_charged_to_nobody(small_folder: Path, tmp_path: Path) -> None:
    faulty = broken(
        small_folder, tmp_path, "def objective(", "def objective(*_):\n    1 / 0\n\n\ndef unused("
    )
    with Evaluator(faulty, MINIMUM) as evaluator, pytest.raises(EvaluatorError, match="ZeroDivisionError"):
        evaluated(evaluator, SMITH)


def test_scores_of_a_split_scale_are_linear_in_the_objective(small_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "split"))
    path = folder / "problem.toml"
    path.write_text(path.read_text().replace('baseline = "arrival"', 'baseline = "arrival"\nscale = "split"'))
    scaled = problem.load(str(folder))
    with Evaluator(scaled, MINIMUM) as evaluator:
        baseline = evaluator.evaluate(scaled.seeds["arrival"], Split.TRAIN)
        spt = evaluator.evaluate(scaled.seeds["spt"], Split.TRAIN)
    bound = sum(instance.bound for instance in scaled.split(Split.TRAIN)) / len(baseline.scores)
    assert baseline.score == pytest.approx(0.0, abs=1e-12)
    expected = 1 - (spt.objective - bound) / (baseline.objective - bound)
    assert spt.score == pytest.approx(expected)


def test_the_default_jail_level_is_a_known_one(small: Problem) -> None:
    with Evaluator(small, JailSettings().minimum) as evaluator:
        assert evaluator.evaluate(small.seeds["spt"], Split.TRAIN).ok
