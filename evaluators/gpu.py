"""Timing on a real GPU: one harness for all GPU benchmarks. Numpy and the standard library; torch only where it runs.

What is timed is a function of no arguments. Correctness comes before time: its output is compared with a reference
on random inputs before it is timed, and on fresh ones afterwards, so that a remembered answer is noticed. Every
repeat flushes the L2 cache, and the reference is timed anew beside it, in alternation, because clocks and heat drift.
Clocks are read and never set. A time below a tenth of what the roofline allows is `Impossible`.

`CudaDevice` measures with CUDA events. `HostDevice` runs the same harness on the CPU: for tests, and for numpy code.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

Work = Callable[[], Any]

Label = Literal["simulated", "calibrated", "measured"]
"""Where a time comes from: a model, a model with measured times in it, or a clock."""
WARM_UP = 5
REPEATS = 20
MARGIN = 10.0
"""How many times faster than its roofline a measurement may look before it is impossible."""
FLUSH_BYTES = 256 << 20
"""Written before each repeat: more than the L2 cache of any GPU yet."""


class NoGpu(RuntimeError):
    """There is no GPU to measure on; the text says what is missing, and what can be done without."""


class Wrong(ValueError):
    """The output differs from the reference's."""


class Impossible(ValueError):
    """A time that no device can reach: the measurement, or the program, is at fault."""


@dataclass(frozen=True)
class Environment:
    """What a time depends on beside the program. clocks: "SM MHz, memory MHz" at each reading."""

    device: str
    driver: str
    versions: dict[str, str]
    clocks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Timing:
    """Times of one function in microseconds, in the order in which they were taken."""

    us: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.us))

    @property
    def iqr(self) -> float:
        """Interquartile range, in microseconds."""
        low, high = np.percentile(self.us, (25, 75))
        return float(high - low)


@dataclass(frozen=True)
class Roofline:
    """The least that a computation does, and what the device can do at most; rates a second."""

    flops: float
    bytes: float
    peak_flops: float
    bandwidth: float

    @property
    def us(self) -> float:
        return 1e6 * max(self.flops / self.peak_flops, self.bytes / self.bandwidth)


@dataclass(frozen=True)
class Comparison:
    """A function against its reference on the same device. error: the largest relative one, before and after."""

    timing: Timing
    reference: Timing
    error: float
    environment: Environment
    label: Label = "measured"

    @property
    def speedup(self) -> float:
        return self.reference.median / self.timing.median


class Device(Protocol):
    """Where something is timed."""

    def time_us(self, work: Work) -> float:
        """Flushes the cache, runs `work` once and waits for it; its own time in microseconds."""
        ...

    def environment(self) -> Environment: ...

    def error(self, found: Any, expected: Any) -> float:
        """Largest difference of two arrays over the root mean square of the second; nan if one holds nan."""
        ...


class HostDevice:
    """The CPU, by the performance counter."""

    def __init__(self, flush_bytes: int = FLUSH_BYTES) -> None:
        self._buffer = np.zeros(flush_bytes, np.uint8)

    def time_us(self, work: Work) -> float:
        self._buffer.fill(0)
        start = time.perf_counter_ns()
        work()
        return (time.perf_counter_ns() - start) / 1000

    def environment(self) -> Environment:
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        return Environment(device=f"cpu {platform.machine()}", driver="", versions=versions)

    def error(self, found: Any, expected: Any) -> float:
        if expected.size == 0:
            return 0.0
        scale = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64)))) or 1.0
        return float(np.max(np.abs(found - expected))) / scale


class CudaDevice:
    """The current CUDA device, by CUDA events on the current stream."""

    def __init__(self, flush_bytes: int = FLUSH_BYTES) -> None:
        """
        Raises:
            NoGpu: torch or a CUDA device is missing.
        """
        self.torch = _torch()
        self._buffer = self.torch.empty(flush_bytes, dtype=self.torch.int8, device="cuda")

    def time_us(self, work: Work) -> float:
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._buffer.zero_()
        start.record()
        work()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1000  # it is given in milliseconds

    def environment(self) -> Environment:
        cuda = self.torch.cuda
        versions = {
            "python": platform.python_version(),
            "torch": str(self.torch.__version__),
            "cuda": str(self.torch.version.cuda),
            "triton": _version_of_triton(),
        }
        driver, clocks = _read_driver(cuda.current_device())
        return Environment(cuda.get_device_name(), driver, versions, (clocks,) if clocks else ())

    def error(self, found: Any, expected: Any) -> float:
        if expected.numel() == 0:
            return 0.0
        scale = float(expected.float().square().mean().sqrt()) or 1.0
        return float((found.float() - expected.float()).abs().max()) / scale


def _torch() -> Any:
    needs = "it needs an NVIDIA GPU, its driver, and torch built for CUDA; without them use the simulator"
    try:
        import torch
    except ImportError:
        raise NoGpu(f"torch is not installed; {needs}") from None
    if not torch.cuda.is_available():
        raise NoGpu(f"torch {torch.__version__} finds no CUDA device; {needs}")
    return torch


def _version_of_triton() -> str:
    try:
        import triton
    except ImportError:
        return ""
    return str(triton.__version__)


def _read_driver(index: int) -> tuple[str, str]:
    """Version of the driver, and the clocks as "SM MHz, memory MHz"; empty where nvidia-smi is missing."""
    if shutil.which("nvidia-smi") is None:
        return "", ""
    query = ["nvidia-smi", f"--id={index}", "--query-gpu=driver_version,clocks.sm,clocks.mem"]
    done = subprocess.run(
        [*query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=30
    )
    parts = [part.strip() for part in done.stdout.strip().split(",")]
    return (parts[0], f"{parts[1]}, {parts[2]}") if done.returncode == 0 and len(parts) == 3 else ("", "")


def measure(device: Device, work: Work, repeats: int = REPEATS, warm_up: int = WARM_UP) -> Timing:
    """Times a function.

    Raises:
        ValueError: fewer than REPEATS repeats, whose median would say little.
    """
    return _alternate(device, (work,), repeats, warm_up)[0]


def _alternate(device: Device, works: tuple[Work, ...], repeats: int, warm_up: int) -> tuple[Timing, ...]:
    """Times several functions in turns, the first one first and last by turns."""
    if repeats < REPEATS:
        raise ValueError(f"{repeats} repeats; a time is the median of {REPEATS} or more")
    for work in works:
        for _ in range(warm_up):
            device.time_us(work)
    taken: list[list[float]] = [[] for _ in works]
    for repeat in range(repeats):
        turns = list(enumerate(works))
        for index, work in turns if repeat % 2 == 0 else reversed(turns):
            taken[index].append(device.time_us(work))
    return tuple(Timing(tuple(times)) for times in taken)


def compare(
    device: Device,
    make: Callable[[int], tuple[Work, Work]],
    roofline: Roofline,
    tolerance: float,
    repeats: int = REPEATS,
    warm_up: int = WARM_UP,
) -> Comparison:
    """Times a function against its reference.

    Args:
        make: from a number, the function and the reference on random inputs of that number, which share nothing
            but their sizes with those of another one.
        tolerance: largest error, relative to the root mean square of the reference's output.

    Raises:
        Wrong: the outputs differ, before the timing or on the fresh inputs after it.
        Impossible: the function is more than MARGIN times faster than the roofline.
    """
    before = device.environment()
    work, reference = make(0)
    error = relative_error(device, work, reference, tolerance)
    timing, other = _alternate(device, (work, reference), repeats, warm_up)
    error = max(error, relative_error(device, *make(1), tolerance))
    possible(timing, roofline)
    return Comparison(timing, other, error, read_again(device, before))


def read_again(device: Device, before: Environment) -> Environment:
    """The environment, with the clocks as they were and as they are now."""
    after = device.environment()
    return replace(after, clocks=(*before.clocks, *after.clocks))


def relative_error(device: Device, work: Work, reference: Work, tolerance: float) -> float:
    """Largest difference of the outputs over the root mean square of the reference's.

    Raises:
        Wrong: it is above the tolerance, or the outputs have other shapes, or hold nan.
    """
    # the reference goes second: what it wrote cannot be what the function returns
    found, expected = work(), reference()
    if found.shape != expected.shape:
        raise Wrong(f"the output has shape {tuple(found.shape)}; the reference's is {tuple(expected.shape)}")
    error = device.error(found, expected)
    if not error <= tolerance:  # nan is not
        raise Wrong(f"the output is {error:.3g} off the reference; the tolerance is {tolerance:.3g}")
    return error


def possible(timing: Timing, roofline: Roofline) -> None:
    """
    Raises:
        Impossible: the median is less than a MARGINth of the roofline's time.
    """
    if timing.median * MARGIN < roofline.us:
        raise Impossible(
            f"{timing.median:.4g} us is more than {MARGIN:g} times faster than the device can be: "
            f"the roofline says {roofline.us:.4g} us"
        )
