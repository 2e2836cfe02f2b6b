"""Instances that no system has seen, made by the problem's own generator from other seeds: the holdout stays sealed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from types import ModuleType
from typing import Any

from evolve.problem import Problem
from evolve.records import Instance

KEY = 20_261_121  # of the generator's streams; the splits' keys are 1, 2 and 3
SIZES = {50: 2, 100: 2, 200: 1}  # instances per cell


def instances_of(problem: Problem) -> ModuleType:
    """The problem's own generator, as it was loaded with it."""
    path = str((problem.folder / problem.spec.instances).resolve())
    return next(each for each in sys.modules.values() if getattr(each, "__file__", None) == path)


def draws(made: ModuleType) -> Iterator[tuple[str, Any, Any, Mapping[str, str | int | float]]]:
    """Name, p, d and group of instances of all cells of smtt's grid."""
    for n, repeats in SIZES.items():
        for cell, repeat in product(made.CELLS, range(repeats)):
            p, d = made.generate(n, cell, "uniform", (KEY, repeat))
            yield (
                f"fresh/{n}-{cell}-{repeat}",
                p,
                d,
                {"n": n, "RDD": cell[0] / 10, "TF": cell[1] / 10, "p": "uniform"},
            )


def _smtt(problem: Problem) -> Iterator[Instance]:
    """With optima by the exact solver, which needs numba."""
    sys.path.insert(0, str((problem.folder / problem.spec.evaluator).resolve().parent))
    import total_tardiness_exact

    made = instances_of(problem)
    for name, p, d, group in draws(made):
        facts = {"optimum": total_tardiness_exact.optimum(p, d)}
        yield Instance(name, {"p": p, "d": d}, 0.0, group, facts, made.CPU_S.get(len(p)))


MAKERS: Mapping[str, Callable[[Problem], Iterator[Instance]]] = {"smtt": _smtt}


def fresh(problem: Problem) -> Problem:
    """The same problem whose every split is the fresh instances."""
    made = tuple(MAKERS[problem.name](problem))
    return replace(problem, _instances=lambda _: made, _splits={})
