"""`evolve new`: a problem folder that runs as it is."""

from pathlib import Path

import numpy as np
import pytest

from evolve import new, problem, run, settings
from evolve.errors import UsageError
from evolve.problem import Problem
from evolve.records import SPLITS, Instance


def test_the_folder_holds_all_that_a_problem_needs(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    written = {path.relative_to(folder).as_posix() for path in new.create(folder)}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == found
    assert found == {
        *("problem.toml", "statement.md", "README.md", "instances.py", "evaluator.py"),
        *("seeds/arrival.py", "seeds/spt.py"),
    }


def test_the_readme_names_every_file_that_is_to_be_changed(tmp_path: Path) -> None:
    readme = {path.name: path for path in new.create(tmp_path / "mine")}["README.md"].read_text()
    for name in ("problem.toml", "statement.md", "instances.py", "evaluator.py", "seeds/*.py"):
        assert f"`{name}`" in readme
    assert "$" not in readme


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("smtt", "smtt"),
        ("My Problem-2", "my_problem_2"),
        ("3 machines", "problem_3_machines"),
        ("§§", "problem"),
    ],
)
def test_the_problem_is_named_after_its_directory(tmp_path: Path, directory: str, name: str) -> None:
    new.create(tmp_path / directory)
    assert problem.load(str(tmp_path / directory)).name == name


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    assert new.create(tmp_path)


def test_a_directory_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        new.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_way_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(UsageError, match="in the way"):
        new.create(tmp_path / "mine")


def test_no_instance_is_in_two_splits(small: Problem) -> None:
    data = [tuple(i.arguments["p"].tolist()) for split in SPLITS for i in small.split(split)]  # type: ignore[union-attr]
    assert len(set(data)) == len(data)


def test_the_bound_is_the_smallest_objective_of_all_orders(small: Problem) -> None:
    rng = np.random.default_rng(5)
    p, w = rng.integers(1, 9, 6), rng.integers(1, 9, 6)
    generate = small._instances.__globals__["smith"]
    instance = Instance("six", {"p": p, "w": w}, generate(p, w))
    orders = np.array(np.meshgrid(*[np.arange(6)] * 6)).reshape(6, -1).T
    best = min(
        small.evaluator.objective(instance, order) for order in orders if len(set(order.tolist())) == 6
    )
    assert instance.bound == best


@pytest.mark.parametrize(
    "decision",
    [
        None,
        3,
        "012",
        [0, 1],
        [0, 1, 1],
        [0, 1, 3],
        [0, 1, -1],
        [0, 1, True],
        [0, 1, 2.0],
        np.eye(3),
        {"0": 1},
    ],
)
def test_the_evaluator_refuses_what_is_no_permutation(small: Problem, decision: object) -> None:
    instance = Instance("three", {"p": np.ones(3), "w": np.ones(3)}, 0.0)
    with pytest.raises(small.evaluator.Invalid):
        small.evaluator.check(instance, decision)


def test_the_evaluator_takes_numpys_integers_as_they_cross_the_wall(small: Problem) -> None:
    instance = Instance("two", {"p": np.ones(2), "w": np.ones(2)}, 0.0)
    assert small.evaluator.check(instance, [np.array(1), np.array(0)]).tolist() == [1, 0]


def test_a_short_search_finds_the_optimal_rule(small_folder: Path, tmp_path: Path) -> None:
    chosen = settings.resolve(
        str(small_folder), {}, ["budget.evaluations=300", "workers=1", "seed=1", "mlflow.enabled=false"]
    )
    result = run.start(tmp_path / "run", chosen).execute()
    assert result.champion is not None
    assert result.validation is not None
    assert result.champion.candidate.operator != "seed"
    assert result.validation.score > 0.98
