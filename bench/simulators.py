"""Events per second of the simulators of online problems, beside the plain ones of their tests.

    python bench/simulators.py          some 20 CPU seconds; prints the lines of bench/simulators.md

An event is a token written (llm_routing) or a tick (spot_scheduling). Each simulator plays the instances of train, with
a policy outside the jail that does next to nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from evolve import problem
from evolve.records import Split
from tests import test_routing as plain_routing
from tests import test_spot as plain_spot

ROUTING, SPOT = problem.load("llm_routing"), problem.load("spot_scheduling")


def rate(events: int, run: Callable[[], object]) -> float:
    """Events per CPU second."""
    start = time.process_time()
    run()
    return events / (time.process_time() - start)


def round_robin(facts: dict[str, Any]) -> None:
    """By the plain simulator of the test, whose blocks are made as long as the instance's."""
    plain_routing.BLOCK = facts["block"]
    turn = count()
    plain_routing.plainly(facts, lambda name, _: next(turn) % len(facts["kinds"]) if name == "route" else [])


def main() -> None:
    routing = [each.facts for each in ROUTING.split(Split.TRAIN)][:8]
    tokens = sum(request.output for facts in routing for request in facts["requests"])
    least = plain_routing.policy({"route": lambda *state: int(np.argmin(state[13]))})
    quick = rate(tokens, lambda: [ROUTING.evaluator.play(facts, least) for facts in routing])
    few = routing[:2]
    some = sum(request.output for facts in few for request in facts["requests"])
    plain = rate(some, lambda: [round_robin(facts) for facts in few])
    print(f"| llm_routing, tokens | {quick:,.0f} | {plain:,.0f} | {quick / plain:.0f} |")
    jobs = SPOT.split(Split.TRAIN)
    ticks = sum(each.facts["ticks"] for each in jobs)
    quick = rate(ticks, lambda: [SPOT.evaluator.simulate(each, lambda *_: 2) for each in jobs])
    plain = rate(
        ticks, lambda: [plain_spot.plainly(each.facts, [(2, 0)] * each.facts["ticks"]) for each in jobs]
    )
    print(f"| spot_scheduling, ticks | {quick:,.0f} | {plain:,.0f} | {quick / plain:.0f} |")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
