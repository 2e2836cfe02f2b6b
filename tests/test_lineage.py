"""The ancestry view of a journal."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from evolve.errors import JournalError
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.records import Candidate, Evaluation, Promotion, Proposal, Split, Status

SEED, OTHER, CHILD, LEAF = "aa00", "ab00", "b000", "c000"


def propose(journal: Journal, identity: str, parents: tuple[str, ...], operator: str, number: int) -> None:
    files = {"program.py": f"x = {number}"}
    candidate = Candidate(identity, files, parents, operator, f"note {number}", number)
    journal.append(Proposal(number, operator, parents, candidate), float(number))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Two seeds; a child of both; a leaf of the child and a seed; one fruitless proposal in between."""
    with Journal.create(tmp_path, {}) as journal:
        propose(journal, SEED, (), "seed", 1)
        propose(journal, OTHER, (), "seed", 2)
        propose(journal, CHILD, (SEED, OTHER), "merge", 3)
        journal.append(Proposal(4, "tweak", (SEED,), None, "duplicate"), 4.0)
        propose(journal, LEAF, (CHILD, SEED), "tweak", 5)
        for score in (0.25, 0.5):
            journal.append(Evaluation(LEAF, Split.TRAIN, Status.OK, (9.0,), (score,), 1), 6.0)
        journal.append(Evaluation(CHILD, Split.TRAIN, Status.TIMED_OUT, feedback="too long"), 7.0)
        journal.append(Promotion(CHILD, "", True, 0, 0, 0, 0.95, 1), 7.5)
        journal.append(Promotion(LEAF, CHILD, False, 0.1, -0.1, 0.3, 0.95, 1), 8.0)
        yield journal


@pytest.fixture
def lineage(journal: Journal) -> Iterator[Lineage]:
    with Lineage(journal) as lineage:
        yield lineage


def shown(lineage: Lineage, identity: str | None) -> str:
    console = Console(file=io.StringIO(), width=200, record=True)
    console.print(lineage.tree(identity))
    return console.export_text()


def test_the_ancestry_leads_from_the_seed_along_first_parents(lineage: Lineage) -> None:
    assert [candidate.id for candidate in lineage.ancestry(LEAF)] == [SEED, CHILD, LEAF]


def test_the_ancestry_holds_the_programs(lineage: Lineage) -> None:
    assert [dict(candidate.files) for candidate in lineage.ancestry(CHILD)] == [
        {"program.py": "x = 1"},
        {"program.py": "x = 3"},
    ]


def test_ancestors_are_found_through_all_parents(lineage: Lineage) -> None:
    assert lineage.ancestors(LEAF) == {SEED, OTHER, CHILD}


def test_children_are_counted(lineage: Lineage) -> None:
    assert dict(lineage.children) == {SEED: 2, OTHER: 1, CHILD: 1}


def test_the_first_digits_of_an_id_are_enough(lineage: Lineage) -> None:
    assert lineage.node("b").id == CHILD


def test_an_ambiguous_id_is_refused_with_what_it_could_be(lineage: Lineage) -> None:
    with pytest.raises(JournalError, match=f"{SEED}, {OTHER}"):
        lineage.line("a")


@pytest.mark.parametrize("identity", ["", "f00d"])
def test_an_unknown_id_is_refused(lineage: Lineage, identity: str) -> None:
    with pytest.raises(JournalError, match="no candidate"):
        lineage.resolve(identity)


def test_a_parent_that_the_journal_lacks_ends_the_line(journal: Journal, lineage: Lineage) -> None:
    propose(journal, "d000", ("9999",), "tweak", 6)
    assert [node.id for node in lineage.line("d000")] == ["d000"]


def test_the_last_evaluation_on_a_split_counts(lineage: Lineage) -> None:
    found = lineage.evaluation(LEAF, Split.TRAIN)
    assert found == Evaluation(LEAF, Split.TRAIN, Status.OK, (9.0,), (0.5,), 1)


def test_an_evaluation_that_was_not_made_is_none(lineage: Lineage) -> None:
    assert lineage.evaluation(LEAF, Split.HOLDOUT) is None
    assert lineage.verdict(LEAF, Split.HOLDOUT) is None


def test_a_failure_has_no_score(lineage: Lineage) -> None:
    verdict = lineage.verdict(CHILD, Split.TRAIN)
    assert verdict is not None
    assert verdict.status is Status.TIMED_OUT
    assert verdict.score != verdict.score


def test_the_champion_is_the_last_one_promoted(lineage: Lineage) -> None:
    assert lineage.champion == CHILD


def test_the_tree_of_a_candidate_shows_its_steps_and_further_parents(lineage: Lineage) -> None:
    text = shown(lineage, LEAF)
    assert text.index("seed: note 1") < text.index("merge: note 3") < text.index("tweak: note 5")
    assert f"with {OTHER}" in text
    assert "train 0.50000" in text


def test_the_tree_of_a_run_shows_the_seeds_with_their_champions(lineage: Lineage) -> None:
    text = shown(lineage, None)
    assert "4 candidates, champions: 1" in text
    assert "2 descendants" in text
    assert text.index(SEED) < text.index(CHILD) < text.index(OTHER)


def test_reading_does_not_change_the_journal(journal: Journal, lineage: Lineage) -> None:
    before = list(journal.entries())
    shown(lineage, None)
    assert [repr(entry) for entry in journal.entries()] == [repr(entry) for entry in before]
