"""Trusted simulator of serving a language model on several instances: numpy and the standard library only.

An instance of the service batches continuously, as Orca and vLLM do: at each iteration it either computes the whole
prompt of the first request that waits (prefill), which gives the request's first token, or one more token of every
request that runs (decode). It holds the keys and values of all tokens of the running requests, prompts in blocks that
requests with a common beginning share; blocks that nobody uses any more stay as a prefix cache, the least recently
used goes first. When there is no room for another token of all, the request that came last is thrown out, waits at the
front, and has all its tokens computed again (vLLM's preemption by recomputation).

A request can be moved to another instance. One that waits joins the end of the queue there. One that runs takes what
it holds along, as in Llumnix: it waits at the front there, and its tokens are copied into that instance's memory in an
iteration of their own, which writes none. The token that was under way when it left is lost to it, and what it gave up
that iteration does not get any shorter.

Times are integer nanoseconds. An iteration costs
    prefill: base + prompt_token * (tokens of the request that are not in the prefix cache)
    copying: base + copy_token * (the same)
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
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

SECOND = 1_000_000_000
MAX_MOVES = 4
MIGRATE_NS = 100_000_000  # between two questions to `migrate`
TAIL = 0.05  # of the requests, the slowest
TAIL_WEIGHT = 10.0  # points for a tail as slow as the objective
PREFILL, COPY, DECODE, IDLE = "prefill", "copy", "decode", "idle"


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
    copy_token: int
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
    """A request under way. first, end: when its first and its last token were there, in ns; -1 before.

    carried: what it holds comes along from another instance, to be copied.
    """

    __slots__ = ("carried", "done", "end", "first", "own", "predicted", "request")

    def __init__(self, request: Request, block: int) -> None:
        self.request = request
        self.predicted = request.predicted
        self.own = request.prompt - len(request.blocks) * block  # tokens of the prompt outside blocks
        self.done = 0  # tokens of the answer
        self.first = self.end = -1
        self.carried = False

    @property
    def size(self) -> int:
        """Tokens of the prompt, and those written so far."""
        return self.request.prompt + self.done


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
        self.end = 0  # of an iteration that computes a prompt, or copies
        self.steps = 0  # decode iterations until something else can happen, the one under way included
        self.extra = 0  # ns of the one under way that are for a request that has left
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
        for tasks in (self.running, self.waiting):
            for task in tasks:  # a third of the simulator's time was here
                left = task.predicted - task.done
                total += left if left > 1 else 1
        return total

    def next_to_move(self) -> Task | None:
        """The request that waits last; where none waits, of those that run the one with the fewest tokens.

        Of several such ones the last. One whose prompt is being computed, or that is being copied, cannot be moved.
        """
        if self.waiting:
            return self.waiting[-1]
        free = self.running[:-1] if self.doing is PREFILL or self.doing is COPY else self.running
        found = None
        for task in free:
            if found is None or task.size <= found.size:
                found = task
        return found

    # -- time ---------------------------------------------------------------------------------------------

    def arrive(self, task: Task, now: int) -> None:
        """A request joins the queue: at its end, or at its front if it carries tokens along."""
        if task.carried:
            self.waiting.appendleft(task)
        else:
            self.waiting.append(task)
        self.queued += task.size
        if self.doing is IDLE:
            self.clock = now
            self._begin()
        elif self.doing is DECODE:
            self.steps = 1  # the iteration under way; the next one may be a prefill

    def withdraw(self) -> Task | None:
        """The next one to move leaves; None if there is none."""
        if self.waiting:
            task = self.waiting.pop()
            self.queued -= task.size
            return task
        found = self.next_to_move()
        if found is not None:
            self._part(found)
        return found

    def _part(self, task: Task) -> None:
        """A running request leaves with all that it holds; the iteration under way ends when it would have."""
        before = self._length(1)
        self._leave(task, task.own + task.done)
        task.carried = True
        if self.doing is DECODE:
            self.extra += before - self._length(1)
            self.steps = 1

    def advance(self, now: float) -> None:
        """Everything that has ended by `now`, in ns; infinity plays to the end."""
        while self.doing is not IDLE:
            if self.doing is not DECODE:
                if self.end > now:
                    return
                self.clock = self.end
                self._ready(self.running[-1])
            else:
                steps = self._steps_until(now)
                if steps:
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
        """Begins with the first waiting request, if it and one more token of all have room."""
        request, kind = task.request, self.kind
        new = len([block for block in request.blocks if block not in self.pinned])
        own = task.own + task.done + (not task.carried)  # computing a prompt writes a token, copying does not
        if self.used + new * self.block + own + len(self.running) + 1 > kind.capacity:
            return False
        self.waiting.popleft()
        self.queued -= task.size
        tokens = task.size - self.hit(request)
        for block in request.blocks:
            self.cached.pop(block, None)
            self.pinned[block] = self.pinned.get(block, 0) + 1
        self.own += own
        self.context += task.size + (not task.carried)
        self.running.append(task)
        self._make_room(0)
        self.doing = COPY if task.carried else PREFILL
        self.end = self.clock + kind.base + (kind.copy_token if task.carried else kind.prompt_token) * tokens
        return True

    def _ready(self, task: Task) -> None:
        """Its prompt has been computed, which gives a token, or what it holds has been copied."""
        if task.carried:
            task.carried = False
            return
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
        """ns of some decode iterations, at least one: the context grows by a token of each request at every one."""
        count, kind = len(self.running), self.kind
        one = kind.base + kind.sequence * count + kind.context_token * self.context
        return self.extra + steps * one + kind.context_token * count * (steps * (steps - 1) // 2)

    def _decode(self, steps: int) -> None:
        self._make_room(steps * len(self.running))  # as each of them did when it began
        self.clock += self._length(steps)
        self.extra = 0
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
        self.queued += task.size
        self.preemptions += 1

    def _leave(self, task: Task, own: int) -> None:
        """A request gives up what it holds; its blocks, the last ones first, may be thrown away from now on."""
        self.running.remove(task)
        self.own -= own
        self.context -= task.size
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
        ask: the policy, as `ask("route", now, prompt, predicted, root, stem, hit, running, waiting, queued, used,
            capacity, ahead, speed, sent)` and `ask("migrate", now, running, waiting, queued, used, capacity, ahead,
            speed, size)`, to which None says that there are no moves on this instance; see statement.md.

    Raises:
        Invalid: a decision is none.
    """
    tasks = play(instance.facts, ask)
    return loss(instance.facts, *latencies(tasks))


class Fleet:
    """The serving instances, and what a policy is told of them; arrays have shape (instances,), float64."""

    def __init__(self, kinds: Sequence[Kind], block: int) -> None:
        self.servers = [Server(kind, block) for kind in kinds]
        self.capacity = np.array([kind.capacity for kind in kinds], np.float64)
        fastest = min(kind.prompt_token for kind in kinds)
        self.speed = np.array([fastest / kind.prompt_token for kind in kinds])
        self.sent = np.zeros(len(kinds))

    def advance(self, now: float) -> bool:
        """Everything that has ended by `now`, in ns. Whether anything is still under way."""
        for server in self.servers:
            server.advance(now)
        return any(server.doing is not IDLE for server in self.servers)

    def route(self, request: Request, ask: Callable[..., object]) -> Server:
        """The server that the policy chooses for what arrives."""
        rows = [
            (s.hit(request), len(s.running), len(s.waiting), s.queued, s.used, s.ahead())
            for s in self.servers
        ]
        hit, running, waiting, queued, used, ahead = np.array(rows, np.float64).T.copy()
        answer = ask(
            "route", request.arrival / SECOND, float(request.prompt), float(request.predicted), *_names(request),
            hit, running, waiting, queued, used, self.capacity, ahead, self.speed, self.sent.copy(),
        )  # fmt: skip
        chosen = _index(answer, len(self.servers), "route chose")
        self.sent[chosen] += 1
        return self.servers[chosen]

    def migrate(self, now: int, ask: Callable[..., object]) -> bool:
        """Moves what the policy wants to move at `now`, in ns. False if it moves nothing on this instance any more."""
        rows = [(len(s.running), len(s.waiting), s.queued, s.used, s.ahead(), _size(s)) for s in self.servers]
        running, waiting, queued, used, ahead, size = np.array(rows, np.float64).T.copy()
        answer = ask(
            "migrate", now / SECOND, running, waiting, queued, used, self.capacity, ahead, self.speed, size
        )
        if answer is None:
            return False
        for source, target in _moves(answer, len(self.servers)):
            moved = self.servers[source].withdraw() if source != target else None
            if moved is not None:
                self.servers[target].arrive(moved, now)
        return True


def _size(server: Server) -> int:
    """Tokens of the request that a move takes; 0 if there is none."""
    task = server.next_to_move()
    return task.size if task is not None else 0


def play(facts: Mapping[str, Any], ask: Callable[..., object]) -> list[Task]:
    """All requests of an instance, served."""
    block, requests = int(facts["block"]), facts["requests"]
    fleet, tasks = Fleet(facts["kinds"], block), []
    # no longer than requests arrive: a policy that moves one to and fro must not keep the simulator busy for ever
    look = requests[0].arrival + MIGRATE_NS
    migrates = True
    for request in requests:
        while migrates and look <= request.arrival:
            if fleet.advance(look):
                migrates = fleet.migrate(look, ask)
                look += MIGRATE_NS
            else:  # nothing happens before the next arrival
                look += (request.arrival - look) // MIGRATE_NS * MIGRATE_NS + MIGRATE_NS
        fleet.advance(request.arrival)
        task = Task(request, block)
        tasks.append(task)
        fleet.route(request, ask).arrive(task, request.arrival)
    fleet.advance(math.inf)
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
        tpot.append(_least_decode(request, kinds) / SECOND / max(1, request.output - 1))
    return np.array(ttft), np.array(tpot)


def _least_decode(request: Request, kinds: Collection[Kind]) -> int:
    """ns of the tokens after the first, each on the kind that is quickest for it.

    Token j + 1 is written with prompt + j tokens in memory, or when at least j + 1 tokens are computed anew.
    """
    j = np.arange(1, request.output)
    each = [
        np.minimum(kind.sequence + kind.context_token * (request.prompt + j), kind.prompt_token * (j + 1))
        + kind.base
        for kind in kinds
    ]
    return int(np.min(each, axis=0).sum())


def _moves(answer: object, count: int) -> list[tuple[int, int]]:
    """Moves as (from, to)."""
    if type(answer) not in (list, tuple):
        raise Invalid(f"migrate returned {_shown(answer)}; it has to return a list of integers")
    numbers: Sequence[object] = answer  # type: ignore[assignment]
    if len(numbers) % 2 or len(numbers) > 2 * MAX_MOVES:
        raise Invalid(
            f"migrate returned {len(numbers)} numbers; they are from and to of at most {MAX_MOVES} moves"
        )
    checked = [_index(each, count, "migrate named") for each in numbers]
    return list(zip(checked[::2], checked[1::2], strict=True))


def _index(answer: object, count: int, what: str) -> int:
    # a bool is an int to Python, and -1 is an index: neither is an instance
    if type(answer) is int and 0 <= answer < count:
        return answer
    raise Invalid(f"{what} {_shown(answer)}; an instance is an integer of 0..{count - 1}")


def _shown(answer: object) -> str:
    plain = type(answer) in (bool, int, float, str)
    return str(answer)[:20] if plain else f"a {type(answer).__name__}"


def summary(instances: Sequence[Instance], objectives: Sequence[float]) -> dict[str, float]:
    """How many points more than the bound are lost, on average and in the worst case."""
    over = [found - instance.bound for instance, found in zip(instances, objectives, strict=True)]
    return {"mean points over the bound": float(np.mean(over)), "worst points over the bound": max(over)}
