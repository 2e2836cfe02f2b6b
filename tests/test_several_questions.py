"""A simulator that asks several functions of a program: the entry point, and others that it may define."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when MLflow is imported

import pytest

from evolve import problem, run, settings
from evolve.errors import ProblemError
from evolve.evaluate import Evaluator
from evolve.problem import Problem
from evolve.program import defined_functions, make_candidate, parse
from evolve.proposers.briefing import Briefing
from evolve.proposers.genetic import GeneticProposer
from evolve.publish import publish
from evolve.records import Candidate, Evaluation, Member, Sample, Split, Status
from tests import test_interactive as plain

MINIMUM = "rlimits"  # these tests are about questions; the jail has its own
ALSO = """
[[entry.also]]
function = "stop"
parameters = ["left"]
returns = "whether to take whatever comes next"
[objective]"""
TOML = plain.TOML.replace("[objective]", ALSO, 1)
EVALUATOR = plain.EVALUATOR.replace(
    "        answer = ask(len(offers) - 1 - index, offer)\n",
    """        stop = ask("stop", len(offers) - 1 - index)
        if stop is not None and type(stop) is not bool:
            raise Invalid(f"stop returned {stop!r}; it has to return True or False")
        if stop:
            return offer
        answer = ask("take", len(offers) - 1 - index, offer)
""",
)
NEVER = "def take(left, offer):\n    return False\n"
THIRD = (
    f"{NEVER}\n\ndef half(left):\n    return left / 2\n\n\ndef stop(left):\n    return half(left) == 8.5\n"
)


@pytest.fixture(scope="module")
def offers(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    folder = plain.write(tmp_path_factory.mktemp("offers"), EVALUATOR, toml=TOML)
    (folder / "seeds" / "third.py").write_text(THIRD)
    return problem.load(str(folder))


@pytest.fixture(scope="module")
def evaluator(offers: Problem) -> Iterator[Evaluator]:
    with Evaluator(offers, MINIMUM) as made:
        yield made


def program(source: str) -> Candidate:
    return make_candidate({"program.py": source})


def evaluated(evaluator: Evaluator, source: str) -> Evaluation:
    return evaluator.evaluate(program(source), Split.TRAIN)


def offered(offers: Problem, place: int) -> list[float]:
    return [float(each.facts["offers"][place]) for each in offers.split(Split.TRAIN)]


def test_a_program_answers_what_it_defines_and_none_where_it_does_not(
    offers: Problem, evaluator: Evaluator
) -> None:
    assert list(evaluated(evaluator, NEVER).objectives) == offered(offers, -1)
    assert list(evaluated(evaluator, THIRD).objectives) == offered(offers, 2)


@pytest.mark.parametrize(
    ("source", "status", "text"),
    [
        (f"{NEVER}\n\ndef stop(left):\n    return 1\n", Status.INVALID, "stop returned 1"),
        (f"{NEVER}\n\ndef stop(left):\n    return 1 // (left - 19)\n", Status.CRASHED, "ZeroDivisionError"),
        (
            f"{NEVER}\n\ndef stop():\n    return False\n",
            Status.CRASHED,
            "stop() takes 0 positional arguments",
        ),
        ("def stop(left):\n    return True\n", Status.CRASHED, "cannot import name 'take'"),
    ],
)
def test_a_failure_of_either_function_fails_the_program(
    evaluator: Evaluator, source: str, status: Status, text: str
) -> None:
    found = evaluated(evaluator, source)
    assert found.status is status
    assert text in found.feedback


def test_both_functions_share_their_globals(offers: Problem, evaluator: Evaluator) -> None:
    source = "SEEN = []\n\n\ndef take(left, offer):\n    SEEN.append(offer)\n    return False\n"
    source += "\n\ndef stop(left):\n    return len(SEEN) == 4\n"
    assert list(evaluated(evaluator, source).objectives) == offered(offers, 4)


def test_the_example_is_the_first_question_to_the_entry_point(offers: Problem) -> None:
    instance = offers.split(Split.TRAIN)[0]
    assert offers.example(instance) == {"left": 19, "offer": instance.facts["offers"][0]}


def test_a_prompt_tells_what_may_be_defined(offers: Problem) -> None:
    system = Briefing(offers, 10_000).system
    assert "It defines `take(left, offer) -> whether to take it`." in system
    assert "It may also define `stop(left) -> whether to take whatever comes next`." in system


def test_a_function_that_may_be_defined_is_varied_and_not_lost(offers: Problem) -> None:
    spec, seeds = offers.spec, list(offers.seeds.values())
    optional = spec.entry.optional
    proposer = GeneticProposer(
        spec.entry.function, spec.program, spec.limits.imports, seeds, None, (), optional
    )
    parent = offers.seeds["third"]
    sample = Sample(Member(parent, Evaluation(parent.id, Split.TRAIN, Status.OK, (1.0,), (0.5,), 1)))
    kept = set()
    for number in range(60):
        child = proposer.propose(sample, number, Random(number)).candidate
        if child is not None:
            functions = defined_functions(parse(child.files["program.py"]))
            assert "stop" in functions
            kept.add(child.files["program.py"].partition("def stop")[2])
    assert len(kept) > 3


def test_the_profile_of_a_program_covers_both(offers: Problem) -> None:
    slow = THIRD.replace("    return left / 2", "    return sum(1 for _ in range(3000)) * 0 + left / 2")
    with Evaluator(offers, MINIMUM, profiled=True) as watching:
        found = evaluated(watching, slow)
    assert found.ok, found.feedback
    assert "range(3000)" in found.profile


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("interactive = true", "", "only a simulator asks several functions"),
        (
            'function = "stop"',
            'function = "take"',
            "entry.also.function 'take' is no Python name, or the entry",
        ),
        ('function = "stop"', 'function = "full stop"', "entry.also.function 'full stop' is no Python name"),
        ('returns = "whether to take whatever', 'retuns = "whether to take whatever', "did you mean"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, old: str, new: str, text: str) -> None:
    with pytest.raises(ProblemError, match=text):
        problem.load(str(plain.write(tmp_path, EVALUATOR, toml=TOML.replace(old, new, 1))))


def test_a_champion_with_both_is_published_and_its_package_proves_it(offers: Problem, tmp_path: Path) -> None:
    overrides = ["budget.evaluations=4", "workers=1", "mlflow.enabled=false", "jail.minimum=rlimits"]
    run.start(tmp_path / "run", settings.resolve(str(offers.folder), {}, overrides)).execute()
    package = publish(tmp_path / "run", offers.seeds["third"].id, tmp_path / "package").folder
    assert "from .heuristic import take, stop" in next(package.glob("src/*/__init__.py")).read_text()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package)]
    result = subprocess.run(command, cwd=package, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout


def test_a_champions_model_answers_for_the_entry_point(offers: Problem, tmp_path: Path) -> None:
    import mlflow.pyfunc
    import pandas as pd

    from evolve.observers.mlflow_champion import Champions

    Champions(offers, MINIMUM).save(program(plain.LEAP), "0" * 32, tmp_path / "model")
    questions = pd.DataFrame([{"left": left, "offer": offer} for left, offer in ((13, 5), (12, 4), (11, 6))])
    assert mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(questions) == [False, False, True]
