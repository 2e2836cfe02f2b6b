"""The seeds of SMTT are valid, typed alike, and do what their sources say."""

import ast
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from evolve import problem
from evolve.records import Split
from tests.smtt_tools import ROOT, SEEDS, Ints, jobs, load, seed, tardiness

exact = load(ROOT / "evaluators/total_tardiness_exact.py")
evaluator = load(ROOT / "evaluators/total_tardiness.py")
smtt = problem.load("smtt")
NAMES = [path.stem for path in SEEDS]
OWN = {"sequence", "priority"}
"""The functions in which seeds may differ under one name."""


def array(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def test_the_seeds_are_those_of_the_literature() -> None:
    rules = {"edd", "spt", "mdd", "psk", "atc", "covert", "wilkerson_irwin", "nbr", "eddc", "mddc"}
    assert set(NAMES) == rules | {"aug_mdd", "aug_mddc", "dec_mdd", "mdd_swap", "mdd_insertion"}


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(arrays=jobs(most=25))
def test_a_seed_orders_any_jobs_and_never_beats_the_optimum(name: str, arrays: tuple[Ints, Ints]) -> None:
    p, d = arrays
    order = seed(name)(p, d)
    assert all(type(job) is int for job in order)
    assert sorted(order) == list(range(len(p)))
    assert tardiness(p, d, order) >= exact.optimum(p, d)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 2, 9])
def test_a_seed_orders_equal_jobs(name: str, n: int) -> None:
    p, d = np.full(n, 7), np.full(n, 20)
    assert sorted(seed(name)(p, d)) == list(range(n))


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_the_same_twice(name: str) -> None:
    item = smtt.split(Split.TRAIN)[5]
    assert seed(name)(**item.arguments) == seed(name)(**item.arguments)


def test_edd_goes_by_due_date_then_by_length() -> None:
    assert seed("edd")(array(5, 2, 9, 1), array(8, 8, 3, 8)) == [2, 3, 1, 0]


def test_spt_goes_by_length_then_by_due_date() -> None:
    assert seed("spt")(array(5, 2, 9, 2), array(8, 8, 3, 4)) == [3, 1, 0, 2]


def test_mdd_on_a_worked_example() -> None:
    # t = 0: max(p, d) = 6, 7, 8 takes job 0; t = 6: max(6 + p, d) = 12, 8 takes job 2, although job 1 is due first
    assert seed("mdd")(array(6, 6, 2), array(6, 7, 8)) == [0, 2, 1]
    assert seed("edd")(array(6, 6, 2), array(6, 7, 8)) == [0, 1, 2]


def test_psk_lets_an_earlier_due_date_pass_a_shorter_job() -> None:
    # job 0 is the shortest, but can wait: 30 > 0 + 4, and job 1 is due at 5; then both are in time
    assert seed("psk")(array(3, 4), array(30, 5)) == [1, 0]
    # job 0 is bound to be late behind job 1: 3 <= 0 + 4
    assert seed("psk")(array(3, 4), array(3, 2)) == [0, 1]


def test_the_augmented_rule_moves_one_long_job_to_the_end() -> None:
    # MDD starts with the long job, due first, and makes three others late; behind them it alone is late
    p, d = array(10, 2, 2, 2), array(10, 11, 11, 11)
    assert seed("mdd")(p, d)[0] == 0
    assert seed("aug_mdd")(p, d)[-1] == 0


def test_eddc_does_not_pass_a_late_job() -> None:
    # by length: 0, 1, 2; job 2 passes job 1, which ends in time, and stops at job 0, which is late
    assert seed("eddc")(array(4, 5, 6), array(3, 20, 2)) == [0, 2, 1]


@settings(max_examples=100, deadline=None)
@given(jobs(most=6))
def test_edd_has_the_smallest_largest_tardiness(arrays: tuple[Ints, Ints]) -> None:
    p, d = arrays

    def largest(order: list[int]) -> int:
        return max(int(late) for late in p[order].cumsum() - d[order])

    assert largest(seed("edd")(p, d)) == min(largest(list(order)) for order in permutations(range(len(p))))


@pytest.mark.parametrize("name", sorted({*NAMES} - {"edd"}))
def test_a_rule_is_optimal_if_all_jobs_are_late_from_the_start(name: str) -> None:
    p, d = array(7, 3, 9, 4, 1, 8), np.zeros(6, dtype=np.int64)
    assert tardiness(p, d, seed(name)(p, d)) == exact.optimum(p, d)


def swapped(order: list[int], i: int, j: int) -> list[int]:
    order = list(order)
    order[i], order[j] = order[j], order[i]
    return order


@settings(max_examples=60, deadline=None)
@given(jobs(most=15))
def test_no_swap_improves_mdd_swap(arrays: tuple[Ints, Ints]) -> None:
    p, d = arrays
    order = seed("mdd_swap")(p, d)
    found = tardiness(p, d, order)
    assert found <= tardiness(p, d, seed("mdd")(p, d))
    for i, j in combinations(range(len(p)), 2):
        assert tardiness(p, d, swapped(order, i, j)) >= found


@settings(max_examples=60, deadline=None)
@given(jobs(most=15))
def test_no_move_improves_mdd_insertion(arrays: tuple[Ints, Ints]) -> None:
    p, d = arrays
    order = seed("mdd_insertion")(p, d)
    found = tardiness(p, d, order)
    assert found <= tardiness(p, d, seed("mdd")(p, d))
    for i, j in permutations(range(len(p)), 2):
        rest = order[:i] + order[i + 1 :]
        assert tardiness(p, d, [*rest[:j], order[i], *rest[j:]]) >= found


@pytest.mark.parametrize("name", ["wilkerson_irwin", "mdd", "mdd_swap"])
@settings(max_examples=60, deadline=None)
@given(arrays=jobs(most=15))
def test_no_swap_of_neighbours_improves(name: str, arrays: tuple[Ints, Ints]) -> None:
    p, d = arrays
    order = seed(name)(p, d)
    for i in range(len(p) - 1):
        assert tardiness(p, d, swapped(order, i, i + 1)) >= tardiness(p, d, order)


@settings(max_examples=60, deadline=None)
@given(jobs(most=15))
def test_the_decomposition_is_offered_an_optimal_position(arrays: tuple[Ints, Ints]) -> None:
    p, d = arrays
    by_due_date = np.lexsort((p, d))
    p, d = p[by_due_date], d[by_due_date]
    k = len(p) - 1 - int(np.argmax(p[::-1]))
    costs = []
    for j in load(ROOT / "seeds/smtt/dec_mdd.py").positions(p, d):
        left, right = [*range(k), *range(k + 1, j + 1)], [*range(j + 1, len(p))]
        end = int(p[: j + 1].sum())
        sides = exact.optimum(p[left], d[left]) + exact.optimum(p[right], d[right] - end)
        costs.append(sides + max(0, end - int(d[k])))
    assert min(costs) == exact.optimum(p, d)


def test_the_seeds_rank_on_train_as_in_the_literature() -> None:
    def mean(name: str) -> float:
        found = [
            (item, evaluator.check(item, seed(name)(**item.arguments))) for item in smtt.split(Split.TRAIN)
        ]
        return float(np.mean([evaluator.objective(item, parsed) for item, parsed in found]))

    gaps = {name: mean(name) for name in NAMES}
    for better, worse in [("mdd_swap", "aug_mddc"), ("dec_mdd", "aug_mddc"), ("aug_mddc", "mddc")]:
        assert gaps[better] < gaps[worse]
    for name in ("mdd", "mddc", "psk", "atc"):
        assert gaps["aug_mdd"] < gaps[name] < 5 < gaps["edd"] < gaps["spt"]


def functions(path: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_a_helper_of_several_seeds_is_the_same_text_in_each() -> None:
    texts: dict[str, set[str]] = {}
    for path in SEEDS:
        source = path.read_text(encoding="utf-8")
        for name, node in functions(path).items():
            texts.setdefault(name, set()).add(ast.get_source_segment(source, node) or "")
    assert {name for name, versions in texts.items() if len(versions) > 1} <= OWN


@pytest.mark.parametrize("path", SEEDS, ids=NAMES)
def test_every_function_of_a_seed_is_typed_and_documented(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    types = {"p": "np.ndarray", "d": "np.ndarray", "order": "list[int]", "t": "int", "k": "int"}
    for node in functions(path).values():
        assert ast.get_docstring(node), node.name
        assert node.returns is not None, node.name
        for argument in node.args.args:
            assert argument.annotation is not None, (node.name, argument.arg)
            assert ast.unparse(argument.annotation) == types.get(argument.arg, "int"), (
                node.name,
                argument.arg,
            )
