"""Some holdout instances as JSON, for the proof's own test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any

import numpy as np

from evolve.errors import PublishError
from evolve.records import Instance

COUNT = 8
MAX_CHARACTERS = 100_000  # of one instance


def encode(value: object, evaluator: ModuleType) -> Any:
    """A value as JSON; templates/package/test_proof.py reads it back.

    Args:
        evaluator: the problem's; dataclasses of that name in it can be made again.

    Raises:
        TypeError: a type that has no place in JSON.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case np.ndarray():
            return {"$array": [value.dtype.str, list(value.shape), value.ravel().tolist()]}
        case np.generic():
            return value.item()
        case list():
            return [encode(item, evaluator) for item in value]
        case tuple():
            return {"$tuple": [encode(item, evaluator) for item in value]}
        case Mapping():
            return {"$dict": [[encode(part, evaluator) for part in pair] for pair in value.items()]}
    name = type(value).__name__
    if is_dataclass(value) and is_dataclass(getattr(evaluator, name, None)):
        return {"$make": [name, [encode(getattr(value, each.name), evaluator) for each in fields(value)]]}
    raise TypeError(f"a {name}")


def choose(instances: Sequence[Instance], evaluator: ModuleType) -> dict[int, dict[str, Any]]:
    """At most COUNT instances spread over a split, of those that are not huge, by their index.

    Raises:
        PublishError: an argument or a fact cannot be written as JSON.
    """
    encoded = {index: _encode(instance, evaluator) for index, instance in enumerate(instances)}
    sizes = {index: len(json.dumps(found)) for index, found in encoded.items()}
    fitting = [index for index in encoded if sizes[index] <= MAX_CHARACTERS]
    fitting = fitting or [min(encoded, key=lambda index: sizes[index])]
    count = min(COUNT, len(fitting))
    spread = [fitting[(2 * place + 1) * len(fitting) // (2 * count)] for place in range(count)]
    return {index: encoded[index] for index in spread}


def _encode(instance: Instance, evaluator: ModuleType) -> dict[str, Any]:
    parts = {"arguments": instance.arguments, "facts": instance.facts, "group": instance.group}
    try:
        encoded = {name: encode(part, evaluator) for name, part in parts.items()}
        json.dumps(encoded)  # an array of objects shows only here
    except TypeError as error:
        raise PublishError(
            f"instance {instance.name} cannot be written as JSON into the package's test ({error}); "
            f"use numbers, texts, lists, dicts, numpy arrays and the evaluator's dataclasses in arguments and facts"
        ) from None
    return {"name": instance.name, "bound": float(instance.bound), **encoded}
