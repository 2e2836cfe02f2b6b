"""What a published package says in words: how it works, when to use it, what it costs."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evolve.journal import Journal
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.publish import story, usage, words
from evolve.records import Evaluation, Instance, Split, Status


def node(operator: str, note: str, train: float | None, about: str = "") -> dict[str, Any]:
    return {"operator": operator, "note": note, "train": train, "about": about}


SEED = node("seed", "spt", 0.5, "Shortest processing time first")


# ---- how it works


@pytest.mark.parametrize(
    ("operator", "note", "words"),
    [
        ("tweak constant", "order: 1 -> 1.06", "In `order`, `1` became `1.06`"),
        (
            "select best",
            "order: a -> min((a, b))",
            "`order` now keeps the best of several answers: `min((a, b))`",
        ),
        ("compose", "order: f(p) -> g(f(p))", "`order` now hands its answer on to be improved: `g(f(p))`"),
        (
            "extend selection",
            "order: one more option: f(p)",
            "`order` has one more answer to choose from: `f(p)`",
        ),
        (
            "cross function",
            "order: taken from another program",
            "`order` was taken over from another program",
        ),
        ("delete statement", "order: without x = 1", "`order` no longer does `x = 1`"),
        ("improve", "Breaks ties by due date", "Breaks ties by due date"),
        (
            "hoist + compose",
            "f: a + 1 -> a; g: x -> h(x)",
            "`f` was made simpler: `a` in place of `a + 1`; `g` now",
        ),
    ],
)
def test_a_step_is_told_in_words(operator: str, note: str, words: str) -> None:
    assert story.steps([SEED, node(operator, note, None)])[1].startswith(f"1. {words}")


def test_the_story_begins_with_what_the_seed_says_of_itself() -> None:
    assert story.steps([SEED]) == ["0. It began as the known heuristic spt: Shortest processing time first."]


def test_the_story_of_a_migrant_begins_in_another_run() -> None:
    came = node("migrant", "candidate ab12 (#7) of other", 0.5, "Shortest processing time first")
    (told,) = story.steps([came])
    assert told == (
        "0. It came from another run as candidate ab12 (#7) of other: Shortest processing time first."
    )
    assert words.root(came) == "candidate ab12 (#7) of other"
    assert words.root(SEED) == "the seed spt"


def test_a_step_says_what_it_gained() -> None:
    gained, same = (story.steps([SEED, node("hoist", "f: a + 1 -> a", train)])[1] for train in (0.625, 0.5))
    assert gained.endswith("(score on train 0.50000, then 0.62500).")
    assert same.endswith("(score on train as before).")


def test_the_middle_of_a_long_story_is_left_out() -> None:
    told = story.steps([SEED, *[node("hoist", f"f: {k} -> a", None) for k in range(30)]])
    assert len(told) == story.SHOWN_STEPS + 1
    assert "19 steps, see PROOF.json" in told[6]


@pytest.mark.parametrize(("text", "first"), [('"""One.\n\nMore."""', "One"), ("x = 1", ""), ("def", "")])
def test_a_program_is_introduced_by_its_first_sentence(text: str, first: str) -> None:
    assert story.about(text) == first


# ---- when to use it


def instances(sizes: list[int]) -> list[Instance]:
    return [Instance(f"i{place}", {"p": np.arange(n)}, 0.0, {"n": n}) for place, n in enumerate(sizes)]


def evaluation(scores: list[float]) -> Evaluation:
    return Evaluation("aa", Split.HOLDOUT, Status.OK, tuple(scores), tuple(scores), len(scores))


def proof(ours: list[float], theirs: list[float], sizes: list[int]) -> dict[str, Any]:
    groups = usage.verdicts(instances(sizes), ["n"], evaluation(ours), {"spt": evaluation(theirs)}, 0.95)
    rows = [{"value": size} for size in sorted(set(sizes))]
    return {
        "usage": {"groups": groups},
        "rivals": [{"name": "spt", "status": "ok", "score": 0.5}],
        "holdout": {"groups": {"n": rows}},
    }


def test_where_a_rival_is_better_the_reader_is_warned() -> None:
    sizes = [10] * 8 + [20] * 8 + [30] * 8
    found = proof([0.9] * 8 + [0.1] * 8 + [0.5] * 8, [0.5] * 24, sizes)
    assert usage.when(found) == [
        "Use it where n is 10: there it was better than spt, the best rival.",
        "Do not use it where n is 20 (spt is better there).",
        "Measured for n 10 to 30. Nothing is known beyond.",
    ]


def test_where_it_wins_everywhere_it_says_so_in_short() -> None:
    found = proof([0.9] * 16, [0.5] * 16, [10] * 8 + [20] * 8)
    assert usage.when(found)[:2] == [
        "Use it for every n: there it was better than spt, the best rival.",
        "In no group of the holdout was a rival shown to be better.",
    ]


def test_a_group_of_few_instances_decides_nothing() -> None:
    found = proof([0.9] * 4, [0.5] * 4, [10] * 4)
    assert [each["ours_is"] for each in found["usage"]["groups"]] == ["level"]


# ---- what it costs


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
def test_the_growth_of_the_time_is_found(exponent: float) -> None:
    sizes = np.repeat([10.0, 20.0, 50.0, 100.0], 5)
    found = usage._fit(sizes, 1e-4 * sizes**exponent)
    assert found is not None
    assert math.isclose(found.exponent, exponent, abs_tol=1e-9)
    assert (found.smallest, found.largest) == (10, 100)


def test_instances_of_one_size_tell_no_growth() -> None:
    assert usage._fit(np.full(9, 10.0), np.full(9, 1e-3)) is None


def test_the_shape_of_a_program_is_counted() -> None:
    text = "def order(p, w):\n    for i in p:\n        while i:\n            i -= 1\n\n    return [x for x in p]\n"
    found = usage.shape(make_candidate({"program.py": text}))
    assert found == {"lines": 5, "functions": 1, "loops": 3, "depth": 2}


def test_times_are_taken_once(small: Problem, tmp_path: Path) -> None:
    candidate = next(iter(small.seeds.values()))
    with Journal.create(tmp_path / "run", {}) as journal:
        first = usage.growth(journal, small, candidate, "rlimits")
        assert usage.growth(journal, small, candidate, "rlimits") == first
        assert len(usage.json.loads(journal.meta(usage.NOTE))[candidate.id]) == len(
            small.split(Split.HOLDOUT)
        )
