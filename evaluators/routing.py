"""Trusted simulator of serving a language model on several instances: numpy and the standard library only.

An instance of the service batches continuously, as Orca and vLLM do: at each iteration it either computes the whole
prompt of the first request that waits (prefill), which gives the request's first token, or one more token of every
request that runs (decode). It holds the keys and values of all tokens of the running requests, prompts in blocks that
requests with a common beginning share; blocks that nobody uses any more stay as a prefix cache, the least recently
used goes first. When there is no room for another token of all, the request that came last is thrown out, waits at the
front, and has all its tokens computed again (vLLM's preemption by recomputation).

Times are integer nanoseconds. An iteration costs
    prefill: base + prompt_token * (tokens of the request that are not in the prefix cache)
    decode: base + sequence * (running requests) + context_token * (tokens that they hold)
Between two events an instance only decodes, with the same requests: those iterations are an arithmetic series, and
are done at once.

An instance of the problem brings `facts`:
    requests: a list of Request, by arrival. block: tokens of a block of a prompt.
    kinds: for each serving instance a Kind. ttft_s, tpot_s: the objectives for time to the first token, and per token.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

SECOND = 1_000_000_000
MAX_MOVES = 4
TAIL = 0.05  # of the requests, the slowest
TAIL_WEIGHT = 10.0  # points for a tail as slow as the objective
PREFILL, DECODE, IDLE = "prefill", "decode", "idle"


class Invalid(ValueError):
    """A decision breaks a rule; the text names the value and the rule, and goes to the proposer."""


class Instance(Protocol):
    """What this simulator reads of an instance of the problem."""

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def bound(self) -> float: ...


@dataclass(frozen=True)
class Kind:
    """A serving instance: nanoseconds (see above), tokens that it can hold, requests that it runs at most."""

    base: int
    prompt_token: int
    sequence: int
    context_token: int
    capacity: int
    batch: int


@dataclass(frozen=True)
class Request:
    """What arrives: at nanosecond `arrival`, a prompt, and an answer whose length nobody knows but its prediction.

    blocks: numbers of the full blocks of the prompt; equal numbers are equal beginnings. Tokens that fill no block
    are the request's own.
    """

    arrival: int
    prompt: int
    output: int
    predicted: int
    blocks: tuple[int, ...]


class Task:
    """A request under way. first, end: when its first and its last token were there, in ns; -1 before."""

    __slots__ = ("done", "end", "first", "own", "request")

    def __init__(self, request: Request, block: int) -> None:
        self.request = request
        self.own = request.prompt - len(request.blocks) * block  # tokens of the prompt outside blocks
        self.done = 0  # tokens of the answer
        self.first = self.end = -1


class Server:
    """One serving instance. `clock`: the beginning of the iteration that is under way, in ns."""

    def __init__(self, kind: Kind, block: int) -> None:
        self.kind, self.block = kind, block
        self.waiting: deque[Task] = deque()
        self.running: list[Task] = []
        self.pinned: dict[int, int] = {}  # block: how many running requests use it
        self.cached: dict[int, None] = {}  # blocks that none uses, least recently used first
        self.own = 0  # tokens of the running requests outside blocks
        self.context = 0  # tokens that the running requests hold, shared ones counted for each
        self.queued = 0  # tokens of the waiting requests
        self.clock = 0
        self.doing = IDLE
        self.end = 0  # of a prefill
        self.steps = 0  # decode iterations until something else can happen, the one under way included
        self.preemptions = 0

    # -- what a policy may ask ----------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Tokens held for the running requests."""
        return len(self.pinned) * self.block + self.own

    def hit(self, request: Request) -> int:
        """Tokens of a prompt that are here already; the last one is always computed."""
        found = 0
        for block in request.blocks:
            if block not in self.pinned and block not in self.cached:
                break
            found += self.block
        return min(found, request.prompt - 1)

    def ahead(self) -> int:
        """Tokens to come, by the predictions: at least one of each request."""
        total = 0
        for task in self.running:
            total += max(1, task.request.predicted - task.done)
        for task in self.waiting:
            total += max(1, task.request.predicted - task.done)
        return total

    # -- time ---------------------------------------------------------------------------------------------

    def arrive(self, task: Task, now: int) -> None:
        self.waiting.append(task)
        self.queued += task.request.prompt + task.done
        if self.doing is IDLE:
            self.clock = now
            self._begin()
        elif self.doing is DECODE:
            self.steps = 1  # the iteration under way; the next one may be a prefill

    def withdraw(self) -> Task | None:
        """The request that waits at the end of the queue leaves; None if none waits."""
        if not self.waiting:
            return None
        task = self.waiting.pop()
        self.queued -= task.request.prompt + task.done
        return task

    def advance(self, now: float) -> None:
        """Everything that has ended by `now`, in ns; infinity plays to the end."""
        while self.doing is not IDLE:
            if self.doing is PREFILL:
                if self.end > now:
                    return
                self.clock = self.end
                self._first_token(self.running[-1])
            else:
                steps = self._steps_until(now)
                self._decode(steps)
                if steps < self.steps:
                    self.steps -= steps
                    self._make_room(len(self.running))  # for the iteration that is under way
                    return
            self._begin()

    def _begin(self) -> None:
        """Decides what the next iteration is, and begins it."""
        if self.waiting and len(self.running) < self.kind.batch and self._admit(self.waiting[0]):
            return
        while self.running and self.used + len(self.running) > self.kind.capacity:
            self._preempt()
        if not self.running:
            self.doing = IDLE
            return
        count = len(self.running)
        left = min(task.request.output - task.done for task in self.running)
        self.steps = min(left, (self.kind.capacity - self.used) // count)
        self._make_room(count)
        self.doing = DECODE

    def _admit(self, task: Task) -> bool:
        """Begins the prefill of the first waiting request, if it and one more token of all have room."""
        request = task.request
        new = sum(block not in self.pinned for block in request.blocks)
        own = task.own + task.done + 1
        if self.used + new * self.block + own + len(self.running) + 1 > self.kind.capacity:
            return False
        self.waiting.popleft()
        self.queued -= request.prompt + task.done
        tokens = request.prompt + task.done - self.hit(request)
        for block in request.blocks:
            self.cached.pop(block, None)
            self.pinned[block] = self.pinned.get(block, 0) + 1
        self.own += own
        self.context += request.prompt + task.done + 1
        self.running.append(task)
        self._make_room(0)
        self.doing = PREFILL
        self.end = self.clock + self.kind.base + self.kind.prompt_token * tokens
        return True

    def _first_token(self, task: Task) -> None:
        task.done += 1
        if task.first < 0:
            task.first = self.clock
        if task.done == task.request.output:
            self._leave(task, task.own + task.done)
            task.end = self.clock

    def _steps_until(self, now: float) -> int:
        """How many of the coming decode iterations have ended by `now`."""
        if now == math.inf:
            return self.steps
        left = int(now) - self.clock
        low, high = 0, self.steps
        while low < high:  # the first `low` have ended, number high + 1 has not
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._length(middle) <= left else (low, middle - 1)
        return low

    def _length(self, steps: int) -> int:
        """ns of some decode iterations: the context grows by a token of each request at every one."""
        count, kind = len(self.running), self.kind
        one = kind.base + kind.sequence * count + kind.context_token * self.context
        return steps * one + kind.context_token * count * (steps * (steps - 1) // 2)

    def _decode(self, steps: int) -> None:
        self._make_room(steps * len(self.running))  # as each of them did when it began
        self.clock += self._length(steps)
        grown = steps * len(self.running)
        self.own += grown
        self.context += grown
        ended = []
        for task in self.running:
            task.done += steps
            if task.done == task.request.output:
                ended.append(task)
        for task in ended:
            self._leave(task, task.own + task.done)
            task.end = self.clock

    def _preempt(self) -> None:
        """The request that came last goes back to the front of the queue."""
        task = self.running[-1]
        self._leave(task, task.own + task.done)
        self.waiting.appendleft(task)
        self.queued += task.request.prompt + task.done
        self.preemptions += 1

    def _leave(self, task: Task, own: int) -> None:
        """A request gives up what it holds; its blocks, the last ones first, may be thrown away from now on."""
        self.running.remove(task)
        self.own -= own
        self.context -= task.request.prompt + task.done
        for block in reversed(task.request.blocks):
            self.pinned[block] -= 1
            if not self.pinned[block]:
                del self.pinned[block]
                self.cached[block] = None

    def _make_room(self, tokens: int) -> None:
        """Throws cached blocks away until `tokens` more have room."""
        limit = self.kind.capacity - self.used - tokens
        while len(self.cached) * self.block > limit:
            del self.cached[next(iter(self.cached))]


def simulate(instance: Instance, ask: Callable[..., object]) -> float:
    """Points lost: see `loss`.

    Args:
        ask: the policy, as `route(now, prompt, predicted, root, stem, hit, running, waiting, queued, used, capacity,
            ahead, speed, sent)`; see statement.md.

    Raises:
        Invalid: a decision is none.
    """
    tasks = play(instance.facts, ask)
    return loss(instance.facts, *latencies(tasks))


def play(facts: Mapping[str, Any], ask: Callable[..., object]) -> list[Task]:
    """All requests of an instance, served."""
    block, kinds = int(facts["block"]), facts["kinds"]
    servers = [Server(kind, block) for kind in kinds]
    capacity = np.array([kind.capacity for kind in kinds], np.float64)
    fastest = min(kind.prompt_token for kind in kinds)
    speed = np.array([fastest / kind.prompt_token for kind in kinds])
    sent = np.zeros(len(servers))
    tasks = []
    for request in facts["requests"]:
        for server in servers:
            server.advance(request.arrival)
        state = np.array(
            [(s.hit(request), len(s.running), len(s.waiting), s.queued, s.used, s.ahead()) for s in servers],
            np.float64,
        ).T.copy()
        hit, running, waiting, queued, used, ahead = state
        root, stem = _names(request)
        answer = ask(
            request.arrival / SECOND, float(request.prompt), float(request.predicted), root, stem,
            hit, running, waiting, queued, used, capacity, ahead, speed, sent.copy(),
        )  # fmt: skip
        chosen, moves = _decision(answer, len(servers))
        for source, target in moves:
            moved = servers[source].withdraw()
            if moved is not None:
                servers[target].arrive(moved, request.arrival)
        task = Task(request, block)
        tasks.append(task)
        sent[chosen] += 1
        servers[chosen].arrive(task, request.arrival)
    for server in servers:
        server.advance(math.inf)
    return tasks


def _names(request: Request) -> tuple[int, int]:
    """Names of the beginning of a prompt: its first block, and its fourth, or the last before that; -1: none."""
    blocks = request.blocks
    return (blocks[0], blocks[min(3, len(blocks) - 1)]) if blocks else (-1, -1)


def latencies(tasks: Sequence[Task]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Seconds to the first token, and per token after it (0 if there is none), one each for a request."""
    ttft = [(task.first - task.request.arrival) / SECOND for task in tasks]
    tpot = [(task.end - task.first) / SECOND / max(1, task.request.output - 1) for task in tasks]
    return np.array(ttft), np.array(tpot)


def loss(facts: Mapping[str, Any], ttft: npt.NDArray[np.float64], tpot: npt.NDArray[np.float64]) -> float:
    """Points lost: one for each % of the requests that miss an objective, and for a slow tail.

    The tail is the mean time to the first token of the slowest 5 %, as many times the objective, times TAIL_WEIGHT.
    It does not fall when any latency rises.
    """
    missed = 100.0 * float(np.mean((ttft > facts["ttft_s"]) | (tpot > facts["tpot_s"])))
    slowest = np.sort(ttft)[-max(1, round(TAIL * len(ttft))) :]
    return missed + TAIL_WEIGHT * float(np.mean(slowest)) / float(facts["ttft_s"])


def alone(facts: Mapping[str, Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Latencies that no policy can beat: every request has an instance of its own, of the fastest kind for it.

    What any earlier request shares with it is in that instance's cache.
    """
    block, seen = int(facts["block"]), set[int]()
    kinds = set(facts["kinds"])
    ttft, tpot = [], []
    for request in facts["requests"]:
        found = next((i for i, each in enumerate(request.blocks) if each not in seen), len(request.blocks))
        tokens = request.prompt - min(found * block, request.prompt - 1)
        seen.update(request.blocks)
        ttft.append(min(kind.base + kind.prompt_token * tokens for kind in kinds) / SECOND)
        # iteration j decodes with prompt + j tokens in memory, for j = 1 .. output - 1
        more = request.output - 1
        held = request.prompt + (more + 1) / 2
        each = min(kind.base + kind.sequence + kind.context_token * held for kind in kinds) / SECOND
        tpot.append(each if more else 0.0)
    return np.array(ttft), np.array(tpot)


def _decision(answer: object, count: int) -> tuple[int, list[tuple[int, int]]]:
    """The chosen instance, and moves of waiting requests as (from, to)."""
    if type(answer) is int:
        return _index(answer, count), []
    if type(answer) not in (list, tuple):
        raise Invalid(f"route returned {_shown(answer)}; it has to return an integer, or a list of integers")
    numbers: Sequence[object] = answer  # type: ignore[assignment]
    if len(numbers) % 2 != 1 or len(numbers) > 1 + 2 * MAX_MOVES:
        raise Invalid(
            f"route returned {len(numbers)} numbers; it has to return the instance, and then from and to of at "
            f"most {MAX_MOVES} moves"
        )
    checked = [_index(each, count) for each in numbers]
    return checked[0], list(zip(checked[1::2], checked[2::2], strict=True))


def _index(answer: object, count: int) -> int:
    # a bool is an int to Python, and -1 is an index: neither is an instance
    if type(answer) is int and 0 <= answer < count:
        return answer
    raise Invalid(f"route chose {_shown(answer)}; an instance is an integer of 0..{count - 1}")


def _shown(answer: object) -> str:
    plain = type(answer) in (bool, int, float, str)
    return str(answer)[:20] if plain else f"a {type(answer).__name__}"


def summary(instances: Sequence[Instance], objectives: Sequence[float]) -> dict[str, float]:
    """How many points more than the bound are lost, on average and in the worst case."""
    over = [found - instance.bound for instance, found in zip(instances, objectives, strict=True)]
    return {"mean points over the bound": float(np.mean(over)), "worst points over the bound": max(over)}
