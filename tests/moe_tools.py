"""Random instances of moe_placement, and its rules written plainly: loops, sets and fractions, no array."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from evolve import problem
from evolve.records import Instance

MOE = problem.load("moe_placement")
GENERATOR = SimpleNamespace(**MOE._instances.__globals__)
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No test fails because the machine is busy."""
check, objective, Invalid = MOE.evaluator.check, MOE.evaluator.objective, MOE.evaluator.Invalid


def seed(name: str) -> Any:
    """A seed's functions, outside the jail: it is our own."""
    scope: dict[str, Any] = {}
    exec(MOE.seeds[name].files["program.py"], scope)
    return SimpleNamespace(**scope)


@st.composite
def shapes(draw: st.DrawFn) -> Any:
    """Small shapes of both settings, each expert with a slot and room for more."""
    nodes = draw(st.sampled_from([1, 1, 2, 3]))
    groups = nodes * draw(st.integers(1, 2)) if nodes > 1 else 1
    experts = groups * draw(st.integers(1, 3)) if nodes > 1 else draw(st.integers(2, 8))
    gpus = nodes * draw(st.integers(1, 3))
    least = -(-experts // gpus)
    slots = gpus * draw(st.integers(least, least + 2))
    return GENERATOR.Shape(experts, draw(st.integers(1, 3)), slots, gpus, nodes, groups)


@st.composite
def instances(draw: st.DrawFn, largest: int = 50) -> Instance:
    """An instance of any shape with any loads, zeros among them."""
    shape = draw(shapes())
    windows = GENERATOR.SEEN + GENERATOR.NEXT
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    load = rng.integers(0, largest, (windows, shape.layers, shape.experts))
    load[rng.random(load.shape) < draw(st.sampled_from([0.0, 0.5]))] = 0
    return GENERATOR.make("made", load, shape, {"forecast": "noisy"})


def some_placement(instance: Instance, rng: np.random.Generator) -> np.ndarray:
    """A random valid placement: groups to nodes, an expert of the node to each slot, every one at least once."""
    arguments = instance.arguments
    layers, experts = arguments["load"].shape[1:]
    nodes, groups, slots = arguments["nodes"], arguments["groups"], arguments["slots"]
    found = np.empty((layers, nodes, slots // nodes), np.int64)
    for layer in range(layers):
        dealt = rng.permutation(groups).reshape(nodes, -1)
        for node in range(nodes):
            size = experts // groups
            own = np.concatenate([np.arange(g * size, (g + 1) * size) for g in dealt[node]])
            spare = rng.choice(own, slots // nodes - len(own))
            found[layer, node] = rng.permutation(np.concatenate([own, spare]))
    return found.reshape(layers, slots)


def plain_objective(instance: Instance, placement: list[list[int]]) -> Fraction:
    """The objective as the statement says it, in exact arithmetic."""
    arguments, future = instance.arguments, instance.facts["next"].tolist()
    per = arguments["slots"] // arguments["gpus"]
    gpus = range(arguments["gpus"])
    total, new = Fraction(0), 0
    for layer, row in enumerate(placement):
        before = arguments["previous"][layer].tolist()
        for g in gpus:
            new += len(set(row[g * per : (g + 1) * per]) - set(before[g * per : (g + 1) * per]))
        for window in future:
            loads = [
                sum(Fraction(window[layer][e], row.count(e)) for e in row[g * per : (g + 1) * per])
                for g in gpus
            ]
            assert sum(loads) == sum(window[layer]), "tokens in, tokens out"
            total += Fraction(sum(loads), len(loads)) / max(loads) if max(loads) else 1
    price = Fraction(instance.facts["price"])
    return total / (len(placement) * len(future)) - price * new / (len(placement) * len(placement[0]))


def plain_valid(instance: Instance, placement: list[list[int]]) -> bool:
    """The rules as the statement says them."""
    arguments = instance.arguments
    experts, nodes, slots = arguments["load"].shape[2], arguments["nodes"], arguments["slots"]
    for row in placement:
        if len(row) != slots or set(row) != set(range(experts)):
            return False
        homes: dict[int, set[int]] = {}
        for slot, expert in enumerate(row):
            homes.setdefault(expert * arguments["groups"] // experts, set()).add(slot * nodes // slots)
        if nodes > 1 and any(len(each) > 1 for each in homes.values()):
            return False
    return True
