"""Spot scheduling in several regions: every region its price, every change its charge; and recorded traces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve import problem
from evolve.errors import ProblemError
from evolve.evaluate import Evaluator
from evolve.program import make_candidate
from evolve.records import Instance, Split
from tests.online_tools import roomy

SINGLE = problem.load("spot_scheduling")
REGIONS = problem.load("spot_multi_region")
GENERATOR = REGIONS._instances.__globals__
MARKET = GENERATOR["market"]
DATA = Path(__file__).parents[2] / "shared" / "data" / "spot_traces_multi_region.tar.gz"


def job(texts: list[str], work: int, overhead: int, move: float = 5.0) -> dict[str, Any]:
    """A region for each text, "s" for a tick with spot; ticks of 10 s. Region r asks 1 + r $ of spot, 10 + r else."""
    available = np.array([[each == "s" for each in text] for text in texts])
    price = np.repeat(1.0 + np.arange(len(texts))[:, None], available.shape[1], axis=1)
    demand = 10.0 + np.arange(len(texts))
    return GENERATOR["job"](available, price, demand, 10, work, overhead, move=move) | {"reference": 100.0}


def cost(given: dict[str, Any], policy: Any) -> float:
    return REGIONS.evaluator.simulate(Instance("one", {}, 0.0, {}, given), policy)


def play(given: dict[str, Any], *decisions: Any) -> float:
    left = iter(decisions)
    return cost(given, lambda *_: next(left))


def test_a_job_that_moves_worked_by_hand() -> None:
    """1 tick in region 0 for 1 $, then 5 $ for moving and 2 $ a tick, of which the first is half lost."""
    given = job(["ss....", ".sssss"], 30, 5)
    assert play(given, (1, 0), (1, 1), (1, 1), (1, 1)) == 1 + 5 + 3 * 2


def test_the_history_is_not_paid_at_the_price_of_the_last_region() -> None:
    """A cheat of the public suite: it charges all ticks at the price of the region in which the job ends."""
    given = job(["s.....", "ssssss"], 40, 0, move=0.0)
    assert play(given, (1, 1), (1, 1), (1, 1), (2, 0)) == 3 * 2 + 10
    assert play(job(["ssssss", "ssssss"], 40, 0, move=0.0), (1, 1), (1, 1), (1, 1), (1, 0)) == 3 * 2 + 1


def test_every_change_of_region_is_charged_also_after_a_rest() -> None:
    """A cheat of the public suite: moves are free there."""
    given = job(["ssssssss", "ssssssss"], 40, 0)
    assert play(given, (1, 0), (0, 1), (1, 1), (0, 0), (1, 0), (1, 1)) == 1 + (5 + 2) + (5 + 1) + (5 + 2)


def test_asking_elsewhere_in_vain_costs_nothing_and_moves_nothing() -> None:
    given = job(["sss..", "....."], 20, 0)
    assert play(given, (1, 1), (1, 0), (1, 0)) == 2


@pytest.mark.parametrize(
    "answer",
    [None, 1, -1, [1], [1, 2], [1, -1], [3, 0], [1, True], [1.0, 0], [1, 0, 0], "10", {}, np.array([1, 0])],
    ids=lambda answer: repr(answer),
)
def test_what_is_no_decision_is_refused(answer: object) -> None:
    with pytest.raises(REGIONS.evaluator.Invalid, match=r"it has to"):
        play(job(["ssss", "ssss"], 20, 0), answer)


def entry(name: str) -> Any:
    scope: dict[str, Any] = {}
    exec(REGIONS.seeds[name].files["program.py"], scope)
    return scope["decide"]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(sorted(REGIONS.seeds)),
    st.integers(1, 3).flatmap(
        lambda n: st.lists(st.text("s.", min_size=30, max_size=30), min_size=n, max_size=n)
    ),
    st.floats(0.3, 0.95),
    st.sampled_from([0, 3, 10, 17, 30]),
)
def test_no_seed_is_ever_late_or_below_the_optimum(
    name: str, texts: list[str], fullness: float, overhead: int
) -> None:
    given = job(texts, int((300 - overhead) * fullness), overhead)
    assert cost(given, entry(name)) >= MARKET.least_cost(given) - 1e-9


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    with Evaluator(roomy(REGIONS), "rlimits") as made:
        yield made


@pytest.mark.parametrize("name", REGIONS.seeds)
def test_a_seed_scores_in_the_jail_what_it_scores_outside(evaluator: Evaluator, name: str) -> None:
    found = evaluator.evaluate(REGIONS.seeds[name], Split.TRAIN)
    assert found.ok, found.feedback
    assert list(found.objectives) == [
        REGIONS.evaluator.simulate(each, entry(name)) for each in REGIONS.split(Split.TRAIN)
    ]


def test_lists_that_a_policy_changes_change_nothing_for_the_simulator(evaluator: Evaluator) -> None:
    source = (
        "def decide(now, left, done, work, running, region, pending, overhead, move,"
        " spot, price, demand, share, streak):\n"
        "    for each in (spot, price, demand):\n"
        "        each[:] = [0.0] * len(each)\n"
        "    return 2, 0\n"
    )
    found = evaluator.evaluate(make_candidate({"program.py": source}), Split.TRAIN)
    assert found.ok
    expected = [REGIONS.evaluator.simulate(each, lambda *_: (2, 0)) for each in REGIONS.split(Split.TRAIN)]
    assert list(found.objectives) == expected


def test_the_splits_share_no_job_and_are_the_same_on_every_machine() -> None:
    REGIONS.check_disjoint()
    sums = [int(each.facts["available"].sum()) for each in REGIONS.split(Split.TRAIN)[:4]]
    assert sums == [21, 209, 105, 383]


# recorded traces, made here


def write(folder: Path, zone: str, number: int, ticks: int, gap_s: int) -> None:
    place = folder / zone
    place.mkdir(parents=True, exist_ok=True)
    data = [int(each) for each in np.random.default_rng([number, len(zone)]).random(ticks) < 0.4]
    trace = {"metadata": {"gap_seconds": gap_s}, "data": data, "prices": [1.0] * ticks}
    (place / f"{number}.json").write_text(json.dumps(trace))


def test_jobs_are_made_of_recordings_of_one_region(tmp_path: Path) -> None:
    for zone in ("a_v100_1", "b_v100_1", "c_v100_1"):
        for number in range(2):
            write(tmp_path / "overhead=0.10", zone, number, 421, 600)
    read = SINGLE._instances.__globals__["from_data"]
    found = {split: list(read(split, tmp_path)) for split in ("train", "validation", "holdout")}
    assert {split: {each.group["kind"] for each in jobs} for split, jobs in found.items()} == {
        "train": {"a_v100_1"},
        "validation": {"b_v100_1"},
        "holdout": {"c_v100_1"},
    }
    facts = [each.facts for each in found["train"]]
    assert [(each["ticks"], each["overhead_s"]) for each in facts] == [(312, 360), (420, 360)]


def test_too_few_zones_or_too_short_recordings_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a_v100_1", 0, 421, 600)
    write(tmp_path, "b_v100_1", 0, 100, 600)
    read = SINGLE._instances.__globals__["from_data"]
    with pytest.raises(
        ProblemError, match="recordings of 1 zones that cover 70 h; holdout needs a zone of its own"
    ):
        list(read("holdout", tmp_path))


@pytest.mark.parametrize(
    ("ticks", "gap_s", "message"), [(300, 600, "covers 50 h"), (640, 300, "in ticks of 300 s")]
)
def test_recordings_that_do_not_fit_together_are_an_error(
    tmp_path: Path, ticks: int, gap_s: int, message: str
) -> None:
    one, other = (f"us-east-{zone}_v100_1" for zone in next(iter(GENERATOR["PUBLIC"].values()))[0].split())
    write(tmp_path, one, 0, 320, 600)
    write(tmp_path, other, 0, ticks, gap_s)
    with pytest.raises(ProblemError, match=message):
        list(GENERATOR["from_data"]("train", tmp_path))


def test_jobs_are_made_of_recordings_of_several_regions(tmp_path: Path) -> None:
    zones = [f"us-east-{each}_v100_1" for each in ("1a", "1c", "1d", "1f", "2a", "2b")]
    zones += [f"us-west-{each}_v100_1" for each in ("2a", "2b", "2c")]
    for zone in zones:
        for number in range(8):
            write(tmp_path, zone, number, 320, 600)
    found = list(GENERATOR["from_data"]("train", tmp_path))
    assert [len(each.facts["demand"]) for each in found] == [2] * 16 + [3] * 12 + [5] * 4 + [9] * 2
    with pytest.raises(ProblemError, match=r"no recording 'us-east-1a_v100_1/30'\.json in it"):
        list(GENERATOR["from_data"]("validation", tmp_path))


@pytest.mark.skipif(not DATA.is_file(), reason="the public traces are not part of the project")
def test_following_spot_pays_on_public_traces() -> None:
    traces = GENERATOR["public_traces"](DATA)
    given = GENERATOR["recorded"](traces, "2a w2a", 0, 0.5)
    least = 100 * MARKET.least_cost(given) / given["reference"]
    assert least <= cost(given, entry("uniform_progress")) < 60
    assert least < cost(given, entry("on_demand")) == pytest.approx(100)
