"""The gallery in `discovered/`: its table, its proofs and its programs agree."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evolve import problem, program
from evolve.audit.stage import patient
from evolve.evaluate import Evaluator
from evolve.records import Split

ROOT = Path(__file__).parent.parent
FOUND = sorted(path.parent.name for path in (ROOT / "discovered").glob("*/PROOF.json"))


def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "bench" / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def proof(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (ROOT / "discovered" / name / "PROOF.json").read_text(encoding="utf-8")
    )
    return found


def test_the_tables_are_those_of_the_proofs() -> None:
    pages = gallery().pages()
    assert len(pages) == 2
    for file, table in pages.items():
        assert table in file.read_text(encoding="utf-8")


def test_each_package_is_in_the_table_with_its_commands() -> None:
    text = (ROOT / "discovered" / "README.md").read_text(encoding="utf-8")
    assert FOUND
    for name in FOUND:
        assert f"evolve publish runs/{name} --to discovered/{name}" in text


@pytest.mark.parametrize("name", FOUND)
def test_the_program_is_the_one_that_was_measured(name: str) -> None:
    found = proof(name)
    text = (ROOT / gallery().module(found)).read_bytes()
    assert hashlib.sha256(text).hexdigest() == found["candidate"]["module_sha256"]
    main = problem.load(name).spec.program
    assert program.identity({main: text.decode()}) == found["candidate"]["id"]


@pytest.mark.parametrize("name", FOUND)
def test_the_program_scores_on_validation_what_the_proof_says(name: str) -> None:
    # what it scores is the question here, and the machine may be slow: limits are wide
    found, the_problem = proof(name), patient(problem.load(name))
    candidate = problem.read_program(ROOT / gallery().module(found), the_problem.spec)
    with Evaluator(the_problem, "rlimits") as evaluator:
        evaluation = evaluator.evaluate(candidate, Split.VALIDATION)
    assert evaluation.objective == pytest.approx(found["validation"]["objective"], rel=1e-9)
    assert evaluation.score == pytest.approx(found["validation"]["score"], rel=1e-9)


@pytest.mark.parametrize("name", FOUND)
def test_a_package_passes_its_own_tests(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(
        command, cwd=ROOT / "discovered" / name, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
