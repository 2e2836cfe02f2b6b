"""The bandit: what yields more per cost is chosen more often, and nothing is given up for good."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.bandit import FLOOR, Bandit
from evolve.errors import UsageError

SIZES = st.one_of(st.just(0.0), st.floats(1e-9, 100))
TOLD = st.tuples(st.sampled_from("abc"), SIZES, SIZES)


def test_without_experience_arms_are_drawn_by_their_prior_weights() -> None:
    assert Bandit({"a": 3, "b": 1}).shares() == {"a": 0.75, "b": 0.25}
    assert Bandit(["a", "b"]).shares() == {"a": 0.5, "b": 0.5}


def test_the_arm_that_gains_more_per_cost_wins() -> None:
    bandit = Bandit(["cheap", "dear"])
    for _ in range(200):
        bandit.tell("cheap", 1.0, 1.0)
        bandit.tell("dear", 1.0, 10.0)
    drawn = Counter(bandit.choose(random.Random(seed)) for seed in range(200))
    assert drawn["cheap"] > 3 * drawn["dear"]


def test_costs_alone_change_nothing_while_nothing_was_gained() -> None:
    bandit = Bandit(["a", "b"])
    bandit.tell("a", 0.0, 5.0)
    assert bandit.shares() == {"a": 0.5, "b": 0.5}


def test_an_arm_of_the_past_makes_room_for_that_of_today() -> None:
    bandit = Bandit(["early", "late"], decay=0.98)
    for winner in ("early", "late"):
        for _ in range(200):
            bandit.tell("early", float(winner == "early"), 1.0)
            bandit.tell("late", float(winner == "late"), 1.0)
    shares = bandit.shares()
    assert shares["late"] > 2 * shares["early"]


def test_what_is_in_flight_lowers_the_chance_of_more_of_it() -> None:
    bandit = Bandit(["a", "b"])
    bandit.tell("a", 1.0, 1.0)
    bandit.tell("b", 1.0, 1.0)
    assert bandit.shares({"a": 8})["a"] < bandit.shares()["a"]


@given(st.lists(TOLD, max_size=60), st.dictionaries(st.sampled_from("abc"), st.integers(0, 50)))
def test_chances_add_up_and_no_arm_is_given_up(
    told: list[tuple[str, float, float]], pending: dict[str, int]
) -> None:
    bandit = Bandit({"a": 1, "b": 2, "c": 5}, decay=0.9)
    for arm, gain, cost in told:
        bandit.tell(arm, gain, cost)
    shares = bandit.shares(pending)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) >= FLOOR / 8


@given(st.lists(TOLD, max_size=60), st.integers(0, 1000))
def test_the_same_story_gives_the_same_choice(told: list[tuple[str, float, float]], seed: int) -> None:
    one, two = Bandit("abc"), Bandit("abc")
    for bandit in (one, two):
        for arm, gain, cost in told:
            bandit.tell(arm, gain, cost)
    assert one.choose(random.Random(seed)) == two.choose(random.Random(seed))


def test_the_table_counts_all_tries_and_ranks_by_chance() -> None:
    bandit = Bandit(["a", "b", "c"], decay=0.9)
    bandit.tell("b", 2.0, 4.0)
    bandit.tell("b", 0.0, 4.0)
    bandit.tell("a", 0.0, 1.0)
    rows = bandit.table()
    assert rows[0].name == "b"
    assert (rows[0].tries, rows[0].gain, rows[0].cost, rows[0].rate) == (2, 2.0, 8.0, 0.25)


def test_a_weight_or_a_decay_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="prior weight of 'a' is 0"):
        Bandit({"a": 0.0})
    with pytest.raises(UsageError, match="decay of a bandit is 2"):
        Bandit(["a"], decay=2)
