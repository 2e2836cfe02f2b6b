"""A problem folder is checked, and what is wrong with it is named."""

import re
import shutil
from pathlib import Path

import pytest

from evolve import dependencies, problem
from evolve.errors import EvaluatorError, ProblemError
from evolve.records import SPLITS, Split


@pytest.fixture
def folder(small_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_folder, tmp_path / "mine"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_folder_anywhere_on_disk_loads(folder: Path) -> None:
    loaded = problem.load(str(folder))
    assert set(loaded.seeds) >= {loaded.spec.score.baseline}
    assert all(loaded.split(split) for split in SPLITS)


def test_the_splits_share_no_instance(folder: Path) -> None:
    loaded = problem.load(str(folder))
    seen = [
        str([value.tolist() for value in instance.arguments.values()])
        for split in SPLITS
        for instance in loaded.split(split)
    ]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("name", problem.bundled_problems())
def test_a_bundled_problem_is_found_by_its_bare_name(name: str) -> None:
    assert problem.find(name).name == name


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ProblemError, match=r"nosuch: no such problem folder.*smtt"):
        problem.find("nosuch")


def test_a_folder_without_problem_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match=r"has no problem\.toml; `evolve new"):
        problem.load(str(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "cpu_s =",
            "cpu_seconds =",
            r"problem\.toml: unknown key 'limits\.cpu_seconds'; did you mean 'limits\.cpu_s'",
        ),
        ("title =", "titel =", r"unknown key 'titel'; did you mean 'title'"),
        ("cpu_s = 0.05", "", r"problem\.toml: key 'limits\.cpu_s' is missing"),
        ("cpu_s = 0.05", 'cpu_s = "much"', r"limits\.cpu_s: Expected `float`, got `str`"),
        ("cpu_s = 0.05", "cpu_s = 0.0", r"limits: cpu_s and load_s have to be above 0 s"),
        (
            'direction = "minimise"',
            'direction = "down"',
            r"toml: objective\.direction is 'down'; it has to be one of: minimise, maximise",
        ),
        (
            'baseline = "arrival"',
            'baseline = "arival"',
            r"names the seed 'arival', but there is no .*arival\.py",
        ),
        ('evaluator = "evaluator.py"', 'evaluator = "judge.py"', r"evaluator = 'judge\.py': no such file"),
        ('seeds = "seeds"', 'seeds = "seed"', r"seeds = 'seed': no such folder"),
        (
            'function = "order"',
            'function = "ordr"',
            r"entry 'ordr' is not defined in .*arrival\.py; it defines: priority, order",
        ),
        (
            'parameters = ["p", "w"]',
            'parameters = ["p"]',
            r"order takes 2 arguments; it is called as order\(p\)",
        ),
        ("[entry]", "[entry", r"problem\.toml: .*line"),
    ],
)
def test_a_bad_problem_toml_is_refused_by_name(folder: Path, old: str, new: str, message: str) -> None:
    edit(folder / "problem.toml", old, new)
    with pytest.raises(ProblemError, match=message):
        problem.load(str(folder))


DESCRIPTOR = '[[descriptors]]\nname = "{}"\nlow = {}\nhigh = {}\ncells = {}\n'
HARNESS = '[harness]\nfile = "{}"\nparameters = ["p", "w"]\nbatch = {}\n'


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            DESCRIPTOR.format("spd", 0, 1, 4),
            r"the descriptor 'spd' is neither 'size' nor a seed; there are: arrival",
        ),
        (DESCRIPTOR.format("size", 5, 5, 4), r"the descriptor 'size' needs at least 1 cell and low < high"),
        (DESCRIPTOR.format("size", 0, 9, 4) + "log = true\n", r"low above 0 with log"),
        (DESCRIPTOR.format("spt", 0, 1, 4), r"evaluator\.py: the function 'distance' is not defined"),
        (HARNESS.format("loop.py", 8), r"harness\.file = 'loop\.py': no such file"),
        (HARNESS.format("evaluator.py", 0), r"harness\.batch is 0; it has to be at least 1"),
        (HARNESS.format("evaluator.py", 8), r"evaluator\.py: the function 'decide' is not defined"),
        (
            HARNESS.format("evaluator.py", 8) + "bach = 3\n",
            r"unknown key 'harness\.bach'; did you mean 'harness\.batch'",
        ),
    ],
)
def test_a_bad_harness_or_descriptor_is_refused_by_name(folder: Path, table: str, message: str) -> None:
    with (folder / "problem.toml").open("a") as file:
        file.write(f"\n{table}")
    with pytest.raises(ProblemError, match=message):
        problem.load(str(folder))


def test_a_change_of_the_harness_changes_the_digest(folder: Path) -> None:
    with (folder / "problem.toml").open("a") as file:
        file.write("\n" + HARNESS.format("loop.py", 8))
    (folder / "loop.py").write_text("def decide(batch):\n    return []\n")
    before = problem.load(str(folder)).digest
    (folder / "loop.py").write_text("def decide(batch):\n    return [0]\n")
    assert problem.load(str(folder)).digest != before


def test_a_seed_that_does_not_parse_is_refused_with_its_line(folder: Path) -> None:
    (folder / "seeds" / "broken.py").write_text("def order(p, w):\n    return (\n")
    with pytest.raises(ProblemError, match=r"broken\.py, line 2: '\(' was never closed"):
        problem.load(str(folder))


def test_an_evaluator_without_a_rule_exception_is_refused(folder: Path) -> None:
    edit(folder / "evaluator.py", "class Invalid", "class Wrong")
    with pytest.raises(ProblemError, match="the exception class 'Invalid' is not defined"):
        problem.load(str(folder))


def test_a_generator_that_raises_is_the_problems_fault(folder: Path) -> None:
    (folder / "instances.py").write_text("def instances(split):\n    raise OSError('no data')\n")
    with pytest.raises(EvaluatorError, match=re.escape("instances('train') raised OSError: no data")):
        problem.load(str(folder)).split(Split.TRAIN)


def test_instances_with_other_arguments_than_the_entry_are_refused(folder: Path) -> None:
    edit(folder / "instances.py", 'arguments={"p": p, "w": w}', 'arguments={"w": w, "p": p}')
    with pytest.raises(EvaluatorError, match=r"has arguments w, p; entry\.parameters says p, w"):
        problem.load(str(folder)).split(Split.TRAIN)


def test_unknown_seeds_are_refused_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(ProblemError, match=r"--seeds best: no such seed; small has: arrival, spt"):
        problem.select_seeds(problem.load(str(folder)), ["best"])


def test_what_scores_depend_on_changes_the_digest_and_prose_does_not(folder: Path) -> None:
    before = problem.load(str(folder)).digest
    edit(folder / "statement.md", "the", "The")
    assert problem.load(str(folder)).digest == before
    edit(folder / "problem.toml", "cpu_s = 0.05", "cpu_s = 0.06")
    assert problem.load(str(folder)).digest != before


def test_what_instances_and_evaluator_import_or_name_belongs_to_the_digest(folder: Path) -> None:
    """Beside the importing file, in a package, through another module, in a function, or as a table that is read."""
    (folder / "parts").mkdir()
    for name, text in {
        "helper.py": "import deeper\n",
        "deeper.py": "",
        "parts/__init__.py": "",
        "parts/late.py": "from . import sibling\n",
        "parts/sibling.py": "",
        "table.csv": "1,2\n",
        "unused.py": "",
    }.items():
        (folder / name).write_text(text)
    with (folder / "instances.py").open("a") as file:
        file.write('\nTABLE = "table.csv"\n\n\ndef late():\n    import helper\n    from parts import late\n')
    digests = [problem.load(str(folder)).digest]
    for name in (
        "helper.py",
        "deeper.py",
        "parts/__init__.py",
        "parts/late.py",
        "parts/sibling.py",
        "table.csv",
    ):
        with (folder / name).open("a") as file:
            file.write("# 3\n")
        digests.append(problem.load(str(folder)).digest)
    assert len(set(digests)) == 7
    (folder / "unused.py").write_text("3\n")
    assert problem.load(str(folder)).digest == digests[-1]


def test_what_is_installed_and_where_the_problem_lies_is_not_in_the_digest(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "helper.py").write_text(
        "import json\nimport numpy.linalg\nfrom evolve.records import Instance\n"
    )
    with (folder / "instances.py").open("a") as file:
        file.write("\n\ndef late():\n    import helper\n    return helper\n")
    elsewhere = Path(shutil.copytree(folder, tmp_path / "moved"))
    assert problem.load(str(folder)).digest == problem.load(str(elsewhere)).digest
    assert dependencies.closure([folder / "instances.py"]) == [folder / "helper.py"]


def test_a_table_that_the_evaluator_reads_may_be_missing_for_a_while(folder: Path) -> None:
    """The run is not another one for it, and the evaluator says what it lacks; the cache looks at what is there."""
    (folder / "table.csv").write_text("1")
    with (folder / "evaluator.py").open("a") as file:
        file.write('\nTABLE = "table.csv"\n')
    loaded = problem.load(str(folder))
    assert loaded.dependencies == (folder / "table.csv",)
    (folder / "table.csv").unlink()
    without = problem.load(str(folder))
    assert (without.dependencies, without.digest) == ((), loaded.digest)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("txn_online", {"problems/txn_scheduling/instances.py"}),
        ("spot_scheduling", {"evaluators/spot_market.py"}),
        ("spot_multi_region", {"evaluators/spot_market.py"}),
        ("smtt_dispatch", {"problems/smtt/optima.csv"}),
        ("online_paging", set()),
    ],
)
def test_bundled_problems_depend_on_what_they_share(name: str, files: set[str]) -> None:
    found = problem.load(name).dependencies
    assert {path.relative_to(problem.bundled_root()).as_posix() for path in found} == files


@pytest.mark.parametrize("name", problem.bundled_problems())
def test_a_split_has_as_many_instances_as_it_is_said_to_have(name: str) -> None:
    splits = (Split.TRAIN, Split.VALIDATION)
    counts = [problem.load(name).count(split) for split in splits]
    loaded = problem.load(name)
    assert counts == [len(loaded.split(split)) for split in splits]


def test_relatives_are_refused_outside_the_holdout(folder: Path) -> None:
    edit(folder / "instances.py", "bound=", 'family="all of them", bound=')
    loaded = problem.load(str(folder))
    assert set(loaded.families(Split.HOLDOUT)) == {"all of them"}
    with pytest.raises(
        EvaluatorError, match=r"family 'all of them'; only instances of the holdout may have relatives"
    ):
        loaded.split(Split.TRAIN)
