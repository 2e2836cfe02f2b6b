"""Measure moe_placement: seeds, bound, oracle and speed. Run: python bench/moe_placement.py

Writes bench/moe_placement.md. Takes about fifteen seconds of CPU.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evolve import problem
from evolve.evaluate import Evaluator
from evolve.records import SPLITS, Instance, Split

MOE = problem.load("moe_placement")
PLAIN_S = 1.0
"""Seconds for which each loop is timed."""
ROUNDS = 20
"""Evaluations of a seed that its cost is the mean of."""


def function(name: str) -> Callable[..., Any]:
    """The entry point of a seed."""
    scope: dict[str, Any] = {}
    exec(MOE.seeds[name].files["program.py"], scope)
    found: Callable[..., Any] = scope[MOE.spec.entry.function]
    return found


def oracle(instance: Instance, free: bool) -> float:
    """Net balance of water-filling that is shown the mean of the windows to come; `free`: what moves has no price."""
    future = instance.facts["next"].mean(axis=0)
    placement = function("waterfill")(**dict(instance.arguments, load=np.stack([future, future])))
    found = MOE.evaluator.objective(instance, MOE.evaluator.check(instance, placement))
    share = MOE.evaluator.moved(placement, instance.arguments["previous"], instance.arguments["gpus"])
    return float(found + (instance.facts["price"] * share if free else 0.0))


def seeds(evaluator: Evaluator) -> Iterator[str]:
    """Rows of the table of seeds, in the order of their scores on holdout."""
    rows = []
    for name, candidate in MOE.seeds.items():
        found = [evaluator.evaluate(candidate, split) for split in SPLITS]
        assert all(each.ok for each in found), [each.feedback for each in found]
        cells = " | ".join(f"{each.objective:.4f} | {each.score:.3f}" for each in found)
        rows.append((found[-1].score, f"| {name} | {cells} |"))
    yield "| seed | train | score | validation | score | holdout | score |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    yield from (row for _, row in sorted(rows, reverse=True))
    for name, value in (
        ("*oracle: shown the mean of the next windows*", lambda each: oracle(each, free=False)),
        ("*the same, nothing to pay for moves*", lambda each: oracle(each, free=True)),
        ("*bound*", lambda each: each.bound),
    ):
        means = [np.mean([value(each) for each in MOE.split(split)]) for split in SPLITS]
        scales = [evaluator.scale(split) for split in SPLITS]
        scores = [
            1 - np.mean([each.bound for each in MOE.split(split)]) / scale.scale[0] + mean / scale.scale[0]
            for split, scale, mean in zip(SPLITS, scales, means, strict=True)
        ]
        cells = " | ".join(f"{mean:.4f} | {score:.3f}" for mean, score in zip(means, scores, strict=True))
        yield f"| {name} | {cells} |"


def forecasts(evaluator: Evaluator) -> Iterator[str]:
    """Rows of the table of seeds by forecast, on holdout."""
    groups = [each.group["forecast"] for each in MOE.split(Split.HOLDOUT)]
    names = ("exact", "noisy", "adversarial")
    yield "| seed | " + " | ".join(names) + " |"
    yield "|---|---:|---:|---:|"
    for name, candidate in MOE.seeds.items():
        found = evaluator.evaluate(candidate, Split.HOLDOUT).objectives
        means = [
            np.mean([x for x, group in zip(found, groups, strict=True) if group == each]) for each in names
        ]
        yield f"| {name} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |"


def plain(instance: Instance, placement: list[list[int]]) -> int:
    """The evaluator's work in plain loops over one window after the other; the number of replicas' loads."""
    per = instance.arguments["slots"] // instance.arguments["gpus"]
    count = 0
    for window in instance.facts["next"].tolist():
        for row, tokens in zip(placement, window, strict=True):
            copies = [0] * len(tokens)
            for expert in row:
                copies[expert] += 1
            loads = [0.0] * (len(row) // per)
            for slot, expert in enumerate(row):
                loads[slot // per] += tokens[expert] / copies[expert]
                count += 1
            max(loads)
    return count


def per_second(work: Callable[[], int]) -> float:
    start, events = time.process_time(), 0
    while time.process_time() - start < PLAIN_S:
        events += work()
    return events / (time.process_time() - start)


def simulator() -> Iterator[str]:
    """Replicas' loads a second, by the evaluator and by the plain loop."""
    yield "| instance | evaluator | plain loop | ratio |"
    yield "|---|---:|---:|---:|"
    for instance in (MOE.split(Split.TRAIN)[0], MOE.split(Split.HOLDOUT)[0], whole()):
        placement = MOE.evaluator.check(instance, function("eplb")(**instance.arguments))
        events = placement.size * len(instance.facts["next"])

        def fast(instance: Instance = instance, placement: Any = placement, events: int = events) -> int:
            MOE.evaluator.objective(instance, placement)
            return events

        rows = placement.tolist()
        quick, slow = per_second(fast), per_second(lambda instance=instance, rows=rows: plain(instance, rows))
        yield f"| {instance.name} | {quick:.3g} | {slow:.3g} | {quick / slow:.0f} |"


def whole() -> Instance:
    """An instance with all 58 layers and 256 experts."""
    return next(each for each in MOE.split(Split.HOLDOUT) if each.name.endswith("e256-l58-0"))


def speed(evaluator: Evaluator) -> Iterator[str]:
    """What a candidate costs on train in CPU time, and whose it is; the machine may be busy with other things."""
    yield "| seed | its own CPU, ms | the trusted side's, ms | share outside the candidate | candidates a CPU second |"
    yield "|---|---:|---:|---:|---:|"
    for name in ("sticky", "eplb", "waterfill"):
        start, own = time.process_time(), 0.0
        for _ in range(ROUNDS):
            own += evaluator.evaluate(MOE.seeds[name], Split.TRAIN).cpu_s / ROUNDS
        trusted = (time.process_time() - start) / ROUNDS
        share = 100 * trusted / (own + trusted)
        yield f"| {name} | {1000 * own:.1f} | {1000 * trusted:.1f} | {share:.0f} % | {1 / (own + trusted):.0f} |"


def greedy() -> Iterator[str]:
    """CPU time of the vectorised seeds on 26 layers of 64 experts, best of 10."""
    (instance, *_) = (
        each for each in MOE.split(Split.HOLDOUT) if "hierarchical" in each.name and "e64-l26" in each.name
    )
    flat = next(each for each in MOE.split(Split.HOLDOUT) if "global" in each.name and "e64-l26" in each.name)
    yield "| seed | global, ms | hierarchical, ms |"
    yield "|---|---:|---:|"
    for name in ("snake", "eplb", "waterfill", "lpt_heap"):
        place, found = function(name), []
        for each in (flat, instance):
            times = []
            for _ in range(10):
                start = time.process_time()
                place(**each.arguments)
                times.append(time.process_time() - start)
            found.append(1000 * min(times))
        yield f"| {name} | {found[0]:.1f} | {found[1]:.1f} |"


def main() -> None:
    load = os.getloadavg()[0]
    with Evaluator(MOE, "rlimits") as evaluator:
        parts = [
            "# moe_placement, measured\n",
            f"`python bench/moe_placement.py`; Python {platform.python_version()}, numpy {np.__version__}, "
            f"{os.cpu_count()} cores, load average {load:.1f} at the start.\n",
            "## Net balance and normalised score\n",
            *seeds(evaluator),
            "\n## Net balance on holdout, by what the past says of the future\n",
            *forecasts(evaluator),
            "\n## Loads of replicas computed a second\n",
            *simulator(),
            "\n## A candidate on train (32 instances), one worker, in the jail\n",
            *speed(evaluator),
            "\n## A decision on 26 layers of 64 experts, 288 slots, 32 GPUs\n",
            *greedy(),
        ]
    Path(__file__).with_suffix(".md").write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
