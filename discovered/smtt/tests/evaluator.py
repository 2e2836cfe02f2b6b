"""Trusted evaluator of single-machine total tardiness (1 || sum T_j): numpy and the standard library only.

An instance brings `arguments` p and d (int64 arrays of shape (n,): processing times and due dates) and
`facts["optimum"]`, the smallest total tardiness as an exact int. A decision is an order: the jobs 0..n-1 in
the sequence in which the machine takes them, without idle time, from time 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

Order = npt.NDArray[np.int64]


class Invalid(ValueError):
    """A decision breaks a rule; the text names the value and the rule, and goes to the proposer."""


class Instance(Protocol):
    """What this evaluator reads of an instance."""

    @property
    def arguments(self) -> Mapping[str, Any]: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...


def check(instance: Instance, decision: object) -> Order:
    """Parse a decision strictly.

    Args:
        instance: gives n, the number of jobs.
        decision: hostile data. Accepted: a list (or one-dimensional integer array) of exactly n integers
            (Python's or numpy's), each of 0..n-1 once. A bool, a float (3.0 too) and an alias such as -1
            are refused.

    Returns:
        The order as an int64 array of shape (n,).

    Raises:
        Invalid: with the value and the rule that it breaks.
    """
    n = len(instance.arguments["p"])
    values = _values(decision, n)
    if len(values) != n:
        raise Invalid(f"order has {len(values)} entries; {_rule(n)}")
    # one pass in C for the common case; only a refusal pays for finding out what is wrong
    if set(map(type, values)) <= {int} and sorted(values) == list(range(n)):
        return np.array(values, dtype=np.int64)
    raise Invalid(_complaint(values, n))


def total_tardiness(p: npt.NDArray[np.int64], d: npt.NDArray[np.int64], order: Order) -> int:
    """Sum over the jobs of max(0, completion - due date), in time units; exact."""
    return int(np.maximum(p[order].cumsum() - d[order], 0).sum())


def objective(instance: Instance, parsed: Order) -> float:
    """Floor gap in %: 100 (H - OPT) / max(OPT, sum p), which is defined where the optimum is 0."""
    p, d = instance.arguments["p"], instance.arguments["d"]
    optimum = int(instance.facts["optimum"])
    return 100.0 * (total_tardiness(p, d, parsed) - optimum) / max(optimum, int(p.sum()))


def distance(instance: Instance, one: Order, other: Order) -> float:
    """Share of the pairs of jobs that two orders sequence differently, 0 to 1 (Kendall's tau distance)."""
    n = len(one)
    if n < 2:
        return 0.0
    place = np.empty(n, dtype=np.int64)
    place[other] = np.arange(n)
    in_other = place[one]
    swapped = np.triu(in_other[:, None] > in_other[None, :], 1)
    return float(swapped.sum()) / (n * (n - 1) / 2)


def summary(instances: Sequence[Instance], objectives: Sequence[float]) -> dict[str, float]:
    """Figures over a split that the mean floor gap hides.

    Returns:
        The literature's mean gap (over instances with OPT > 0, relative to OPT; nan if there is none), the
        share of instances solved to optimality, the worst floor gap, and how many instances with OPT = 0
        were given a late job.
    """
    optima = [int(instance.facts["optimum"]) for instance in instances]
    rows = list(zip(instances, optima, objectives, strict=True))
    gaps = [gap * max(1.0, int(i.arguments["p"].sum()) / opt) for i, opt, gap in rows if opt > 0]
    return {
        "mean gap over OPT > 0 (%)": math.fsum(gaps) / len(gaps) if gaps else math.nan,
        "optimal (%)": 100.0 * sum(gap == 0.0 for gap in objectives) / len(rows) if rows else math.nan,
        "worst floor gap (%)": max(objectives, default=math.nan),
        "misses at OPT = 0": float(sum(gap > 0.0 for _, opt, gap in rows if opt == 0)),
    }


def _values(decision: object, n: int) -> list[Any]:
    """The entries of a list, or of a one-dimensional integer array."""
    if type(decision) is list:
        plain = set(map(type, decision)) <= {int}
        return decision if plain else [_plain(value) for value in decision]
    if not isinstance(decision, np.ndarray):
        raise Invalid(f"the decision is {_show(decision)}; order has to be a list of {n} integers")
    if decision.ndim != 1:
        raise Invalid(f"order is an array of shape {decision.shape}; its shape has to be ({n},)")
    if decision.dtype.kind not in "iu":
        raise Invalid(f"order is an array of {decision.dtype}; it has to hold integers")
    return cast(list[Any], decision.tolist())


def _plain(value: Any) -> Any:
    """A numpy integer, which crosses the jail's wall as an array without dimensions, as an int."""
    scalar = isinstance(value, np.integer) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return value.item() if scalar and value.dtype.kind in "iu" else value


def _rule(n: int) -> str:
    return f"it has to be a permutation of 0..{n - 1}"


def _complaint(values: list[Any], n: int) -> str:
    """What is wrong with n entries that are no permutation: the first offence in reading order."""
    seen: set[int] = set()
    for position, value in enumerate(values):
        if type(value) is not int:
            return f"order holds {_show(value)} at position {position}; every entry has to be an integer"
        if not 0 <= value < n:
            return f"order holds {_show(value)} at position {position}; {_rule(n)}"
        if value in seen:
            return f"order holds {value} twice; {_rule(n)}"
        seen.add(value)
    raise AssertionError("n different integers of 0..n-1 are a permutation")


def _show(value: object) -> str:
    """A short description of hostile data that runs none of its code."""
    if value is None:
        return "None"
    if type(value) is int:
        # the decimal text of a huge integer is slow, or refused by the interpreter
        return str(value) if value.bit_length() <= 128 else f"an integer of {value.bit_length()} bits"
    if type(value) is bool or type(value) is float:
        return f"the {type(value).__name__} {value!r}"
    if type(value) is str:
        return f"the str {value[:20]!r}"
    return f"a value of type {type(value).__name__[:40]}"
