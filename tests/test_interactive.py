"""Interactive problems: the simulator plays on the trusted side, and a policy knows what it was asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when MLflow is imported

import pytest

from evolve import problem, run, settings
from evolve.errors import EvaluatorError, EvolveError, ProblemError
from evolve.evaluate import Evaluator
from evolve.jail import Hangup
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.publish import publish
from evolve.records import Candidate, Evaluation, Split, Status
from evolve.trial import CancelledEvaluation, Race, Seen

MINIMUM = "rlimits"  # these tests are about scoring; the jail has its own

TOML = """
name = "offers"
title = "Offers"
summary = "Take one of the offers that come one by one"
statement = "statement.md"
instances = "instances.py"
evaluator = "evaluator.py"
seeds = "seeds"
[entry]
function = "take"
parameters = ["left", "offer"]
returns = "whether to take it"
interactive = true
[objective]
name = "offer taken"
unit = "coins"
direction = "maximise"
[score]
baseline = "first"
floor = 1.0
[limits]
cpu_s = 0.2
imports = ["gc", "math", "random", "sys", "time"]
"""
EVALUATOR = """
class Invalid(ValueError):
    pass


def simulate(instance, ask):
    offers = instance.facts["offers"].tolist()
    for index, offer in enumerate(offers):
        answer = ask(len(offers) - 1 - index, offer)
        if type(answer) is not bool:
            raise Invalid(f"take returned {answer!r}; it has to return True or False")
        if answer:
            return offer
    return offers[-1]
"""
INSTANCES = """
import random
import numpy as np
from evolve.records import Instance


def instances(split):
    for index in range(12):
        offers = np.array(random.Random(f"{split}{index}").sample(range(10**6, 10**7), 20))
        yield Instance(f"{split}/{index}", {}, float(offers.max()), {}, {"offers": offers})
"""
FIRST = "def take(left, offer):\n    return True\n"
LEAP = """
BEST = [0]


def take(left, offer):
    if left > 12:
        BEST[0] = max(BEST[0], offer)
        return False
    return offer > BEST[0]
"""


def write(folder: Path, evaluator: str = EVALUATOR, instances: str = INSTANCES, toml: str = TOML) -> Path:
    files = {
        "problem.toml": toml,
        "statement.md": "# Offers\n",
        "evaluator.py": evaluator,
        "instances.py": instances,
        "seeds/first.py": FIRST,
        "seeds/leap.py": LEAP,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def offers(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return problem.load(str(write(tmp_path_factory.mktemp("offers"))))


@pytest.fixture(scope="module")
def evaluator(offers: Problem) -> Iterator[Evaluator]:
    with Evaluator(offers, MINIMUM) as made:
        yield made


def program(source: str) -> Candidate:
    return make_candidate({"program.py": source})


def evaluated(
    evaluator: Evaluator, source: str, race: Race | None = None, split: Split = Split.TRAIN
) -> Evaluation:
    return evaluator.evaluate(program(source), split, race)


def simulated(tmp_path: Path, old: str, new: str, source: str = LEAP) -> Evaluation:
    """An evaluation by a simulator of which a part was replaced."""
    assert old in EVALUATOR
    loaded = problem.load(str(write(tmp_path / "changed", EVALUATOR.replace(old, new))))
    with Evaluator(loaded, MINIMUM) as evaluator:
        return evaluated(evaluator, source)


# ---- scores


def test_a_policy_is_scored_by_what_the_simulator_makes_of_its_answers(
    evaluator: Evaluator, offers: Problem
) -> None:
    first = evaluator.evaluate(offers.seeds["first"], Split.TRAIN)
    expected = [float(instance.facts["offers"][0]) for instance in offers.split(Split.TRAIN)]
    assert list(first.objectives) == expected
    assert first.score == pytest.approx(0.0)
    leap = evaluator.evaluate(offers.seeds["leap"], Split.TRAIN)
    assert 0 < leap.score <= 1
    assert leap.instances == 12
    assert 0 < leap.slowest < 1
    assert leap.cpu_s > 0
    assert leap.peak_mb > 1
    assert leap.jail == evaluator.jail.level
    assert "mean offer taken" in leap.feedback


def test_the_same_policy_has_the_same_score_again(evaluator: Evaluator) -> None:
    dice = "import random\ndef take(left, offer):\n    return random.random() < 0.1\n"
    first, second = evaluated(evaluator, dice), evaluated(evaluator, dice)
    assert first.ok
    assert first.objectives == second.objectives
    assert len(set(first.objectives)) > 1


def test_what_a_policy_learns_on_an_instance_is_gone_on_the_next(evaluator: Evaluator) -> None:
    counter = "COUNT = [0]\ndef take(left, offer):\n    COUNT[0] += 1\n    return COUNT[0] == 5\n"
    by_count = evaluated(evaluator, counter)
    by_time = evaluated(evaluator, "def take(left, offer):\n    return left == 15\n")
    assert by_count.objectives == by_time.objectives


def test_answers_are_compared_with_those_of_an_elder_one_by_one(evaluator: Evaluator) -> None:
    never = program("def take(left, offer):\n    return False\n")
    known = evaluator.evaluate(never, Split.TRAIN)
    race = Race((2,), known.scores, 0.95, 0, elder=never)
    last = evaluated(evaluator, "def take(left, offer):\n    return left == 0\n", race)
    assert last.status is Status.RACED_OUT
    assert "decides otherwise than its parent, with the same scores, on train/0" in last.feedback
    assert evaluated(evaluator, "def take(left, offer):\n    return left < 0\n", race).scores == known.scores


def spy(offers: Problem) -> str:
    """A program that looks for later offers of the first instance wherever Python can look."""
    later = offers.split(Split.TRAIN)[0].facts["offers"][1:].tolist()
    return f"""
import gc, sys

LATER = {[offer + 1 for offer in later]}  # one more each, so that this list is no find


def take(left, offer):
    wanted, frame, reached = {{offer - 1 for offer in LATER}}, sys._getframe(), []
    while frame:
        reached += frame.f_locals.values()
        frame = frame.f_back
    for each in reached + gc.get_objects():
        if type(each) is bytes:
            assert not any(number.to_bytes(4, "big") in each for number in wanted), "seen in bytes"
        elif type(each) in (list, tuple) and 1 < len(each) < 100:
            assert len(wanted.intersection(item for item in each if type(item) is int)) < 2, "seen in a list"
    return True
"""


def test_a_policy_cannot_see_the_future(evaluator: Evaluator, offers: Problem) -> None:
    found = evaluated(evaluator, spy(offers))
    assert found.ok, found.feedback


def test_a_policy_that_is_shown_the_future_sees_it(tmp_path: Path, offers: Problem) -> None:
    loose = EVALUATOR.replace("ask(len(offers) - 1 - index, offer)", "ask(index, offers)")
    loaded = problem.load(str(write(tmp_path, loose)))
    with Evaluator(loaded, MINIMUM) as evaluator:
        assert "seen in" in evaluated(evaluator, spy(offers)).feedback


# ---- failures

FAILURES = [
    ("def take(left, offer):\n    return 1\n", Status.INVALID, "take returned 1; it has to return"),
    ("def take(left, offer):\n    return [True]\n", Status.INVALID, "[True]"),
    ("def take(left, offer):\n    return {True}\n", Status.INVALID, "type set"),
    ("def take(left, offer):\n    return left / (left - 17)\n", Status.INVALID, "9.5"),
    ("def take(left, offer):\n    return left // (left - 17) > 99\n", Status.CRASHED, "(question 3)"),
    ("def take(left):\n    return True\n", Status.CRASHED, "TypeError"),
    ("def take(left, offer):\n    while left == 15:\n        pass\n    return False\n", Status.TIMED_OUT, "0.2 s"),
    ("import os\ndef take(left, offer):\n    return True\n", Status.FORBIDDEN, "os"),
    ("def take(left, offer):\n    return [0] * 10**10\n", Status.OUT_OF_MEMORY, ""),
    ("x = 1\n", Status.CRASHED, "defines no function take"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "status", "text"), FAILURES)
def test_a_failure_is_a_status_with_a_text_and_no_score(
    evaluator: Evaluator, source: str, status: Status, text: str
) -> None:
    found = evaluated(evaluator, source)
    assert (found.status, found.scores, found.instances) == (status, (), 0)
    assert text in found.feedback
    assert found.feedback.startswith("instance train/0: ")


def test_the_cpu_limit_holds_for_all_answers_of_an_instance_together(evaluator: Evaluator) -> None:
    source = (
        "import time\ndef take(left, offer):\n    end = time.process_time() + 0.015\n"
        "    while time.process_time() < end:\n        pass\n    return False\n"
    )
    found = evaluated(evaluator, source)
    assert found.status is Status.TIMED_OUT
    assert "the answers together took more than 0.2 s of CPU" in found.feedback


def test_feedback_says_nothing_of_hidden_instances(evaluator: Evaluator) -> None:
    found = evaluated(evaluator, "def take(left, offer):\n    return 1\n", split=Split.VALIDATION)
    assert found.status is Status.INVALID
    assert "validation/" not in found.feedback
    assert "question" not in found.feedback


def test_better_than_the_bound_is_impossible(tmp_path: Path) -> None:
    found = simulated(
        tmp_path, "            return offer\n", "            return offer + 10**8 * (index > 0)\n"
    )
    assert found.status is Status.IMPOSSIBLE
    assert "better than the bound" in found.feedback


@pytest.mark.parametrize(
    ("new", "text"),
    [
        ("        1 / 0\n", "ZeroDivisionError"),
        ("        ask({1}, offer)\n", "WireError"),
        ("        return float('nan')\n", "the objective nan"),
        ("        return 'much'\n", "ValueError"),
        ("        return None\n", "TypeError"),
    ],
)
def test_a_fault_of_the_simulator_is_charged_to_nobody(tmp_path: Path, new: str, text: str) -> None:
    with pytest.raises(EvaluatorError, match=text):
        simulated(tmp_path, "        if answer:\n", f"{new}        if answer:\n")


@pytest.mark.parametrize(
    "careless",
    [
        "        try:\n            answer = ask(1, offer)\n        except:\n            answer = True\n",
        "        try:\n            answer = ask(1, offer)\n        except BaseException:\n            raise KeyError\n",
        "        try:\n            answer = ask(1, offer)\n        except BaseException:\n            raise Invalid\n",
        "        try:\n            answer = ask(1, offer)\n        except Exception:\n            answer = True\n",
    ],
)
def test_a_simulator_that_swallows_a_missing_answer_changes_nothing(tmp_path: Path, careless: str) -> None:
    old = "        answer = ask(len(offers) - 1 - index, offer)\n"
    loaded = problem.load(str(write(tmp_path / "changed", EVALUATOR.replace(old, careless))))
    with Evaluator(loaded, MINIMUM) as evaluator:
        found = evaluated(evaluator, "def take(left, offer):\n    return 1 / 0\n")
    assert found.status is Status.CRASHED
    assert "ZeroDivisionError" in found.feedback


# ---- stages


def test_a_clearly_worse_policy_is_stopped_early(evaluator: Evaluator, offers: Problem) -> None:
    bar = evaluator.evaluate(offers.seeds["leap"], Split.TRAIN).scores
    source = "import math\ndef take(left, offer):\n    return left == 19 and offer < 0 or left == 0\n"
    found = evaluated(evaluator, source, Race((6,), tuple(score + 5 for score in bar), 0.95, 0))
    assert (found.status, found.instances, found.scores) == (Status.RACED_OUT, 6, ())


def test_a_policy_that_decides_like_a_known_one_is_dropped(offers: Problem) -> None:
    seen = Seen()
    with Evaluator(offers, MINIMUM, seen) as evaluator:
        race = Race((6,), None, 0.95, 1)
        first = evaluated(evaluator, LEAP, race)
        assert first.ok
        assert first.decisions
        seen.add(first.decisions)
        twin = LEAP.replace("offer > BEST[0]", "not offer <= BEST[0]")
        found = evaluated(evaluator, twin, race)
        assert (found.status, found.instances) == (Status.DUPLICATE, 6)
        assert evaluated(evaluator, FIRST, race).ok
        assert evaluated(evaluator, twin, Race((6,), None, 0.95, 0)).ok, "not known at that horizon"


def test_an_evaluation_under_way_is_abandoned_when_the_run_stops(offers: Problem) -> None:
    cancelled = threading.Event()
    with Evaluator(offers, MINIMUM, cancelled=cancelled) as evaluator:
        evaluator.scale(Split.TRAIN)
        cancelled.set()
        with pytest.raises(CancelledEvaluation):
            evaluated(evaluator, FIRST)


# ---- the folder


@pytest.mark.parametrize(
    ("part", "old", "new", "text"),
    [
        ("toml", "interactive = true", 'interactive = "yes"', r"entry\.interactive: Expected `bool`"),
        ("toml", "interactive = true", "interactiv = true", r"did you mean 'entry\.interactive'"),
        ("toml", "interactive = true", "", "the function 'check' is not defined"),
        ("evaluator", "def simulate", "def play", "the function 'simulate' is not defined"),
        ("evaluator", "class Invalid", "class Wrong", "'Invalid' is not defined; `simulate` raises it"),
    ],
)
def test_a_folder_that_is_not_interactive_altogether_is_refused(
    tmp_path: Path, part: str, old: str, new: str, text: str
) -> None:
    texts = {"toml": TOML, "evaluator": EVALUATOR}
    texts[part] = texts[part].replace(old, new)
    with pytest.raises(ProblemError, match=text):
        problem.load(str(write(tmp_path, **texts)))


def test_instances_that_show_something_in_advance_are_refused(tmp_path: Path) -> None:
    loaded = problem.load(
        str(write(tmp_path, instances=INSTANCES.replace("{}, float", '{"left": 1}, float')))
    )
    with pytest.raises(EvaluatorError, match="has arguments left; in an interactive problem"):
        loaded.split(Split.TRAIN)


def test_the_first_question_is_the_example_of_how_a_policy_is_called(offers: Problem) -> None:
    instance = offers.split(Split.TRAIN)[0]
    assert offers.example(instance) == {"left": 19, "offer": instance.facts["offers"][0]}


@pytest.mark.parametrize(
    ("new", "text"),
    [
        ("return 1.0", "asks nothing"),
        ("ask(1)", "asks with 1 arguments"),
        ("1 / 0", "raised ZeroDivisionError"),
    ],
)
def test_a_simulator_that_asks_wrongly_is_told_so(tmp_path: Path, new: str, text: str) -> None:
    evaluator = EVALUATOR.replace("    offers = instance", f"    {new}\n    offers = instance")
    loaded = problem.load(str(write(tmp_path, evaluator)))
    with pytest.raises(EvaluatorError, match=text):
        loaded.example(loaded.split(Split.TRAIN)[0])


# ---- the whole way


@pytest.fixture(scope="module")
def searched(offers: Problem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    overrides = [
        "budget.evaluations=12",
        "workers=1",
        "seed=2",
        "mlflow.enabled=false",
        "jail.minimum=rlimits",
    ]
    run.start(folder, settings.resolve(str(offers.folder), {}, overrides)).execute()
    return folder


def test_a_search_finds_a_champion_that_a_package_can_prove(searched: Path, tmp_path: Path) -> None:
    published = publish(searched, None, tmp_path / "package")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(published.folder)]
    result = subprocess.run(command, cwd=published.folder, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "10 passed" in result.stdout
    assert "each time that there is something to decide" in (published.folder / "README.md").read_text()
    stub = next(published.folder.glob("src/*/heuristic.pyi")).read_text()
    assert "def take(left: int, offer: int) -> Any: ..." in stub


def test_the_packages_tests_notice_a_forged_result(searched: Path, tmp_path: Path) -> None:
    package = publish(searched, None, tmp_path / "package").folder
    sample = package / "tests" / "sample.json"
    cases = json.loads(sample.read_text())
    cases[0]["objective"] += 1
    sample.write_text(json.dumps(cases))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package)]
    result = subprocess.run(command, cwd=package, text=True, capture_output=True, check=False)
    assert result.returncode == 1
    assert "test_the_objective_is_the_recorded_one" in result.stdout


@pytest.fixture(scope="module")
def model(offers: Problem, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Saves a program as a champion's model, and loads it."""
    import mlflow.pyfunc

    from evolve.observers.mlflow_champion import Champions

    champions = Champions(offers, MINIMUM)

    def made(source: str) -> Any:
        folder = tmp_path_factory.mktemp("models") / "model"
        champions.save(program(source), "0" * 32, folder)
        return mlflow.pyfunc.load_model(str(folder))

    return made


def test_a_champions_model_answers_the_questions_of_an_instance(model: Callable[[str], Any]) -> None:
    import pandas as pd

    questions = pd.DataFrame([{"left": left, "offer": offer} for left, offer in ((13, 5), (12, 4), (11, 6))])
    assert model(LEAP).predict(questions) == [False, False, True]


def test_a_champions_model_tells_a_failure(model: Callable[[str], Any]) -> None:
    import pandas as pd

    failing = model("def take(left, offer):\n    return 1 // left\n")
    with pytest.raises(EvolveError, match="ZeroDivisionError"):
        failing.predict(pd.DataFrame([{"left": 1, "offer": 1}, {"left": 0, "offer": 1}]))


def test_a_hangup_is_no_exception_that_a_simulator_might_handle() -> None:
    assert not issubclass(Hangup, Exception)
