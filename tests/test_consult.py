"""A harness that asks the evaluator while a program decides: answered and counted on the trusted side alone."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from evolve import problem, run, settings
from evolve.errors import EvaluatorError, EvolveError, ProblemError
from evolve.evaluate import Evaluator
from evolve.jail import Level
from evolve.publish import publish
from evolve.records import Evaluation, Split, Status

HARNESS = """
from program import order


def decide(batch, consult):
    return [order(p, w, lambda jobs: consult([int(job) for job in jobs])) for p, w in batch]
"""
CONSULT = '''

CALLS = 30


def consult(instance, value, count):
    """Weighted completion time of some jobs."""
    if count > CALLS:
        raise Invalid(f"more than {CALLS} questions")
    if type(value) is not list or not set(map(type, value)) <= {int} or not value:
        raise Invalid("no list of jobs")
    if value == [0]:
        raise KeyError("a fault of the evaluator")
    return objective(instance, np.array(value) % len(instance.arguments["p"]))
'''
BY_ASKING = """
def order(p, w, cost):
    found = list(range(len(p)))
    best = cost(found)
    for place in range(min(25, len(p) - 1)):
        found[place], found[place + 1] = found[place + 1], found[place]
        value = cost(found)
        if value < best:
            best = value
        else:
            found[place], found[place + 1] = found[place + 1], found[place]
    return found
"""
ARRIVAL = "def order(p, w, cost):\n    return list(range(len(p)))\n"


@pytest.fixture(scope="module")
def folder(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = Path(shutil.copytree(small_folder, tmp_path_factory.mktemp("consulting") / "mine"))
    text = (place / "problem.toml").read_text()
    text = text.replace('parameters = ["p", "w"]', 'parameters = ["p", "w", "cost"]', 1)
    text = text.replace('key_seeds = ["arrival", "spt"]', 'key_seeds = ["arrival"]')
    text += '\n[harness]\nfile = "loop.py"\nparameters = ["p", "w"]\nconsults = true\n'
    (place / "problem.toml").write_text(text)
    (place / "loop.py").write_text(HARNESS)
    with (place / "evaluator.py").open("a") as judge:
        judge.write(CONSULT)
    for seed in (place / "seeds").glob("*.py"):
        seed.unlink()
    (place / "seeds" / "arrival.py").write_text(ARRIVAL)
    (place / "seeds" / "asking.py").write_text(BY_ASKING)
    return place


@pytest.fixture(scope="module")
def judge(folder: Path) -> Iterator[Evaluator]:
    with Evaluator(problem.load(str(folder)), Level.RLIMITS) as made:
        yield made


def evaluated(judge: Evaluator, tmp_path: Path, text: str) -> Evaluation:
    (tmp_path / "mine.py").write_text(text)
    return judge.evaluate(problem.read_program(tmp_path / "mine.py", judge.problem.spec), Split.TRAIN)


def test_a_program_improves_by_what_it_is_told(judge: Evaluator, tmp_path: Path) -> None:
    told = evaluated(judge, tmp_path, BY_ASKING)
    misled = evaluated(judge, tmp_path, BY_ASKING.replace("value < best", "value > best"))
    assert told.status is Status.OK
    assert told.score > 0 > misled.score


@pytest.mark.parametrize(
    "more",
    [
        "    while True:\n        cost(range(len(p)))\n",
        # past whatever the harness might count: what it asks with is in the program's reach
        "    ask = cost.__closure__[0].cell_contents\n    for _ in range(31):\n        ask([1])\n",
    ],
)
def test_more_questions_than_allowed_end_a_program_whatever_it_does_to_the_harness(
    judge: Evaluator, tmp_path: Path, more: str
) -> None:
    found = evaluated(judge, tmp_path, f"def order(p, w, cost):\n{more}    return list(range(len(p)))\n")
    assert found.status is Status.INVALID
    assert "more than 30 questions" in found.feedback


@pytest.mark.parametrize(
    "asked", ["[[1]]", "{'a': 1}", "b'x'", "[1, [2]]", "object()", "10**30", "'x'", "None"]
)
def test_a_question_that_is_none_fails_the_program(judge: Evaluator, tmp_path: Path, asked: str) -> None:
    text = f"def order(p, w, cost):\n    cost.__closure__[0].cell_contents({asked})\n    return list(range(len(p)))\n"
    assert evaluated(judge, tmp_path, text).status is Status.INVALID


def test_a_fault_of_the_evaluator_is_not_charged_to_the_program(judge: Evaluator, tmp_path: Path) -> None:
    with pytest.raises(EvaluatorError, match="a fault of the evaluator"):
        evaluated(judge, tmp_path, "def order(p, w, cost):\n    cost([0])\n    return list(range(len(p)))\n")


def test_each_instance_has_a_process_of_its_own(judge: Evaluator, tmp_path: Path) -> None:
    text = ARRIVAL.replace("    return", "    calls.append(1)\n    assert len(calls) == 1\n    return")
    assert evaluated(judge, tmp_path, "calls = []\n" + text).status is Status.OK


def test_endless_computing_and_waiting_end_at_the_limits(judge: Evaluator, tmp_path: Path) -> None:
    endless = "def order(p, w, cost):\n    cost([1])\n    while True:\n        pass\n"
    assert evaluated(judge, tmp_path, endless).status is Status.TIMED_OUT


def test_a_program_of_another_problem_cannot_ask(tmp_path: Path) -> None:
    """What would be a question elsewhere, its nonce and all, is no answer where nobody may ask."""
    paging = problem.load("online_paging")
    sent = (
        "modules = print.__self__.__import__('sys').modules\n"
        "turn = next(modules[name] for name in modules if name.endswith('turn'))\n"
        "turn._answer = lambda value, nonce, limit: turn._aside(value, nonce)\n\n\n"
    )
    (tmp_path / "mine.py").write_text(sent + paging.seeds["lru"].files["program.py"])
    with Evaluator(paging, Level.RLIMITS) as evaluator:
        found = evaluator.evaluate(problem.read_program(tmp_path / "mine.py", paging.spec), Split.TRAIN)
    assert found.status is Status.INVALID
    assert "a frame out of turn" in found.feedback


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("evaluator.py", "def consult(", "def other(", r"the function 'consult' is not defined"),
        ("problem.toml", "consults = true", "consults = true\nbatch = 4", r"harness\.batch has\s+to be 1"),
    ],
)
def test_what_a_consulting_harness_needs_is_checked(
    folder: Path, tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    place = Path(shutil.copytree(folder, tmp_path / "other"))
    text = (place / file).read_text()
    assert old in text
    (place / file).write_text(text.replace(old, new))
    with pytest.raises(ProblemError, match=message):
        problem.load(str(place))


def test_a_package_recomputes_what_was_found_by_asking(folder: Path, tmp_path: Path) -> None:
    chosen = settings.resolve(
        str(folder), {}, ["budget.evaluations=4", "workers=1", "jail.minimum=rlimits", "mlflow.enabled=false"]
    )
    run.start(tmp_path / "run", chosen).execute()
    publish(tmp_path / "run", None, tmp_path / "package")
    assert "decide([[p, w]], consult)" in (tmp_path / "package" / "README.md").read_text()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path / "package", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_registered_model_asks_the_judge_that_it_carries(folder: Path, tmp_path: Path) -> None:
    from evolve.observers.mlflow_champion import Champions
    from evolve.observers.mlflow_model import CONTRACT, JailedProgram

    loaded = problem.load(str(folder))
    Champions(loaded, "rlimits").save(loaded.seeds["asking"], "0" * 32, tmp_path / "model")
    program = next((tmp_path / "model").rglob(CONTRACT)).parent
    assert json.loads((program / CONTRACT).read_text())["judge"]
    model = JailedProgram()
    model.load_context(SimpleNamespace(artifacts={"program": str(program)}))  # type: ignore[arg-type]
    rows = pd.DataFrame([{"p": [9, 1, 5], "w": [1, 9, 1]}, {"p": [1], "w": [1]}])
    assert model.predict(None, rows.iloc[:1]) == [[1, 2, 0]]  # type: ignore[arg-type]
    model._contract["judge"] = model._contract["judge"].replace("CALLS = 30", "CALLS = 0")
    with pytest.raises(EvolveError, match="more than 0 questions"):
        model.predict(None, rows.iloc[:1])  # type: ignore[arg-type]
