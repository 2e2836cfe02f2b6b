"""kernel_config: the model against one that is written plainly, the choice checked, the seeds, measured tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve import problem
from evolve.errors import ProblemError
from evolve.evaluate import Evaluator
from evolve.records import SPLITS, Instance, Split

KERNEL = problem.load("kernel_config")
GENERATOR = SimpleNamespace(**KERNEL._instances.__globals__)
NAMES = list(KERNEL.seeds)
devices = st.sampled_from(list(GENERATOR.DEVICES.values()))
matmuls = st.builds(GENERATOR.Matmul, *[st.integers(1, 20000)] * 3)


def choose(name: str) -> Any:
    scope: dict[str, Any] = {}
    exec(KERNEL.seeds[name].files["program.py"], scope)
    return scope["choose"]


def plain_us(shape: Any, device: Any, row: list[int]) -> float:
    """The model of README.md, one configuration after the other and without arrays."""
    block_m, block_n, block_k, warps, stages = row
    tiles = math.ceil(shape.m / block_m) * math.ceil(shape.n / block_n)
    registers = block_m * block_n // (32 * warps) + 40
    by_memory = device.shared * 1024 // (stages * (block_m + block_n) * block_k * 2 + 1024)
    by_registers = 65536 // (min(registers, 255) * 32 * warps)
    held = max(1, min(by_memory, by_registers, 64 // warps))

    def wave(blocks: int) -> float:
        reuse = block_m * block_n / (block_m + block_n)
        rate = device.tflops * 1e12 / device.sms * reuse / (reuse + 12) * min(1.0, warps * blocks / 8)
        compute = 2 * block_m * block_n * block_k / rate * 1e6
        delivered = device.l2_tbs * 1e12 / device.sms
        load = 2 * (block_m + block_n) * block_k / delivered * 1e6
        step = max(blocks * compute, blocks * load, (0.7 + compute) / (stages - 1))
        return 0.7 + math.ceil(shape.k / block_k) * step + blocks * 2 * block_m * block_n / delivered * 1e6

    waves = tiles // (device.sms * held) * wave(held)
    rest = tiles % (device.sms * held)
    waves += wave(math.ceil(rest / device.sms)) if rest else 0.0
    together = min(tiles, device.sms * held)
    side = math.sqrt(together)
    edge = min(side * block_m, shape.m) + min(side * block_n, shape.n)
    read = max(tiles / together * edge * shape.k * 2 + 2 * shape.m * shape.n, shape.bytes)
    return 3.0 + max(waves * (1 + 0.01 * max(0, registers - 255)), read / (device.tbs * 1e12) * 1e6)


@settings(max_examples=150, deadline=None)
@given(matmuls, devices)
def test_the_model_is_the_plain_one_on_the_whole_grid(shape: Any, device: Any) -> None:
    grid = GENERATOR.legal(device, GENERATOR.GRID)
    found = GENERATOR.simulated_us(shape, device, grid)
    np.testing.assert_allclose(found, [plain_us(shape, device, row) for row in grid.T.tolist()], rtol=1e-9)


@settings(max_examples=300, deadline=None)
@given(matmuls, devices)
def test_no_simulated_time_is_below_the_roofline(shape: Any, device: Any) -> None:
    grid = GENERATOR.legal(device, GENERATOR.GRID)
    assert GENERATOR.simulated_us(shape, device, grid).min() >= GENERATOR.roofline_us(shape, device)


@pytest.mark.parametrize("device", GENERATOR.DEVICES.values(), ids=lambda device: device.name)
def test_what_does_not_fit_into_shared_memory_is_not_offered(device: Any) -> None:
    grid = GENERATOR.legal(device, GENERATOR.GRID)
    block_m, block_n, block_k, _, stages = grid
    assert 100 < grid.shape[1] < GENERATOR.GRID.shape[1]
    assert (stages * (block_m + block_n) * block_k * 2).max() <= device.shared_block * 1024


def test_the_model_by_hand() -> None:
    """One tile of 64 x 64 in one step: launch, latency, the wait for the step, the store."""
    device = GENERATOR.Device("made", 1, 228, 227, 1.0, 1000.0, 1.0)
    grid = np.array([[64, 64, 64, 8, 2]]).T
    # reuse 32 of 44, at 1e12/s: 524288 / .727e12 s = .7209 us; loads 16384 bytes; store 8192 bytes
    expected = 3.0 + 0.7 + (0.7 + 0.720896) + 0.008192
    assert GENERATOR.simulated_us(GENERATOR.Matmul(64, 64, 64), device, grid)[0] == pytest.approx(expected)


def test_large_matrices_run_near_the_roofline_and_small_ones_do_not() -> None:
    device = GENERATOR.DEVICES["H200"]
    grid = GENERATOR.legal(device, GENERATOR.GRID)

    def ratio(*sizes: int) -> float:
        shape = GENERATOR.Matmul(*sizes)
        return float(GENERATOR.simulated_us(shape, device, grid).min() / GENERATOR.roofline_us(shape, device))

    assert 1.0 < ratio(8192, 8192, 8192) < 1.4
    assert ratio(128, 128, 4096) > 5


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_holds_its_devices_and_shapes(split: Split) -> None:
    found = KERNEL.split(split)
    assert len(found) == {"train": 48, "validation": 96, "holdout": 160}[split]
    assert len({each.name for each in found}) == len(found)
    holdout = split is Split.HOLDOUT
    assert ("L40S" in {each.group["device"] for each in found}) == holdout
    assert ("odd" in {each.group["shape"] for each in found}) == holdout
    assert {each.group["source"] for each in found} == {"simulated"}


def test_splits_are_disjoint() -> None:
    KERNEL.check_disjoint()


def made(us: list[float]) -> Instance:
    return Instance("one", {}, 1.0, {"source": "simulated"}, {"us": np.array(us)})


def test_the_objective_is_the_share_of_the_best_speed() -> None:
    assert [KERNEL.evaluator.objective(made([2.0, 1.0, 4.0]), index) for index in range(3)] == [
        0.5,
        1.0,
        0.25,
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=9))
def test_no_choice_beats_exhaustive_search(us: list[float]) -> None:
    found = [KERNEL.evaluator.objective(made(us), index) for index in range(len(us))]
    assert max(found) == 1.0
    assert found[us.index(min(us))] == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        None,
        -1,
        3,
        True,
        1.0,
        "1",
        [1],
        {"index": 1, "us": 0.1},
        2**70,
        np.array(1.0),
        np.array([1]),
        np.bool_(True),
    ],
    ids=lambda answer: repr(answer),
)
def test_what_is_no_configuration_is_refused(answer: object) -> None:
    with pytest.raises(KERNEL.evaluator.Invalid, match=r"it has to return an integer of 0\.\.2"):
        KERNEL.evaluator.check(made([2.0, 1.0, 4.0]), answer)


def test_an_integer_of_numpy_is_a_choice() -> None:
    assert KERNEL.evaluator.check(made([2.0, 1.0]), np.array(1)) == 1


@settings(max_examples=100, deadline=None)
@given(matmuls, devices, st.sampled_from(NAMES))
def test_a_seed_chooses_for_any_shape(shape: Any, device: Any, name: str) -> None:
    grid = GENERATOR.legal(device, GENERATOR.GRID)
    one = GENERATOR.make("one", shape, device, grid, GENERATOR.simulated_us(shape, device, grid), {})
    assert (
        0 < KERNEL.evaluator.objective(one, KERNEL.evaluator.check(one, choose(name)(**one.arguments))) <= 1
    )


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    with Evaluator(KERNEL, "rlimits") as made:
        yield made


def test_seeds_score_apart_with_room_above_the_best(evaluator: Evaluator) -> None:
    scores = {name: evaluator.evaluate(KERNEL.seeds[name], Split.TRAIN).score for name in NAMES}
    assert scores["plain_tile"] == pytest.approx(0.0, abs=1e-12)
    assert scores["whole_waves"] > scores["full_gpu"] + 0.1 > scores["tutorial_tile"] + 0.1
    assert max(scores.values()) < 0.8


# -- measured tables ------------------------------------------------------------------------------------------


def table(path: Path, count: int = 6, **changes: Any) -> Path:
    """A small table as measure.py writes it."""
    rows = [{"shape": [64 * (i + 1), 128, 256], "us": [20.0 + i, 10.0, 30.0]} for i in range(count)]
    tree = {
        "label": "measured",
        "device": dict(vars(GENERATOR.DEVICES["H200"])),
        "environment": {"device": "made", "driver": "1", "versions": {}},
        "configurations": [dict(zip(GENERATOR.PARTS, (64, 64, 32, 4, s), strict=True)) for s in (2, 3, 4)],
        "rows": rows,
    }
    path.write_text(json.dumps({**tree, **changes}))
    return path


def test_a_measured_table_gives_instances_that_are_labelled_so(tmp_path: Path) -> None:
    found = problem.load("kernel_config", table(tmp_path / "h200.json"))
    for split, first in zip(SPLITS, (1, 2, 3), strict=True):
        one, other = found.split(split)
        assert one.group["source"] == "measured"
        assert (one.arguments["m"], other.arguments["m"]) == (64 * first, 64 * (first + 3))
        assert one.facts["us"].tolist() == [19.0 + first, 10.0, 30.0]
    found.check_disjoint()


def test_a_configuration_that_did_not_run_is_not_offered(tmp_path: Path) -> None:
    rows = [{"shape": [64 * (i + 1), 128, 256], "us": [math.nan, 10.0, 30.0]} for i in range(3)]
    (one,) = problem.load("kernel_config", table(tmp_path / "h200.json", rows=rows)).split(Split.TRAIN)
    assert one.arguments["stages"].tolist() == [3, 4]
    assert one.facts["us"].tolist() == [10.0, 30.0]


def rows_of(us: Any, count: int = 3) -> list[dict[str, Any]]:
    return [{"shape": [64 * (i + 1), 128, 256], "us": us} for i in range(count)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rows": rows_of([1.0])}, "has 1 times; there are 3 configurations"),
        ({"rows": rows_of([math.nan] * 3)}, "no configuration has a time"),
        ({"rows": rows_of([1e-6, 1.0, 1.0])}, "is impossible: ten times faster"),
        ({"rows": rows_of([-1.0, 1.0, 1.0])}, "is impossible"),
        ({"rows": rows_of(["a", 1.0, 1.0])}, r"no table of measure\.py"),
        ({"rows": rows_of([1.0] * 3, 2)}, "2 shapes; three splits need at least 3"),
        ({"device": {"name": "x"}}, r"no table of measure\.py"),
        (
            {"device": {**vars(GENERATOR.DEVICES["H200"]), "sms": 0}},
            "sms of device is 0; it has to be a number above 0",
        ),
        ({"device": {**vars(GENERATOR.DEVICES["H200"]), "tbs": "1"}}, "tbs of device is '1'"),
        ({"device": {**vars(GENERATOR.DEVICES["H200"]), "tbs": math.nan}}, "tbs of device is nan"),
        (
            {"rows": [{"shape": ["a", 1, 1], "us": [1.0] * 3}] * 3},
            "m of a shape is 'a'; it has to be a whole number",
        ),
        ({"rows": [{"shape": [1, 1, -5], "us": [1.0] * 3}] * 3}, "k of a shape is -5"),
        ({"rows": [{"shape": [1, 1, 2**70], "us": [1.0] * 3}] * 3}, "k of a shape is 1180591620717411303424"),
        ({"rows": 7}, r"no table of measure\.py"),
        ({"configurations": [dict.fromkeys(GENERATOR.PARTS, 0.5)] * 3}, "block_m of a configuration is 0.5"),
        (
            {"configurations": [dict.fromkeys(GENERATOR.PARTS, 2**70)] * 3},
            "block_m of a configuration is 118",
        ),
        ({"configurations": []}, "there is no configuration to choose"),
        ({"configurations": [{"block_m": 1}]}, r"no table of measure\.py"),
    ],
)
def test_a_broken_table_is_an_error_and_no_score(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ProblemError, match=rf"bad\.json: .*{why}"):
        problem.load("kernel_config", table(tmp_path / "bad.json", **changes)).split(Split.TRAIN)


@pytest.mark.parametrize(
    ("text", "why"), [("", "the file is empty"), ("[1]", "no "), ("{}", "no "), ("7", "no ")]
)
def test_what_is_no_table_is_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ProblemError, match=rf"bad\.json: {why}"):
        problem.load("kernel_config", tmp_path / "bad.json").split(Split.TRAIN)
