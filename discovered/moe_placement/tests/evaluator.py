"""Trusted evaluator of expert placement in mixture-of-experts inference: numpy and the standard library only.

An instance brings `arguments`: `load`, int64 (windows, layers, experts), tokens of the windows so far; `slots`,
`groups`, `nodes` and `gpus`; `previous`, int64 (layers, slots), the expert in each slot before. And `facts`:
`next`, int64 (windows, layers, experts), tokens of the windows to come, which no candidate sees; and `price`, the
balance that it costs to bring a new expert into every slot.

A decision is the expert in each slot. All else is derived here: slot s belongs to GPU s // (slots / gpus), GPU g to
node g // (gpus / nodes), expert e to group e // (experts / groups). The tokens of an expert are shared equally by its
replicas, so none is ever lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Invalid(ValueError):
    """A decision breaks a rule; the text names the value and the rule, and goes to the proposer."""


class Instance(Protocol):
    """What this evaluator reads of an instance."""

    @property
    def arguments(self) -> Mapping[str, Any]: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def group(self) -> Mapping[str, Any]: ...


def check(instance: Instance, decision: object) -> Ints:
    """Parse a decision strictly.

    Args:
        decision: hostile data. Accepted: an integer array of shape (layers, slots), or a list of lists of integers.
            Every layer holds every expert at least once and nothing but experts 0..experts-1, and all replicas of
            a group's experts are on one node.

    Returns:
        The placement, int64 of shape (layers, slots); a copy.

    Raises:
        Invalid: with the layer, the value and the rule that it breaks.
    """
    arguments = instance.arguments
    layers, experts = arguments["load"].shape[1:]
    placement = _array(decision, (layers, int(arguments["slots"])))
    _check_experts(placement, experts)
    if arguments["nodes"] > 1:
        _check_groups(placement, experts // int(arguments["groups"]), int(arguments["nodes"]))
    return placement


def objective(instance: Instance, parsed: Ints) -> float:
    """Mean balance over layers and the windows to come, minus the price of what had to be moved; 1 at most."""
    arguments, facts = instance.arguments, instance.facts
    gpus = int(arguments["gpus"])
    found = float(balance(gpu_load(parsed, facts["next"], gpus)).mean())
    return found - float(facts["price"]) * moved(parsed, arguments["previous"], gpus)


def gpu_load(placement: Ints, load: Ints, gpus: int) -> Floats:
    """Tokens of each GPU, (windows, layers, gpus).

    Args:
        placement: (layers, slots). load: (windows, layers, experts).
    """
    windows, layers, experts = load.shape
    index = placement + experts * np.arange(layers)[:, None]
    copies = np.bincount(index.ravel(), minlength=layers * experts)
    each = (load.reshape(windows, -1) / copies)[:, index.ravel()]
    return each.reshape(windows, layers, gpus, -1).sum(axis=-1)


def balance(load: Floats) -> Floats:
    """Mean over the largest GPU load, (windows, layers), 0 to 1; 1 where there is nothing to do. load: (.., gpus)."""
    largest = load.max(axis=-1)
    return np.where(largest > 0, load.mean(axis=-1) / np.where(largest > 0, largest, 1.0), 1.0)


def moved(placement: Ints, previous: Ints, gpus: int) -> float:
    """Share of the slots whose expert had to be brought from another GPU, 0 to 1.

    A GPU that has an expert already copies it to its other slots for nothing, so an expert counts once per GPU.
    """
    experts = int(max(placement.max(), previous.max())) + 1
    now, before = present(placement, gpus, experts), present(previous, gpus, experts)
    return float((now & ~before).sum()) / placement.size


def present(placement: Ints, gpus: int, experts: int) -> npt.NDArray[np.bool_]:
    """Which GPU has which expert, (layers, gpus, experts)."""
    layers, slots = placement.shape
    found = np.zeros((layers, gpus, experts), np.bool_)
    rows, columns = np.arange(layers)[:, None], np.arange(slots)[None, :] // (slots // gpus)
    found[rows, columns, placement] = True
    return found


def distance(instance: Instance, one: Ints, other: Ints) -> float:
    """Share of the experts' places that are not the same, 0 to 1 (Jaccard distance of pairs of GPU and expert)."""
    gpus, experts = int(instance.arguments["gpus"]), instance.arguments["load"].shape[2]
    left, right = present(one, gpus, experts), present(other, gpus, experts)
    return 1.0 - float((left & right).sum()) / float((left | right).sum())


def summary(instances: Sequence[Instance], objectives: Sequence[float]) -> dict[str, float]:
    """Mean net balance by how well the past tells the future, and the worst instance."""
    found: dict[str, list[float]] = {}
    for instance, value in zip(instances, objectives, strict=True):
        found.setdefault(str(instance.group.get("forecast", "trace")), []).append(value)
    named = {f"net balance, {name}": float(np.mean(values)) for name, values in sorted(found.items())}
    return {**named, "worst net balance": min(objectives)}


def _array(decision: object, shape: tuple[int, int]) -> Ints:
    if type(decision) is list:
        decision = _from_lists(decision, shape)
    if not isinstance(decision, np.ndarray):
        raise Invalid(f"the placement is a {type(decision).__name__[:40]}; {_rule(shape)}")
    if decision.shape != shape:
        raise Invalid(f"the placement has shape {decision.shape}; {_rule(shape)}")
    if decision.dtype.kind not in "iu":
        raise Invalid(f"the placement is an array of {decision.dtype}; {_rule(shape)}")
    if decision.dtype.kind == "u" and (decision > np.iinfo(np.int64).max).any():
        raise Invalid("the placement holds an integer beyond 63 bits; there is no such expert")
    return np.array(decision, dtype=np.int64)


def _from_lists(rows: list[Any], shape: tuple[int, int]) -> Ints:
    """Lists of integers, or of integer arrays, as an array; a bool, a float, a ragged row are refused."""
    if len(rows) != shape[0]:
        raise Invalid(f"the placement has {len(rows)} rows; {_rule(shape)}")
    found = np.empty(shape, np.int64)
    for layer, row in enumerate(rows):
        values = _plain_row(row)
        if values is None or len(values) != shape[1]:
            raise Invalid(f"row {layer} of the placement is no list of {shape[1]} integers; {_rule(shape)}")
        found[layer] = values
    return found


def _plain_row(row: Any) -> list[int] | None:
    if isinstance(row, np.ndarray) and row.ndim == 1 and row.dtype.kind in "iu":
        row = row.tolist()
    if type(row) is not list:
        return None
    # numpy's own integers cross the jail's wall as arrays without dimensions
    plain = [
        x.item() if isinstance(x, np.ndarray) and x.ndim == 0 and x.dtype.kind in "iu" else x for x in row
    ]
    small = all(type(value) is int and value.bit_length() < 63 for value in plain)
    return plain if small else None


def _rule(shape: tuple[int, int]) -> str:
    return f"it has to be an integer array of shape {shape}: the expert in each slot of each layer"


def _check_experts(placement: Ints, experts: int) -> None:
    wrong = np.argwhere((placement < 0) | (placement >= experts))
    if len(wrong):
        layer, slot = wrong[0].tolist()
        value = placement[layer, slot]
        raise Invalid(f"slot {slot} of layer {layer} holds {value}; experts are 0..{experts - 1}")
    seen = np.zeros((len(placement), experts), np.bool_)
    seen[np.arange(len(placement))[:, None], placement] = True
    if not seen.all():
        layer, expert = np.argwhere(~seen)[0].tolist()
        raise Invalid(
            f"expert {expert} is in no slot of layer {layer}; every expert has to be placed at least once"
        )


def _check_groups(placement: Ints, size: int, nodes: int) -> None:
    """All replicas of a group on one node: the first and the last node of each group have to be the same."""
    layers, slots = placement.shape
    node = np.broadcast_to(np.arange(slots) // (slots // nodes), placement.shape)
    where = (np.arange(layers)[:, None], placement // size)
    first = np.full((layers, int(placement.max()) // size + 1), nodes)
    last = np.full(first.shape, -1)
    np.minimum.at(first, where, node)
    np.maximum.at(last, where, node)
    split = np.argwhere(first != last)
    if len(split):
        layer, group = split[0].tolist()
        raise Invalid(
            f"group {group} of layer {layer} is on nodes {first[layer, group]} and {last[layer, group]}; "
            f"all replicas of its experts {group * size}..{group * size + size - 1} have to be on one node"
        )
