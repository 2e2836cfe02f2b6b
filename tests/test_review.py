"""A candidate in the terminal: the same facts as in the report and in MLflow."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.problem import Problem
from evolve.publish.review import Review, keep
from evolve.records import Split
from evolve.review import candidate_facts, print_candidate
from tests.journals import Story


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, small: Problem) -> Path:
    return Story(small).write(tmp_path_factory.mktemp("runs") / "told")


def shown(folder: Path, identity: str | None = None) -> str:
    console = Console(file=io.StringIO(), width=160)
    with Journal.open(folder, read_only=True) as journal:
        print_candidate(candidate_facts(journal, identity), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_champion_is_shown_with_its_lineage_and_its_verdict(told: Path) -> None:
    text = shown(told)
    assert "(champion)" in text
    assert "steps from" in text
    assert "promoted: better; +0.02000 [+0.01000, +0.03000] to" in text


def test_a_candidate_is_compared_with_its_first_parent(told: Path) -> None:
    with Journal.open(told, read_only=True) as journal, Lineage(journal) as lineage:
        facts = candidate_facts(journal, None)
        ours, theirs = (lineage.verdict(each, Split.TRAIN) for each in (facts["id"], facts["parents"][0]))
    assert ours is not None
    assert theirs is not None
    assert facts["gains"]["train"] == pytest.approx(ours.score - theirs.score)


def test_scores_are_shown_by_group(told: Path, small: Problem) -> None:
    sizes = {instance.group["n"] for instance in small.split(Split.TRAIN)}
    text = shown(told)
    for size in sizes:
        assert f"n={size}: " in text


def test_a_review_that_is_kept_is_shown(small: Problem, tmp_path: Path) -> None:
    folder = Story(small).write(tmp_path / "run")
    with Journal.open(folder, read_only=True) as journal:
        champion = candidate_facts(journal, None)["id"]
    keep(folder, [Review(champion, "rejected", "too slow")])
    assert "rejected: too slow" in shown(folder)


def test_a_problem_that_has_gone_takes_only_the_groups_away(small: Problem, tmp_path: Path) -> None:
    folder = Story(small).write(tmp_path / "run")
    with Journal.open(folder) as journal:
        journal.note("folder", str(tmp_path / "gone"))
        assert candidate_facts(journal, None)["groups"] == {}
