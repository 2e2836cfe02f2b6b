"""Online paging: the simulator counts what happened, MIN is the fewest misses, seeds are what they claim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve import problem
from evolve.evaluate import Evaluator
from evolve.records import SPLITS, Instance, Split

PAGING = problem.load("online_paging")
GENERATOR = PAGING._instances.__globals__
Policy = Callable[..., Any]

sequences = st.lists(st.integers(0, 5), min_size=1, max_size=14)


def instance(requests: list[int], capacity: int) -> Instance:
    return Instance("one", {}, 0.0, {}, {"requests": np.array(requests), "capacity": capacity})


def misses(policy: Policy, requests: list[int], capacity: int) -> int:
    return round(PAGING.evaluator.simulate(instance(requests, capacity), policy) * len(requests) / 100)


def policy(name: str) -> Policy:
    """A seed, outside the jail: it is our own."""
    scope: dict[str, Any] = {}
    exec(PAGING.seeds[name].files["program.py"], scope)
    found: Policy = scope["evict"]
    return found


def fewest(requests: tuple[int, ...], capacity: int) -> int:
    """The fewest misses, by trying every eviction."""

    @cache
    def best(index: int, cached: frozenset[int]) -> int:
        if index == len(requests):
            return 0
        page = requests[index]
        if page in cached:
            return best(index + 1, cached)
        smaller = [cached - {out} for out in cached] if len(cached) == capacity else [cached]
        return 1 + min(best(index + 1, rest | {page}) for rest in smaller)

    return best(0, frozenset())


@settings(deadline=None)
@given(sequences, st.integers(1, 4))
def test_the_bound_is_the_fewest_misses_of_all_policies(requests: list[int], capacity: int) -> None:
    found = GENERATOR["fewest_misses"](np.array(requests), capacity)
    assert found == fewest(tuple(requests), capacity)


@settings(deadline=None)
@given(sequences, st.integers(1, 4), st.randoms(use_true_random=False))
def test_what_the_policy_is_told_is_what_happened(requests: list[int], capacity: int, rng: Any) -> None:
    def told(now: int, page: int, pages: Any, last: Any, prior: Any, loaded: Any, uses: Any) -> int:
        past = requests[:now]
        assert page == requests[now]
        assert page not in pages
        assert len(set(pages.tolist())) == capacity
        for slot, each in enumerate(pages.tolist()):
            times = [time for time, request in enumerate(past) if request == each]
            assert times[-1] == last[slot]
            assert (times[-2] if len(times) > 1 else -1) == prior[slot]
            assert len(times) == uses[slot]
            assert loaded[slot] in times
        return rng.randrange(capacity)

    misses(told, requests, capacity)


@settings(deadline=None)
@given(sequences, st.integers(1, 4))
def test_lru_and_fifo_decide_as_their_textbooks_say(requests: list[int], capacity: int) -> None:
    for name, moves in (("lru", True), ("fifo", False)):
        cached: list[int] = []
        count = 0
        for page in requests:
            if page in cached:
                if moves:
                    cached.append(cached.pop(cached.index(page)))
                continue
            count += 1
            cached = [*cached[len(cached) == capacity :], page]
        assert misses(policy(name), requests, capacity) == count


def test_recency_misses_always_on_a_round_that_does_not_fit_and_mru_does_not() -> None:
    rounds = list(range(5)) * 10
    assert misses(policy("lru"), rounds, 4) == 50
    assert misses(policy("mru"), rounds, 4) == GENERATOR["fewest_misses"](np.array(rounds), 4)


def test_marking_never_evicts_a_page_of_its_phase() -> None:
    """So it misses each page at most once in a phase; LRU's phases are k different pages long."""
    rng = np.random.default_rng(3)
    requests = rng.integers(0, 9, 300).tolist()
    phases, seen = 1, set()
    for page in requests:
        if len(seen | {page}) > 4:
            phases, seen = phases + 1, set()
        seen.add(page)
    assert misses(policy("marking"), requests, 4) <= 4 * phases


@pytest.mark.parametrize(
    "answer", [None, -1, 4, True, 1.0, "1", [1], {}, np.array(1), 2**63], ids=lambda answer: repr(answer)
)
def test_what_is_no_slot_is_refused(answer: object) -> None:
    with pytest.raises(PAGING.evaluator.Invalid, match=r"it has to return an integer of 0\.\.3"):
        misses(lambda *_: answer, list(range(6)), 4)


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_is_made_of_its_kinds_with_room_between_lru_and_the_bound(split: Split) -> None:
    instances = PAGING.split(split)
    kinds = {each.group["kind"] for each in instances}
    assert (kinds == set(GENERATOR["KINDS"])) == (split is Split.HOLDOUT)
    assert len({each.name for each in instances}) == len(instances)
    lru = policy("lru")
    found = [PAGING.evaluator.simulate(each, lru) for each in instances]
    assert all(value >= each.bound for value, each in zip(found, instances, strict=True))
    assert np.mean(found) > np.mean([each.bound for each in instances]) + 10


def test_the_splits_share_no_sequence_and_are_the_same_again() -> None:
    seen = [each.facts["requests"].tobytes() for split in SPLITS for each in PAGING.split(split)]
    assert len(set(seen)) == len(seen)
    again = list(GENERATOR["instances"]("train"))
    assert [each.facts["requests"].tobytes() for each in again] == seen[: len(again)]


def test_the_requests_are_those_of_every_other_machine() -> None:
    """The sum of a few sequences, as they were when the figures in README.md were measured."""
    sums = [int(each.facts["requests"].sum()) for each in PAGING.split(Split.TRAIN)[:4]]
    assert sums == [12026, 1599493, 9490, 8106]


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    with Evaluator(PAGING, "rlimits") as made:
        yield made


@pytest.mark.parametrize("name", PAGING.seeds)
def test_a_seed_scores_in_the_jail_what_it_scores_outside(evaluator: Evaluator, name: str) -> None:
    found = evaluator.evaluate(PAGING.seeds[name], Split.TRAIN)
    assert found.ok, found.feedback
    if name not in ("marking", "random_page"):  # their dice are set in the jail
        chosen = policy(name)
        expected = [PAGING.evaluator.simulate(each, chosen) for each in PAGING.split(Split.TRAIN)]
        assert list(found.objectives) == expected
    assert found.slowest < 0.8, "room for a machine that is slower"
