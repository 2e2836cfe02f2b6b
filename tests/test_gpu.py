"""The GPU harness on its CPU path: correctness before time, alternation, the roofline; and what a GPU's lack says."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evolve import problem

ROOT = problem.bundled_root()


def load(path: str) -> ModuleType:
    name = f"loaded_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


gpu = load("evaluators/gpu.py")
experts = load("evaluators/grouped_gemm.py")
EASY = gpu.Roofline(flops=1.0, bytes=1.0, peak_flops=1e15, bandwidth=1e15)
HOST = gpu.HostDevice(flush_bytes=1 << 16)


def pair(
    work: Callable[[Any], Any], reference: Callable[[Any], Any] = np.sort
) -> Callable[[int], tuple[Any, Any]]:
    """`make` for compare: both on the random numbers of a seed."""

    def make(number: int) -> tuple[Any, Any]:
        values = np.random.default_rng(number).random(1000)
        return (lambda: work(values)), (lambda: reference(values))

    return make


def test_a_function_and_its_reference_are_timed_side_by_side() -> None:
    order: list[str] = []

    def named(name: str) -> Callable[[Any], Any]:
        def work(values: Any) -> Any:
            order.append(name)
            return np.sort(values)

        return work

    found = gpu.compare(HOST, pair(named("w"), named("r")), EASY, 0.0, repeats=20, warm_up=2)
    assert len(found.timing.us) == len(found.reference.us) == 20
    assert min(*found.timing.us, *found.reference.us) > 0
    assert found.error == 0.0
    assert found.label == "measured"
    # compared, two warm-ups each, then by turns, then compared again on fresh inputs
    assert "".join(order) == "wr" + "wwrr" + "wrrw" * 10 + "wr"


def test_the_cache_is_flushed_before_every_repeat() -> None:
    device = gpu.HostDevice(flush_bytes=1 << 10)
    device._buffer.fill(7)
    seen: list[int] = []
    gpu.measure(device, lambda: (seen.append(int(device._buffer.sum())), device._buffer.fill(7)), 20, 0)
    assert seen == [0] * 20


def test_a_wrong_output_is_refused_before_it_is_timed() -> None:
    calls: list[int] = []

    def wrong(values: Any) -> Any:
        calls.append(1)
        return np.sort(values) * 1.5

    with pytest.raises(gpu.Wrong, match=r"off the reference; the tolerance is 0\.01"):
        gpu.compare(HOST, pair(wrong), EASY, 0.01)
    assert len(calls) == 1


def test_a_remembered_output_is_noticed_on_fresh_inputs() -> None:
    memory: list[Any] = []

    def remembers(values: Any) -> Any:
        memory.append(np.sort(values))
        return memory[0]

    with pytest.raises(gpu.Wrong, match="off the reference"):
        gpu.compare(HOST, pair(remembers), EASY, 0.01)
    assert len(memory) > 20, "it was found after the timing"


def test_nan_and_another_shape_are_wrong() -> None:
    with pytest.raises(gpu.Wrong, match="nan off the reference"):
        gpu.compare(HOST, pair(lambda values: np.sort(values) * np.nan), EASY, 1e9)
    with pytest.raises(gpu.Wrong, match=r"shape \(999,\); the reference's is \(1000,\)"):
        gpu.compare(HOST, pair(lambda values: np.sort(values)[1:]), EASY, 0.01)


def test_more_than_ten_times_the_roofline_is_impossible() -> None:
    timing = gpu.Timing((10.0,) * 20)
    gpu.possible(timing, gpu.Roofline(flops=99e6, bytes=0.0, peak_flops=1e12, bandwidth=1.0))
    with pytest.raises(gpu.Impossible, match="more than 10 times faster than the device can be"):
        gpu.possible(timing, gpu.Roofline(flops=101e6, bytes=0.0, peak_flops=1e12, bandwidth=1.0))
    with pytest.raises(gpu.Impossible):
        gpu.compare(HOST, pair(np.sort), gpu.Roofline(1e18, 0.0, 1e12, 1.0), 0.0)


def test_the_roofline_is_the_longer_of_arithmetic_and_traffic() -> None:
    assert gpu.Roofline(flops=4e6, bytes=1e6, peak_flops=1e12, bandwidth=1e12).us == pytest.approx(4.0)
    assert gpu.Roofline(flops=4e6, bytes=8e6, peak_flops=1e12, bandwidth=1e12).us == pytest.approx(8.0)


def test_few_repeats_are_refused() -> None:
    with pytest.raises(ValueError, match="19 repeats; a time is the median of 20 or more"):
        gpu.measure(HOST, lambda: None, repeats=19)


def test_median_and_iqr_of_a_timing_by_hand() -> None:
    timing = gpu.Timing((1.0, 2.0, 3.0, 4.0, 100.0))
    assert (timing.median, timing.iqr) == (3.0, 2.0)


def test_without_a_gpu_the_harness_says_what_it_needs() -> None:
    torch = pytest.importorskip("torch") if importlib.util.find_spec("torch") else None
    if torch is not None and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(gpu.NoGpu, match=r"it needs an NVIDIA GPU.*use the simulator"):
        gpu.CudaDevice()


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_on_a_gpu_a_matrix_product_agrees_with_the_reference() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")

    def make(number: int) -> tuple[Any, Any]:
        dice = torch.Generator(device="cuda").manual_seed(number)
        a, b = (torch.randn(512, 512, generator=dice, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        return (lambda: a @ b), (lambda: (a.float() @ b.float()).bfloat16())

    found = gpu.compare(gpu.CudaDevice(), make, gpu.Roofline(2.0 * 512**3, 6.0 * 512**2, 1e15, 5e12), 0.1)
    assert found.timing.median > 0
    assert found.environment.device


# -- grouped products and what a placement costs --------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.integers(0, 99))
def test_grouped_products_are_those_of_every_token_alone(tokens: list[int], dice: int) -> None:
    weights = experts.HostExperts(len(tokens), experts.Expert(hidden=8, intermediate=4), dice)
    x, ends = weights.inputs(tokens)
    assert x.shape == (sum(tokens) + 1, 8)
    found = weights.grouped(x, ends)[: sum(tokens)]
    np.testing.assert_allclose(found, weights.one_by_one(x, tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokens", [[3, 5, 1, 7], [16, 0, 8, 8], [0, 0, 0, 4], [0, 0, 0, 0]])
def test_torchs_grouped_products_are_those_slot_by_slot(tokens: list[int]) -> None:
    torch = pytest.importorskip("torch")
    weights = experts.TorchExperts(torch, 4, experts.Expert(hidden=256, intermediate=128), 1, device="cpu")
    x, ends = weights.inputs(tokens)
    found, expected = weights.grouped(x, ends)[: sum(tokens)], weights.one_by_one(x, tokens)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_the_triton_kernel_is_right_on_any_shape_in_its_interpreter() -> None:
    """In fp16, because the interpreter knows no bf16."""
    pytest.importorskip("torch")
    pytest.importorskip("triton")
    text = """
import sys
sys.path.insert(0, "evaluators")
import torch
from triton_matmul import matmul
for m, n, k in ((64, 64, 64), (100, 70, 130), (257, 129, 65), (1, 1, 1)):
    for block_m, block_n, block_k in ((64, 64, 32), (128, 32, 64)):
        a, b = torch.randn(m, k).half(), torch.randn(k, n).half()
        out = torch.full((m, n), float("nan")).half()
        matmul(a, b, out, dict(block_m=block_m, block_n=block_n, block_k=block_k, warps=4, stages=3))
        torch.testing.assert_close(out.float(), a.float() @ b.float(), rtol=0.01, atol=0.05)
"""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    words = [sys.executable, "-c", text]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr


@settings(max_examples=200, deadline=None)
@given(arrays(np.float64, st.integers(1, 9), elements=st.floats(0, 1e4)))
def test_whole_tokens_add_up(tokens: Any) -> None:
    found = experts.whole_tokens(tokens)
    assert sum(found) == round(float(tokens.sum()))
    assert all(abs(count - value) <= 1.0 for count, value in zip(found, tokens, strict=True))


def test_slots_of_replicas_share_the_tokens() -> None:
    tokens = experts.slot_tokens(np.array([[0, 0, 1], [0, 1, 1]]), np.array([[6, 5], [6, 5]]))
    np.testing.assert_allclose(tokens, [[3, 3, 5], [6, 2.5, 2.5]])


def test_a_table_turns_tokens_into_time() -> None:
    table = experts.Table("measured", 2, experts.Expert(), (10.0, 20.0), (100.0, 140.0))
    np.testing.assert_allclose(table.slot_us([0, 1, 10, 15, 20, 30]), [0, 50, 50, 60, 70, 90])
    us = experts.rank_us(np.array([[10.0, 20.0, 0.0, 20.0]]), 2, table)
    np.testing.assert_allclose(us, [[120, 70]])
    assert experts.time_balance(us) == pytest.approx(95 / 120)


def test_equal_slots_take_what_the_table_says() -> None:
    table = experts.simulated_table(9, experts.Expert(), 1e15, 5e12, (1, 64, 128, 4096))
    us = experts.rank_us(np.full((1, 18), 128.0), 2, table)
    np.testing.assert_allclose(us, [[table.us[2]] * 2])
    assert table.label == "simulated"
    assert list(table.us) == sorted(table.us)


def test_few_tokens_take_as_long_as_the_weights_take_to_read() -> None:
    table = experts.simulated_table(1, experts.Expert(), 1e15, 4.8e12, (1, 8), launch_us=0.0)
    # three matrices of 7168 x 2048 in bf16: 88 MB
    assert table.us[0] == pytest.approx(88.08e6 / 4.8e12 * 1e6, rel=1e-3)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = experts.simulated_table(9, experts.Expert(), 1e15, 5e12, (1, 64, 128))
    table.write(tmp_path / "table.json")
    assert experts.read_table(tmp_path / "table.json") == table


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"expert": {}}', '{"expert": 3}'])
def test_what_is_no_table_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ValueError, match=r"bad\.json: no table of times"):
        experts.read_table(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("tokens", "us"), [((2.0, 1.0), (1.0, 2.0)), ((1.0,), (1.0,)), ((1.0, 2.0), (0.0, 1.0))]
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path: Path, tokens: Any, us: Any) -> None:
    experts.Table("measured", 9, experts.Expert(), tokens, us).write(tmp_path / "bad.json")
    with pytest.raises(ValueError, match="tokens have to rise"):
        experts.read_table(tmp_path / "bad.json")


# -- the commands --------------------------------------------------------------------------------------------


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)


def has_gpu() -> bool:
    return importlib.util.find_spec("torch") is not None and bool(__import__("torch").cuda.is_available())


def test_the_benchmark_runs_on_the_cpu_and_its_toy_table_is_not_taken_for_a_gpus(tmp_path: Path) -> None:
    table = tmp_path / "host.json"
    done = command("problems/moe_placement/gpu.py", "--host", "--out", table)
    assert done.returncode == 0, done.stderr
    assert "| eplb |" in done.stdout
    assert experts.read_table(table).environment["device"].startswith("cpu")
    refused = command("problems/moe_placement/gpu.py", "--table", table)
    assert refused.returncode == 2
    assert "times of 9 slots with Expert(hidden=64" in refused.stderr


def test_the_simulator_and_a_table_rank_the_seeds_alike(tmp_path: Path) -> None:
    table = experts.simulated_table(9, experts.Expert(), 989.5e12, 4.8e12, (1, 64, 512, 4096))
    table.write(tmp_path / "table.json")
    simulated = command("problems/moe_placement/gpu.py", "--simulate").stdout.splitlines()
    calibrated = command(
        "problems/moe_placement/gpu.py", "--table", tmp_path / "table.json"
    ).stdout.splitlines()
    assert "time, simulated" in simulated[0]
    assert "time, calibrated" in calibrated[0]

    def ranked(lines: list[str]) -> list[str]:
        rows = [line.split("|") for line in lines[2:]]
        return [row[1] for row in sorted(rows, key=lambda row: float(row[3]))]

    assert ranked(simulated) == ranked(calibrated)
    assert len(ranked(simulated)) == 6


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("script", "simulator"),
    [("moe_placement/gpu.py", "--simulate"), ("kernel_config/measure.py", "evolve run kernel_config")],
)
def test_without_a_gpu_a_benchmark_names_its_needs_and_its_simulator(
    tmp_path: Path, script: str, simulator: str
) -> None:
    done = command(f"problems/{script}", "--out", tmp_path / "table.json")
    assert done.returncode == 2
    assert done.stderr.rstrip().endswith(f"use the simulator: {simulator}")
    assert done.stdout == ""
    assert not (tmp_path / "table.json").exists()
