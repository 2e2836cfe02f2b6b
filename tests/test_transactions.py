"""The simulators of transaction scheduling agree with the rule as it is written, and no order beats the bound."""

from __future__ import annotations

import sys
from itertools import combinations, permutations
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve.records import Split
from tests import txn_tools as tools
from tests.txn_tools import ONLINE, TXN, Transactions, evaluator, generator, instance, transactions

R, W = False, True


@settings(max_examples=1000, deadline=None)
@given(transactions, st.randoms(use_true_random=False))
def test_all_simulators_agree_with_the_reference(batch: Transactions, random: Random) -> None:
    """On three orders of each batch, or of some of its transactions: 3,000 cases."""
    made, oracle = tools.arrays(batch), tools.makespan_of(batch)
    for _ in range(3):
        order = random.sample(range(len(batch)), random.randint(1, len(batch)))
        expected, _ = tools.reference(batch, order)
        ends = np.zeros((2, int(made.keys.max()) + 1), np.int64)
        given_order = np.array(order, np.int64)
        plain = evaluator.simulate_order(given_order, made.first, made.keys, made.writes, *ends)
        assert tools.spans(batch, [order]) == [expected]
        assert plain == expected
        assert oracle(order) == expected


@settings(max_examples=500, deadline=None)
@given(transactions, st.randoms(use_true_random=False))
def test_conflicting_accesses_never_overlap_and_keep_the_order_of_admission(
    batch: Transactions, random: Random
) -> None:
    order = random.sample(range(len(batch)), len(batch))
    span, starts = tools.reference(batch, order)
    accesses = [
        (position, starts[t] + place, key, write)
        for position, t in enumerate(order)
        for place, (key, write) in enumerate(batch[t])
    ]
    for (early, time, key, write), (late, later, other_key, other_write) in combinations(accesses, 2):
        if early != late and key == other_key >= 0 and (write or other_write):
            assert time < later, f"of key {key} number {late} was admitted after number {early}"
    assert tools.spans(batch, [order]) == [span]


@settings(max_examples=300, deadline=None)
@given(transactions, st.randoms(use_true_random=False))
def test_admitting_one_more_never_ends_earlier_and_takes_at_most_its_length_longer(
    batch: Transactions, random: Random
) -> None:
    order = random.sample(range(len(batch)), len(batch))
    found = tools.spans(batch, [order[:count] for count in range(1, len(order) + 1)])
    for before, after, t in zip(found, found[1:], order[1:], strict=False):
        assert before <= after <= before + len(batch[t])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(tools.operations, min_size=1, max_size=5), min_size=1, max_size=5))
def test_no_order_beats_the_bound(batch: Transactions) -> None:
    best = min(tools.spans(batch, list(permutations(range(len(batch))))))
    assert generator.lower_bound(tools.arrays(batch)) <= best


def test_the_strongest_search_beats_no_bound_and_reaches_some() -> None:
    reached = 0
    for each in TXN.split(Split.TRAIN)[:10]:
        batch = tools.listed(generator.Batch(*(each.arguments[name] for name in ("first", "keys", "writes"))))
        order = tools.seed("annealing")(batch, tools.makespan_of(batch), 3000)
        found = evaluator.objective(each, evaluator.check(each, order))
        assert found >= each.bound
        reached += found == each.bound
    assert reached >= 1


# ---- worked by hand


def span(batch: Transactions, *order: int) -> int:
    return tools.spans(batch, [order])[0]


def test_transactions_without_conflict_run_side_by_side() -> None:
    assert span([[(0, W), (1, W)], [(2, W), (3, R), (4, R)], [(-1, W)]], 0, 1, 2) == 3


def test_readers_share_and_writers_take_turns() -> None:
    assert span([[(0, R)]] * 4, 0, 1, 2, 3) == 1
    assert span([[(0, W)]] * 4, 0, 1, 2, 3) == 4


def test_a_write_waits_for_the_last_read_and_a_read_for_the_last_write() -> None:
    reader, writer = [(1, R), (0, R)], [(0, W)]
    assert span([reader, writer], 0, 1) == 3  # the read is at 1..2, the write at 2..3
    assert span([reader, writer], 1, 0) == 2  # the write is at 0..1, the read right behind it


def test_nobody_waits_inside_a_transaction() -> None:
    late, early = [(1, R), (2, R), (0, W)], [(0, W), (3, R)]
    assert span([late, early], 0, 1) == 5  # early begins at 3
    assert span([late, early], 1, 0) == 3  # both begin at 0


def test_two_keys_in_opposite_sequence_leave_nothing_to_do_at_a_time() -> None:
    assert span([[(0, W), (1, W)], [(1, W), (0, W)]], 0, 1) == 4
    assert span([[(0, W), (1, W)], [(0, W), (1, W)]], 0, 1) == 3


def test_a_transactions_own_accesses_are_no_conflict() -> None:
    assert span([[(0, W), (0, R), (0, W)]], 0) == 3


@pytest.mark.parametrize(
    ("batch", "bound"),
    [
        ([[(0, W)]] * 4, 4),  # work
        ([[(0, W)]] * 4 + [[(0, R)]] * 3, 5),  # and one slot for all readers
        ([[(1, R), (0, W)]] * 4, 5),  # the head of the first
        ([[(0, W), (1, R), (2, R)]] * 4, 6),  # the tail of the last
        ([[(0, W), (1, R), (0, W)]] * 3, 9),  # nobody writes between two writes
        ([[(0, R), (1, R), (0, W)]] * 3, 9),  # nor between a read and a write, if all write
        ([[(1, R), (2, R), (3, R)]], 3),  # the longest transaction
    ],
)
def test_the_bound_by_hand(batch: Transactions, bound: int) -> None:
    assert generator.lower_bound(tools.arrays(batch)) == bound


# ---- online


@settings(max_examples=300, deadline=None)
@given(transactions, st.integers(1, 7), st.randoms(use_true_random=False))
def test_online_the_makespan_is_that_of_the_order_of_admission(
    batch: Transactions, window: int, random: Random
) -> None:
    """What a policy is shown is right too: earliest starts, lengths, ages, the makespan so far."""
    order: list[int] = []
    waiting = list(range(min(window, len(batch))))

    def admit(index: int) -> None:
        order.append(waiting.pop(index))
        coming = len(order) + len(waiting)
        if coming < len(batch):
            waiting.append(coming)

    def pick(keys: Any, writes: Any, start: Any, length: Any, delay: Any, age: Any, span: int) -> int:
        while len(waiting) == 1 and len(length) > 1:
            admit(0)
        assert span == (tools.reference(batch, order)[0] if order else 0)
        assert length.tolist() == [len(batch[t]) for t in waiting]
        for row, t in enumerate(waiting):
            assert start[row] == tools.reference(batch, [*order, t])[1][t]
            others = [other for other in waiting if other != t]
            later = [tools.reference(batch, [*order, t, other])[1][other] for other in others]
            now = [tools.reference(batch, [*order, other])[1][other] for other in others]
            assert delay[row] == sum(later) - sum(now)
            assert (keys[row, len(batch[t]) :] == -1).all()
            assert [bool(write) for write in writes[row, : len(batch[t])]] == [w for _, w in batch[t]]
            assert age[row] == len(order) - max(0, t - window + 1)
        chosen = random.randrange(len(waiting))
        admit(chosen)
        return chosen

    found = evaluator.simulate(tools.stream(batch, window), pick)
    while waiting:
        admit(0)
    assert found == tools.reference(batch, order)[0]


def test_a_window_of_one_is_the_order_of_arrival_and_asks_nothing() -> None:
    batch = [[(0, W)], [(0, R), (1, W)], [(1, W)]]
    found = evaluator.simulate(tools.stream(batch, 1), lambda *_: pytest.fail("nobody is asked"))
    assert found == span(batch, 0, 1, 2)


@pytest.mark.parametrize("answer", [-1, 2, True, 0.0, None, [0], "0", 10**50])
def test_an_answer_that_names_no_pending_transaction_is_refused(answer: object) -> None:
    with pytest.raises(evaluator.Invalid, match=r"it has to return an integer of 0\.\.1"):
        evaluator.simulate(tools.stream([[(0, W)], [(0, W)]], 2), lambda *_: answer)


@pytest.mark.parametrize("name", sorted(ONLINE.seeds))
def test_an_online_seed_schedules_streams_of_any_size(name: str) -> None:
    for batch in ([[(0, W)]], [[(0, W)]] * 3, [[(0, R), (1, W)], [(1, W), (0, W)], [(-1, R)]]):
        stream = tools.stream(batch, 2)
        assert evaluator.simulate(stream, tools.policy(name)) >= stream.bound


# ---- what a program gets and gives


def test_the_oracle_counts_its_calls() -> None:
    makespan = tools.makespan_of([[(0, W)]] * 3, 3)
    assert makespan([2, 0]) == 2
    assert makespan([1, 0, 2]) == 3
    assert makespan([]) == 0
    with pytest.raises(evaluator.Invalid, match="makespan was called more than 3 times"):
        makespan([0])


@pytest.mark.parametrize(
    ("order", "what"),
    [
        ([0, 3], r"transactions are 0\.\.2"),
        ([-1], r"transactions are 0\.\.2"),
        ([0, 0], "each transaction may be there once"),
        ([0.0], "takes a list of integers"),
        (["0"], "takes a list of integers"),
        ([True, False], "takes a list of integers"),
        ([2**63], "takes a list of integers"),
        ([None], "takes a list of integers"),
        (None, "takes a list of integers"),
        (3, "takes a list of integers"),
    ],
)
def test_the_oracle_refuses_what_is_no_order(order: object, what: str) -> None:
    with pytest.raises(evaluator.Invalid, match=what):
        evaluator.consult(instance([[(0, W)]] * 3), order, 1)


def test_without_numba_orders_are_judged_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [[(0, W), (1, R)], [(1, W), (0, R)], [(0, W)]]
    expected = span(batch, 1, 0, 2)
    monkeypatch.setitem(sys.modules, "numba", None)
    evaluator.kernel.cache_clear()
    try:
        assert evaluator.kernel() is evaluator.simulate_order
        assert span(batch, 1, 0, 2) == expected
    finally:
        evaluator.kernel.cache_clear()


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (None, r"the decision is None; order has to be a list of 2 integers"),
        ([0], r"order has 1 entries; it has to be a permutation of 0\.\.1"),
        ([0, 0], r"order holds 0 twice"),
        ([0, 2], r"order holds 2 at position 1"),
        ([-1, 0], r"order holds -1 at position 0"),
        ([True, 0], r"order holds the bool True at position 0"),
        ([1.0, 0], r"order holds the float 1\.0 at position 0"),
        (np.array([[0, 1]]), r"an array of shape \(1, 2\)"),
        (np.array([0.0, 1.0]), r"an array of float64"),
        ([10**60, 0], r"an integer of 200 bits"),
    ],
)
def test_a_decision_that_is_no_order_is_refused(decision: object, message: str) -> None:
    with pytest.raises(evaluator.Invalid, match=message):
        evaluator.check(instance([[(0, W)], [(0, W)]]), decision)


@pytest.mark.parametrize("decision", [[1, 0], np.array([1, 0]), [np.int64(1), 0], np.array([1, 0], np.uint8)])
def test_an_order_may_be_a_list_or_an_array(decision: object) -> None:
    assert evaluator.check(instance([[(0, W)], [(0, W)]]), decision).tolist() == [1, 0]


@pytest.mark.parametrize("name", sorted(TXN.seeds))
@settings(max_examples=40, deadline=None)
@given(batch=transactions, calls=st.integers(1, 60))
def test_a_seed_orders_any_batch_within_its_calls(name: str, batch: Transactions, calls: int) -> None:
    found = tools.seed(name)([list(each) for each in batch], tools.makespan_of(batch, calls), calls)
    one = instance(batch)
    assert evaluator.objective(one, evaluator.check(one, found)) >= one.bound


def test_the_best_insertion_is_the_best_of_all_places() -> None:
    for each in TXN.split(Split.TRAIN)[:2]:
        batch = tools.listed(generator.Batch(*(each.arguments[name] for name in ("first", "keys", "writes"))))
        scope: dict[str, Any] = {}
        exec(TXN.seeds["insertion"].files["program.py"], scope)
        rest, makespan = np.arange(1, len(batch)), tools.makespan_of(batch)
        length = np.array([len(one) for one in batch])
        order, found = scope["insertion"](scope["delays"](batch), length, rest, 0)
        assert makespan(order) == found
        assert found == min(makespan(np.insert(rest, place, 0)) for place in range(len(batch)))


def test_the_distance_of_orders_is_the_share_of_pairs_that_are_turned_round() -> None:
    one = instance([[(0, W)]] * 3)
    assert evaluator.distance(one, np.array([0, 1, 2]), np.array([2, 1, 0])) == 1.0
    assert evaluator.distance(one, np.array([0, 1, 2]), np.array([0, 2, 1])) == pytest.approx(1 / 3)
