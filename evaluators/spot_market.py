"""What spot markets are like, and the least that a job can cost in one that is known in advance.

Availability is a Markov-modulated on-off process: a hidden regime, calm or tight, changes now and then, and spot
comes and goes with the rates of the present regime. So spells of both kinds have heavy tails, as in the traces of
Wu et al. (NSDI'24). Everything is drawn from the raw 64-bit words of PCG64 by comparisons and products, which every
processor does alike.
"""

from __future__ import annotations

import json
import lzma
import math
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

HOUR_S = 3600
DEMAND = 3.06  # $ per hour on demand, and of spot, of the instances that the public traces are about
SPOT_PRICE = 0.9731
PRICE_STEP_H = 6.5  # between changes of a spot price
PRICE_STEP = 0.004  # of the price, up or down
MOST_BYTES = 2**26  # of a recording
MOST_STATES = 2**31  # that the optimum of a job may go through: some seconds
_GENERIC = frozenset({"traces", "random_start"})  # folders of the public archives


@dataclass(frozen=True)
class Market:
    """Mean hours that a hidden regime lasts, and of spells with and without spot, in the calm and the tight one."""

    regime: tuple[float, float]
    up: tuple[float, float]
    down: tuple[float, float]


def words(key: tuple[int, ...], shape: tuple[int, ...]) -> Floats:
    """Numbers of (0, 1), the middles of 2**52 equal cells; `key` names the stream."""
    bits = np.random.PCG64(np.random.SeedSequence(key)).random_raw(math.prod(shape))
    return (((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52).reshape(shape)


def availability(market: Market, ticks: int, tick_s: int, u: Floats) -> Bools:
    """Whether there is spot at each tick, (ticks,). u: (2, ticks + 1), numbers of (0, 1)."""
    tick_h = tick_s / HOUR_S
    calm, tight = market.regime
    regime = int(u[0, ticks] * (calm + tight) < tight)
    up, down = market.up[regime], market.down[regime]
    spot = bool(u[1, ticks] * (up + down) < up)
    found = np.empty(ticks, np.bool_)
    for tick, (change, flip) in enumerate(zip(*u[:, :ticks].tolist(), strict=True)):
        found[tick] = spot
        if change * market.regime[regime] < tick_h:
            regime = 1 - regime
        if flip * (market.up if spot else market.down)[regime] < tick_h:
            spot = not spot
    return found


def prices(base: float, ticks: int, tick_s: int, u: Floats) -> Floats:
    """$ for each tick of spot, (ticks,): `base` $ per hour at first, a small step now and then. u: (2, ticks)."""
    steps = np.where(
        u[0] * PRICE_STEP_H < tick_s / HOUR_S, np.where(u[1] < 0.5, -PRICE_STEP, PRICE_STEP), 0.0
    )
    return base * tick_s / HOUR_S * (1.0 + np.cumsum(steps))


def on_demand_cost(work_s: int, overhead_s: int, tick_s: int, demand: Floats) -> float:
    """$ of running on demand from the start, in the cheapest region. demand: $ for a tick, (regions,)."""
    return float(-(-(work_s + overhead_s) // tick_s) * demand.min())


def least_cost(facts: Mapping[str, Any]) -> float:
    """The least that any policy can pay, in $, by dynamic programming backwards over ticks.

    The state is where the job's data lies, what runs there (nothing, spot, on demand), how much of the restart
    overhead it has still to go through, and the work to go. Times are counted in the largest unit that divides
    tick, overhead and work, so that no state is rounded. `facts` are those of evaluators/spot.py.

    Raises:
        ValueError: the job cannot be done by its deadline, or its times have no common unit that is large enough.
    """
    unit = math.gcd(int(facts["tick_s"]), int(facts["overhead_s"]), int(facts["work_s"]))
    tick, overhead, work = (int(facts[key]) // unit for key in ("tick_s", "overhead_s", "work_s"))
    states = int(facts["ticks"]) * (-(-overhead // tick) + 1) * len(facts["demand"]) * work
    if states > MOST_STATES:
        raise ValueError(
            f"{facts['ticks']} ticks of {facts['tick_s']} s with work of {work} times {unit} s are too fine for the "
            f"optimum; take longer ticks, such as 600 s"
        )
    table = _Table(tick, overhead, work, len(facts["demand"]))
    available, price, demand = facts["available"], facts["price"], np.asarray(facts["demand"])
    idle = table.start()
    for now in range(int(facts["ticks"]) - 1, -1, -1):
        idle = table.step(available[:, now], price[:, now], demand, float(facts["move"]))
    if not np.isfinite(idle[0, work]):
        raise ValueError("the job cannot be done by its deadline")
    return float(idle[0, work])


class _Table:
    """Costs to go, by work to go 0..work: idle (regions, work + 1), and running (2, levels, regions, work + 1).

    running[kind, level]: spot or on demand of which level * tick units of the overhead have been gone through; at
    the last level, all of it.
    """

    def __init__(self, tick: int, overhead: int, work: int, regions: int) -> None:
        pending = [max(0, overhead - level * tick) for level in range(-(-overhead // tick) + 1)]
        # units of work done in the tick that begins so
        self.shifts = [min(work + 1, max(0, tick - each)) for each in pending]
        self.idle = np.full((regions, work + 1), np.inf)
        self.running = np.full((2, len(pending), regions, work + 1), np.inf)

    def start(self) -> Floats:
        """At the deadline nothing may be left."""
        self.idle[:, 0] = 0.0
        self.running[..., 0] = 0.0
        return self.idle

    def step(self, available: Bools, price: Floats, demand: Floats, move: float) -> Floats:
        """One tick earlier; the new costs to go of an idle job.

        Whatever runs may be kept, or stopped, or something started anew, here or elsewhere: at every state the
        cheapest of these is taken.
        """
        paid = np.stack((np.where(available, price, np.inf), demand))  # (2, regions)
        kept = np.empty_like(self.running)
        last = len(self.shifts) - 1
        for level, shift in enumerate(self.shifts):
            after = self.running[:, min(level + 1, last)]
            # `shift` units less work to go, but not less than none
            kept[:, level, :, shift:] = after[..., : after.shape[-1] - shift]
            kept[:, level, :, :shift] = after[..., :1]
        kept += paid[:, None, :, None]
        begun = kept[:, 0].min(axis=0)  # the cheaper kind to start, (regions, work + 1)
        anywhere = np.minimum(begun, begun.min(axis=0) + move)
        idle = np.minimum(self.idle, anywhere)
        idle[:, 0] = 0.0
        np.minimum(kept, idle, out=kept)
        self.idle, self.running = idle, kept
        return idle


@dataclass(frozen=True)
class Trace:
    """A recorded availability. price: $ per hour at each tick, or () where none was recorded."""

    name: str
    tick_s: int
    available: Bools
    price: tuple[float, ...] = ()

    @property
    def hours(self) -> float:
        return len(self.available) * self.tick_s / HOUR_S

    @property
    def zone(self) -> str:
        """The folder that it lies in, those that say nothing left out; "" for a file alone."""
        return next((part for part in reversed(self.name.split("/")[:-1]) if part not in _GENERIC), "")

    @property
    def overhead_h(self) -> float:
        """Hours of restart overhead that a folder "...overhead=H..." names; 0 if none does."""
        found = re.search(r"overhead=([0-9.]+[0-9])", self.name)
        return float(found[1]) if found else 0.0

    def prices(self) -> Floats:
        """$ for each tick of spot, (ticks,); the usual price where none was recorded."""
        per_hour = np.array(self.price) if self.price else np.full(len(self.available), SPOT_PRICE)
        return per_hour * self.tick_s / HOUR_S


def read_trace(text: str | bytes, name: str) -> Trace:
    """A trace of the public format: {"metadata": {"gap_seconds": s}, "data": [0 = spot, 1 = none, ...]}.

    Raises:
        ValueError: naming the trace and what is wrong with it.
    """
    try:
        tree = json.loads(text)
        gap_s, data = tree["metadata"]["gap_seconds"], tree["data"]
        price = tuple(float(each) for each in tree.get("prices", ()))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{name}: no spot trace ({type(error).__name__}: {error})") from None
    flags = data if isinstance(data, list) else []
    if not flags or not all(type(each) in (int, float) and each in (0, 1) for each in flags):
        raise ValueError(f"{name}: data has to be a list of 0 (spot) and 1 (none), not empty")
    if type(gap_s) not in (int, float) or not 0 < gap_s <= HOUR_S or gap_s != int(gap_s):
        raise ValueError(
            f"{name}: metadata.gap_seconds is {gap_s}; it has to be a whole number from 1 to {HOUR_S}"
        )
    if price and len(price) != len(data):
        raise ValueError(f"{name}: {len(price)} prices for {len(data)} ticks")
    if wrong := [each for each in price if not 0 <= each < math.inf]:
        raise ValueError(
            f"{name}: a price is {wrong[0]}; it has to be a number of dollars an hour, not below 0"
        )
    return Trace(name, int(gap_s), np.array(data) == 0, price)


@cache
def read_traces(path: Path) -> tuple[Trace, ...]:
    """All traces of a .json file, a folder or a .tar(.gz) of them, by name.

    Raises:
        ValueError: there is none, or one is broken.
    """
    traces = [read_trace(text, name) for name, text in _texts(path)]
    if not traces:
        raise ValueError(f"{path}: no .json file in it; spot traces are one JSON file each")
    return tuple(sorted(traces, key=lambda each: each.name))


def _texts(path: Path) -> Iterable[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            if file.is_file():
                yield (
                    file.relative_to(path).as_posix(),
                    _bounded(file.name, file.stat().st_size, file.read_bytes),
                )
    elif path.suffix == ".json":
        yield path.name, _bounded(path.name, path.stat().st_size, path.read_bytes)
    else:
        yield from _members(path)


def _bounded(name: str, size: int, read: Callable[[], bytes]) -> bytes:
    if size > MOST_BYTES:
        raise ValueError(f"{name}: {size} bytes; a recording has at most {MOST_BYTES}")
    return read()


def _members(path: Path) -> Iterable[tuple[str, bytes]]:
    """The .json files of an archive, read from front to back: going back in a compressed one costs minutes.

    Raises:
        ValueError: it is none, or a broken one.
    """
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                file = (
                    archive.extractfile(member) if member.isfile() and member.name.endswith(".json") else None
                )
                if file is not None:
                    yield member.name, _bounded(member.name, member.size, file.read)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(
            f"{path.name}: neither a .json file nor a whole archive (.tar, .tar.gz) of them ({error})"
        ) from None
