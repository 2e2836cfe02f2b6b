"""Trusted simulator of paging, which is caching on the uniform metric: numpy and the standard library only.

An instance brings `facts`: `requests`, an int64 array of shape (n,) of page numbers, and `capacity`, the number
k of pages that the cache holds. Requests come one by one. A page that is in the cache is a hit. One that is not
is a miss: it is loaded, and once the cache is full the policy is asked which page has to go for it. The policy
sees the past only; a hit asks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class Invalid(ValueError):
    """A decision breaks a rule; the text names the value and the rule, and goes to the proposer."""


class Instance(Protocol):
    """What this simulator reads of an instance."""

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def bound(self) -> float: ...

    @property
    def group(self) -> Mapping[str, Any]: ...


class Cache:
    """k slots and what is known of the pages in them; time is the number of requests before this one."""

    def __init__(self, capacity: int) -> None:
        self.slots: dict[int, int] = {}
        self.history: dict[int, tuple[int, int, int]] = {}  # last use, use before that, number of uses
        self.pages, self.last, self.prior, self.loaded, self.uses = np.zeros((5, capacity), np.int64)

    def use(self, now: int, page: int, slot: int) -> None:
        """Counts a use of the page in a slot."""
        last, _, uses = self.history.get(page, (-1, -1, 0))
        self.history[page] = (now, last, uses + 1)
        self.last[slot], self.prior[slot], self.uses[slot] = now, last, uses + 1

    def load(self, now: int, page: int, slot: int) -> None:
        """Puts a page into a slot, in place of the one that is there."""
        if self.slots.get(int(self.pages[slot])) == slot:
            del self.slots[int(self.pages[slot])]
        self.slots[page] = slot
        self.pages[slot], self.loaded[slot] = page, now


def simulate(instance: Instance, ask: Callable[..., object]) -> float:
    """Misses in % of the requests, loads into the empty cache included.

    Args:
        ask: the policy, as `evict(now, page, pages, last, prior, loaded, uses)`; see statement.md.

    Raises:
        Invalid: a decision is no slot.
    """
    requests, capacity = instance.facts["requests"].tolist(), int(instance.facts["capacity"])
    cache, misses = Cache(capacity), 0
    for now, page in enumerate(requests):
        slot = cache.slots.get(page)
        if slot is None:
            slot = misses  # the first k misses fill the empty slots
            if misses >= capacity:
                answer = ask(now, page, cache.pages, cache.last, cache.prior, cache.loaded, cache.uses)
                slot = _slot(answer, capacity)
            cache.load(now, page, slot)
            misses += 1
        cache.use(now, page, slot)
    return 100.0 * misses / len(requests)


def _slot(answer: object, capacity: int) -> int:
    # a bool is an int to Python, and -1 is an index: neither is a slot
    if type(answer) is int and 0 <= answer < capacity:
        return answer
    shown = str(answer)[:20] if type(answer) in (bool, int, float, str) else f"a {type(answer).__name__}"
    raise Invalid(
        f"evict returned {shown}; it has to return an integer of 0..{capacity - 1}, the slot to empty"
    )


def summary(instances: Sequence[Instance], objectives: Sequence[float]) -> dict[str, float]:
    """How many times as often as Belady's optimum the policy misses, on average and in the worst case."""
    ratios = [found / instance.bound for instance, found in zip(instances, objectives, strict=True)]
    return {"mean ratio to MIN": float(np.mean(ratios)), "worst ratio to MIN": max(ratios)}
