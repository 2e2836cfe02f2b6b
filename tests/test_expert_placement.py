"""The evaluator of expert placement: it agrees with the rules written plainly, and refuses the known exploits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve.records import Instance
from tests.moe_tools import (
    GENERATOR,
    MOE,
    PATIENT,
    Invalid,
    check,
    instances,
    objective,
    plain_objective,
    plain_valid,
    some_placement,
)

seeds = st.integers(0, 2**32)


def instance(
    future: Any, slots: int, gpus: int, previous: Any, price: float = 0.0, nodes: int = 1, groups: int = 1
) -> Instance:
    """One layer; `future`: the loads of each window to come."""
    following = np.array(future)[:, None, :]
    arguments = {
        "load": following,
        "slots": slots,
        "groups": groups,
        "nodes": nodes,
        "gpus": gpus,
        "previous": np.array([previous]),
    }
    return Instance("by hand", arguments, 1.0, {"forecast": "noisy"}, {"next": following, "price": price})


def judged(given_instance: Instance, decision: Any) -> float:
    return float(objective(given_instance, check(given_instance, decision)))


# -- what it says of valid placements ----------------------------------------------------------------------


@settings(PATIENT, max_examples=1500)
@given(instances(), seeds)
def test_the_objective_is_that_of_the_plain_rules(made: Instance, dice: int) -> None:
    placement = some_placement(made, np.random.default_rng(dice))
    assert judged(made, placement) == pytest.approx(
        float(plain_objective(made, placement.tolist())), abs=1e-12
    )


@settings(PATIENT, max_examples=600)
@given(instances(), seeds)
def test_no_token_is_lost_or_made(made: Instance, dice: int) -> None:
    placement = some_placement(made, np.random.default_rng(dice))
    loads = MOE.evaluator.gpu_load(placement, made.facts["next"], made.arguments["gpus"])
    np.testing.assert_allclose(loads.sum(axis=-1), made.facts["next"].sum(axis=-1), rtol=1e-12)


@settings(PATIENT, max_examples=800)
@given(instances(), seeds, st.integers(0, 3))
def test_it_accepts_what_the_plain_rules_accept_and_nothing_else(
    made: Instance, dice: int, changes: int
) -> None:
    rng = np.random.default_rng(dice)
    placement = some_placement(made, rng)
    for _ in range(changes):
        layer, slot = rng.integers(0, placement.shape[0]), rng.integers(0, placement.shape[1])
        placement[layer, slot] = rng.integers(-1, made.arguments["load"].shape[2] + 1)
    if plain_valid(made, placement.tolist()):
        np.testing.assert_array_equal(check(made, placement.tolist()), placement)
    else:
        with pytest.raises(Invalid):
            check(made, placement)


def test_a_replica_takes_its_share_of_the_tokens() -> None:
    """Loads 60, 20, 20, 20 on two GPUs of three slots: 30 + 20 + 10 on one, 30 + 20 + 10 on the other is even."""
    made = instance([[60, 20, 20, 20]], slots=6, gpus=2, previous=[0, 1, 2, 3, 0, 1])
    assert judged(made, [[0, 1, 3, 0, 2, 3]]) == 1.0
    # 0 alone on its GPU with two of the others: 60 + 20 + 20 of 120, of which an even share is 60
    assert judged(made, [[0, 1, 2, 3, 3, 3]]) == pytest.approx(60 / 100)


def test_the_mean_is_taken_over_windows() -> None:
    made = instance([[10, 10], [30, 10]], slots=2, gpus=2, previous=[0, 1])
    assert judged(made, [[0, 1]]) == pytest.approx((1.0 + 20 / 30) / 2)


def test_what_was_on_the_gpu_is_not_paid_for() -> None:
    made = instance([[1, 1, 1, 1]], slots=4, gpus=2, previous=[0, 1, 2, 3], price=0.2)
    assert judged(made, [[1, 0, 3, 2]]) == 1.0, "slots of a GPU trade places for nothing"
    assert judged(made, [[0, 2, 1, 3]]) == pytest.approx(1.0 - 0.2 * 2 / 4)


def test_two_replicas_on_one_gpu_are_brought_once_and_help_nobody() -> None:
    made = instance([[90, 10, 10]], slots=6, gpus=2, previous=[0, 1, 2, 0, 1, 2], price=0.6)
    assert judged(made, [[0, 0, 0, 0, 1, 2]]) == pytest.approx(55 / 67.5)
    made = instance([[90, 10, 10]], slots=6, gpus=2, previous=[1, 2, 1, 0, 1, 2], price=0.6)
    assert judged(made, [[0, 0, 0, 0, 1, 2]]) == pytest.approx(55 / 67.5 - 0.6 * 1 / 6)


def test_a_window_without_tokens_is_even() -> None:
    made = instance([[0, 0]], slots=2, gpus=2, previous=[0, 1])
    assert judged(made, [[0, 1]]) == 1.0


def test_the_distance_of_placements_is_the_share_of_places_that_differ() -> None:
    made = instance([[1, 1, 1, 1]], slots=4, gpus=2, previous=[0, 1, 2, 3])
    one, other = (check(made, [row]) for row in ([0, 1, 2, 3], [0, 2, 1, 3]))
    assert MOE.evaluator.distance(made, one, one) == 0.0
    assert MOE.evaluator.distance(made, one, other) == pytest.approx(1 - 2 / 6)


# -- the known exploits of public suites --------------------------------------------------------------------


HIERARCHICAL = instance([[1] * 4], slots=8, gpus=4, previous=[0, 1, 0, 1, 2, 3, 2, 3], nodes=2, groups=2)
GLOBAL = instance([[9, 1, 1, 1]], slots=8, gpus=4, previous=[0, 1, 0, 1, 2, 3, 2, 3])


def refused(made: Instance, decision: Any, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        check(made, decision)


@pytest.mark.parametrize("wrong", [4, -1, -4, 2**40])
def test_invented_expert_ids_are_refused(wrong: int) -> None:
    refused(GLOBAL, [[0, 1, 2, 3, 0, 1, 2, wrong]], rf"slot 7 of layer 0 holds {wrong}; experts are 0\.\.3")


def test_invented_gpu_ids_are_refused() -> None:
    """GPUs follow from the slots; what names more slots than there are, or names GPUs, is no placement."""
    refused(GLOBAL, [[0, 1, 2, 3, 0, 1, 2, 3, 0, 0]], "no list of 8 integers")
    refused(GLOBAL, np.zeros((1, 10), np.int64), r"shape \(1, 10\)")
    refused(GLOBAL, [[[0, 99], [1, 99]]], "no list of 8 integers")
    refused(GLOBAL, {"expert": [0, 1, 2, 3], "gpu": [0, 99, 99, 99]}, "is a dict")


def test_unplaced_experts_are_refused() -> None:
    refused(GLOBAL, [[0, 1, 2, 2, 0, 1, 2, 2]], "expert 3 is in no slot of layer 0")


def test_load_is_not_lost_through_repeated_replica_ids() -> None:
    """The hot expert in seven slots: each has a seventh of its tokens, so that all twelve are still there."""
    three = instance([[9, 1, 1, 1]], slots=12, gpus=4, previous=[0, 1, 2] * 4)
    placement = check(three, [[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]])
    loads = MOE.evaluator.gpu_load(placement, three.facts["next"], 4)
    np.testing.assert_allclose(loads, [[[3, 3, 3, 3]]])


def test_a_self_reported_score_is_no_placement() -> None:
    refused(GLOBAL, 1.0, "is a float")
    refused(GLOBAL, {"combined_score": 1.0, "placement": [[0]]}, "is a dict")
    refused(GLOBAL, ([[0, 1, 2, 3] * 2], 1.0), "is a tuple")
    refused(GLOBAL, [[0, 1, 2, 3] * 2, 1.0], "has 2 rows")


def test_a_group_on_two_nodes_is_refused() -> None:
    refused(HIERARCHICAL, [[0, 2, 1, 3, 0, 2, 1, 3]], "group 0 of layer 0 is on nodes 0 and 1")
    check(HIERARCHICAL, [[2, 3, 2, 3, 0, 1, 0, 1]])


def test_a_dropped_layer_is_refused() -> None:
    made = GENERATOR.make("two", np.ones((12, 2, 4), np.int64), GENERATOR.Shape(4, 2, 8, 4), {})
    refused(made, [[0, 1, 2, 3] * 2], "has 1 rows")
    refused(made, [[0, 1, 2, 3] * 2, []], "row 1 of the placement is no list of 8 integers")


@pytest.mark.parametrize(
    "row",
    [
        [0.0, 1, 2, 3, 0, 1, 2, 3],
        [True, False, 2, 3, 0, 1, 2, 3],
        ["0", 1, 2, 3, 0, 1, 2, 3],
        [None] * 8,
        [2**70, 1, 2, 3, 0, 1, 2, 3],
    ],
)
def test_what_is_no_integer_is_refused(row: list[Any]) -> None:
    refused(GLOBAL, [row], "no list of 8 integers")


@pytest.mark.parametrize("dtype", ["f8", "f4", "?"])
def test_arrays_of_other_numbers_are_refused(dtype: str) -> None:
    refused(GLOBAL, np.array([[0, 1, 2, 3] * 2]).astype(dtype), "it has to be an integer array")


def test_unsigned_integers_do_not_wrap() -> None:
    wrong = np.array([[0, 1, 2, 3, 0, 1, 2, 2**64 - 1]], np.uint64)
    refused(GLOBAL, wrong, "beyond 63 bits")
    check(GLOBAL, np.array([[0, 1, 2, 3] * 2], np.uint8))


def test_mutated_inputs_change_nothing() -> None:
    """The jail works on copies; and on the trusted side the arrays cannot be written to."""
    made = MOE.split("train")[0]  # type: ignore[arg-type]
    for array in (made.arguments["load"], made.arguments["previous"], made.facts["next"]):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


@settings(PATIENT, max_examples=300)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=12,
    )
)
def test_any_other_data_is_refused_with_a_reason(decision: Any) -> None:
    with pytest.raises(Invalid, match="it has to be an integer array of shape"):
        check(HIERARCHICAL, decision)


def test_the_parsed_placement_is_a_copy() -> None:
    given_array = np.array([[0, 1, 2, 3] * 2])
    parsed = check(GLOBAL, given_array)
    given_array[:] = 0
    assert parsed.tolist() == [[0, 1, 2, 3] * 2]


def test_the_summary_shows_the_three_forecasts() -> None:
    made = [MOE.split("train")[index] for index in range(32)]  # type: ignore[arg-type]
    found = MOE.evaluator.summary(made, [0.1 * (index % 7) for index in range(32)])
    assert {f"net balance, {name}" for name in ("exact", "noisy", "adversarial")} < set(found)
    assert found["worst net balance"] == 0.0
