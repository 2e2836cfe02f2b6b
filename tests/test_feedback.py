"""What is told of a failure helps to mend the program, and says nothing of places or of hidden instances."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from evolve import feedback, problem
from evolve.evaluate import Evaluator
from evolve.program import make_candidate
from evolve.records import Evaluation, Split, Status

LOOP = "    while True:\n        pass\n"


@dataclass(frozen=True)
class Case:
    """A failing program; what its feedback has to say on train, and the marks of what it tries to carry out."""

    source: str
    status: Status
    words: tuple[str, ...]


CASES = {
    "a job twice": Case(
        "def order(p, w):\n    return [0] * len(p)\n", Status.INVALID, ("twice", "exactly once")
    ),
    "a job out of range": Case(
        "def order(p, w):\n    return [777] + list(range(1, len(p)))\n", Status.INVALID, ("777", "0..")
    ),
    "a float": Case(
        "def order(p, w):\n    return [0.5] + list(range(1, len(p)))\n", Status.INVALID, ("0.5", "integer")
    ),
    "too short": Case("def order(p, w):\n    return [0]\n", Status.INVALID, ("list of",)),
    "no decision": Case("def order(p, w):\n    return None\n", Status.INVALID, ("list of",)),
    "what cannot cross": Case(
        "def order(p, w):\n    return order\n", Status.INVALID, ("function", "handed over")
    ),
    "an exception": Case(
        "def order(p, w):\n    q = {}\n    return q['rank']\n",
        Status.CRASHED,
        ("KeyError", "'rank'", "line 3", "return q['rank']"),
    ),
    "an exception of a library": Case(
        "import numpy as np\ndef order(p, w):\n    return np.linalg.inv(np.zeros((2, 2)))\n",
        Status.CRASHED,
        ("LinAlgError", "Singular", "line 3", "np.linalg.inv"),
    ),
    "a name that a library lacks": Case(
        "def order(p, w):\n    from numpy import nothing\n",
        Status.CRASHED,
        ("ImportError", "'nothing'", "'numpy'", "line 2"),
    ),
    "a syntax error": Case(
        "def order(p, w)\n    return []\n", Status.CRASHED, ("SyntaxError", "line 1", "def order")
    ),
    "no entry point": Case("def sort(p, w):\n    return []\n", Status.CRASHED, ("no function order", "sort")),
    "an exit": Case("def order(p, w):\n    raise SystemExit(0)\n", Status.CRASHED, ("SystemExit", "line 2")),
    "a recursion": Case(
        "def order(p, w):\n    return order(p, w)\n", Status.CRASHED, ("RecursionError", "line 2")
    ),
    "an endless loop": Case(f"def order(p, w):\n{LOOP}", Status.TIMED_OUT, ("0.05 s of CPU",)),
    "an endless load": Case("while True:\n    pass\n", Status.TIMED_OUT, ("loading", "1 s of CPU")),
    "a hoard": Case(
        "def order(p, w):\n    return [0] * 10**10\n", Status.OUT_OF_MEMORY, ("MemoryError", "line 2")
    ),
    "an import": Case(
        "def order(p, w):\n    import socket\n",
        Status.FORBIDDEN,
        ("'socket'", "allowed: math, numpy", "line 2"),
    ),
    "an exception that carries the instance": Case(
        "def order(p, w):\n    raise ValueError(f'p={p.tolist()}')\n", Status.CRASHED, ("ValueError", "p=[")
    ),
    "a type that carries the instance": Case(
        "def order(p, w):\n    raise type('P' + '_'.join(map(str, p.tolist())), (Exception,), {})\n",
        Status.CRASHED,
        ("P",),
    ),
    "a decision that carries the instance": Case(
        "def order(p, w):\n    return [int(p.sum()) + 1000] * len(p)\n", Status.INVALID, ("0..",)
    ),
    "control characters": Case(
        "def order(p, w):\n    raise ValueError('\\x1b[31mred\\x00')\n", Status.CRASHED, ("?[31mred?",)
    ),
}


@pytest.fixture(scope="module")
def evaluator(small: problem.Problem) -> Iterator[Evaluator]:
    with Evaluator(small, "rlimits") as made:
        yield made


def evaluated(evaluator: Evaluator, source: str, split: Split) -> Evaluation:
    try:
        candidate = make_candidate({"program.py": source})
    except (
        problem.ProgramError
    ):  # the proposer's gate would have stopped it; the jail has to cope all the same
        seed = evaluator.problem.seeds["spt"]
        candidate = type(seed)("f" * 16, {"program.py": source})
    return evaluator.evaluate(candidate, split)


def places(small_folder: Path) -> list[str]:
    """Folders that no feedback may name."""
    return [
        sys.prefix,
        sys.base_prefix,
        str(Path.home()),
        str(small_folder),
        str(Path.cwd()),
        "site-packages",
        "/lib",
    ]


@pytest.mark.parametrize("name", CASES)
def test_on_train_it_says_what_is_wrong_and_where(
    evaluator: Evaluator, small_folder: Path, name: str
) -> None:
    case = CASES[name]
    found = evaluated(evaluator, case.source, Split.TRAIN)
    assert found.status is case.status, found.feedback
    assert found.feedback.startswith("instance train/n8-even-0: ")
    for word in case.words:
        assert word in found.feedback
    for place in [*places(small_folder), "evaluator", "validation", "holdout", "Traceback", "\x1b", "\x00"]:
        assert place not in found.feedback
    assert len(found.feedback) < 2100


@pytest.mark.parametrize("split", [Split.VALIDATION, Split.HOLDOUT])
@pytest.mark.parametrize("name", CASES)
def test_elsewhere_it_says_the_kind_of_failure_alone(evaluator: Evaluator, name: str, split: Split) -> None:
    case = CASES[name]
    found = evaluated(evaluator, case.source, split)
    assert found.status is case.status
    texts = {status: feedback.of_failure(split, "secret", status, "secret") for status in Status}
    assert found.feedback == texts[case.status]
    assert found.feedback.startswith(f"an instance of {split}: ")
    assert "secret" not in found.feedback


@pytest.mark.parametrize("split", [Split.VALIDATION, Split.HOLDOUT])
def test_a_success_elsewhere_says_no_groups(
    evaluator: Evaluator, small: problem.Problem, split: Split
) -> None:
    train = evaluator.evaluate(small.seeds["spt"], Split.TRAIN).feedback
    assert "n=30" in train
    hidden = evaluator.evaluate(small.seeds["spt"], split).feedback
    assert "n=" not in hidden
    assert hidden.startswith("mean weighted completion time")


def test_an_evaluator_that_quotes_a_path_or_a_novel_is_curbed(small_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "talkative"))
    path = folder / "evaluator.py"
    text = path.read_text().replace(
        'raise Invalid(f"order has to be',
        'raise Invalid(np.__file__ + "\\x07" + "x" * 5000 + f"order has to be',
    )
    path.write_text(text)
    with Evaluator(problem.load(str(folder)), "rlimits") as evaluator:
        found = evaluated(evaluator, "def order(p, w):\n    return []\n", Split.TRAIN)
    assert found.status is Status.INVALID
    assert found.feedback.startswith("instance train/n8-even-0: __init__.py?xxx")
    assert len(found.feedback) < 2100


def test_a_division_is_no_path() -> None:
    text = "ZeroDivisionError: division by zero, in program.py line 3: y = a /b/c + x / w"
    assert feedback.of_failure(Split.TRAIN, "i", Status.CRASHED, text) == f"instance i: {text}"


def test_an_impossible_score_keeps_its_figures_and_not_the_instance(
    small_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "loose"))
    path = folder / "instances.py"
    path.write_text(path.read_text().replace("bound=smith(p, w)", "bound=0.9 * float(w @ np.cumsum(p))"))
    with Evaluator(problem.load(str(folder)), "rlimits") as evaluator:
        smith = "import numpy as np\ndef order(p, w):\n    return np.argsort(p / w).tolist()\n"
        found = evaluated(evaluator, smith, Split.VALIDATION)
    assert found.status is Status.IMPOSSIBLE
    assert "is better than the bound" in found.feedback
    assert "validation/" not in found.feedback
