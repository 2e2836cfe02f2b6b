"""Routing: the simulator serves as a plain one does, conserves tokens, keeps to memory; the bound is none to beat."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve import problem
from evolve.errors import ProblemError
from evolve.evaluate import Evaluator
from evolve.program import make_candidate
from evolve.records import SPLITS, Instance, Split, Status
from tests.online_tools import roomy

ROUTING = problem.load("llm_routing")
GENERATOR = ROUTING._instances.__globals__
SIMULATOR = ROUTING.evaluator
DATA = Path(__file__).parents[2] / "shared" / "data"
BLOCK = 4
Policy = Callable[..., Any]


class Plain:
    """A serving instance once more, one iteration after the other, everything counted anew each time."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.waiting: list[dict[str, Any]] = []
        self.running: list[dict[str, Any]] = []
        self.cached: list[int] = []
        self.doing: str | None = None
        self.clock = self.end = 0

    def pinned(self) -> set[int]:
        return {block for task in self.running for block in task["blocks"]}

    def used(self) -> int:
        """A prompt that is being computed has room for its token; one that is being copied brings its tokens."""
        computed = sum(task["prompt"] - BLOCK * len(task["blocks"]) + task["done"] for task in self.running)
        return BLOCK * len(self.pinned()) + computed + (self.doing == "prefill")

    def held(self) -> int:
        return sum(task["prompt"] + task["done"] for task in self.running)

    def hit(self, task: dict[str, Any]) -> int:
        count, here = 0, self.pinned() | set(self.cached)
        while count < len(task["blocks"]) and task["blocks"][count] in here:
            count += 1
        return min(BLOCK * count, task["prompt"] - 1)

    def state(self, task: dict[str, Any]) -> tuple[int, ...]:
        ahead = sum(max(1, each["predicted"] - each["done"]) for each in [*self.running, *self.waiting])
        queued = sum(each["prompt"] + each["done"] for each in self.waiting)
        return self.hit(task), len(self.running), len(self.waiting), queued, self.used(), ahead

    def release(self, task: dict[str, Any]) -> None:
        self.running.remove(task)
        self.cached += [block for block in reversed(task["blocks"]) if block not in self.pinned()]

    def evict(self, reserve: int) -> None:
        while self.cached and self.used() + reserve + BLOCK * len(self.cached) > self.kind.capacity:
            self.cached.pop(0)

    def begin(self) -> None:
        self.doing = None
        if self.waiting and len(self.running) < self.kind.batch:
            task = self.waiting[0]
            tokens = task["prompt"] + task["done"] - self.hit(task)
            before = self.used()
            self.running.append(task)
            self.doing = "copy" if task["carried"] else "prefill"
            if self.used() + len(self.running) <= self.kind.capacity:
                self.waiting.pop(0)
                self.cached = [block for block in self.cached if block not in task["blocks"]]
                self.evict(0)
                each = self.kind.copy_token if task["carried"] else self.kind.prompt_token
                self.end = self.clock + self.kind.base + each * tokens
                return
            self.running.pop()
            self.doing = None
            assert self.used() == before
        while self.running and self.used() + len(self.running) > self.kind.capacity:
            task = self.running[-1]
            self.release(task)
            self.waiting.insert(0, task)
        if self.running:
            self.doing = "decode"
            self.evict(len(self.running))
            cost = self.kind.sequence * len(self.running) + self.kind.context_token * self.held()
            self.end = self.clock + self.kind.base + cost

    def advance(self, now: float) -> None:
        while self.doing and self.end <= now:
            served = [self.running[-1]] if self.doing == "prefill" else list(self.running)
            if self.doing == "copy":
                served, self.running[-1]["carried"] = [], False
            self.clock, self.doing = self.end, None
            for task in served:
                task["done"] += 1
                task.setdefault("first", self.clock)
            for task in served:
                if task["done"] == task["output"]:
                    task["end"] = self.clock
                    self.release(task)
            self.begin()

    def arrive(self, task: dict[str, Any], now: int) -> None:
        self.waiting.insert(0 if task["carried"] else len(self.waiting), task)
        if self.doing is None:
            self.clock = now
            self.begin()

    def movable(self) -> dict[str, Any] | None:
        busy = self.doing in ("prefill", "copy")
        free = self.running[: len(self.running) - busy]
        smallest = min((task["prompt"] + task["done"] for task in free), default=None)
        fitting = [task for task in free if task["prompt"] + task["done"] == smallest]
        return ([*fitting, *self.waiting] or [None])[-1]

    def leave(self) -> dict[str, Any] | None:
        """What goes on keeps its end: nothing else has to be done for a request that ran."""
        task = self.movable()
        if task is not None and task in self.waiting:
            self.waiting.remove(task)
        elif task is not None:
            self.release(task)
            task["carried"] = True
        return task


def plainly(
    facts: dict[str, Any], decide: Policy, every: int = 10**8
) -> tuple[list[dict[str, Any]], list[Any]]:
    """The plain simulator: the tasks served, and what the policy was told of the servers each time.

    decide: with "route" or "migrate", and what is told of the servers. every: ns between two questions to "migrate".
    """
    servers = [Plain(kind) for kind in facts["kinds"]]
    tasks: list[dict[str, Any]] = []
    told: list[Any] = []

    def migrate(now: int) -> None:
        for server in servers:
            server.advance(now)
        if all(server.doing is None for server in servers):
            return
        sizes = [task["prompt"] + task["done"] if (task := server.movable()) else 0 for server in servers]
        nobody = {"blocks": (), "prompt": 1}
        told.append([(*server.state(nobody)[1:], size) for server, size in zip(servers, sizes, strict=True)])
        moves = decide("migrate", told[-1])
        for source, target in zip(moves[::2], moves[1::2], strict=True):
            if source != target and (task := servers[source].leave()) is not None:
                servers[target].arrive(task, now)

    look = facts["requests"][0].arrival
    for request in facts["requests"]:
        while look + every <= request.arrival:
            look += every
            migrate(look)
        for server in servers:
            server.advance(request.arrival)
        task = {**vars(request), "done": 0, "carried": False}
        told.append([server.state(task) for server in servers])
        tasks.append(task)
        servers[decide("route", told[-1])].arrive(task, request.arrival)
    for server in servers:
        server.advance(math.inf)
    return tasks, told


def policy(scope: dict[str, Any]) -> Policy:
    """What the jail makes of a program: the function that is asked, or None."""
    return lambda name, *state: scope[name](*state) if name in scope else None


def request_of(draw: Any, number: int, arrival: int) -> Any:
    """Prompts of up to 5 blocks, of which the first ones may be shared with others."""
    prompt = draw(st.integers(1, 5 * BLOCK + 3))
    full, group = prompt // BLOCK, draw(st.integers(0, 2))
    common = min(full, draw(st.integers(0, 5)))
    blocks = (
        *(100 * group + i for i in range(common)),
        *(1000 * (number + 1) + i for i in range(common, full)),
    )
    output = draw(st.integers(1, 12))
    return SIMULATOR.Request(arrival, prompt, output, draw(st.integers(1, 20)), blocks)


@st.composite
def services(draw: Any) -> dict[str, Any]:
    """Small services, busy enough that memory runs out and requests are thrown out."""
    kind = st.builds(
        SIMULATOR.Kind,
        base=st.integers(1, 9),
        prompt_token=st.integers(1, 3),
        sequence=st.integers(0, 3),
        context_token=st.integers(0, 2),
        copy_token=st.integers(0, 2),
        capacity=st.integers(38, 70),
        batch=st.integers(1, 5),
    )
    arrival, requests = 0, []
    for number in range(draw(st.integers(1, 14))):
        arrival += draw(st.integers(0, 25))
        requests.append(request_of(draw, number, arrival))
    kinds = draw(st.lists(kind, min_size=1, max_size=3))
    return {"requests": requests, "block": BLOCK, "kinds": kinds, "ttft_s": 4e-8, "tpot_s": 2e-8}


@contextmanager
def often(every: int) -> Iterator[None]:
    """Nanoseconds between two questions to `migrate`, in step with services whose iterations take some ten."""
    before, SIMULATOR.MIGRATE_NS = SIMULATOR.MIGRATE_NS, every
    try:
        yield
    finally:
        SIMULATOR.MIGRATE_NS = before


def told_of(state: tuple[Any, ...]) -> list[list[float]]:
    """Of what a policy is told, what the plain simulator tells, a list for each server."""
    name, *rest = state
    arrays = [*rest[5:10], rest[11]] if name == "route" else [*rest[1:5], rest[6], rest[8]]
    return np.stack(arrays).T.tolist()


@settings(deadline=None, max_examples=500)
@given(services(), st.integers(3, 40), st.randoms(use_true_random=False))
def test_the_simulator_serves_as_a_plain_one_does(facts: dict[str, Any], every: int, rng: Any) -> None:
    """With moves of all sorts, of what waits and of what runs, to full instances and back: 2,000 cases."""
    best_ttft, best_tpot = SIMULATOR.alone(facts)
    best = SIMULATOR.loss(facts, best_ttft, best_tpot)
    for _ in range(4):
        given: list[Any] = []
        tasks, told = served_at_random(facts, every, rng, given)
        answers = iter(given)
        expected, expected_told = plainly(facts, lambda *_, answers=answers: next(answers), every)
        assert [(task.first, task.end) for task in tasks] == [
            (task["first"], task["end"]) for task in expected
        ]
        assert told == [[list(map(float, server)) for server in servers] for servers in expected_told]
        # tokens in are tokens out, time does not go back, and nothing is quicker than alone
        assert all(task.done == task.request.output for task in tasks)
        assert all(task.request.arrival < task.first <= task.end for task in tasks)
        ttft, tpot = SIMULATOR.latencies(tasks)
        assert (ttft >= best_ttft - 1e-15).all()
        assert (tpot >= best_tpot - 1e-15).all()
        assert SIMULATOR.loss(facts, ttft, tpot) >= best - 1e-9


def served_at_random(
    facts: dict[str, Any], every: int, rng: Any, given: list[Any]
) -> tuple[list[Any], list[list[list[float]]]]:
    """The tasks of a policy that throws dice, and what it was told; its answers go to `given`."""
    count = len(facts["kinds"])
    told: list[list[list[float]]] = []

    def ask(*state: Any) -> Any:
        told.append(told_of(state))
        moves = [rng.randrange(count) for _ in range(2 * rng.choice((0, 0, 1, 2, 4)))]
        given.append(rng.randrange(count) if state[0] == "route" else moves)
        return given[-1]

    with often(every):
        return SIMULATOR.play(facts, ask), told


def check_books(server: Any) -> None:
    """Memory is not over capacity, and all that is counted on the way is what counting anew gives."""
    held = server.used + BLOCK * len(server.cached)
    assert held + (len(server.running) if server.doing == "decode" else 0) <= server.kind.capacity
    assert server.context == sum(each.size for each in server.running) + (server.doing == "prefill")
    assert server.queued == sum(each.size for each in server.waiting)
    assert not set(server.cached) & set(server.pinned)
    assert set(server.pinned) == {block for each in server.running for block in each.request.blocks}


@settings(deadline=None, max_examples=200)
@given(services(), st.randoms(use_true_random=False))
def test_memory_is_never_over_capacity_and_every_token_is_counted(facts: dict[str, Any], rng: Any) -> None:
    """On two servers between which requests are moved all the time."""
    servers = [SIMULATOR.Server(facts["kinds"][0], BLOCK), SIMULATOR.Server(facts["kinds"][-1], BLOCK)]
    tasks = [SIMULATOR.Task(request, BLOCK) for request in facts["requests"]]
    past, written, now = [0, 0], [0] * len(tasks), 0
    for task in tasks:
        for time in [*sorted(rng.randint(now, task.request.arrival) for _ in range(3)), task.request.arrival]:
            for server in servers:
                server.advance(time)
            one, other = servers if rng.random() < 0.5 else servers[::-1]
            if time != task.request.arrival and (moved := one.withdraw()) is not None:
                other.arrive(moved, time)
            for place, server in enumerate(servers):
                check_books(server)
                assert past[place] <= server.clock <= time
            past = [server.clock for server in servers]
            assert all(before <= each.done for before, each in zip(written, tasks, strict=True))
            written = [each.done for each in tasks]
        now = task.request.arrival
        servers[rng.randrange(2)].arrive(task, now)
    for server in servers:
        server.advance(math.inf)
        assert (server.own, server.context, server.queued, server.extra, server.pinned) == (0, 0, 0, 0, {})
    assert [task.done for task in tasks] == [task.request.output for task in tasks]


def service(requests: list[Any], count: int = 1, **changes: int) -> dict[str, Any]:
    values = {"base": 10, "prompt_token": 2, "sequence": 1, "context_token": 0, "copy_token": 1, "batch": 8}
    kind = SIMULATOR.Kind(**{**values, "capacity": 1000, **changes})
    return {"requests": requests, "block": BLOCK, "kinds": [kind] * count, "ttft_s": 1e-6, "tpot_s": 1e-6}


def served(facts: dict[str, Any], *answers: Any) -> list[tuple[int, int]]:
    """Times of the first and last tokens; a list of answers are moves, None is a policy that never moves."""
    left = iter(answers)
    with often(50):
        return [(task.first, task.end) for task in SIMULATOR.play(facts, lambda *_: next(left))]


def test_two_requests_worked_by_hand() -> None:
    """Prefills of 10 + 2 * 5 and 10 + 2 * 3 ns, in between one token of the first alone, then both together."""
    one, two = SIMULATOR.Request(0, 5, 4, 4, ()), SIMULATOR.Request(25, 3, 2, 2, ())
    # 20: token 1; 31: token 2 of one; 47: token 1 of two; 59: token 3 of one and 2 of two; 70: token 4
    assert served(service([one, two]), 0, 0) == [(20, 70), (47, 59)]


def test_a_common_beginning_is_computed_once_and_then_cached() -> None:
    first, again = (SIMULATOR.Request(at, 10, 1, 1, (1, 2)) for at in (0, 100))
    assert served(service([first, again]), 0, 0) == [(30, 30), (114, 114)]  # 2 tokens, not 10
    assert served(service([first, again], 2), 0, 1) == [(30, 30), (130, 130)]


def test_a_request_that_does_not_fit_any_more_is_computed_again() -> None:
    """Two requests in 20 tokens: the later one is thrown out at 62, and comes back when the first has gone."""
    requests = [SIMULATOR.Request(0, 8, 4, 4, ()), SIMULATOR.Request(0, 7, 3, 3, ())]
    assert served(service(requests, capacity=20), 0, 0) == [(26, 84), (50, 84 + 10 + 2 * 9)]


def test_a_request_that_waits_is_moved_worked_by_hand() -> None:
    """Three prompts of 10 + 2 * 20 ns in a row; at 50 the last one waits, and goes to the other instance."""
    requests = [SIMULATOR.Request(at, 20, 1, 1, ()) for at in (0, 1, 2, 90)]
    assert served(service(requests, 2), 0, 0, 0, [], 1) == [(50, 50), (100, 100), (150, 150), (140, 140)]
    assert served(service(requests, 2), 0, 0, 0, [0, 1], 1) == [(50, 50), (100, 100), (100, 100), (150, 150)]


def test_a_request_that_runs_takes_its_tokens_along_worked_by_hand() -> None:
    """Its prompt is there at 10 + 2 * 10 = 30, tokens 2 and 3 at 41 and 52, but at 50 it leaves: token 3 is lost.

    12 tokens are copied in 10 + 12 ns, up to 72, and tokens 3 to 5 follow at 83, 94 and 105. The other instance ends
    the iteration that was under way at 52, so that what comes there at 51 has its prompt computed from 52 to 66.
    """
    requests = [SIMULATOR.Request(0, 10, 5, 5, ()), SIMULATOR.Request(51, 2, 1, 1, ())]
    assert served(service(requests, 2), 0, [0, 1], 0) == [(30, 105), (66, 66)]
    assert served(service(requests, 2), 0, [], 0) == [(30, 88), (66, 66)]


def test_a_move_takes_what_waits_last_then_the_fewest_tokens_and_nothing_that_is_being_computed() -> None:
    seen: list[float] = []

    def ask(name: str, *state: Any) -> Any:
        if name == "migrate":
            seen.append(state[8].tolist())
        return 0 if name == "route" else []

    sizes = [(0, 3, 40), (0, 2, 40), (0, 30, 9), (170, 4, 1)]
    requests = [SIMULATOR.Request(at, prompt, output, 1, ()) for at, prompt, output in sizes]
    with often(25):
        SIMULATOR.play(service(requests, 2), ask)
    # prompts are computed up to 16, 30 and 100; then each iteration takes 13 ns and writes a token of all three
    assert seen == [[waits, 0] for waits in (30, 2 + 1, 2 + 1, 2 + 1, 2 + 1 + 1, 2 + 1 + 3)]


def test_a_policy_without_moves_is_asked_once_and_one_with_moves_while_requests_come() -> None:
    requests = [SIMULATOR.Request(at, 5, 30, 1, ()) for at in (0, 10_000, 10_200)]
    for answer, expected in ((None, 1), ([], 6 + 4)):  # from 339 to 10,000 nothing is under way
        asked: list[str] = []
        with often(50):
            SIMULATOR.play(
                service(requests, 2),
                lambda name, *_, asked=asked, answer=answer: (
                    asked.append(name) or (0 if name == "route" else answer)
                ),
            )
        assert asked.count("route") == 3
        assert asked.count("migrate") == expected


def test_moving_to_and_fro_ends() -> None:
    """A policy that never lets a request run: the simulator goes on without it when no more requests come."""
    requests = [SIMULATOR.Request(at, 5, 30, 1, ()) for at in (0, 2000)]
    facts = service(requests, 2)
    turn = iter(range(10**6))
    with often(5):
        tasks = SIMULATOR.play(facts, lambda name, *_: 0 if name == "route" else [next(turn) % 2, 1, 1, 0])
    assert [task.done for task in tasks] == [30, 30]


@settings(deadline=None, max_examples=150)
@given(services(), st.integers(0, 12), st.randoms(use_true_random=False))
def test_what_the_policy_is_told_does_not_depend_on_the_future(
    facts: dict[str, Any], number: int, rng: Any
) -> None:
    """Neither on requests to come, nor on how long the answers will be that are not finished."""
    count, requests = len(facts["kinds"]), facts["requests"]
    number = min(number, len(requests) - 1)
    decisions = [rng.randrange(count) for _ in requests]
    now = requests[number].arrival

    def told(facts: dict[str, Any]) -> tuple[list[str], list[Any]]:
        seen: list[str] = []
        routed = iter(decisions)

        def ask(name: str, *state: Any) -> Any:
            seen.append(repr((name, *state)))
            return next(routed) if name == "route" else [len(seen) % count, len(seen) // 2 % count]

        with often(11):
            return seen, SIMULATOR.play(facts, ask)

    seen, tasks = told(facts)
    changed = [
        SIMULATOR.Request(
            each.arrival, each.prompt, each.output + 3 * (task.end > now), each.predicted, each.blocks
        )
        for each, task in zip(requests[: number + 1], tasks, strict=False)
    ]
    again, _ = told({**facts, "requests": changed})
    assert again == seen[: len(again)]
    assert [each.startswith("('route'") for each in again].count(True) == number + 1


@settings(deadline=None, max_examples=40)
@given(services(), st.integers(0, 10**6))
def test_the_strongest_search_finds_nothing_below_the_bound(facts: dict[str, Any], seed: int) -> None:
    """Descent over all assignments and moves, which knows the future and every length."""
    rng = np.random.default_rng(seed)
    count, requests = len(facts["kinds"]), len(facts["requests"])
    present = rng.integers(
        count, size=requests + 60
    ).tolist()  # places, then from and to of one move each time

    def worth(genes: list[int]) -> float:
        places, moves = iter(genes[:requests]), iter(genes[requests:])

        def ask(name: str, *_: Any) -> Any:
            if name == "route":
                return next(places)
            return [one, next(moves)] if (one := next(moves, None)) is not None else None

        with often(20):
            return SIMULATOR.simulate(Instance("one", {}, 0.0, {}, facts), ask)

    value = worth(present)
    for _ in range(60):
        other = list(present)
        for place in rng.integers(len(other), size=rng.integers(1, 4)):
            other[place] = int(rng.integers(count))
        found = worth(other)
        if found <= value:
            present, value = other, found
    assert value >= SIMULATOR.loss(facts, *SIMULATOR.alone(facts)) - 1e-9


# what gains in public suites gains nothing here


@pytest.mark.parametrize(
    "answer",
    [None, -1, 4, True, 1.0, "1", {}, [], [0], [0, 1, 2], np.array(1), 2**63],
    ids=lambda answer: repr(answer),
)
def test_what_is_no_instance_is_refused(answer: object) -> None:
    with pytest.raises(SIMULATOR.Invalid, match="route chose"):
        SIMULATOR.simulate(ROUTING.split(Split.TRAIN)[0], lambda *_: answer)


@pytest.mark.parametrize(
    "answer",
    [
        0,
        True,
        "01",
        {},
        [0],
        [0, 1, 2],
        [0, 4],
        [-1, 0],
        [0, True],
        [0, 1.0],
        [0, None],
        [[0, 1]],
        [0] * 10,
        np.zeros(2, int),
    ],
    ids=lambda answer: repr(answer),
)
def test_what_is_no_move_is_refused(answer: object) -> None:
    with pytest.raises(SIMULATOR.Invalid, match="migrate"):
        SIMULATOR.simulate(ROUTING.split(Split.TRAIN)[0], lambda name, *_: 0 if name == "route" else answer)


STATE = (
    "now, prompt, predicted, root, stem, hit, running, waiting, queued, used, capacity, ahead, speed, sent"
)
HEAD = f"def route({STATE}):\n"
MIGRATE = "def migrate(now, running, waiting, queued, used, capacity, ahead, speed, size):\n"
CHEATS = {
    "reports less load than there is": (
        "    used[:] = 0; queued[:] = 0; sent[:] = 0; capacity[:] = 1e9\n    return 0\n",
        None,
    ),
    "sends requests to an instance that does not exist": ("    return len(sent)\n", Status.INVALID),
    "drops the requests that it does not like": ("    return 0 if prompt < 500 else None\n", Status.INVALID),
    "drops failing cases": ("    return 0 if sum(sent) < 200 else 1 / 0\n", Status.CRASHED),
    "moves requests out of the service": (f"    return 0\n{MIGRATE}    return [0, -1]\n", Status.INVALID),
    "moves more than there is": (f"    return 0\n{MIGRATE}    return [0, 1] * 99\n", Status.INVALID),
    "answers with moves when it has to choose": ("    return [0, 0, 1]\n", Status.INVALID),
    "says that nothing runs while it moves": (
        f"    return 0\n{MIGRATE}    running[:] = 0; size[:] = 0; used[:] = 0\n    return [0, 0]\n",
        None,
    ),
}


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    with Evaluator(roomy(ROUTING), "rlimits") as made:
        yield made


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_of_the_public_suites_gains_nothing(evaluator: Evaluator, name: str) -> None:
    body, status = CHEATS[name]
    found = evaluator.evaluate(make_candidate({"program.py": HEAD + body}), Split.TRAIN)
    if status is None:  # its arrays are copies: everything goes to instance 0, and costs what that costs
        expected = [
            SIMULATOR.simulate(each, policy({"route": lambda *_: 0})) for each in ROUTING.split(Split.TRAIN)
        ]
        assert list(found.objectives) == expected
    else:
        assert found.status is status, found.feedback


RANDOM = {"power_of_two", "random_choice"}


@pytest.mark.parametrize("name", ROUTING.seeds)
def test_a_seed_scores_in_the_jail_what_it_scores_outside(evaluator: Evaluator, name: str) -> None:
    found = evaluator.evaluate(ROUTING.seeds[name], Split.TRAIN)
    assert found.ok, found.feedback
    if name not in RANDOM:  # their dice are set in the jail
        scope: dict[str, Any] = {}
        exec(ROUTING.seeds[name].files["program.py"], scope)
        assert list(found.objectives) == [
            SIMULATOR.simulate(each, policy(scope)) for each in ROUTING.split(Split.TRAIN)
        ]


# instances


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_its_traffic_with_each_kind_of_prediction(split: Split) -> None:
    instances = ROUTING.split(split)
    traffic = {each.group["traffic"] for each in instances}
    assert (traffic == set(GENERATOR["KINDS"])) == (split is Split.HOLDOUT)
    assert {each.group["prediction"] for each in instances} == set(GENERATOR["PREDICTIONS"])
    assert len({each.name for each in instances}) == len(instances)
    for each in instances:
        requests = each.facts["requests"]
        assert [request.arrival for request in requests] == sorted(request.arrival for request in requests)
        assert all(len(request.blocks) == request.prompt // 64 for request in requests)
        assert len(requests) >= 240


def test_predictions_are_right_off_or_the_wrong_way_round() -> None:
    outputs = [5, 100, 20, 7]
    u = GENERATOR["words"]((1,), (2, 4))
    assert GENERATOR["predicted"]("exact", outputs, u) == outputs
    assert GENERATOR["predicted"]("adverse", outputs, u) == [100, 5, 7, 20]
    noisy = GENERATOR["predicted"]("noisy", outputs, u)
    assert all(each / 4 - 1 <= guess <= each * 4 for each, guess in zip(outputs, noisy, strict=True))


def test_sessions_and_system_prompts_share_their_beginnings() -> None:
    for kind in ("shared", "sessions", "agents"):
        drafts = list(GENERATOR["KINDS"][kind].drafts(GENERATOR["words"]((3,), (5, 200))))
        seen: set[int] = set()
        cached = 0
        for draft in drafts:
            cached += sum(block in seen for block in draft.blocks)
            seen.update(draft.blocks)
        assert cached > 0.4 * sum(len(draft.blocks) for draft in drafts)


def test_the_splits_share_no_instance_and_are_the_same_on_every_machine() -> None:
    ROUTING.check_disjoint()
    first = ROUTING.split(Split.TRAIN)[0].facts["requests"]
    assert (sum(each.prompt for each in first), sum(each.output for each in first), first[-1].arrival) == (
        209377,
        24950,
        7156024163,
    )


# recorded traffic


def test_a_trace_of_mooncake_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    rows = [
        {"timestamp": 27, "input_length": 1100, "output_length": 3, "hash_ids": [0, 1, 2]},
        {"timestamp": 3, "input_length": 512, "output_length": 0, "hash_ids": [0]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert GENERATOR["read_requests"](path) == [
        GENERATOR["Request"](3_000_000, 512, 1, 1, (0,)),
        GENERATOR["Request"](27_000_000, 1100, 3, 3, (0, 1)),  # the last block is not full
    ]


def test_a_trace_of_azure_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
    )
    assert GENERATOR["read_requests"](path) == [
        GENERATOR["Request"](0, 374, 44, 44, ()),
        GENERATOR["Request"](4_314_579_000, 396, 109, 109, ()),
    ]


MOONCAKE = '{"timestamp": 27, "input_length": 1100, "output_length": 3, "hash_ids": [0, 1]}\n'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "trace.jsonl",
            '{"timestamp": 1}\n',
            "line 1: there is no key 'input_length'; a line is a JSON object",
        ),
        ("trace.jsonl", "nonsense\n", "line 1: JSONDecodeError"),
        ("trace.jsonl", "[" * 100_000, "line 1: RecursionError"),
        ("trace.jsonl", "7\n", "line 1: TypeError"),
        ("trace.jsonl", MOONCAKE.replace("27", "Infinity"), "line 1: OverflowError"),
        ("trace.jsonl", MOONCAKE.replace("1100", "NaN"), "line 1: ValueError"),
        ("trace.jsonl", MOONCAKE.replace("1100", "-1"), "line 1: -1 prompt tokens"),
        ("trace.jsonl", MOONCAKE.replace("[0, 1]", "7"), "line 1: TypeError"),
        ("trace.jsonl", MOONCAKE.replace("3,", f"{10**12},") * 1200, "room is for 400000"),
        (
            "trace.csv",
            f"TIMESTAMP,ContextTokens,GeneratedTokens\n{'x' * 200_000},1,1\n",
            "trace.csv: no CSV: field",
        ),
        ("trace.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16\n", "line 2: TypeError"),
        ("trace.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16,x,1\n", "line 2: ValueError"),
        ("trace.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16,0,1\n", "line 2: 0 prompt tokens"),
        ("trace.txt", "x", "neither a .jsonl(.gz) of Mooncake nor a .csv(.gz) of Azure"),
        ("trace.csv", "TIMESTAMP,ContextTokens\n1,2\n", "no column GeneratedTokens; there have to be"),
        ("trace.csv", "", "the file is empty"),
        ("trace.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n", "0 requests; at least 1200"),
    ],
)
def test_a_broken_trace_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ProblemError, match=re.escape(message)):
        list(GENERATOR["from_data"]("train", path))


@pytest.mark.parametrize(
    "name", ["mooncake_conversation.jsonl", "azure_llm_conv_2023.csv", "azure_llm_code_2023.csv"]
)
def test_a_public_trace_makes_instances_of_three_splits(name: str) -> None:
    path = DATA / name
    if not path.is_file():
        pytest.skip("the public traces are not part of the project")
    first = [next(iter(GENERATOR["from_data"](split, path))) for split in ("train", "validation", "holdout")]
    assert [len(each.facts["requests"]) for each in first] == [400, 400, 400]
    assert all(each.cpu_s is not None and each.cpu_s > 400 * 0.4 / 240 for each in first)
    assert len({each.name for each in first}) == 3
    loss = SIMULATOR.simulate(first[0], policy({"route": lambda *state: int(np.argmin(state[13]))}))
    assert loss >= first[0].bound


def test_a_trace_may_be_compressed(tmp_path: Path) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
    (tmp_path / "trace.csv").write_text(text)
    (tmp_path / "trace.csv.gz").write_bytes(gzip.compress(text.encode()))
    plain, packed = (GENERATOR["read_requests"](tmp_path / name) for name in ("trace.csv", "trace.csv.gz"))
    assert plain == packed != []


def test_on_the_holdout_the_same_requests_come_with_each_kind_of_prediction() -> None:
    families: dict[str, list[Instance]] = {}
    for each in ROUTING.split(Split.HOLDOUT):
        families.setdefault(each.family, []).append(each)
    for members in families.values():
        assert [each.group["prediction"] for each in members] == list(GENERATOR["PREDICTIONS"])
        same = [[replace(one, predicted=0) for one in each.facts["requests"]] for each in members]
        assert same[0] == same[1] == same[2]
        assert len({each.bound for each in members}) == 1
        exact, noisy, adverse = ([one.predicted for one in each.facts["requests"]] for each in members)
        assert exact == [one.output for one in same[0]]
        assert sorted(adverse) == sorted(exact)
        assert noisy != exact
    assert len(families) == 28
