"""The order of the races: telling instances first, the same after a resume, and results in the instances' own order."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve import problem, run, settings
from evolve.evaluate import Evaluator
from evolve.journal import Journal
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.racing import telling_order
from evolve.records import Evaluation, Split, Status
from evolve.settings import BudgetSettings, Settings
from evolve.trial import Race

SMITH = "import numpy as np\ndef order(p, w):\n    return np.argsort(p / w, kind='stable').tolist()\n"

scores = st.integers(1, 5).flatmap(
    lambda count: st.lists(
        st.lists(st.floats(-9, 1, allow_nan=False), min_size=count, max_size=count), min_size=1, max_size=4
    )
)


@given(scores, st.integers(0, 6))
def test_the_order_is_a_permutation_and_the_rest_keeps_its_own_order(
    table: list[list[float]], first: int
) -> None:
    order = telling_order(table, first)
    assert sorted(order) == list(range(len(table[0])))
    assert list(order[first:]) == sorted(order[first:])


def test_an_instance_that_says_the_contrary_of_all_comes_late() -> None:
    better, worse = np.full(10, 0.6), np.full(10, 0.4)
    better[0], worse[0] = 0.4, 0.6
    assert telling_order([better.tolist(), worse.tolist()], 5)[0] != 0
    assert 0 not in telling_order([better.tolist(), worse.tolist()], 5)[:5]


def test_programs_that_never_differ_leave_the_order_as_it_is() -> None:
    assert telling_order([[0.3, 0.4, 0.5]] * 3, 2) == (0, 1, 2)
    assert telling_order([[0.3, 0.4, 0.5]], 2) == (0, 1, 2)


def test_a_prefix_of_the_order_estimates_the_mean_better_than_a_random_one() -> None:
    """Three kinds of instances, of which one is noise; programs that were not used to make the order."""
    rng = np.random.default_rng(4)
    kinds, gains = np.repeat([0, 1, 2], 20), np.array([1.0, 0.5, 0.0])
    skill = rng.normal(0, 1, 30)
    table = skill[:, None] * gains[kinds] + rng.normal(0, 1, (30, 60)) * np.array([0.1, 0.1, 2.0])[kinds]
    seeds, fresh = table[:15], table[15:]
    error = {}
    for name, order in {"telling": telling_order(seeds.tolist(), 8), "random": rng.permutation(60)}.items():
        means = fresh[:, list(order[:8])].mean(axis=1) - fresh.mean(axis=1)
        error[name] = float(np.std(means))
    assert error["telling"] < 0.7 * error["random"]


@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALIDATION])
def test_results_are_in_the_instances_own_order_whatever_the_order_of_the_race(
    small: Problem, split: Split
) -> None:
    smith = make_candidate({"program.py": SMITH})
    count = len(small.split(split))
    race = Race((3, 9), None, 0.95, 0, tuple(np.random.default_rng(1).permutation(count).tolist()))
    with Evaluator(small, "rlimits") as evaluator:
        plain, raced = evaluator.evaluate(smith, split), evaluator.evaluate(smith, split, race)
        assert (raced.objectives, raced.scores, raced.feedback) == (
            plain.objectives,
            plain.scores,
            plain.feedback,
        )
        spt = evaluator.evaluate(small.seeds["spt"], split)
        bar = replace(race, bar=plain.scores)
        assert evaluator.evaluate(small.seeds["spt"], split, bar).status is Status.RACED_OUT
        assert spt.ok


def test_the_bar_is_compared_instance_by_instance(small: Problem) -> None:
    """A program races against itself in another order: the differences are all 0, so it is never stopped."""
    with Evaluator(small, "rlimits") as evaluator:
        spt = evaluator.evaluate(small.seeds["spt"], Split.TRAIN)
        order = tuple(range(len(spt.scores)))[::-1]
        assert evaluator.evaluate(
            small.seeds["spt"], Split.TRAIN, Race((4, 8), spt.scores, 0.95, 0, order)
        ).ok


# ---- in a run


def resolved(folder: Path, *overrides: str, evaluations: int = 40) -> Settings:
    given = {"budget": {"evaluations": evaluations}, "workers": 1}
    return settings.resolve(str(folder), given, ["jail.minimum=rlimits", *overrides])


def start(place: Path, folder: Path, *overrides: str) -> run.Run:
    made = run.start(place, resolved(folder, *overrides))
    made.execute()
    made.journal.close()
    return made


def noted(place: Path) -> list[int]:
    with Journal.open(place, read_only=True) as journal:
        found: list[int] = json.loads(journal.meta(run.ORDER_NOTE) or "[]")
        return found


def test_the_order_follows_from_the_seeds_scores_and_is_noted(small_folder: Path, tmp_path: Path) -> None:
    start(tmp_path / "run", small_folder)
    with Journal.open(tmp_path / "run", read_only=True) as journal:
        records = [entry.record for entry in journal.entries()]
    seeds = [each.scores for each in records if isinstance(each, Evaluation) and each.split is Split.TRAIN][
        :2
    ]
    assert noted(tmp_path / "run") == list(telling_order(seeds, 32))
    assert noted(tmp_path / "run") != sorted(noted(tmp_path / "run"))


def test_the_given_order_can_be_kept(small_folder: Path, tmp_path: Path) -> None:
    assert start(tmp_path / "run", small_folder, "racing.order=given").search.order == ()
    assert noted(tmp_path / "run") == []


def test_a_resumed_run_keeps_the_order_that_it_began_with(small_folder: Path, tmp_path: Path) -> None:
    start(tmp_path / "run", small_folder)
    with Journal.open(tmp_path / "run") as journal:
        other = noted(tmp_path / "run")[::-1]
        journal.note(run.ORDER_NOTE, json.dumps(other))
    again = run.reopen(tmp_path / "run", BudgetSettings(evaluations=50))
    assert list(again.search.order) == other
    assert again.execute().evaluations == 50
    again.journal.close()
    assert noted(tmp_path / "run") == other


def test_a_run_killed_before_the_order_was_noted_finds_it_again(small_folder: Path, tmp_path: Path) -> None:
    before = start(tmp_path / "run", small_folder).search.order
    with Journal.open(tmp_path / "run") as journal:
        journal.note(run.ORDER_NOTE, "")
    again = run.reopen(tmp_path / "run")
    again.journal.close()
    assert again.search.order == before
    assert noted(tmp_path / "run") == list(before)


def test_without_stages_nobody_is_stopped_early(small_folder: Path, tmp_path: Path) -> None:
    made = start(tmp_path / "run", small_folder, "racing.stages=[]")
    assert made.search.statuses[Status.RACED_OUT] == made.search.statuses[Status.DUPLICATE] == 0


def test_without_races_duplicates_are_dropped_all_the_same(small_folder: Path, tmp_path: Path) -> None:
    narrow = ("archive.kind=top-k", "archive.size=2")
    raced = start(tmp_path / "raced", small_folder, *narrow).search.statuses
    made = start(tmp_path / "run", small_folder, *narrow, "racing.enabled=false").search.statuses
    assert raced[Status.RACED_OUT] > 0
    assert made[Status.RACED_OUT] == 0
    assert made[Status.DUPLICATE] > 0


# ---- splits


def test_splits_that_share_an_instance_are_refused(small_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "leaky"))
    path = folder / "instances.py"
    text = path.read_text().replace(
        'SEEDS = {"train": 1, "validation": 2', 'SEEDS = {"train": 1, "validation": 1'
    )
    path.write_text(text.replace('"validation": (10, 20, 40)', '"validation": (8, 12, 20, 30)'))
    with pytest.raises(
        problem.ProblemError, match=r"validation/n8-even-0 of validation is the same as train/n8"
    ):
        run.start(tmp_path / "run", resolved(folder))
    assert not (tmp_path / "run").exists()
