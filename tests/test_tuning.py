"""Tuning: a pattern search over the numbers of a program, without a memory of its own."""

import re
from pathlib import Path

import pytest

from evolve import program as programs
from evolve.effects import sources_of_gain
from evolve.genetic.draft import Draft
from evolve.genetic.source import read
from evolve.genetic.tuning import ROUNDS, tune
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.records import Evaluation, Proposal, Split, Status

RULE = """
import numpy as np

def rule(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    slack = d - 1.5 * p
    return np.maximum(slack, 0.25 * t) + p[:2].sum()
"""
WHOLE = """
def steps(n: int, limit: int) -> int:
    count = 0
    for i in range(7):
        if n > 10:
            count += 1
    return count
"""


def child(text: str, tried: int, note: str = "", entry: str = "rule") -> tuple[str, str]:
    draft = Draft(read(programs.parse(text), entry), ("numpy",))
    done = tune(draft, tried, note)
    draft.commit()
    return draft.source.text, done


def test_every_number_goes_up_and_down_in_turn_and_the_structure_stays() -> None:
    texts = [child(RULE, tried)[0] for tried in range(4)]
    assert [("1.95 * p" in text, "1.15 * p" in text) for text in texts[:2]] == [(True, False), (False, True)]
    assert "0.325 * t" in texts[2]
    assert "0.192 * t" in texts[3]
    assert len({re.sub(r"[\d.]+", "#", text) for text in texts}) == 1


def test_steps_are_halved_after_a_round_and_there_is_an_end() -> None:
    assert "1.72 * p" in child(RULE, 4)[0]
    assert child(RULE, 4 * ROUNDS)[1] == ""


def test_a_step_that_succeeded_is_taken_again_from_where_it_led() -> None:
    text, note = child(RULE, 5)
    assert "(number 1 of 2 down by 0.15)" in note
    again, second = child(text, 0, note)
    assert "(number 1 of 2 down by 0.15)" in second
    assert "1.13 * p" in again


def test_positions_and_bounds_of_loops_are_no_parameters() -> None:
    for tried in range(40):
        text, _ = child(RULE, tried)
        assert "p[:2]" in text
        text, _ = child(WHOLE, tried, entry="steps")
        assert "range(7)" in text


def test_whole_numbers_stay_whole() -> None:
    made = {child(WHOLE, tried, entry="steps")[0] for tried in range(40)}
    assert any("n > 13" in text for text in made)
    assert all("." not in text for text in made)


def test_a_program_without_numbers_is_left_alone() -> None:
    assert child("def rule(p, d, t):\n    return p", 0)[1] == ""


def test_a_search_by_tuning_alone_finds_the_bottom_of_a_bowl() -> None:
    """The trials of a program are counted, a better one takes its place: what a run does, with a known objective."""
    text, note, tried = RULE, "", 0

    def cost(program: str) -> float:
        first, second = (float(found) for found in re.findall(r"([\d.]+) \*", program))
        return (first - 0.7) ** 2 + (second - 0.9) ** 2

    start = cost(text)
    for _ in range(120):
        made, done = child(text, tried, note)
        if not done:
            break
        tried += 1
        if cost(made) < cost(text):
            text, note, tried = made, done, 0
    assert cost(text) < 0.01 * start


def test_gains_by_structure_and_by_constants_are_told_apart(tmp_path: Path) -> None:
    steps = [("seed", 0.1), ("insert term", 0.3), ("tuning", 0.35), ("tweak constant", 0.4), ("hoist", 0.35)]
    steps.append(("tuning + insert term", 0.5))
    with Journal.create(tmp_path / "run", {}) as journal:
        parents: tuple[str, ...] = ()
        for number, (operator, score) in enumerate(steps, 1):
            candidate = programs.make_candidate({"program.py": f"x = {number}\n"}, parents, operator)
            journal.append(Proposal(number, operator, parents, candidate), 0.0)
            journal.append(Evaluation(candidate.id, Split.TRAIN, Status.OK, (1.0,), (score,), 1), 0.0)
            parents = (candidate.id,)
        with Lineage(journal) as lineage:
            gained = sources_of_gain(lineage, parents[0])
    assert gained == pytest.approx({"structure": 0.15, "constants": 0.1, "mixed": 0.15})
