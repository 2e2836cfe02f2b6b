"""Jobs with a deadline that may move between regions, each with a spot market of its own; with the optimum of each."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from evolve.errors import ProblemError
from evolve.records import Instance

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "evaluators"))
import spot_market as market

TICK_S = 600
MOVE = 0.5  # $ for moving the job's data to another region: 25 GB at 0.02 $
_SPLIT_KEYS = {"train": 1, "validation": 2, "holdout": 3}
SLACK: Mapping[str, float] = {"tight": 52 / 48, "loose": 1.3}


@dataclass(frozen=True)
class Zone:
    """A region as recorded: its market, the price of spot and of on demand in $ per hour.

    The markets lie between those of the public traces of nine zones, in which spot is there 15 to 92 % of the time
    and costs 0.92 to 1.7 $.
    """

    market: market.Market
    spot: float
    demand: float


ZONES: Mapping[str, Zone] = {
    "a": Zone(market.Market((10.0, 44.0), (0.93, 0.2), (0.27, 7.0)), 1.60, 3.06),
    "b": Zone(market.Market((6.0, 9.0), (1.05, 0.2), (0.2, 3.5)), 1.30, 3.06),
    "c": Zone(market.Market((9.5, 2.0), (4.4, 0.58), (4.25, 0.33)), 1.25, 3.06),
    "d": Zone(market.Market((8.0, 6.0), (5.0, 1.0), (0.9, 2.4)), 0.95, 3.25),
    "e": Zone(market.Market((28.0, 7.5), (12.0, 1.0), (0.18, 0.4)), 1.05, 3.40),
    "f": Zone(market.Market((5.0, 20.0), (2.0, 0.4), (0.4, 6.0)), 0.75, 3.00),
}
MIXES: Mapping[str, str] = {"poor": "ab", "mixed": "abd", "uneven": "acf", "many": "abcdf"}
SHIFTED: Mapping[str, str] = {"rich": "ecd", "all": "abcdef", "storm": "bcd"}
STORM_H = 8.0  # hours without spot anywhere, in "storm"


@dataclass(frozen=True)
class Plan:
    """Every mix of zones with every slack, restart overhead (hours) and charge for moving ($)."""

    mixes: tuple[str, ...]
    work_h: int
    overheads_h: tuple[float, ...]
    moves: tuple[float, ...]
    repeats: int

    def cells(self, turn: int = 0) -> Iterator[tuple[int, float, float, str, str]]:
        """Repeat, restart overhead, charge, slack and mix of each job; a prefix holds every mix and slack.

        turn: 1 = as many like them again.
        """
        numbers = range(turn * self.repeats, (turn + 1) * self.repeats)
        return product(numbers, self.overheads_h, self.moves, SLACK, self.mixes)


PLANS: Mapping[str, tuple[Plan, ...]] = {
    "train": (Plan(tuple(MIXES), 24, (0.1, 0.2), (MOVE,), 6),),
    "validation": (Plan(tuple(MIXES), 24, (0.1, 0.2), (MOVE,), 16),),
    "holdout": (
        Plan(tuple(MIXES), 24, (0.1, 0.2), (MOVE,), 5),
        Plan(tuple(MIXES), 48, (0.2,), (MOVE, 4 * MOVE), 2),
        Plan(tuple(SHIFTED), 24, (0.1, 0.5), (0.0, 2 * MOVE), 3),
    ),
}


def seconds(hours: float) -> int:
    return round(hours * market.HOUR_S)


def job(
    available: market.Bools, price: market.Floats, demand: market.Floats, *times_s: int, move: float
) -> dict[str, Any]:
    """The facts of a job. available, price: (regions, ticks); times_s: of a tick, of work, of a restart."""
    tick_s, work_s, overhead_s = times_s
    return {
        "several": True,
        "tick_s": tick_s,
        "work_s": work_s,
        "overhead_s": overhead_s,
        "ticks": available.shape[1],
        "available": available,
        "price": price,
        "demand": demand,
        "move": move,
        "reference": market.on_demand_cost(work_s, overhead_s, tick_s, demand),
    }


def instance(name: str, facts: Mapping[str, Any], group: Mapping[str, str | int | float]) -> Instance:
    """With the clairvoyant optimum as its bound, in % of the cost on demand."""
    bound = 100.0 * market.least_cost(facts) / facts["reference"]
    for key in ("available", "price", "demand"):
        facts[key].flags.writeable = False
    return Instance(name=name, arguments={}, bound=bound, group=group, facts=facts)


def drawn(
    split: str, plan: Plan, mix: str, slack: str, overhead_h: float, move: float, repeat: int
) -> Instance:
    ticks = round(plan.work_h * SLACK[slack] * market.HOUR_S / TICK_S)
    number = (*MIXES, *SHIFTED).index(mix), list(SLACK).index(slack), seconds(overhead_h), round(100 * move)
    key = (_SPLIT_KEYS[split], repeat, plan.work_h, *number)
    names = {**MIXES, **SHIFTED}[mix]
    # in which order regions come, and so where the job's data lies at first, is a matter of chance
    order = np.argsort(market.words((*key, 1), (len(names),)), kind="stable").tolist()
    zones = [ZONES[names[each]] for each in order]
    u = market.words((*key, 2), (len(zones), 2, 2, ticks + 1))
    available = np.stack(
        [market.availability(zone.market, ticks, TICK_S, u[i, 0]) for i, zone in enumerate(zones)]
    )
    if mix == "storm":
        start = int(u[0, 1, 0, ticks] * ticks * 0.6)
        available[:, start : start + round(STORM_H * market.HOUR_S / TICK_S)] = False
    price = np.stack(
        [market.prices(zone.spot, ticks, TICK_S, u[i, 1, :, :ticks]) for i, zone in enumerate(zones)]
    )
    demand = np.array([zone.demand for zone in zones]) * TICK_S / market.HOUR_S
    facts = job(available, price, demand, TICK_S, seconds(plan.work_h), seconds(overhead_h), move=move)
    name = f"{split}/{mix}-{slack}-{plan.work_h}h-{overhead_h:g}h-{move:g}-{repeat}"
    return instance(name, facts, {"mix": mix, "slack": slack})


# the scenarios of the public benchmark: zones, and how many of their recordings
PUBLIC: Mapping[str, tuple[str, int]] = {
    "two zones": ("1a 1c", 8),
    "east and west": ("2a w2a", 8),
    "three regions": ("1a 2b w2c", 6),
    "three zones": ("1a 1c 1d", 6),
    "five": ("1a 1f w2a w2b 2b", 4),
    "nine": ("2a w2c 1d 2b w2a 1f 1a w2b 1c", 2),
}
PUBLIC_WORK_H, PUBLIC_DEADLINE_H, PUBLIC_OVERHEAD_H = 48, 52, 0.2
PUBLIC_FOLDER = "converted_multi_region_aligned"


def recorded(traces: Mapping[str, market.Trace], zones: str, number: int, move: float) -> dict[str, Any]:
    """The facts of a job on recording `number` of some zones, by the short names of PUBLIC.

    Raises:
        KeyError: there is no such recording.
        ValueError: they are too short, or their ticks differ.
    """
    names = [f"us-{'west' if zone[0] == 'w' else 'east'}-{zone.lstrip('w')}_v100_1" for zone in zones.split()]
    found = [traces[f"{name}/{number}"] for name in names]
    tick_s = found[0].tick_s
    for each in found:
        if each.tick_s != tick_s or each.hours < PUBLIC_DEADLINE_H:
            raise ValueError(
                f"{each.name} covers {each.hours:.4g} h in ticks of {each.tick_s} s; it has to cover "
                f"{PUBLIC_DEADLINE_H} h in ticks of {tick_s} s, as {found[0].name}"
            )
    ticks = PUBLIC_DEADLINE_H * market.HOUR_S // tick_s
    demand = np.full(len(found), market.DEMAND * tick_s / market.HOUR_S)
    return job(
        np.stack([each.available[:ticks] for each in found]),
        np.stack([each.prices()[:ticks] for each in found]),
        demand,
        tick_s,
        seconds(PUBLIC_WORK_H),
        seconds(PUBLIC_OVERHEAD_H),
        move=move,
    )


def public_traces(path: Path) -> dict[str, market.Trace]:
    """The recordings of the public multi-region archive, by "ZONE/NUMBER"."""
    traces = [each for each in market.read_traces(path) if each.zone.endswith("_v100_1")]
    aligned = [each for each in traces if PUBLIC_FOLDER in each.name] or traces
    return {f"{each.zone}/{each.name.rpartition('/')[2].removesuffix('.json')}": each for each in aligned}


def from_data(split: str, path: Path) -> Iterable[Instance]:
    """Jobs of 48 hours with a deadline of 52 on recordings of nine zones, in the scenarios of the public benchmark.

    Recordings 0 to 29 belong to train, 30 to 59 to validation, 60 to 89 to holdout.

    Raises:
        ProblemError: the data are no such traces, or zones or numbers are missing.
    """
    first = 30 * list(_SPLIT_KEYS).index(split)
    try:
        traces = public_traces(path)
        for scenario, (zones, count) in PUBLIC.items():
            for number in range(first, first + count):
                name = f"{split}/{scenario.replace(' ', '-')}-{number}"
                facts = recorded(traces, zones, number, MOVE)
                yield instance(name, facts, {"mix": scenario, "slack": "tight"})
    except KeyError as error:
        raise ProblemError(f"--data {path}: there is no recording {error}.json in it") from None
    except (ValueError, OSError) as error:
        raise ProblemError(f"--data {path}: {error}") from None


def instances(split: str) -> Iterable[Instance]:
    """The instances of "train", "validation" or "holdout", always the same and in the same order.

    Raises:
        ProblemError: there is no such split.
    """
    if split not in PLANS:
        raise ProblemError(f"no split {split!r} in problems/spot_multi_region; there is: {', '.join(PLANS)}")
    yield from _jobs(split)


def further() -> Iterable[Instance]:
    """As many jobs like those of train again."""
    return _jobs("train", 1)


def _jobs(split: str, turn: int = 0) -> Iterable[Instance]:
    for plan in PLANS[split]:
        for repeat, overhead_h, move, slack, mix in plan.cells(turn):
            yield drawn(split, plan, mix, slack, overhead_h, move, repeat)


def count(split: str) -> int:
    """How many instances a split has, without making them."""
    return sum(1 for plan in PLANS[split] for _ in plan.cells())
