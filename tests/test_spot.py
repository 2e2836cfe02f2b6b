"""Spot scheduling: the simulator charges what ran, the optimum is one, seeds are safe, and nothing can be forged."""

from __future__ import annotations

import contextlib
import io
import json
import math
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
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
from evolve.records import SPLITS, Instance, Split, Status
from tests.online_tools import roomy

SPOT = problem.load("spot_scheduling")
GENERATOR = SPOT._instances.__globals__
MARKET = GENERATOR["market"]
DATA = Path(__file__).parents[2] / "shared" / "data" / "spot_traces_single_region.tar.gz"
Policy = Callable[..., Any]


def facts(
    available: list[list[bool]],
    work: int,
    overhead: int,
    tick: int = 10,
    move: float = 0.5,
    several: bool = True,
) -> dict[str, Any]:
    """Prices differ between ticks and regions, so that a tick charged at another's price shows."""
    regions, ticks = len(available), len(available[0])
    price = 1.0 + np.arange(regions)[:, None] * 0.125 + np.arange(ticks) % 3 * 0.25
    return {
        "several": several,
        "tick_s": tick,
        "work_s": work,
        "overhead_s": overhead,
        "ticks": ticks,
        "available": np.array(available, dtype=bool),
        "price": price,
        "demand": 3.0 + 0.25 * np.arange(regions),
        "move": move,
        "reference": 100.0,
    }


def play(policy: Policy, given: dict[str, Any]) -> float:
    """The cost in $, as the simulator finds it; the reference is 100 $."""
    return SPOT.evaluator.simulate(Instance("one", {}, 0.0, {}, given), policy)


def plainly(given: dict[str, Any], decisions: list[tuple[int, int]]) -> tuple[float, float, float]:
    """The simulator once more, second by second, without a thought of speed: cost, work left, seconds that ran."""
    left, cost, pending, ran = given["work_s"], 0.0, 0, 0
    machine, place = None, 0
    for tick, (kind, region) in enumerate(decisions):
        if left <= 0:
            break
        if machine == (1, place) and not given["available"][place][tick]:
            machine = None
        if kind == 0 or (kind == 1 and not given["available"][region][tick]):
            machine = None
            continue
        if region != place:
            cost += given["move"]
            place, machine = region, None
        if machine != (kind, region):
            machine, pending = (kind, region), given["overhead_s"]
        cost += given["price"][region][tick] if kind == 1 else given["demand"][region]
        for _ in range(given["tick_s"]):
            ran += 1
            if pending > 0:
                pending -= 1
            elif left > 0:
                left -= 1
    return cost, left, ran


def cheapest(given: dict[str, Any]) -> float:
    """The least cost of all sequences of decisions, by trying them; inf if none is in time."""
    regions, ticks, tick_s = len(given["demand"]), given["ticks"], given["tick_s"]

    @cache
    def best(tick: int, left: int, kind: int, place: int, pending: int) -> float:
        if left == 0:
            return 0.0
        if tick == ticks:
            return math.inf
        if kind == 1 and not given["available"][place][tick]:
            kind, pending = 0, 0
        costs = [best(tick + 1, left, 0, place, 0)]
        for region in range(regions):
            for chosen in (1, 2):
                if chosen == 1 and not given["available"][region][tick]:
                    continue
                kept = (chosen, region) == (kind, place)
                due = pending if kept else given["overhead_s"]
                paid = given["price"][region][tick] if chosen == 1 else given["demand"][region]
                paid += given["move"] * (region != place)
                work = min(left, max(0, tick_s - due))
                costs.append(paid + best(tick + 1, left - work, chosen, region, max(0, due - tick_s)))
        return min(costs)

    return best(0, given["work_s"], 0, 0, 0)


availabilities = st.integers(1, 3).flatmap(
    lambda regions: st.integers(2, 7).flatmap(
        lambda ticks: st.lists(
            st.lists(st.booleans(), min_size=ticks, max_size=ticks), min_size=regions, max_size=regions
        )
    )
)
jobs = st.builds(
    facts,
    availabilities,
    work=st.integers(1, 40),
    overhead=st.sampled_from([0, 3, 5, 10, 14, 25]),
    move=st.sampled_from([0.0, 0.5, 4.0]),
)


@settings(deadline=None, max_examples=500)
@given(jobs, st.randoms(use_true_random=False))
def test_the_simulator_does_what_a_plain_one_does_second_by_second(given: dict[str, Any], rng: Any) -> None:
    """Four random policies on each job: 2,000 cases."""
    for _ in range(4):
        check_a_random_policy(given, rng)


def check_a_random_policy(given: dict[str, Any], rng: Any) -> None:
    asked: list[tuple[int, int]] = []
    habit = [rng.random() for _ in range(3)]

    def policy(*_: object) -> tuple[int, int]:
        if asked and rng.random() < habit[0]:  # keeping what runs has to be common
            return asked.append(asked[-1]) or asked[-1]
        asked.append(
            (rng.choices((0, 1, 2), (0.2, habit[1], habit[2]))[0], rng.randrange(len(given["demand"])))
        )
        return asked[-1]

    try:
        cost = play(policy, given)
    except SPOT.evaluator.Invalid:
        # even on demand for all that is left comes too late
        _, left, _ = plainly(given, asked)
        region = asked[-1][1] if asked else 0
        rest = [(2, region)] * (given["ticks"] - len(asked))
        stay = [*asked, *[asked[-1] if asked else (2, 0)] * len(rest)]
        assert plainly(given, [*asked, *rest])[1] > 0 or plainly(given, stay)[1] > 0
        assert left > 0
        return
    expected, left, ran = plainly(given, asked)
    assert left == 0
    assert cost == pytest.approx(expected)
    assert ran >= given["work_s"]
    assert cost >= MARKET.least_cost(given) - 1e-9


@settings(deadline=None, max_examples=600)
@given(jobs)
def test_the_bound_is_the_cost_of_the_best_of_all_decisions(given: dict[str, Any]) -> None:
    expected = cheapest(given)
    if math.isinf(expected):
        with pytest.raises(ValueError, match="cannot be done by its deadline"):
            MARKET.least_cost(given)
    else:
        assert MARKET.least_cost(given) == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6))
def test_the_strongest_search_finds_nothing_below_the_bound(seed: int) -> None:
    """Descent over whole sequences of decisions, on jobs too long to try all."""
    rng = np.random.default_rng(seed)
    given = facts((rng.random((2, 24)) < rng.random()).tolist(), int(rng.integers(40, 160)), 7)
    bound = MARKET.least_cost(given)

    def worth(decisions: list[tuple[int, int]]) -> float:
        cost, left, _ = plainly(given, decisions)
        return cost + 100.0 * left

    present = [(2, 0)] * 24
    value = worth(present)
    for _ in range(150):
        changed = list(present)
        start, length = int(rng.integers(24)), int(rng.integers(1, 9))
        changed[start : start + length] = [(int(rng.integers(3)), int(rng.integers(2)))] * len(
            changed[start : start + length]
        )
        found = worth(changed)
        if found <= value:
            present, value = changed, found
    assert value >= bound - 1e-9


def one_region(text: str, work: int, overhead: int) -> dict[str, Any]:
    return facts([[each == "s" for each in text]], work, overhead, several=False)


def test_a_job_worked_by_hand() -> None:
    """Ticks of 10 s, 25 s of work, 5 s of overhead: spot, lost, waiting, on demand, on demand."""
    told = []

    def policy(now: float, left: float, done: float, work: float, *rest: Any) -> int:
        told.append((now, left, done, work, *rest))
        return (1, 0, 2, 2)[int(now)]

    # 5 s of work on spot for 1.00 $; then 5 + 10 s on demand leave 5 s: a third tick on demand
    given = one_region("s.....", 25, 5)
    cost = play(lambda now, *rest: policy(now, *rest) if now < 4 else 2, given)
    assert cost == 1.0 + 3 * 3.0
    assert [each[:4] for each in told] == [(0, 6, 0, 2.5), (1, 5, 0.5, 2), (2, 4, 0.5, 2), (3, 3, 1, 1.5)]
    assert [each[4:8] for each in told] == [
        (True, 0, 0, 0.5),
        (False, 0, 0, 0.5),
        (False, 0, 0, 0.5),
        (False, 2, 0, 0.5),
    ]


def test_what_was_seen_is_told() -> None:
    told = []
    given = one_region("ss..s.....", 40, 0)
    play(lambda *state: told.append(state[-2:]) or 2, given)
    assert told == [(1, 1), (1, 2), (2 / 3, 1), (1 / 2, 2)]


def test_every_tick_costs_its_own_price() -> None:
    given = one_region("ssssss", 30, 0)
    assert play(lambda *_: 1, given) == 1.0 + 1.25 + 1.5


def test_a_request_without_spot_gets_and_costs_nothing() -> None:
    given = one_region("..ss..", 20, 0)
    assert play(lambda *_: 1, given) == pytest.approx(1.5 + 1.0)


def test_an_overhead_longer_than_a_tick_goes_on_in_the_next() -> None:
    given = one_region("......", 10, 25)
    pending = []
    assert play(lambda *state: pending.append(state[6]) or 2, given) == 4 * 3.0
    assert pending == [0, 1.5, 0.5, 0]


@settings(deadline=None)
@given(jobs, st.integers(0, 6), st.randoms(use_true_random=False))
def test_what_the_policy_is_told_does_not_depend_on_the_future(
    given: dict[str, Any], now: int, rng: Any
) -> None:
    told: list[list[str]] = [[], []]
    other = {
        **given,
        "several": False,
        "available": given["available"].copy(),
        "price": given["price"].copy(),
    }
    other["available"][:, now + 1 :] ^= True
    other["price"][:, now + 1 :] += rng.random()
    for number, each in enumerate(({**given, "several": False}, other)):
        seen: list[str] = []
        with contextlib.suppress(SPOT.evaluator.Invalid):
            play(lambda *state, seen=seen: seen.append(repr(state)) or int(state[0]) % 3, each)
        told[number] = seen[: now + 1]
    assert told[0] == told[1]


# what gains in public suites of this problem gains nothing here


def test_a_missed_deadline_is_a_failure_and_no_cheap_run() -> None:
    with pytest.raises(
        SPOT.evaluator.Invalid, match=r"the deadline is missed: at tick 4 of 6 .* 2\.5 more ticks"
    ):
        play(lambda *_: 0, one_region("......", 20, 5))


@pytest.mark.parametrize(
    "answer", [None, -1, 3, True, 1.0, "1", [1], {}, np.array(1), 2**63], ids=lambda answer: repr(answer)
)
def test_what_is_no_decision_is_refused(answer: object) -> None:
    with pytest.raises(SPOT.evaluator.Invalid, match="it has to return 0"):
        play(lambda *_: answer, one_region("ssss", 20, 0))


CHEATS = {
    # the public evaluator hands out the object that counts its work
    "appends to its own work done": (
        "def decide(now, left, done, work, *rest):\n    done += work\n    work = 0.0\n    return 0\n"
    ),
    # the public evaluator hands out objects through which the trace can be reached
    "sees the trace": (
        "def decide(*state):\n"
        "    return 2 if all(type(each) in (int, float, bool) for each in state) else 1\n"
    ),
    # a crash drops the scenario from the mean of the public evaluator
    "drops the scenarios that it does not like": (
        "def decide(now, left, done, work, spot, running, *rest):\n    return 1 if spot or running else 1 / 0\n"
    ),
}
ENDS = {
    "appends to its own work done": Status.INVALID,
    "sees the trace": Status.OK,
    "drops the scenarios that it does not like": Status.CRASHED,
}


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    with Evaluator(roomy(SPOT), "rlimits") as made:
        yield made


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_of_the_public_suites_gains_nothing(evaluator: Evaluator, name: str) -> None:
    found = evaluator.evaluate(make_candidate({"program.py": CHEATS[name]}), Split.TRAIN)
    assert found.status is ENDS[name], found.feedback
    assert not found.ok or np.mean(found.objectives) == pytest.approx(100.0)  # everything on demand


@pytest.mark.parametrize("name", SPOT.seeds)
def test_a_seed_scores_in_the_jail_what_it_scores_outside(evaluator: Evaluator, name: str) -> None:
    found = evaluator.evaluate(SPOT.seeds[name], Split.TRAIN)
    assert found.ok, found.feedback
    scope: dict[str, Any] = {}
    exec(SPOT.seeds[name].files["program.py"], scope)
    assert list(found.objectives) == [
        SPOT.evaluator.simulate(each, scope["decide"]) for each in SPOT.split(Split.TRAIN)
    ]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(sorted(SPOT.seeds)),
    st.text("s.", min_size=8, max_size=60),
    st.floats(0.3, 0.95),
    st.sampled_from([0, 3, 10, 17, 30]),
)
def test_no_seed_is_ever_late(name: str, text: str, fullness: float, overhead: int) -> None:
    given = one_region(text, max(1, int((len(text) * 10 - overhead) * fullness)), overhead)
    scope: dict[str, Any] = {}
    exec(SPOT.seeds[name].files["program.py"], scope)
    assert play(scope["decide"], given) >= MARKET.least_cost(given) - 1e-9


# instances


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_is_made_of_its_kinds_with_room_between_greedy_and_the_bound(split: Split) -> None:
    instances = SPOT.split(split)
    kinds = {each.group["kind"] for each in instances}
    assert kinds == set(GENERATOR["SEEN"]) | set(GENERATOR["SHIFTED"] if split is Split.HOLDOUT else ())
    assert len({each.name for each in instances}) == len(instances)
    assert np.mean([each.bound for each in instances]) < 70


def test_the_splits_share_no_job_and_are_the_same_again() -> None:
    SPOT.check_disjoint()
    again = [each.facts["available"].tobytes() for each in GENERATOR["instances"]("train")]
    assert again == [each.facts["available"].tobytes() for each in SPOT.split(Split.TRAIN)]


def test_the_traces_are_those_of_every_other_machine() -> None:
    """How many ticks have spot, as it was when the figures in README.md were measured."""
    sums = [int(each.facts["available"].sum()) for each in SPOT.split(Split.TRAIN)[:4]]
    assert sums == [151, 40, 49, 2]


SPELLS = {  # of the public traces: share of ticks with spot, mean hours of a spell with spot, and without
    "steady": (0.95, 4.37, 0.29),
    "common": (0.55, 1.83, 1.54),
    "flaky": (0.34, 0.72, 1.27),
    "scarce": (0.14, 0.83, 1.95),
}


@pytest.mark.parametrize("kind", SPELLS)
def test_generated_markets_are_like_the_recorded_ones(kind: str) -> None:
    """Measured alike: whole spells within windows of 554 ticks, which cut the longest off."""
    up: list[float] = []
    down: list[float] = []
    shares = []
    for window in range(60):
        words = MARKET.words((window,), (2, 555))
        spot = MARKET.availability(GENERATOR["MARKETS"][kind], 554, 600, words)
        edges = np.flatnonzero(np.diff(spot)) + 1
        for start, end in pairwise(edges.tolist()):
            (up if spot[start] else down).append((end - start) / 6)
        shares.append(spot.mean())
    share, with_spot, without = SPELLS[kind]
    assert np.mean(shares) == pytest.approx(share, abs=0.1)
    assert np.mean(up) == pytest.approx(with_spot, rel=0.5)
    assert np.mean(down) == pytest.approx(without, rel=0.5)


# public traces

TRACE = {"metadata": {"gap_seconds": 600}, "data": [0, 0, 1, 0], "prices": [1.0, 1.0, 1.25, 1.25]}


def test_a_trace_of_the_public_format_is_read(tmp_path: Path) -> None:
    (tmp_path / "zone").mkdir()
    (tmp_path / "zone" / "0.json").write_text(json.dumps(TRACE))
    packed = tmp_path / "traces.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(tmp_path / "zone" / "0.json", "zone/0.json")
    for path in (packed, tmp_path, tmp_path / "zone" / "0.json"):
        (trace,) = MARKET.read_traces(path)
        assert trace.available.tolist() == [True, True, False, True]  # 1 in the file is a preemption
        assert (trace.tick_s, trace.price) == (600, (1.0, 1.0, 1.25, 1.25))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": []}, "data has to be a list"),
        ({"data": [0, 2]}, "data has to be a list"),
        ({"data": [0, [1]]}, "data has to be a list"),
        ({"data": [0, True]}, "data has to be a list"),
        ({"data": {"0": 1}}, "data has to be a list"),
        ({"metadata": {"gap_seconds": 0}}, "gap_seconds is 0"),
        (
            {"metadata": {"gap_seconds": 10**7}},
            "gap_seconds is 10000000; it has to be a whole number from 1 to 3600",
        ),
        ({"metadata": {"gap_seconds": math.inf}}, "gap_seconds is inf"),
        ({"metadata": {"gap_seconds": math.nan}}, "gap_seconds is nan"),
        ({"metadata": {"gap_seconds": "600"}}, "gap_seconds is 600"),
        ({"metadata": 7}, "no spot trace"),
        ({"prices": [1.0, 1.0, math.nan, 1.0]}, "a price is nan"),
        ({"prices": [1.0, -1.0, 1.0, 1.0]}, "a price is -1.0"),
        ({"prices": 7}, "no spot trace"),
        ({"metadata": {}}, "no spot trace"),
        ({"prices": [1.0]}, "1 prices for 4 ticks"),
    ],
)
def test_a_broken_trace_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"zone/0.json.*{message}|{message}"):
        MARKET.read_trace(json.dumps({**TRACE, **change}), "zone/0.json")


@pytest.mark.parametrize(
    "text", ["", "[", "[" * 100_000, "7", "[]", '"data"', "null"], ids=lambda text: text[:9]
)
def test_what_is_no_trace_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"zone/0\.json: no spot trace"):
        MARKET.read_trace(text, "zone/0.json")


def zones(folder: Path, **changes: Any) -> Path:
    """Recordings of three zones, long enough."""
    for zone in "abc":
        (folder / zone).mkdir(parents=True)
        (folder / zone / "0.json").write_text(
            json.dumps({**TRACE, "data": [0] * 430, "prices": [], **changes})
        )
    return folder


def test_ticks_that_are_too_fine_for_the_optimum_are_refused_before_they_eat_memory(tmp_path: Path) -> None:
    fine = zones(tmp_path / "fine", metadata={"gap_seconds": 1}, data=[0] * 260_000)
    with pytest.raises(
        ProblemError, match=r"187200 ticks of 1 s .* are too fine for the optimum; take longer ticks"
    ):
        list(GENERATOR["from_data"]("train", fine))


@pytest.mark.parametrize(
    ("overhead", "message"), [("30.0", "cannot be done by its deadline"), ("..5", "could not convert")]
)
def test_an_overhead_in_a_folders_name_that_makes_no_sense_is_an_error(
    tmp_path: Path, overhead: str, message: str
) -> None:
    zones(tmp_path / f"overhead={overhead}")
    with pytest.raises(ProblemError, match=message):
        list(GENERATOR["from_data"]("train", tmp_path))


def test_a_recording_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MARKET, "MOST_BYTES", 100)
    packed = tmp_path / "traces.tar"
    with tarfile.open(packed, "w") as archive:
        archive.add(zones(tmp_path / "zones"), "zones")
    for path in (packed, tmp_path / "zones", tmp_path / "zones" / "a" / "0.json"):
        with pytest.raises(ValueError, match=r"0\.json: \d+ bytes; a recording has at most 100"):
            MARKET.read_traces(path)


@pytest.mark.parametrize("cut", [0, 40])
def test_a_broken_archive_is_named(tmp_path: Path, cut: int) -> None:
    packed = tmp_path / "traces.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.json"), io.BytesIO())
    packed.write_bytes(packed.read_bytes()[:cut] if cut else b"no archive at all" * 40)
    with pytest.raises(ValueError, match=r"traces\.tar\.gz: neither a \.json file nor a whole archive"):
        MARKET.read_traces(packed)


def test_an_archive_without_traces_is_an_error(tmp_path: Path) -> None:
    packed = tmp_path / "none.tar"
    with tarfile.open(packed, "w") as archive:
        archive.addfile(tarfile.TarInfo("readme"), io.BytesIO())
    with pytest.raises(ValueError, match=r"no \.json file in it"):
        MARKET.read_traces(packed)


@pytest.mark.skipif(not DATA.is_file(), reason="the public traces are not part of the project")
def test_the_clairvoyant_optimum_of_a_public_trace_lies_between_all_spot_and_greedy() -> None:
    with tarfile.open(DATA, "r|*") as archive:
        for member in archive:
            if member.name.endswith(".json") and member.isfile() and "overhead=0.10" in member.name:
                text = archive.extractfile(member)
                assert text is not None
                trace = MARKET.read_trace(text.read(), member.name)
                break
    given = GENERATOR["job"](trace.available[:312], np.full(312, 0.9731 / 6), trace.tick_s, 48 * 3600, 360)
    scope: dict[str, Any] = {}
    exec(SPOT.seeds["greedy"].files["program.py"], scope)
    greedy = play(scope["decide"], given) * given["reference"] / 100
    assert 48 * 0.9731 < MARKET.least_cost(given) <= greedy < 150
