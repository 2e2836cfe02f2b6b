"""The experts of one GPU as grouped matrix products, timed; and what a placement costs by such times.

A GPU with some slots gets tokens for each: its time is that of its feed-forward experts, two grouped products in
bf16, (tokens, hidden) x (hidden, 2 intermediate) with SiLU and gate, then (tokens, intermediate) x (intermediate,
hidden). A layer waits for its slowest GPU. `Table` turns tokens of a slot into time by what was measured, or by a
roofline where nothing was; `step_us` says what a layer takes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
TILE = 64
"""Tokens that a grouped product computes at least for a group that has any."""


@dataclass(frozen=True)
class Expert:
    """Sizes of an expert; DeepSeek-V3's by default."""

    hidden: int = 7168
    intermediate: int = 2048

    @property
    def weights(self) -> int:
        """Numbers in its three matrices."""
        return 3 * self.hidden * self.intermediate

    def flops(self, tokens: float) -> float:
        return 2.0 * self.weights * tokens

    def bytes(self, tokens: float) -> float:
        """Weights, input and output once each, bf16."""
        return 2.0 * (self.weights + 2 * self.hidden * tokens)


@dataclass(frozen=True)
class Table:
    """Time of a GPU whose slots have equally many tokens.

    tokens: rising, of a slot; us: of the GPU; slots: that it has. label: "measured" on the device itself,
        "simulated" from a roofline. environment: device, driver and versions where measured.
    """

    label: str
    slots: int
    expert: Expert
    tokens: tuple[float, ...]
    us: tuple[float, ...]
    iqr_us: tuple[float, ...] = ()
    environment: Any = None

    def slot_us(self, tokens: npt.ArrayLike) -> Floats:
        """What a slot adds to its GPU's time: linear between the table's rows and beyond the last; nothing at 0."""
        x, grid, us = (
            np.asarray(tokens, dtype=np.float64),
            np.array(self.tokens),
            np.array(self.us) / self.slots,
        )
        slope = (us[-1] - us[-2]) / (grid[-1] - grid[-2])
        return np.where(x > 0, np.interp(x, grid, us) + np.maximum(x - grid[-1], 0.0) * slope, 0.0)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read_table(path: Path) -> Table:
    """A table as `Table.write` wrote it.

    Raises:
        ValueError: naming the file and what is wrong.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        tree["expert"] = Expert(**tree["expert"])
        table = Table(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()}
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no table of times: {type(error).__name__} {error}") from None
    rising = all(low < high for low, high in zip(table.tokens, table.tokens[1:], strict=False))
    if len(table.tokens) < 2 or len(table.tokens) != len(table.us) or not rising or min(table.us) <= 0:
        raise ValueError(f"{path}: tokens have to rise, at least two, each with a time above 0")
    return table


def simulated_table(
    slots: int,
    expert: Expert,
    peak_flops: float,
    bandwidth: float,
    tokens: Sequence[int],
    launch_us: float = 10.0,
) -> Table:
    """The roofline's times: weights are read once, and tokens are computed in tiles. Rates a second."""
    us = []
    for count in tokens:
        rounded = -(-count // TILE) * TILE
        compute, load = expert.flops(rounded) / peak_flops, expert.bytes(count) / bandwidth
        us.append(launch_us + 1e6 * slots * max(compute, load))
    return Table("simulated", slots, expert, tuple(map(float, tokens)), tuple(us))


def slot_tokens(placement: Ints, load: Ints) -> Floats:
    """Tokens of each slot, if replicas share equally. placement, result: (layers, slots); load: (layers, experts)."""
    layers, experts = load.shape
    rows = np.arange(layers)[:, None]
    copies = np.zeros((layers, experts))
    np.add.at(copies, (rows, placement), 1.0)
    return (load / np.maximum(copies, 1.0))[rows, placement]


def rank_us(tokens: Floats, gpus: int, table: Table) -> Floats:
    """Time of each GPU, (layers, gpus), by the table. tokens: (layers, slots)."""
    return table.slot_us(tokens).reshape(len(tokens), gpus, -1).sum(axis=-1)


def time_balance(us: Floats) -> float:
    """Mean over the slowest GPU's time, mean over layers: balance, but of times. us: (layers, gpus)."""
    return float((us.mean(axis=-1) / us.max(axis=-1)).mean())


class TorchExperts:
    """Expert weights on a device of torch's in bf16, and their products for given numbers of tokens."""

    def __init__(self, torch: Any, slots: int, expert: Expert, seed: int, device: str = "cuda") -> None:
        self.torch, self.expert, self.device = torch, expert, device
        self._dice = torch.Generator(device=device).manual_seed(seed)
        # (slots, out, in), transposed for use: the layout that grouped products of weights are written for
        self.up = self._random(slots, 2 * expert.intermediate, expert.hidden).transpose(-2, -1)
        self.down = self._random(slots, expert.hidden, expert.intermediate).transpose(-2, -1)

    def _random(self, *shape: int) -> Any:
        drawn = self.torch.randn(*shape, generator=self._dice, device=self.device, dtype=self.torch.bfloat16)
        return drawn * shape[-1] ** -0.5

    def inputs(self, tokens: Sequence[int]) -> tuple[Any, Any]:
        """Random inputs, (tokens + 1, hidden), and where each slot's end.

        A row more than there are tokens, because the last end has to be less than the number of rows.
        """
        ends = self.torch.tensor(np.cumsum(tokens), dtype=self.torch.int32, device=self.device)
        return self._random(int(sum(tokens)) + 1, self.expert.hidden), ends

    def grouped(self, x: Any, ends: Any) -> Any:
        """All slots at once, (tokens + 1, hidden); what is in the last row means nothing."""
        product = getattr(self.torch.nn.functional, "grouped_mm", None) or self.torch._grouped_mm
        gate, up = product(x, self.up, offs=ends).chunk(2, dim=-1)
        return product(self.torch.nn.functional.silu(gate) * up, self.down, offs=ends)

    def one_by_one(self, x: Any, tokens: Sequence[int]) -> Any:
        """The reference: slot after slot, (tokens, hidden)."""
        parts = []
        for slot, rows in enumerate(x[: sum(tokens)].split(list(tokens))):
            gate, up = (rows @ self.up[slot]).chunk(2, dim=-1)
            parts.append((self.torch.nn.functional.silu(gate) * up) @ self.down[slot])
        return self.torch.cat(parts)


class HostExperts:
    """The same in numpy, float32, to try the benchmark where no GPU is; small sizes only."""

    def __init__(self, slots: int, expert: Expert, seed: int) -> None:
        self.expert, self._dice = expert, np.random.default_rng(seed)
        self.up = self._random(slots, expert.hidden, 2 * expert.intermediate)
        self.down = self._random(slots, expert.intermediate, expert.hidden)

    def _random(self, *shape: int) -> npt.NDArray[np.float32]:
        return self._dice.standard_normal(shape, np.float32) * np.float32(shape[-2] ** -0.5)

    def inputs(self, tokens: Sequence[int]) -> tuple[Any, Any]:
        return self._random(int(sum(tokens)) + 1, self.expert.hidden), np.cumsum(tokens)

    def grouped(self, x: Any, ends: Any) -> Any:
        """All slots, (tokens + 1, hidden)."""
        result = np.empty_like(x)
        for slot, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            gate, up = np.split(x[start:end] @ self.up[slot], 2, axis=-1)
            np.matmul(gate / (1 + np.exp(-gate)) * up, self.down[slot], out=result[start:end])
        return result

    def one_by_one(self, x: Any, tokens: Sequence[int]) -> Any:
        """The reference: token after token, (tokens, hidden)."""
        rows = []
        for slot, row in zip(np.repeat(np.arange(len(tokens)), tokens), x, strict=False):
            gate, up = np.split(row @ self.up[slot], 2)
            rows.append((gate / (1 + np.exp(-gate)) * up) @ self.down[slot])
        return np.array(rows).reshape(-1, self.expert.hidden)


def whole_tokens(tokens: Floats) -> list[int]:
    """Rounded so that the sum stays the rounded sum: the largest remainders go up."""
    floor = np.floor(tokens).astype(np.int64)
    missing = round(float(tokens.sum())) - int(floor.sum())
    order = np.argsort(-(tokens - floor), kind="stable")
    floor[order[:missing]] += 1
    return [int(count) for count in floor]
