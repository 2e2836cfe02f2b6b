"""Trusted evaluator of the choice of a kernel's configuration: numpy and the standard library only.

An instance brings `facts["us"]`, float64 (configurations,): the time of each configuration in microseconds, from a
model or measured, and not shown to candidates. A decision is the index of one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class Invalid(ValueError):
    """A decision breaks a rule; the text names the value and the rule, and goes to the proposer."""


class Instance(Protocol):
    """What this evaluator reads of an instance."""

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def group(self) -> Mapping[str, Any]: ...


def check(instance: Instance, decision: object) -> int:
    """The index of a configuration: an integer of Python's or numpy's; a bool, a float and -1 are refused.

    Raises:
        Invalid: with the value and the rule.
    """
    count = len(instance.facts["us"])
    # numpy's own integers cross the jail's wall as arrays without dimensions
    if isinstance(decision, np.ndarray) and decision.ndim == 0 and decision.dtype.kind in "iu":
        decision = decision.item()
    if type(decision) is int and 0 <= decision < count:
        return decision
    shown = (
        str(decision)[:20] if type(decision) in (bool, float, str) else f"a {type(decision).__name__[:40]}"
    )
    if type(decision) is int:
        shown = str(decision) if decision.bit_length() < 64 else "an integer beyond 64 bits"
    raise Invalid(
        f"choose returned {shown}; it has to return an integer of 0..{count - 1}, a configuration's index"
    )


def objective(instance: Instance, parsed: int) -> float:
    """Share of the best speed: time of the fastest configuration over that of the chosen one, 1 at most."""
    us = instance.facts["us"]
    return float(us.min() / us[parsed])


def summary(instances: Sequence[Instance], objectives: Sequence[float]) -> dict[str, float]:
    """Share of the instances where the choice is within 5 % of the fastest, and the worst, by where times come from."""
    sources = sorted({str(each.group.get("source", "simulated")) for each in instances})
    rows = list(zip(instances, objectives, strict=True))
    found = {"worst share of the best speed": min(objectives)}
    for source in sources:
        own = [value for each, value in rows if each.group.get("source", "simulated") == source]
        found[f"within 5 % of the best, {source} (%)"] = 100.0 * float(
            np.mean([value >= 0.95 for value in own])
        )
    return found
