"""The evaluator of total tardiness is strict and exact, and so is the solver behind its optima."""

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.smtt_tools import ROOT, Ints, jobs, load, tardiness

evaluator = load(ROOT / "evaluators/total_tardiness.py")
exact = load(ROOT / "evaluators/total_tardiness_exact.py")


def instance(p: Any, d: Any, optimum: int) -> SimpleNamespace:
    arguments = {"p": np.array(p, dtype=np.int64), "d": np.array(d, dtype=np.int64)}
    return SimpleNamespace(name="x", arguments=arguments, facts={"optimum": optimum}, bound=0.0, group={})


FOUR = instance([4, 2, 3, 1], [3, 4, 9, 2], 3)


@pytest.mark.parametrize(
    "decision",
    [
        [3, 1, 0, 2],
        [np.int64(3), np.uint8(1), 0, np.int16(2)],
        np.array([3, 1, 0, 2]),
        np.array([3, 1, 0, 2], dtype=np.uint8),
        np.array([3, 9, 1, 9, 0, 9, 2, 9], dtype=np.int32)[::2],
    ],
)
def test_a_permutation_of_integers_is_accepted(decision: Any) -> None:
    parsed = evaluator.check(FOUR, decision)
    assert parsed.dtype == np.int64
    assert parsed.tolist() == [3, 1, 0, 2]


LOOP: list[Any] = [0, 1, 2]
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (None, "the decision is None; order has to be a list of 4 integers"),
        (True, "the decision is the bool True; order has to be"),
        (3, "the decision is 3; order has to be"),
        (10**6000, "an integer of 19932 bits"),
        (math.nan, "the float nan"),
        ("3102", "the str '3102'"),
        ("x" * 10**6, "the str 'xxxxxxxxxxxxxxxxxxxx'"),
        ((3, 1, 0, 2), "a value of type tuple"),
        ({0: 3, 1: 1, 2: 0, 3: 2}, "a value of type dict"),
        (range(4), "a value of type range"),
        ([], "order has 0 entries; it has to be a permutation of 0..3"),
        ([0, 1, 2], "order has 3 entries; it has to be a permutation of 0..3"),
        ([0, 1, 2, 3, 3], "order has 5 entries"),
        ([0, 1, 1, 3], "order holds 1 twice; it has to be a permutation of 0..3"),
        ([0, 1, 2, 4], "order holds 4 at position 3; it has to be a permutation of 0..3"),
        ([0, 1, 2, -1], "order holds -1 at position 3; it has to be a permutation of 0..3"),
        ([-4, 1, 2, 3], "order holds -4 at position 0"),
        ([0, 1, 2, 10**6000], "order holds an integer of 19932 bits at position 3"),
        ([0, 1, 2, 3 + 2**64], f"order holds {3 + 2**64} at position 3"),
        ([0, True, 2, 3], "order holds the bool True at position 1; every entry has to be an integer"),
        ([False, 1, 2, 3], "order holds the bool False at position 0"),
        ([0, 1.0, 2, 3], "order holds the float 1.0 at position 1; every entry has to be an integer"),
        ([0, math.nan, 2, 3], "order holds the float nan at position 1"),
        ([0, None, 2, 3], "order holds None at position 1"),
        ([0, "1", 2, 3], "order holds the str '1' at position 1"),
        ([[0, 1, 2, 3]], "order has 1 entries"),
        ([[0], [1], [2], [3]], "order holds a value of type list at position 0"),
        (LOOP, "order holds a value of type list at position 3"),
        ([np.float64(0), 1, 2, 3], "order holds a value of type float64 at position 0"),
        ([np.bool_(False), 1, 2, 3], "order holds a value of type bool"),
        ([np.timedelta64(0), 1, 2, 3], "at position 0; every entry has to be an integer"),
        (np.array([3.0, 1.0, 0.0, 2.0]), "order is an array of float64; it has to hold integers"),
        (np.array([True, False, True, False]), "order is an array of bool"),
        (np.array([3, 1, 0, 2], dtype=object), "order is an array of object"),
        (np.array(["3", "1", "0", "2"]), "it has to hold integers"),
        (np.array([3, 1, 0, 2], dtype="m8[s]"), "it has to hold integers"),
        (np.array([[3, 1, 0, 2]]), r"order is an array of shape (1, 4); its shape has to be (4,)"),
        (np.array(3), r"order is an array of shape ()"),
        (np.array([3, 1, 0, -2]), "order holds -2 at position 3"),
        (np.array([3, 1, 0, 2**64 - 2], dtype=np.uint64), "order holds 18446744073709551614 at position 3"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_permutation_is_refused_with_value_and_rule(decision: Any, message: str) -> None:
    with pytest.raises(evaluator.Invalid) as caught:
        evaluator.check(FOUR, decision)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
HOSTILE = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@settings(max_examples=300, deadline=None)
@given(HOSTILE)
def test_arbitrary_data_are_refused_or_are_a_permutation(decision: Any) -> None:
    try:
        parsed = evaluator.check(FOUR, decision)
    except evaluator.Invalid:
        return
    assert type(decision) is list
    assert all(type(job) is int for job in decision)
    assert sorted(decision) == [0, 1, 2, 3]
    assert parsed.tolist() == decision


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 5), ATOMS)
def test_one_foreign_entry_spoils_a_permutation(order: list[int], position: int, entry: Any) -> None:
    six = instance([1] * 6, [0] * 6, 21)
    spoilt = [*order[:position], entry, *order[position + 1 :]]
    if type(entry) is int and entry == order[position]:
        assert evaluator.check(six, spoilt).tolist() == order
    else:
        with pytest.raises(evaluator.Invalid):
            evaluator.check(six, spoilt)


def test_the_objective_of_a_worked_example() -> None:
    # completions 1, 3, 7, 10 against due dates 2, 4, 3, 9: tardiness 0 + 0 + 4 + 1 = 5, sum p = 10
    parsed = evaluator.check(FOUR, [3, 1, 0, 2])
    assert evaluator.total_tardiness(FOUR.arguments["p"], FOUR.arguments["d"], parsed) == 5
    assert evaluator.objective(FOUR, parsed) == pytest.approx(100 * (5 - 3) / 10)


def test_the_gap_is_relative_to_the_optimum_where_that_exceeds_the_work() -> None:
    late = instance([2, 3], [0, 0], 7)
    assert evaluator.objective(late, evaluator.check(late, [1, 0])) == pytest.approx(100 * (8 - 7) / 7)


@settings(max_examples=100, deadline=None)
@given(jobs(), st.randoms(use_true_random=False))
def test_total_tardiness_is_that_of_the_definition(arrays: tuple[Ints, Ints], random: Any) -> None:
    p, d = arrays
    order = random.sample(range(len(p)), len(p))
    assert evaluator.total_tardiness(p, d, np.array(order)) == tardiness(p, d, order)


def test_the_summary_of_a_worked_example() -> None:
    large = instance([5, 5], [0, 0], 20)  # OPT above sum p: the floor gap is the gap
    small = instance([5, 5], [0, 8], 4)  # a floor gap of 10 % of sum p is 1, and 25 % of OPT
    zero = instance([5, 5], [9, 11], 0)
    figures = evaluator.summary([large, small, zero, zero], [5.0, 10.0, 0.0, 30.0])
    assert figures == {
        "mean gap over OPT > 0 (%)": pytest.approx(15.0),
        "optimal (%)": 25.0,
        "worst floor gap (%)": 30.0,
        "misses at OPT = 0": 1.0,
    }


def test_the_summary_of_nothing_has_no_means() -> None:
    figures = evaluator.summary([], [])
    assert figures.pop("misses at OPT = 0") == 0.0
    assert all(math.isnan(value) for value in figures.values())


def brute_force(p: Ints, d: Ints) -> int:
    """Smallest total tardiness over all orders."""
    orders = np.array(list(itertools.permutations(range(len(p)))))
    return int(np.maximum(p[orders].cumsum(axis=1) - d[orders], 0).sum(axis=1).min())


def subsets(p: Ints, d: Ints) -> int:
    """Smallest total tardiness by dynamic programming over the sets of jobs that go first (Held and Karp)."""
    times, due = p.tolist(), d.tolist()
    best, work = [0], [0]
    for members in range(1, 1 << len(times)):
        top = members.bit_length() - 1
        work.append(work[members ^ 1 << top] + times[top])
        inside = [j for j in range(top + 1) if members >> j & 1]
        best.append(min(best[members ^ 1 << j] + max(0, work[members] - due[j]) for j in inside))
    return best[-1]


def random_jobs(rng: np.random.Generator, n: int) -> tuple[Ints, Ints]:
    """Jobs from easy to hard, with ties, and with large values."""
    p = rng.integers(1, rng.choice([1, 3, 10, 100, 10**6]) + 1, n)
    total = int(p.sum())
    low, high = rng.choice([0, 0.2, 0.4, 0.9], 2) * total
    return p, rng.integers(int(min(low, high)), int(max(low, high) + rng.choice([0, total // 3])) + 1, n)


@pytest.mark.parametrize(("n", "repeats"), [(1, 20), (2, 60), (4, 100), (6, 200), (7, 150), (8, 30)])
def test_the_exact_solver_agrees_with_all_orders(n: int, repeats: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(repeats):
        p, d = random_jobs(rng, n)
        assert exact.optimum(p, d) == brute_force(p, d)


@pytest.mark.parametrize("n", [10, 11, 12, 13])
def test_the_exact_solver_agrees_with_a_program_over_subsets(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(8):
        p, d = random_jobs(rng, n)
        assert exact.optimum(p, d) == subsets(p, d)


@pytest.mark.parametrize("n", [1, 2, 20, 60, 120])
def test_an_optimal_order_attains_the_optimum(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(5):
        p = rng.integers(1, 101, n)
        d = rng.integers(int(0.3 * p.sum()), int(0.5 * p.sum()) + 1, n)
        order = exact.optimal_order(p, d)
        assert sorted(order) == list(range(n))
        assert tardiness(p, d, order) == exact.optimum(p, d)


def test_the_optimum_is_zero_where_no_job_has_to_be_late() -> None:
    p = np.arange(1, 31)
    assert exact.optimum(p, p.cumsum()) == 0
    assert exact.optimum(p[:0], p[:0]) == 0


@settings(max_examples=100, deadline=None)
@given(jobs(most=40), st.randoms(use_true_random=False))
def test_the_optimum_does_not_depend_on_the_jobs_numbers(arrays: tuple[Ints, Ints], random: Any) -> None:
    p, d = arrays
    order = random.sample(range(len(p)), len(p))
    assert exact.optimum(p[order], d[order]) == exact.optimum(p, d)


@pytest.mark.parametrize("p", [[0, 1], [-1], [2**33], [1] * 1024])
def test_the_exact_solver_refuses_what_its_memo_cannot_name(p: list[int]) -> None:
    with pytest.raises(ValueError, match=r"p at least 1, sum p below"):
        exact.optimum(np.array(p), np.zeros(len(p), dtype=np.int64))
