"""How many candidates are under way at a time: as many as keep the evaluators busy, and no more.

A call that is made later is made about a better program: what has come in meanwhile may be its parent. So the next
one is due when an evaluator would otherwise run out of work by the time its answer is there. With W evaluators, S
seconds of one of them per candidate and L seconds until an answer, W + W·L/S candidates are under way then (Little,
"A proof for the queuing formula L = λW", 1961). A quarter more are allowed, since both times vary: evaluators that wait
lose more than programs whose parents are a little older.
"""

from __future__ import annotations

import math

LATENCY_FADING = 0.9  # of what is known, with each further answer
SERVICE_FADING = 0.98  # with each further evaluation; a champion is followed by some that take longer
ENOUGH = 10  # evaluations, to know how long they take
SPARE = 1  # candidates more than the means ask for,
MARGIN = 1.25  # and times as many


class _Mean:
    """A mean that forgets; 0 at first."""

    def __init__(self, fading: float) -> None:
        self._fading = fading
        self._sum = self._weight = 0.0

    def add(self, value: float) -> None:
        self._sum = self._fading * self._sum + value
        self._weight = self._fading * self._weight + 1

    @property
    def value(self) -> float:
        return self._sum / self._weight if self._weight else 0.0


class Pace:
    """Measures how long evaluators and models take. All times are running times of the search, in seconds."""

    def __init__(self) -> None:
        self._service, self._latency = _Mean(SERVICE_FADING), _Mean(LATENCY_FADING)
        self._ended = 0  # evaluations
        self._busy = 0  # evaluations under way
        self._worked_s = 0.0  # by all evaluators, since one last had a result
        self._since = 0.0  # until when that is counted
        # when the calls were made that are not answered yet, the first one first
        self._asked: dict[int, float] = {}

    def begun(self, at: float, capacity: int) -> None:
        """An evaluation was handed to one of `capacity` evaluators."""
        self._work(at, capacity)
        self._busy += 1

    def ended(self, at: float, capacity: int) -> None:
        """An evaluation has ended."""
        self._work(at, capacity)
        self._busy -= 1
        self._ended += 1
        if self._ended > capacity:  # the first ones had to start their evaluators
            self._service.add(self._worked_s)
        self._worked_s = 0.0

    def _work(self, at: float, capacity: int) -> None:
        self._worked_s += min(self._busy, capacity) * max(0.0, at - self._since)
        self._since = at

    def asked(self, number: int, at: float) -> None:
        """A model is asked for proposal `number`."""
        self._asked[number] = at

    def answered(self, number: int, at: float) -> None:
        """That proposal's last exchange is there."""
        self._latency.add(at - self._asked.pop(number))

    def due(self, at: float, capacity: int) -> bool:
        """Whether one more call is to be made now; always, while too little is known of the evaluators."""
        service_s = self._service.value
        if self._ended < capacity + ENOUGH or not service_s:
            return True
        under_way = len(self._asked) + self._busy
        # a call that is waited for longer than usual tells that models have become slow
        oldest = next(iter(self._asked.values()), at)
        latency_s = max(self._latency.value, at - oldest)
        return under_way < capacity + SPARE + math.ceil(MARGIN * capacity * latency_s / service_s)
