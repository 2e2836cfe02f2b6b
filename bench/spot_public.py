"""The seeds of both spot problems and the clairvoyant optimum on the public traces, as the public suites run them.

    python bench/spot_public.py ../shared/data            takes some 3 CPU minutes; prints the text of spot_public.md

Single region: 48 hours of work, deadlines of 52 and 70 hours, restart overheads of 0.02, 0.05 and 0.1 hours, six zones,
30 recordings of each, ticks of 600 s: 1,080 runs. Several regions: six scenarios, 34 runs, deadline 52 hours, restart
overhead 0.2 hours, ticks of 195 s. Outside the jail: the seeds are ours. The traces are those of Wu et al. (NSDI'24)
as packed by the ADRS project (Apache-2.0), and no part of this one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evolve import problem
from evolve.records import Instance

ZONES = tuple(
    f"us-west-{each}" for each in ("2a_k80_8", "2b_k80_1", "2b_k80_8", "2a_v100_1", "2a_v100_8", "2b_v100_1")
)
OVERHEADS_H = (0.02, 0.05, 0.1)
DEADLINES_H = (52, 70)
PER_ZONE = 30
SINGLE, SEVERAL = problem.load("spot_scheduling"), problem.load("spot_multi_region")
MARKET = SINGLE._instances.__globals__["market"]


def public_greedy(*state: Any) -> int:
    """What the public suite starts from, with the guard of its simulator: whole ticks, and no way back."""
    _, left, _, work, spot, running, pending, overhead, *_ = state
    one, two = (int(np.ceil(work + restarts * overhead - 1e-9)) for restarts in (1, 2))
    if one >= left:
        return 1 if running == 1 and spot and not pending else 2
    if two >= left:
        return 1 if running == 1 and spot else 2
    return 1 if spot else 0


def policies(problem_: Any) -> dict[str, Callable[..., Any]]:
    """The seeds, outside the jail."""
    found = {}
    for name, seed in problem_.seeds.items():
        scope: dict[str, Any] = {}
        exec(seed.files["program.py"], scope)
        found[name] = scope["decide"]
    return found


def single(path: Path) -> Iterator[dict[str, Any]]:
    """The facts of the 1,080 runs."""
    generator = SINGLE._instances.__globals__
    traces = MARKET.read_traces(path)
    for overhead_h in OVERHEADS_H:
        folder = f"overhead={overhead_h:.2f}/"
        for zone in ZONES:
            mine = [
                each
                for each in traces
                if folder in each.name and each.zone == zone and "random_start" in each.name
            ]
            for number in range(PER_ZONE):
                trace = mine[round(number * (len(mine) - 1) / (PER_ZONE - 1))]
                for deadline_h in DEADLINES_H:
                    ticks = deadline_h * 3600 // trace.tick_s
                    price = np.full(ticks, MARKET.SPOT_PRICE * trace.tick_s / 3600)
                    overhead_s = round(overhead_h * 3600)
                    yield generator["job"](
                        trace.available[:ticks], price, trace.tick_s, 48 * 3600, overhead_s
                    )


def several(path: Path, move: float) -> Iterator[tuple[str, dict[str, Any]]]:
    generator = SEVERAL._instances.__globals__
    traces = generator["public_traces"](path)
    for scenario, (zones, count) in generator["PUBLIC"].items():
        for number in range(count):
            yield scenario, generator["recorded"](traces, zones, number, move)


def cost(problem_: Any, policy: Callable[..., Any], facts: dict[str, Any]) -> float:
    """$ that a policy pays."""
    share = problem_.evaluator.simulate(Instance("", {}, 0.0, {}, facts), policy)
    return float(share * facts["reference"] / 100.0)


def show_single(path: Path) -> None:
    jobs = list(single(path))
    best = np.array([MARKET.least_cost(facts) for facts in jobs])
    print(
        f"## One region: {len(jobs)} runs, mean $\n\n| policy | $ | over the optimum |\n| --- | ---: | ---: |"
    )
    rows = {"greedy of the public suite": public_greedy, **policies(SINGLE)}
    means = {}
    for name, policy in rows.items():
        paid = np.array([cost(SINGLE, policy, facts) for facts in jobs])
        assert (paid >= best - 1e-9).all(), name
        means[name] = paid.mean()
    for name, mean in sorted(means.items(), key=lambda each: -each[1]):
        print(f"| {name} | {mean:.2f} | {100 * (mean / best.mean() - 1):.1f} % |")
    print(f"| *clairvoyant optimum* | {best.mean():.2f} | |\n")


def show_several(path: Path, move: float) -> None:
    jobs = list(several(path, move))
    scenarios = list(dict.fromkeys(name for name, _ in jobs))
    print(f"## Several regions, {move:g} $ for a change: {len(jobs)} runs, mean $ of the scenarios' means\n")
    print(f"| policy | $ | {' | '.join(scenarios)} |\n| --- | ---: |{' ---: |' * len(scenarios)}")
    rows = [
        (name, [cost(SEVERAL, policy, facts) for _, facts in jobs])
        for name, policy in policies(SEVERAL).items()
    ]
    rows.append(("*clairvoyant optimum*", [MARKET.least_cost(facts) for _, facts in jobs]))
    table = []
    for name, paid in rows:
        by = [
            np.mean([c for c, (s, _) in zip(paid, jobs, strict=True) if s == scenario])
            for scenario in scenarios
        ]
        table.append((float(np.mean(by)), name, by))
    for mean, name, by in sorted(table, reverse=True):
        print(f"| {name} | {mean:.2f} | {' | '.join(f'{each:.2f}' for each in by)} |")
    print()


def main(data: Path) -> None:
    start = time.process_time()
    print("# Spot scheduling on the public traces\n")
    show_single(data / "spot_traces_single_region.tar.gz")
    for move in (0.0, 0.5):
        show_several(data / "spot_traces_multi_region.tar.gz", move)
    used_s, load = time.process_time() - start, os.getloadavg()[0]
    print(f"Made by `python bench/spot_public.py DATA` in {used_s:.0f} CPU seconds, load {load:.1f}.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python bench/spot_public.py FOLDER")
    main(Path(sys.argv[1]))
