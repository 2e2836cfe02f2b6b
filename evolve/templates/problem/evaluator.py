"""The judge: checks an answer strictly, then says how good it is.

It runs outside the sandbox, and no candidate's code ever runs in its process. It imports numpy and the
standard library only, so that a published heuristic can carry a copy of it as part of its proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class Invalid(ValueError):
    """An answer breaks a rule. The text goes to the proposer: name the value and the rule."""


class Instance(Protocol):
    """What this evaluator reads of an instance; `facts` could hold more, which candidates never see."""

    @property
    def arguments(self) -> Mapping[str, Any]: ...

    @property
    def bound(self) -> float: ...


def check(instance: Instance, decision: object) -> np.ndarray:
    """Parse an answer; trust nothing about it, not even its type.

    Returns:
        The order as an int64 array of shape (n,).

    Raises:
        Invalid: it is no permutation of 0..n-1.
    """
    n = len(instance.arguments["p"])
    if isinstance(decision, np.ndarray):
        decision = decision.tolist()
    if not isinstance(decision, list) or len(decision) != n:
        raise Invalid(f"order has to be a list of {n} jobs")
    # numpy's own integers cross the sandbox's wall as arrays without dimensions
    decision = [job.item() if isinstance(job, np.ndarray) and job.ndim == 0 else job for job in decision]
    for job in decision:
        # a bool is an int to Python, and -1 is an index: neither is a job
        if type(job) is not int or not 0 <= job < n:
            raise Invalid(f"order holds {str(job)[:20]}; every entry has to be an integer of 0..{n - 1}")
    if len(set(decision)) < n:
        raise Invalid("order holds a job twice; every job has to be there exactly once")
    return np.array(decision, dtype=np.int64)


def objective(instance: Instance, parsed: np.ndarray) -> float:
    """Weighted completion time of what `check` returned, in time units."""
    p, w = instance.arguments["p"], instance.arguments["w"]
    return float(np.dot(w[parsed], np.cumsum(p[parsed])))


def summary(instances: Sequence[Instance], objectives: Sequence[float]) -> dict[str, float]:
    """Optional: further figures over a split, shown in reports. Names carry their unit."""
    gaps = [100.0 * (found / i.bound - 1.0) for i, found in zip(instances, objectives, strict=True)]
    return {"mean gap to the optimum (%)": float(np.mean(gaps)), "worst gap (%)": max(gaps)}
