"""Programs of several files: a problem says which of them may change, and everything else follows."""

import ast
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evolve import problem as problems
from evolve import program as programs
from evolve import run, settings
from evolve.errors import ProblemError
from evolve.journal import Journal
from evolve.proposers.genetic import GeneticProposer
from evolve.publish import publish, source
from evolve.records import Candidate, Evaluation, Member, Proposal, Sample, Split, Status

MAIN = '''"""The scaffold: it asks the rule which job goes next."""
import numpy as np
from rule import priority


def order(p: np.ndarray, w: np.ndarray) -> list[int]:
    """Order of the jobs."""
    waiting = np.arange(len(p))
    sequence: list[int] = []
    t = 0
    while len(waiting) > 0:
        k = int(np.argmin(priority(p[waiting], w[waiting], t)))
        sequence.append(int(waiting[k]))
        t += int(p[waiting[k]])
        waiting = np.delete(waiting, k)
    return sequence
'''
RULE = '''"""The rule."""
import numpy as np


def priority(p: np.ndarray, w: np.ndarray, t: int) -> np.ndarray:
    """The smallest goes next."""
    return {}
'''


def write(folder: Path, template: Path, change: str) -> Path:
    shutil.copytree(template, folder)
    shutil.rmtree(folder / "seeds")
    text = (folder / "problem.toml").read_text()
    text = text.replace("version = 1 ", f'files = ["program.py", "rule.py"]\n{change}\nversion = 1 ', 1)
    (folder / "problem.toml").write_text(text)
    for name, body in (("arrival", "np.arange(len(p)) + 0 * p"), ("spt", "p")):
        (folder / "seeds" / name).mkdir(parents=True)
        (folder / "seeds" / name / "rule.py").write_text(RULE.format(body))
        if not change:
            (folder / "seeds" / name / "program.py").write_text(MAIN)
    if change:
        (folder / "program.py").write_text(MAIN)
    return folder


@pytest.fixture(scope="module")
def fixed(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only the rule may change; the scaffold lies beside problem.toml."""
    return write(tmp_path_factory.mktemp("fixed") / "two", small_folder, 'change = ["rule.py"]')


@pytest.fixture(scope="module")
def free(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both files may change, and each seed has both."""
    return write(tmp_path_factory.mktemp("free") / "two", small_folder, "")


@pytest.fixture(scope="module")
def searched(fixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched") / "run"
    given = {"budget": {"evaluations": 250}, "workers": 1}
    made = run.start(folder, settings.resolve(str(fixed), given, ["jail.minimum=rlimits"]))
    made.execute()
    made.journal.close()
    return folder


def candidates(folder: Path) -> list[Candidate]:
    with Journal.open(folder, read_only=True) as journal:
        records = [entry.record for entry in journal.entries()]
    return [each.candidate for each in records if isinstance(each, Proposal) and each.candidate]


def test_each_seed_is_a_folder_and_has_the_files_that_do_not_change(fixed: Path, free: Path) -> None:
    for folder in (fixed, free):
        loaded = problems.load(str(folder))
        assert sorted(loaded.seeds) == ["arrival", "spt"]
        assert all(set(seed.files) == {"program.py", "rule.py"} for seed in loaded.seeds.values())
        assert all(seed.files["program.py"] == MAIN for seed in loaded.seeds.values())


def test_a_search_finds_smiths_rule_and_leaves_the_other_file_alone(searched: Path) -> None:
    made = candidates(searched)
    assert {each.files["program.py"] for each in made} == {MAIN}
    assert len({each.files["rule.py"] for each in made}) > 200
    with Journal.open(searched, read_only=True) as journal:
        evaluations = [entry.record for entry in journal.entries() if isinstance(entry.record, Evaluation)]
    assert max(each.score for each in evaluations if each.ok and each.split is Split.TRAIN) > 0.999


def test_the_best_program_lies_in_a_folder_of_its_own(searched: Path) -> None:
    files = {path.name: path.read_text() for path in (searched / "best").iterdir()}
    assert set(files) == {"program.py", "rule.py"}
    assert files in [dict(each.files) for each in candidates(searched)]


def offspring(folder: Path, count: int) -> list[Candidate]:
    loaded = problems.load(str(folder))
    spec, seeds = loaded.spec, list(loaded.seeds.values())
    members = [Member(each, Evaluation(each.id, Split.TRAIN, Status.OK, (0.0,), (0.0,))) for each in seeds]
    proposer = GeneticProposer(
        spec.entry.function, spec.program, spec.limits.imports, seeds, changing=spec.changing
    )
    sample = Sample(members[0], (members[1],))
    made = [proposer.propose(sample, number, random.Random(number)).candidate for number in range(count)]
    return [each for each in made if each is not None]


def test_where_both_files_may_change_both_do_and_still_fit_together(free: Path) -> None:
    made = offspring(free, 120)
    seed = problems.load(str(free)).seeds["arrival"]
    changed = [{name for name in each.files if each.files[name] != seed.files[name]} for each in made]
    assert {frozenset(names) for names in changed} == {frozenset({"program.py"}), frozenset({"rule.py"})}
    for each in made:
        assert "priority" in programs.defined_functions(ast.parse(each.files["rule.py"]))
        assert "order" in programs.defined_functions(ast.parse(each.files["program.py"]))


def test_the_id_of_a_child_is_that_of_its_files(free: Path) -> None:
    assert all(each.id == programs.identity(each.files) for each in offspring(free, 60))


def test_what_other_files_import_is_found() -> None:
    files = {"a.py": "from b import f, g as h\nimport c\n", "b.py": "f = 1\n", "c.py": "def k():\n    pass\n"}
    assert programs.exports(files, "b.py") == ("f", "g")
    assert programs.exports(files, "c.py") == ("k",)
    assert programs.exports(files, "a.py") == ()


def test_a_diff_shows_the_file_that_changed(free: Path) -> None:
    seeds = problems.load(str(free)).seeds
    diff = programs.unified_diff(seeds["arrival"].files, seeds["spt"].files)
    assert "+++ b/rule.py" in diff
    assert "program.py" not in diff


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('change = ["rul.py"]', "change names 'rul.py'; files has: program.py, rule.py"),
        ('change = ["program.py"]', "'rule.py' may not change, so it lies beside problem.toml"),
    ],
)
def test_a_file_that_is_not_there_is_named(
    small_folder: Path, tmp_path: Path, line: str, complaint: str
) -> None:
    folder = write(tmp_path / "two", small_folder, line)
    with pytest.raises(ProblemError, match=complaint):
        problems.load(str(folder))


def test_a_program_to_evaluate_is_a_folder(fixed: Path) -> None:
    spec = problems.load(str(fixed)).spec
    with pytest.raises(ProblemError, match="name a folder that holds"):
        problems.read_program(fixed / "seeds" / "spt" / "rule.py", spec, fixed)
    assert set(problems.read_program(fixed / "seeds" / "spt", spec, fixed).files) == {"program.py", "rule.py"}


def test_show_lineage_and_diff_know_all_files(searched: Path) -> None:
    def asked(*arguments: str) -> dict[str, object]:
        command = [sys.executable, "-m", "evolve.cli", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, object] = json.loads(done.stdout)
        return found

    shown = asked("show", str(searched))
    assert set(shown["files"]) == {"program.py", "rule.py"}  # type: ignore[call-overload]
    assert asked("lineage", str(searched))["steps"]
    assert "b/rule.py" in str(asked("diff", str(searched))["diff"])


def test_a_published_package_holds_all_files_and_passes_its_tests(searched: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(searched, tmp_path / "run"))
    published = publish(copied, None, tmp_path / "package")
    package = published.folder / "src" / published.module
    assert "from .rule import priority" in (package / "heuristic.py").read_text()
    assert (package / "rule.py").is_file()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    environment = {**os.environ, "PYTHONPATH": str(published.folder / "src")}
    done = subprocess.run(
        command, cwd=published.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("from rule import f, g as h", "from .rule import f, g as h"),
        ("import rule", "from . import rule"),
        ("import numpy as np, rule as r", "import numpy as np; from . import rule as r"),
        ("from numpy import argsort", "from numpy import argsort"),
        ("if True:\n    import rule  # ä", "if True:\n    from . import rule  # ä"),
    ],
)
def test_imports_of_other_files_become_relative_in_a_package(line: str, wanted: str) -> None:
    assert source.relative(f"x = 'ö'\n{line}\ny = 2\n", {"rule.py": ""}) == f"x = 'ö'\n{wanted}\ny = 2\n"
