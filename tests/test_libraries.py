"""A problem's own libraries: made once in the warm process, importable by programs, known to digest and package."""

import shutil
from pathlib import Path

import pytest

from evolve import problem
from evolve.errors import JailError, ProblemError
from evolve.evaluate import Evaluator
from evolve.jail import Level
from evolve.publish import source
from evolve.records import Split, Status

LIBRARY = '''
"""By rising p / w, and who else was here."""

import numpy
import os

calls = []


def best(p, w):
    calls.append(1)
    return [int(job) for job in numpy.argsort(p / w)], len(calls)
'''
PROGRAM = """
from ratio import best


def order(p, w):
    return best(p, w)[0]
"""


@pytest.fixture
def folder(small_folder: Path, tmp_path: Path) -> Path:
    place = Path(shutil.copytree(small_folder, tmp_path / "mine"))
    text = (place / "problem.toml").read_text()
    (place / "problem.toml").write_text(text.replace("[entry]", 'libraries = ["ratio.py"]\n\n[entry]', 1))
    (place / "ratio.py").write_text(LIBRARY)
    return place


def status(folder: Path, text: str) -> tuple[Status, str, float]:
    (folder / "mine.py").write_text(text)
    loaded = problem.load(str(folder))
    candidate = problem.read_program(folder / "mine.py", loaded.spec)
    with Evaluator(loaded, Level.RLIMITS) as evaluator:
        found = evaluator.evaluate(candidate, Split.TRAIN)
    return found.status, found.feedback, found.score


def test_a_program_imports_a_library_that_imports_what_programs_may_not(folder: Path) -> None:
    found = status(folder, PROGRAM)
    assert found[0] is Status.OK
    assert found[2] == pytest.approx(1.0)
    assert status(folder, "import os\n" + PROGRAM)[0] is Status.FORBIDDEN


def test_the_refusal_of_an_import_names_the_library(folder: Path) -> None:
    assert "ratio" in status(folder, "import os\n" + PROGRAM)[1]


def test_what_a_program_does_to_a_library_is_gone_with_its_process(folder: Path) -> None:
    loaded = problem.load(str(folder))
    spoil = PROGRAM.replace("return", "import ratio; ratio.best = None; return")
    (folder / "spoil.py").write_text(spoil)
    (folder / "fair.py").write_text(PROGRAM)
    with Evaluator(loaded, Level.RLIMITS) as evaluator:
        for name in ("spoil", "fair"):
            found = evaluator.evaluate(problem.read_program(folder / f"{name}.py", loaded.spec), Split.TRAIN)
            assert found.status is Status.OK


def test_a_library_that_fails_is_a_fault_of_the_problem(folder: Path) -> None:
    (folder / "ratio.py").write_text("raise ImportError('ratio needs abacus: pip install abacus')\n")
    with pytest.raises(JailError, match="ratio needs abacus: pip install abacus"):
        status(folder, PROGRAM)


def test_another_library_is_another_problem(folder: Path) -> None:
    before = problem.load(str(folder)).digest
    (folder / "ratio.py").write_text(LIBRARY + "\n")
    assert problem.load(str(folder)).digest != before


@pytest.mark.parametrize(
    ("name", "message"),
    [("nosuch.py", "'nosuch.py': no such file"), ("random.py", "could not import 'random'")],
)
def test_a_library_that_nobody_could_import_is_refused(folder: Path, name: str, message: str) -> None:
    if name != "nosuch.py":
        (folder / name).write_text("")
    text = (folder / "problem.toml").read_text()
    (folder / "problem.toml").write_text(text.replace("ratio.py", name))
    with pytest.raises(ProblemError, match=message):
        problem.load(str(folder))


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("try:\n    import numba\nexcept ImportError:\n    numba = None\n", set()),
        ("try:\n    from numba import njit\nexcept (OSError, ModuleNotFoundError):\n    pass\n", set()),
        (
            "try:\n    import numba\nexcept ImportError as error:\n    raise ImportError('x') from error\n",
            {"numba"},
        ),
        ("try:\n    import numba\nexcept ValueError:\n    pass\n", {"numba"}),
        ("try:\n    import numba\nfinally:\n    pass\n", {"numba"}),
        ("import numba\ntry:\n    pass\nexcept ImportError:\n    import scipy\n", {"numba", "scipy"}),
    ],
)
def test_what_a_published_evaluator_can_do_without_is_not_needed(text: str, needed: set[str]) -> None:
    assert source.modules(text, optional=False) == needed
