"""Jobs with a deadline in a single region, drawn from spot markets like the recorded ones; with the optimum of each."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
_SPLIT_KEYS = {"train": 1, "validation": 2, "holdout": 3}

# fitted to the spells and the availability of the public traces, see README.md
MARKETS: Mapping[str, market.Market] = {
    "steady": market.Market(regime=(28.0, 7.5), up=(12.0, 1.0), down=(0.18, 0.4)),
    "common": market.Market(regime=(9.5, 2.0), up=(4.4, 0.58), down=(4.25, 0.33)),
    "flaky": market.Market(regime=(6.0, 9.0), up=(1.05, 0.2), down=(0.2, 3.5)),
    "scarce": market.Market(regime=(10.0, 44.0), up=(0.93, 0.2), down=(0.27, 7.0)),
}
SEEN = tuple(MARKETS)
SHIFTED = ("daily", "drought", "dear")  # holdout only
DEAR = 2.0  # times the usual price of spot
SLACK: Mapping[str, float] = {"tight": 52 / 48, "medium": 1.25, "loose": 70 / 48}  # deadline over work


PUBLIC_WORK_H = 48
PUBLIC_DEADLINES_H = (52, 70)
OVERHEADS_H = (0.02, 0.05, 0.1)
PER_SPLIT: Mapping[str, int] = {"train": 48, "validation": 120, "holdout": 240}


@dataclass(frozen=True)
class Plan:
    """Every market with every slack and restart overhead (hours), `repeats` times, for jobs of work_h hours."""

    kinds: tuple[str, ...]
    work_h: int
    slacks: tuple[str, ...]
    overheads_h: tuple[float, ...]
    repeats: int

    def cells(self, turn: int = 0) -> Iterator[tuple[int, float, str, str]]:
        """Repeat, restart overhead, slack and market of each job; a prefix holds every market and slack.

        turn: 1 = as many like them again.
        """
        numbers = range(turn * self.repeats, (turn + 1) * self.repeats)
        return product(numbers, self.overheads_h, self.slacks, self.kinds)


PLANS: Mapping[str, tuple[Plan, ...]] = {
    "train": (Plan(SEEN, 24, ("tight", "medium", "loose"), (0.05, 0.2), 2),),
    "validation": (Plan(SEEN, 24, ("tight", "medium", "loose"), (0.05, 0.1, 0.2), 4),),
    "holdout": (
        Plan(SEEN, 24, ("tight", "medium", "loose"), (0.05, 0.1, 0.2), 3),
        Plan(SEEN, 48, ("tight", "loose"), (0.1, 0.3), 3),
        Plan(SHIFTED, 24, ("tight", "loose"), (0.1, 0.5), 4),
    ),
}


def seconds(hours: float) -> int:
    return round(hours * market.HOUR_S)


def spot_of(kind: str, ticks: int, key: tuple[int, ...]) -> market.Bools:
    """Whether there is spot at each tick, (ticks,)."""
    u = market.words((*key, 1), (2, 2, ticks + 1))
    if kind == "daily":  # plenty for twelve hours, little for twelve, from a random hour on
        hour = np.arange(ticks) * TICK_S / market.HOUR_S + 24.0 * u[0, 0, 0]
        good, bad = (_path(name, ticks, u[i]) for i, name in enumerate(("steady", "scarce")))
        return np.where(hour % 24.0 < 12.0, good, bad)
    if kind == "drought":  # plenty at first, little from somewhere in the middle on
        good, bad = (_path(name, ticks, u[i]) for i, name in enumerate(("steady", "scarce")))
        return np.where(np.arange(ticks) < ticks * (0.2 + 0.5 * u[0, 0, 0]), good, bad)
    return _path("common" if kind == "dear" else kind, ticks, u[0])


def _path(kind: str, ticks: int, u: market.Floats) -> market.Bools:
    return market.availability(MARKETS[kind], ticks, TICK_S, u)


def job(
    available: market.Bools, price: market.Floats, tick_s: int, work_s: int, overhead_s: int
) -> dict[str, Any]:
    """The facts of a job in one region. available, price ($ for a tick): (ticks,), up to the deadline."""
    demand = np.array([market.DEMAND * tick_s / market.HOUR_S])
    return {
        "several": False,
        "tick_s": tick_s,
        "work_s": work_s,
        "overhead_s": overhead_s,
        "ticks": len(available),
        "available": available[None, :],
        "price": price[None, :],
        "demand": demand,
        "move": 0.0,
        "reference": market.on_demand_cost(work_s, overhead_s, tick_s, demand),
    }


def instance(name: str, facts: Mapping[str, Any], group: Mapping[str, str | int | float]) -> Instance:
    """With the clairvoyant optimum as its bound, in % of the cost on demand."""
    bound = 100.0 * market.least_cost(facts) / facts["reference"]
    for key in ("available", "price", "demand"):
        facts[key].flags.writeable = False
    return Instance(name=name, arguments={}, bound=bound, group=group, facts=facts)


def drawn(split: str, plan: Plan, kind: str, slack: str, overhead_h: float, repeat: int) -> Instance:
    ticks = round(plan.work_h * SLACK[slack] * market.HOUR_S / TICK_S)
    number = (*SEEN, *SHIFTED).index(kind), list(SLACK).index(slack), seconds(overhead_h)
    key = (_SPLIT_KEYS[split], repeat, plan.work_h, *number)
    u = market.words((*key, 2), (2, ticks))
    base = market.SPOT_PRICE * (DEAR if kind == "dear" else 1.0) * (0.85 + 0.3 * u[1, 0])
    facts = job(
        spot_of(kind, ticks, key),
        market.prices(base, ticks, TICK_S, u),
        TICK_S,
        seconds(plan.work_h),
        seconds(overhead_h),
    )
    name = f"{split}/{kind}-{slack}-{plan.work_h}h-{overhead_h:g}h-{repeat}"
    return instance(name, facts, {"kind": kind, "slack": slack})


def from_data(split: str, path: Path) -> Iterable[Instance]:
    """Jobs of 48 hours on recorded traces, with deadlines of 52 and 70 hours (Wu et al.).

    Recordings of one zone overlap in time, so a zone belongs to one split: the first of every three in the order of
    the names to train, the others to validation and holdout. A folder name "...overhead=H..." gives the restart
    overhead in hours. Of a split's recordings PER_SPLIT are taken, evenly spaced.

    Raises:
        ProblemError: there is no such split, or the data are no such traces, or too few or too short.
    """
    shortest_h = PUBLIC_DEADLINES_H[-1]
    try:
        traces = [each for each in market.read_traces(path) if each.hours >= shortest_h]
        yield from _recorded(split, path, traces)
    except (ValueError, OSError) as error:
        raise ProblemError(f"--data {path}: {error}") from None


def _recorded(split: str, path: Path, traces: Sequence[market.Trace]) -> Iterable[Instance]:
    """Jobs on recordings that are long enough.

    Raises:
        ValueError: one cannot be done, or its ticks are too fine.
        ProblemError: there are too few zones.
    """
    part = list(_SPLIT_KEYS).index(split)
    zones = sorted({each.zone for each in traces})
    chosen = [each for each in traces if zones.index(each.zone) % len(_SPLIT_KEYS) == part]
    if not chosen:
        raise ProblemError(
            f"--data {path}: recordings of {len(zones)} zones that cover {PUBLIC_DEADLINES_H[-1]} h; {split} needs a "
            f"zone of its own, so there have to be at least {len(_SPLIT_KEYS)}"
        )
    for number, trace in enumerate(chosen[:: -(-len(chosen) // PER_SPLIT[split])]):
        deadline_h = PUBLIC_DEADLINES_H[number % len(PUBLIC_DEADLINES_H)]
        overhead_h = trace.overhead_h or OVERHEADS_H[number % len(OVERHEADS_H)]
        ticks = round(deadline_h * market.HOUR_S / trace.tick_s)
        facts = job(
            trace.available[:ticks],
            trace.prices()[:ticks],
            trace.tick_s,
            seconds(PUBLIC_WORK_H),
            seconds(overhead_h),
        )
        group = {"kind": trace.zone, "slack": f"{deadline_h}h"}
        yield instance(f"{split}/{trace.name}-{deadline_h}h-{overhead_h:g}h", facts, group)


def instances(split: str) -> Iterable[Instance]:
    """The instances of "train", "validation" or "holdout", always the same and in the same order.

    Raises:
        ProblemError: there is no such split.
    """
    if split not in PLANS:
        raise ProblemError(f"no split {split!r} in problems/spot_scheduling; there is: {', '.join(PLANS)}")
    yield from _jobs(split)


def further() -> Iterable[Instance]:
    """As many jobs like those of train again."""
    return _jobs("train", 1)


def _jobs(split: str, turn: int = 0) -> Iterable[Instance]:
    for plan in PLANS[split]:
        for repeat, overhead_h, slack, kind in plan.cells(turn):
            yield drawn(split, plan, kind, slack, overhead_h, repeat)


def count(split: str) -> int:
    """How many instances a split has, without making them."""
    return sum(1 for plan in PLANS[split] for _ in plan.cells())
