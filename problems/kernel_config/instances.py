"""Matrix shapes, the configurations that a device can run, and the time of each: from a model, or measured.

The model is arithmetic that every processor rounds alike (no power, no logarithm). README.md derives it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evolve import data
from evolve.errors import ProblemError
from evolve.records import Instance

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PARTS = ("block_m", "block_n", "block_k", "warps", "stages")
BYTES = 2  # of a bf16 number
_SPLIT_KEYS = {"train": 1, "validation": 2, "holdout": 3}


@dataclass(frozen=True)
class Device:
    """What is known of a GPU. shared: KB an SM has; shared_block: KB a block may use; tflops: dense bf16; tbs: DRAM.

    l2_tbs: what the L2 cache delivers, about 2.5 times the DRAM on a data centre's card, more where DRAM is slow.
    """

    name: str
    sms: int
    shared: int
    shared_block: int
    tflops: float
    tbs: float
    l2_tbs: float


# vendors' data sheets; README.md names them
DEVICES: Mapping[str, Device] = {
    "H200": Device("H200", 132, 228, 227, 989.5, 4.8, 11.0),
    "A100": Device("A100", 108, 164, 163, 312.0, 2.039, 5.0),
    "L40S": Device("L40S", 142, 100, 99, 362.0, 0.864, 4.5),
}

LAUNCH_US = 3.0
LATENCY_US = 0.7  # from DRAM into shared memory
REGISTERS = 65536  # of an SM
MOST_REGISTERS = 255  # of a thread
OTHER_REGISTERS = 40  # addresses, fragments
SPILL = 0.01  # slower by so much for each register that does not fit
HALF_RATE = 12.0  # reuse (numbers multiplied for one loaded) at which the tensor cores run at half their rate

GRID: Ints = np.array(
    list(product((32, 64, 128, 256), (32, 64, 128, 256), (32, 64, 128), (4, 8), (2, 3, 4, 5)))
).T


@dataclass(frozen=True)
class Matmul:
    """C (m, n) = A (m, k) B (k, n), bf16."""

    m: int
    n: int
    k: int

    @property
    def flops(self) -> float:
        return 2.0 * self.m * self.n * self.k

    @property
    def bytes(self) -> float:
        """Every matrix once."""
        return float(BYTES * (self.m * self.k + self.k * self.n + self.m * self.n))


def legal(device: Device, grid: Ints) -> Ints:
    """The configurations, (5, configurations), whose buffers fit into a block's shared memory."""
    block_m, block_n, block_k, _, stages = grid
    fits = stages * (block_m + block_n) * block_k * BYTES <= device.shared_block * 1024
    return grid[:, fits]


def roofline_us(shape: Matmul, device: Device) -> float:
    """No kernel is faster: the tensor cores' rate, or every matrix once through DRAM."""
    return max(shape.flops / device.tflops, shape.bytes / device.tbs) * 1e-6


def resident(device: Device, grid: Ints) -> Ints:
    """Blocks that an SM holds at the same time, at least 1."""
    block_m, block_n, block_k, warps, stages = grid
    shared = stages * (block_m + block_n) * block_k * BYTES + 1024
    registers = np.minimum(block_m * block_n // (32 * warps) + OTHER_REGISTERS, MOST_REGISTERS)
    held = np.minimum(device.shared * 1024 // shared, REGISTERS // (registers * 32 * warps))
    return np.maximum(1, np.minimum(held, 64 // warps))


def simulated_us(shape: Matmul, device: Device, grid: Ints) -> Floats:
    """The model's time of each configuration, (configurations,), in microseconds."""
    block_m, block_n, _, warps, _ = grid
    tiles = -(-shape.m // block_m) * -(-shape.n // block_n)
    held = resident(device, grid)
    full, rest = np.divmod(tiles, device.sms * held)
    waves = full * _wave_us(shape, device, grid, held)
    waves = waves + np.where(rest > 0, _wave_us(shape, device, grid, -(-rest // device.sms)), 0.0)
    spilled = np.maximum(0, block_m * block_n // (32 * warps) + OTHER_REGISTERS - MOST_REGISTERS)
    return LAUNCH_US + np.maximum(waves * (1.0 + SPILL * spilled), _dram_us(shape, device, grid, tiles, held))


def _wave_us(shape: Matmul, device: Device, grid: Ints, held: Ints) -> Floats:
    """One wave of tiles, `held` on each SM; none held counts as one."""
    block_m, block_n, block_k, warps, stages = grid
    held = np.maximum(held, 1)
    reuse = block_m * block_n / (block_m + block_n)
    rate = device.tflops / device.sms * reuse / (reuse + HALF_RATE) * np.minimum(1.0, warps * held / 8.0)
    compute = 2.0 * block_m * block_n * block_k / rate * 1e-6
    load = BYTES * (block_m + block_n) * block_k / (device.l2_tbs / device.sms) * 1e-6
    # of all blocks of the SM together, or one block's wait for its buffers, whichever is longer
    step = np.maximum(held * np.maximum(compute, load), (LATENCY_US + compute) / (stages - 1))
    store = BYTES * held * block_m * block_n / (device.l2_tbs / device.sms) * 1e-6
    return LATENCY_US + -(-shape.k // block_k) * step + store


def _dram_us(shape: Matmul, device: Device, grid: Ints, tiles: Ints, held: Ints) -> Floats:
    """A wave is about square: it reads each of its rows of A and columns of B once, and writes its tiles."""
    block_m, block_n, *_ = grid
    wave = np.minimum(tiles, device.sms * held)
    side = np.sqrt(wave.astype(np.float64))
    rows = np.minimum(side * block_m, shape.m) + np.minimum(side * block_n, shape.n)
    read = tiles / wave * rows * shape.k * BYTES + BYTES * shape.m * shape.n
    return np.maximum(read, shape.bytes) / device.tbs * 1e-6


class Dice:
    """Uniform numbers of a named stream."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def size(self, low: int, high: int, step: int) -> int:
        """A multiple of step from low to high: an octave at random, then evenly within it."""
        octaves = (high // low).bit_length() - 1
        first, second = ((self._bits.random_raw(2) >> np.uint64(12)).astype(np.float64) * 2.0**-52).tolist()
        base = low << int(first * octaves) if octaves else low
        return max(step, min(high, round(base * (1.0 + second) / step) * step))


def square(dice: Dice) -> Matmul:
    return Matmul(dice.size(256, 8192, 128), dice.size(256, 8192, 128), dice.size(256, 8192, 64))


def decode(dice: Dice) -> Matmul:
    """A few tokens through a layer: all weights are read for little arithmetic."""
    return Matmul(dice.size(8, 128, 8), dice.size(2048, 16384, 256), dice.size(2048, 16384, 256))


def deep(dice: Dice) -> Matmul:
    """Few tiles, each a long sum."""
    return Matmul(dice.size(64, 512, 32), dice.size(64, 512, 32), dice.size(4096, 32768, 256))


def expert(dice: Dice) -> Matmul:
    """The tokens of one expert of a mixture, hidden size 7168, intermediate 2048."""
    tokens = dice.size(16, 4096, 1)
    return Matmul(tokens, 4096, 7168) if dice.size(1, 2, 1) == 1 else Matmul(tokens, 7168, 2048)


def odd(dice: Dice) -> Matmul:
    """Sizes that no tile divides. Holdout only."""
    return Matmul(1 + dice.size(128, 4096, 2), 1 + dice.size(128, 4096, 2), 1 + dice.size(128, 4096, 2))


KINDS: Mapping[str, Callable[[Dice], Matmul]] = {
    "square": square,
    "decode": decode,
    "deep": deep,
    "expert": expert,
    "odd": odd,
}
SEEN = ("square", "decode", "deep", "expert")
# split: (kinds, devices, instances of each)
PLANS: Mapping[str, list[tuple[tuple[str, ...], tuple[str, ...], int]]] = {
    "train": [(SEEN, ("H200", "A100"), 6)],
    "validation": [(SEEN, ("H200", "A100"), 12)],
    "holdout": [(SEEN, ("H200", "A100"), 12), (("odd",), ("H200", "A100"), 12), (tuple(KINDS), ("L40S",), 8)],
}


def make(
    name: str, shape: Matmul, device: Device, grid: Ints, us: Floats, group: Mapping[str, str | int | float]
) -> Instance:
    """An instance from the time of each configuration."""
    facts = {"us": us, "roofline_us": roofline_us(shape, device)}
    columns = dict(zip(PARTS, (row.copy() for row in grid), strict=True))
    for array in (us, *columns.values()):
        array.flags.writeable = False
    arguments = {
        "m": shape.m,
        "n": shape.n,
        "k": shape.k,
        "sms": device.sms,
        "shared": device.shared,
        "tflops": device.tflops,
        "tbs": device.tbs,
        **columns,
    }
    return Instance(name, arguments, 1.0, group, facts)


def instances(split: str) -> Iterable[Instance]:
    """The instances of "train", "validation" or "holdout", always the same and in the same order.

    Raises:
        ProblemError: there is no such split.
    """
    if split not in PLANS:
        raise ProblemError(f"no split {split!r} in problems/kernel_config; there is: {', '.join(PLANS)}")
    for kinds, devices, repeats in PLANS[split]:
        for repeat, device, kind in product(range(repeats), devices, kinds):
            yield simulated(split, kind, DEVICES[device], repeat)


def simulated(split: str, kind: str, device: Device, repeat: int) -> Instance:
    """A drawn shape, timed by the model."""
    number = list(DEVICES).index(device.name)
    shape = KINDS[kind](Dice(_SPLIT_KEYS[split], repeat, list(KINDS).index(kind), number))
    grid = legal(device, GRID)
    name = f"{split}/{device.name}/{kind}-{shape.m}x{shape.n}x{shape.k}-{repeat}"
    group = {"source": "simulated", "device": device.name, "shape": kind}
    return make(name, shape, device, grid, simulated_us(shape, device, grid), group)


# -- measured times ----------------------------------------------------------------------------------------

MOST_SIZE = 10**9  # a product of three such numbers is a float without rounding away what matters


def from_data(split: str, path: Path) -> Iterator[Instance]:
    """The instances of a table that `measure.py` wrote: every third shape belongs to the same split.

    Raises:
        ProblemError: naming the file, the key and the rule.
    """
    tree = _parse(path)
    try:
        device = Device(**tree["device"])
        sizes = {key: value for key, value in vars(device).items() if key != "name"}
        _check_sizes(path, "device", sizes, (int, float))
        for each in tree["configurations"]:
            _check_sizes(path, "a configuration", {part: each[part] for part in PARTS}, (int,))
        grid = np.array([[each[part] for part in PARTS] for each in tree["configurations"]], dtype=np.int64).T
        rows = [(Matmul(*each["shape"]), np.array(each["us"], dtype=np.float64)) for each in tree["rows"]]
        for shape, _ in rows:
            _check_sizes(path, "a shape", vars(shape), (int,))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProblemError(f"{path}: no table of measure.py: {type(error).__name__} {error}") from None
    if not grid.size:
        raise ProblemError(f"{path}: there is no configuration to choose")
    if len(rows) < len(_SPLIT_KEYS):
        raise ProblemError(f"{path}: {len(rows)} shapes; three splits need at least {len(_SPLIT_KEYS)}")
    for shape, us in rows[list(_SPLIT_KEYS).index(split) :: len(_SPLIT_KEYS)]:
        _check_times(path, shape, us, device, grid.shape[1])
        ran = np.isfinite(us)
        name = f"{split}/{device.name}/{shape.m}x{shape.n}x{shape.k}"
        group = {"source": str(tree.get("label", "measured")), "device": device.name, "shape": "measured"}
        yield make(name, shape, device, grid[:, ran], us[ran], group)


def _parse(path: Path) -> Any:
    try:
        return json.loads(data.text(path))
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{path}: no JSON text: {error}") from None


def _check_sizes(path: Path, what: str, sizes: Mapping[str, Any], types: tuple[type, ...]) -> None:
    for key, value in sizes.items():
        if type(value) not in types or not 0 < value < MOST_SIZE:
            kind = "whole number" if types == (int,) else "number"
            raise ProblemError(
                f"{path}: {key} of {what} is {value!r}; it has to be a {kind} above 0, below 10^9"
            )


def _check_times(path: Path, shape: Matmul, us: Floats, device: Device, configurations: int) -> None:
    """A configuration that could not run has nan; a time far below the roofline is an error of measurement."""
    what = f"{path}: shape {shape.m}x{shape.n}x{shape.k}"
    if us.shape != (configurations,):
        raise ProblemError(f"{what} has {us.size} times; there are {configurations} configurations")
    if not np.isfinite(us).any():
        raise ProblemError(f"{what}: no configuration has a time")
    least = float(np.nanmin(us))
    if not least > 0.1 * roofline_us(shape, device):
        raise ProblemError(
            f"{what}: {least:g} us is impossible: ten times faster than the {roofline_us(shape, device):.3g} us "
            f"of the device's roofline"
        )
