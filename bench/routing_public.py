"""Every seed of llm_routing on the whole conversation trace of Mooncake (FAST'25), 16 instances.

    python bench/routing_public.py ../shared/data/mooncake_conversation.jsonl > bench/routing_public.md

Outside the jail: the seeds are ours. The trace is no part of the project (Apache-2.0, by the authors of Mooncake).
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from evolve import problem

PROTOTYPE = {  # 110 lines in which a first idea of this problem was tried, other costs: TTFT, its p99, end to end
    "random_choice": (0.81, 5.07, 4.58),
    "round_robin": (0.61, 4.51, 3.91),
    "least_requests": (0.65, 4.70, 3.80),
    "least_prompt": (0.62, 4.51, 3.78),
    "power_of_two": (0.68, 4.54, 4.03),
    "prefix_load": (0.50, 4.15, 3.64),
}


def main(path: Path) -> None:
    routing = problem.load("llm_routing")
    generator, simulator = routing._instances.__globals__, routing.evaluator
    requests = generator["read_requests"](path)
    facts = {
        "requests": requests,
        "block": generator["MOONCAKE_BLOCK"],
        "kinds": [generator["LARGE"]] * generator["RECORDED_FLEET"],
        "ttft_s": generator["RECORDED_TTFT_S"],
        "tpot_s": generator["TPOT_S"],
    }
    print("# Mooncake's conversation trace on 16 instances\n")
    print(
        f"{len(requests)} requests in {requests[-1].arrival / 1e9 / 60:.0f} minutes. Costs of an instance: FAST of "
        f"problems/llm_routing, room for {facts['kinds'][0].capacity} tokens, at most {facts['kinds'][0].batch} "
        f"requests; objectives {facts['ttft_s']:g} s and {facts['tpot_s']:g} s a token. One run of each, load "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\nMade by `python bench/routing_public.py TRACE`.\n"
    )
    print(
        "| seed | mean TTFT s | p99 TTFT s | mean end to end s | goodput % | loss | CPU s | tokens/s simulated "
        "| prototype: TTFT / p99 / end to end |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    )
    rows = [row(simulator, facts, name, seed.files["program.py"]) for name, seed in routing.seeds.items()]
    for _, text in sorted(rows):
        print(text)
    outputs = np.array([request.output for request in requests])
    ttft, tpot = simulator.alone(facts)
    print(line("*bound*", simulator, facts, ttft, tpot, ttft + tpot * (outputs - 1), "", "0.43 / - / 3.44"))


def row(simulator: Any, facts: dict[str, Any], name: str, source: str) -> tuple[float, str]:
    scope: dict[str, Any] = {}
    exec(source, scope)
    random.seed(1)
    start = time.process_time()
    tasks = simulator.play(facts, lambda name, *state: scope[name](*state) if name in scope else None)
    used_s = time.process_time() - start
    ttft, tpot = simulator.latencies(tasks)
    whole = np.array([task.end - task.request.arrival for task in tasks]) / 1e9
    tokens = sum(task.request.output for task in tasks)
    known = " / ".join(f"{value:.2f}" for value in PROTOTYPE.get(name, ()))
    cells = f"{used_s:.1f} | {tokens / used_s / 1e6:.2f} M"
    return float(ttft.mean()), line(name, simulator, facts, ttft, tpot, whole, cells, known)


def line(
    name: str, simulator: Any, facts: dict[str, Any], ttft: Any, tpot: Any, whole: Any, cost: str, known: str
) -> str:
    good = 100.0 * np.mean((ttft <= facts["ttft_s"]) & (tpot <= facts["tpot_s"]))
    return (
        f"| {name} | {ttft.mean():.3f} | {np.quantile(ttft, 0.99):.2f} | {whole.mean():.2f} | {good:.1f} "
        f"| {simulator.loss(facts, ttft, tpot):.1f} | {cost or ' | '} | {known} |"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python bench/routing_public.py TRACE.jsonl")
    main(Path(sys.argv[1]))
