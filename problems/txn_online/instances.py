"""The batches of txn_scheduling as streams: what a simulator plays, and nothing that a policy is shown in advance."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from evolve.records import Instance

GENERATOR = "../txn_scheduling/instances.py"
WINDOWS = (8, 16, 32)  # how many transactions wait to be admitted at a time


def _generator() -> ModuleType:
    """The generator and loader of txn_scheduling."""
    path = Path(__file__).parent / GENERATOR
    name = "txn_scheduling_instances"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    return sys.modules[name]


def instances(split: str) -> Iterable[Instance]:
    """The instances of "train", "validation" or "holdout".

    Raises:
        ProblemError: there is no such split.
    """
    return _streams(_generator().generated(split))


def count(split: str) -> int:
    """How many instances a split has, without making them."""
    return int(_generator().count(split))


def further() -> Iterable[Instance]:
    """As many streams like those of train again."""
    return _streams(_generator().generated("train", 1))


def from_data(split: str, path: Path) -> Iterable[Instance]:
    """The same splits from a file of real workloads (see txn_scheduling/README.md for the format).

    Raises:
        ProblemError: the file breaks a rule.
    """
    return _streams(_generator().loaded(split, path))


def _streams(draws: Iterable[object]) -> list[Instance]:
    return [_instance(item, WINDOWS[index % len(WINDOWS)]) for index, item in enumerate(draws)]


def _instance(item: object, window: int) -> Instance:
    batch = _generator().batch_of(item.transactions)
    return Instance(
        name=f"{item.name}-w{window}",
        arguments={},  # policies are asked, not shown
        bound=float(_generator().lower_bound(batch)),
        group={**item.group, "window": window},
        facts={"first": batch.first, "keys": batch.keys, "writes": batch.writes, "window": window},
    )
