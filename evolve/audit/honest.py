"""What honest decisions of a problem have in common, and where a decision breaks with it.

The audit knows no problem. What its seeds decide says what a decision looks like: which entries are integers,
that ids are there once, that none is missing. A decision that breaks with this and yet scores better than an
honest one has found a hole, or something that no seed knows; one that keeps to it may simply be better.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolve.audit.corruptions import leaves, plain, rows

Key = tuple[Any, ...]
"""Where an entry lies in a decision: keys of dicts, and "*" for any place of a list."""

UNLIKELY = math.log(1e-6)
SMALL, HUGE = 2**20, 2**31


def _key(path: Sequence[Any]) -> Key:
    return tuple("*" if isinstance(step, int) else step for step in path)


def _grouped(decision: Any) -> dict[Key, list[Any]]:
    """All entries by where they lie."""
    found: dict[Key, list[Any]] = {}
    for path, leaf in leaves(decision):
        found.setdefault(_key(path), []).append(leaf)
    return found


def _kind(value: object) -> str:
    if type(value) is float and not math.isfinite(value):
        return "a float that is not finite"
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a text", type(None): "None"}
    return names.get(type(value), f"a {type(value).__name__}")


def _chance(values: Sequence[int]) -> float:
    """Log of the chance that numbers drawn at random from 0 to their largest are all different."""
    top = max(values) + 1
    return sum(math.log1p(-index / top) for index in range(min(len(values), top)))


@dataclass(frozen=True)
class Sample:
    """An honest decision. instance: a name that is unique. value: as it crossed the wall."""

    seed: str
    instance: str
    value: Any
    objective: float


class Profile:
    """What all samples have in common."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        grouped = [(sample.instance, plain(sample.value)) for sample in samples]
        self._kinds: dict[Key, set[str]] = {}
        self._numbers: dict[Key, list[float]] = {}
        self._counts: dict[tuple[str, Key], list[Counter[Any]]] = {}
        self._decisions = Counter(instance for instance, _ in grouped)
        for instance, decision in grouped:
            for key, entries in _grouped(decision).items():
                self._kinds.setdefault(key, set()).update(map(_kind, entries))
                self._numbers.setdefault(key, []).extend(filter(_is_number, entries))
                self._counts.setdefault((instance, key), []).append(Counter(map(repr, entries)))
        decisions = [decision for _, decision in grouped]
        self._sets = _keys_of_sets(_grouped(decision) for decision in decisions)
        self._row_sets = _keys_of_sets(_grouped_rows(decision) for decision in decisions)
        self._keys = {frozenset(decision) for decision in decisions if isinstance(decision, dict)}

    def violations(self, instance: str, value: Any) -> list[str]:
        """Where a decision for this instance breaks with what every honest one keeps to, in words."""
        decision = plain(value)
        entries = _grouped(decision)
        return [
            *self._strange_keys(decision),
            *self._strange_entries(entries),
            *self._strange_counts(instance, entries),
            *self._repetitions(decision, entries),
        ]

    def repetitions(self, value: Any) -> list[str]:
        """What is there twice, and is there once in every honest decision, in words."""
        decision = plain(value)
        return list(self._repetitions(decision, _grouped(decision)))

    def _strange_keys(self, decision: Any) -> Iterator[str]:
        if self._keys and isinstance(decision, dict) and frozenset(decision) not in self._keys:
            yield f"it has the keys {', '.join(map(str, decision)) or 'none'}, as no seed's decision does"

    def _strange_entries(self, entries: Mapping[Key, Sequence[Any]]) -> Iterator[str]:
        for key, values in entries.items():
            if key not in self._kinds:
                yield f"it has an entry at {_where(key)}, where no seed's decision has one"
                continue
            known = self._kinds[key] | ({"an integer"} if "a float" in self._kinds[key] else set())
            numbers = self._numbers[key]
            for value in values:
                kind = _kind(value)
                if kind not in known:
                    yield f"{_show(value)} is {kind}; every seed has {' or '.join(sorted(known))} there"
                elif _is_number(value) and value < 0 <= min(numbers, default=-1):
                    yield f"{_show(value)} is negative, as no entry of any seed is"
                elif (
                    _is_number(value) and abs(value) >= HUGE and max(map(abs, numbers), default=HUGE) < SMALL
                ):
                    yield f"{_show(value)} is far beyond every entry of any seed"

    def _strange_counts(self, instance: str, entries: Mapping[Key, Sequence[Any]]) -> Iterator[str]:
        for (name, key), counts in self._counts.items():
            if name != instance:
                continue
            sizes = {count.total() for count in counts}
            if len(counts) < self._decisions[instance]:  # some have none there: another kind of answer
                sizes.add(0)
            size = len(entries.get(key, ()))
            if len(sizes) == 1 and size not in sizes and self._settled(key):
                yield f"it has {size} entries at {_where(key)}; every seed's decision has {sizes.pop()}"

    def _settled(self, key: Key) -> bool:
        """Whether the number of entries is the instance's matter and not the seed's, on every instance."""
        counts = [found for (_, other), found in self._counts.items() if other == key]
        several = max(len({frozenset(count.items()) for count in found}) for found in counts) > 1
        same = all(len({count.total() for count in found}) == 1 for found in counts)
        return same and (several or key in self._sets)

    def _repetitions(self, decision: Any, entries: Mapping[Key, Sequence[Any]]) -> Iterator[str]:
        for key, values in entries.items():
            if key in self._sets and (twice := _twice(values)) is not None:
                yield f"{_show(twice)} is there twice; no seed has an entry twice there"
        for path, row in rows(decision):
            key = _key(path)
            if key in self._row_sets and (twice := _twice(row)) is not None:
                yield f"{_show(twice)} is there twice in one list; no seed has an entry twice in one"


class Policies:
    """What all samples of an interactive problem have in common: a sample's value is the list of its answers."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        episodes = list(samples)
        answers = {
            (episode.instance, repr(answer)): Sample(
                episode.seed, episode.instance, answer, episode.objective
            )
            for episode in episodes
            for answer in episode.value
        }
        self._answers = Profile(answers.values())
        self._episodes = Profile(episodes)

    def violations(self, instance: str, value: Any) -> list[str]:
        """Where an episode breaks with what every honest answer keeps to, in words."""
        answers = {repr(answer): answer for answer in value}
        found = [text for answer in answers.values() for text in self._answers.violations(instance, answer)]
        # of the episode as a whole only this: how many questions there are is the simulator's business
        return found + self._episodes.repetitions(value)


def _is_number(value: object) -> bool:
    return (type(value) is int or type(value) is float) and math.isfinite(value)


def _grouped_rows(decision: Any) -> dict[Key, list[Any]]:
    """Lists of entries by where they lie."""
    found: dict[Key, list[Any]] = {}
    for path, row in rows(decision):
        found.setdefault(_key(path), []).append(row)
    return found


def _keys_of_sets(decisions: Iterable[Mapping[Key, list[Any]]]) -> set[Key]:
    """Where integers are all different, in every decision, beyond what chance explains."""
    chance: dict[Key, float] = {}
    for decision in decisions:
        for key, entries in decision.items():
            for values in entries if isinstance(entries[0], list) else [entries]:
                chance[key] = chance.get(key, 0.0) + _distinct(values)
    return {key for key, value in chance.items() if value < UNLIKELY}


def _distinct(values: Sequence[Any]) -> float:
    """Log of the chance; infinite where something is there twice, or is no index."""
    if not values:
        return 0.0
    if not all(type(value) is int and 0 <= value < HUGE for value in values):
        return math.inf
    return _chance(values) if len(set(values)) == len(values) else math.inf


def _twice(values: Sequence[Any]) -> Any:
    """The first entry that is there twice by its value, None if there is none."""
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def _where(key: Key) -> str:
    return "".join("[]" if step == "*" else f"['{str(step)[:20]}']" for step in key) or "the top"


def _show(value: object) -> str:
    text = (
        f"an integer of {value.bit_length()} bits"
        if type(value) is int and abs(value) > 2**66
        else repr(value)
    )
    return text[:40]
