"""The instances of SMTT are what the literature's generator makes, always the same, with true optima."""

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve import problem
from evolve.errors import EvaluatorError, ProblemError
from evolve.records import SPLITS, Split
from tests.smtt_tools import ROOT, load

instances = load(ROOT / "problems/smtt/instances.py")
exact = load(ROOT / "evaluators/total_tardiness_exact.py")
smtt = problem.load("smtt")

LARGEST = {"uniform": 100, "wide": 1000, "bimodal": 100, "normal": 250, "lognormal": 30_000}
sizes = st.integers(1, 120)
cells = st.sampled_from(instances.CELLS)
kinds = st.sampled_from(sorted(LARGEST))
keys = st.tuples(st.integers(0, 9), st.integers(0, 10**6))


@settings(max_examples=150, deadline=None)
@given(sizes, cells, kinds, keys)
def test_processing_times_lie_in_their_range(n: int, cell: Any, kind: str, key: Any) -> None:
    p, _ = instances.generate(n, cell, kind, key)
    assert p.shape == (n,)
    assert p.dtype == np.int64
    assert p.min() >= 1
    assert p.max() <= LARGEST[kind]
    if kind == "bimodal":
        assert not np.any((p > 10) & (p < 80))


@settings(max_examples=150, deadline=None)
@given(st.integers(5, 120), cells, kinds, keys)  # below sum p = 5 the range may hold no integer
def test_due_dates_lie_in_the_range_of_their_cell(n: int, cell: Any, kind: str, key: Any) -> None:
    p, d = instances.generate(n, cell, kind, key)
    rdd, tf, total = cell[0] / 10, cell[1] / 10, p.sum()
    assert d.shape == (n,)
    assert d.dtype == np.int64
    assert d.min() >= max(0, total * (1 - tf - rdd / 2) - 1e-6)
    assert d.max() <= total * (1 - tf + rdd / 2) + 1e-6


@settings(max_examples=50, deadline=None)
@given(sizes, cells, kinds, keys)
def test_equal_keys_give_equal_instances(n: int, cell: Any, kind: str, key: Any) -> None:
    first, second = (instances.generate(n, cell, kind, key) for _ in range(2))
    assert np.array_equal(first, second)


@settings(max_examples=50, deadline=None)
@given(cells, kinds, keys, keys)
def test_other_keys_give_other_instances(cell: Any, kind: str, key: Any, other: Any) -> None:
    first, second = (instances.generate(30, cell, kind, k) for k in (key, other))
    assert np.array_equal(first, second) == (key == other)


def test_the_due_dates_reach_both_ends_of_their_range() -> None:
    p, d = instances.generate(2000, (4, 4), "uniform", (0, 0))
    low, high = 0.4 * p.sum(), 0.8 * p.sum()
    assert d.min() < low + 0.01 * (high - low)
    assert d.max() > high - 0.01 * (high - low)


@pytest.mark.parametrize(
    ("kind", "mean", "deviation"),
    [("uniform", 50.5, 28.9), ("wide", 500.5, 288.7), ("normal", 60, 20), ("bimodal", 30.85, 39.0)],
)
def test_processing_times_have_the_moments_of_their_distribution(
    kind: str, mean: float, deviation: float
) -> None:
    p, _ = instances.generate(20_000, (2, 2), kind, (0, 1))
    assert p.mean() == pytest.approx(mean, rel=0.03)
    assert p.std() == pytest.approx(deviation, rel=0.03)


def test_no_instance_is_in_two_splits_or_twice_in_one() -> None:
    checksums = [item.checksum for split in instances.SPLITS for item in instances.draws(split)]
    assert len(set(checksums)) == len(checksums)


def test_the_splits_have_the_sizes_that_the_readme_names() -> None:
    counts = {}
    for split in instances.SPLITS:
        sizes = [len(item.p) for item in instances.draws(split)]
        counts[split] = {n: sizes.count(n) for n in sorted(set(sizes))}
    assert counts == {
        "train": {25: 24, 50: 23, 100: 13},
        "validation": {50: 100, 100: 65, 200: 35},
        "holdout": {20: 100, 50: 100, 100: 200, 200: 100, 500: 25},
    }


def test_train_begins_with_every_size_in_cells_with_signal() -> None:
    first = smtt.split(Split.TRAIN)[:8]
    assert {item.group["n"] for item in first} == {25, 50, 100}
    cells = {(round(10 * i.group["RDD"]), round(10 * i.group["TF"])) for i in first}
    assert cells <= set(instances.SIGNAL)
    assert len(cells) >= 6


@pytest.mark.parametrize("split", SPLITS)
def test_instances_carry_what_the_engine_and_the_evaluator_need(split: Split) -> None:
    for item in smtt.split(split):
        n = item.group["n"]
        assert list(item.arguments) == ["p", "d"]
        assert all(array.shape == (n,) and not array.flags.writeable for array in item.arguments.values())
        assert set(item.group) == {"n", "RDD", "TF", "p"}
        assert item.bound == 0.0
        assert item.facts["optimum"] >= 0
        assert item.cpu_s == instances.CPU_S.get(n)


def test_the_shipped_optima_are_those_that_the_solver_finds() -> None:
    sample = [item for split in instances.SPLITS for item in instances.draws(split) if len(item.p) <= 200][
        ::9
    ]
    assert len(sample) > 80
    for item in sample:
        assert instances.optimum_of(item) == exact.optimum(item.p, item.d), item.name


def test_the_regenerating_command_keeps_what_has_not_changed() -> None:
    optima = load(ROOT / "problems/smtt/optima.py")
    shipped = {(name, *rest) for name, rest in instances.optima().items()}
    rows = optima.rows(shipped)
    assert set(rows) == shipped
    lines = [",".join(map(str, row)) for row in rows]
    assert instances.OPTIMA.read_text(encoding="ascii").split() == lines


def test_changed_data_are_an_error_that_names_the_next_step() -> None:
    item = next(instances.draws("train"))
    with pytest.raises(EvaluatorError, match=r"python problems/smtt/optima\.py"):
        instances.optimum_of(dataclasses.replace(item, p=item.p + 1))
    with pytest.raises(EvaluatorError, match="nothing for train/new"):
        instances.optimum_of(dataclasses.replace(item, name="train/new"))


def test_an_unknown_split_is_an_error_that_names_the_splits() -> None:
    with pytest.raises(ProblemError, match=r"no split 'test'.*train, validation, holdout"):
        instances.draws("test")


def test_loading_all_splits_does_without_the_solver() -> None:
    code = (
        "import sys; from evolve import problem; from evolve.records import SPLITS; "
        "smtt = problem.load('smtt'); print([len(smtt.split(s)) for s in SPLITS], 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[60, 200, 525] False"
