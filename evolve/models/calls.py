"""Calls under way: threads that ask models, try again where that may help, and report every exchange."""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from evolve.models.base import Failure, Model
from evolve.models.prices import Price
from evolve.models.retry import Policy
from evolve.records import Exchange, Request


@dataclass(frozen=True)
class Line:
    """A model that can be asked. reply_tokens: of one reply at most."""

    model: Model
    price: Price
    reply_tokens: int


class Calls:
    """A pool of threads, each of which holds one call at a time.

    The threads are daemons: a provider that keeps a connection open cannot keep the program from ending.
    """

    def __init__(
        self,
        lines: Mapping[str, Line],
        in_flight: int,
        policy: Policy,
        report: Callable[[Exchange | Exception], None],
    ) -> None:
        """
        Args:
            lines: the models, by name.
            in_flight: how many calls may be under way.
            report: is given every exchange, from the threads, in the order of attempts; and what no model should
                raise.
        """
        self.in_flight = in_flight
        self._lines = lines
        self._policy = policy
        self._report = report
        self._cancelled = threading.Event()
        self._waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"model-{i}", args=(i == 0,), daemon=True)
            for i in range(in_flight)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: Request) -> None:
        self._waiting.put(request)

    def close(self) -> None:
        """Abandon what is under way."""
        self._cancelled.set()
        for _ in self._threads:
            self._waiting.put(None)
        for line in self._lines.values():
            line.model.close()

    def _work(self, first: bool) -> None:
        if first:  # while the seeds are evaluated
            for line in self._lines.values():
                with contextlib.suppress(Failure):
                    line.model.warm()
        while (request := self._waiting.get()) is not None and not self._cancelled.is_set():
            try:
                self._ask(request)
            except Exception as error:  # a thread that dies silently would leave the loop waiting for ever
                if not self._cancelled.is_set():
                    self._report(error)

    def _ask(self, request: Request) -> None:
        rng = random.Random(request.number)
        attempt, pause_s = 0, 0.0
        while not self._cancelled.wait(pause_s):
            attempt += 1
            exchange, again_s = self._attempt(request, attempt, rng)
            if self._cancelled.is_set():
                return
            self._report(exchange)
            if again_s is None:
                return
            pause_s = again_s

    def _attempt(self, request: Request, attempt: int, rng: random.Random) -> tuple[Exchange, float | None]:
        """One exchange, and the seconds until the next one if there is one."""
        line = self._lines[request.model]
        began = time.monotonic()
        exchange = Exchange(request.number, attempt, request.model)
        pause_s = None
        try:
            reply = line.model.ask(request.prompt, line.reply_tokens)
            exchange = replace(exchange, reply=reply.text, cut=reply.cut, usage=reply.usage)
        except Failure as failure:
            pause_s = self._policy.pause_s(failure, attempt, rng)
            exchange = replace(
                exchange,
                fault=failure.fault,
                detail=failure.detail,
                usage=failure.usage,
                final=pause_s is None,
            )
        latency_s = time.monotonic() - began
        return replace(exchange, dollars=line.price.dollars(exchange.usage), latency_s=latency_s), pause_s
