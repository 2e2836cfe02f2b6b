"""A candidate asked one question at a time, by a simulator on the trusted side: quick, and no more trusting.

A question costs one write and one read on each side. The read blocks; the kernel ends it after a slice of
time (SO_RCVTIMEO). Clocks are compared with limits only then, and when a slice has passed since the last look.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NoReturn

from evolve.errors import JailError
from evolve.jail import turn, wire
from evolve.jail.core import SharedCore
from evolve.jail.launch import Process, Usage, starved_s
from evolve.jail.session import Failure, Session, wall_limit
from evolve.records import Status, Value

SLICE_S = 0.02  # wall; how far a program can pass its limits before somebody looks
GRACE_S = 0.005  # wall; what a busy machine may add to each of many quick answers
_BUFFER = 1 << 16
_FAILURE_BYTES = 1 << 13  # of a frame that says why the program failed
_OVERHEAD = 64  # bytes of a frame that are not the answer


class Hangup(BaseException):
    """There will be no more answers: ends the simulator. Beyond the reach of its own `except Exception`."""


class Dialogue:
    """Asks a session's program; a context manager, to be used within the session and on one thread.

    Args:
        session: fresh; `Session.ask` must not be used beside this.
        cpu_s: CPU seconds for all answers together. The time that the program keeps us waiting is limited
            too: `wall_limit(cpu_s)` for all answers together, and GRACE_S more for each.
        answer_bytes: of one encoded answer.
        stop: looked at now and then; once it is true, the dialogue ends as `stopped`.
        heard: called with the bytes of each answer, in order; they are gone afterwards.
        asides: the program may ask back (see `confer`).
    """

    def __init__(
        self,
        session: Session,
        cpu_s: float,
        answer_bytes: int,
        stop: Callable[[], bool] = lambda: False,
        heard: Callable[[memoryview], object] | None = None,
        asides: bool = False,
    ) -> None:
        self.failure: Failure | None = None
        self.fault: JailError | None = None
        self.stopped = False
        self.questions = 0
        self._session = session
        self._limit = cpu_s
        self._largest = max(answer_bytes, _FAILURE_BYTES) + _OVERHEAD
        self._stop = stop
        self._heard = heard
        self._asides = asides
        self._asked_back = False
        self._draw = Random(secrets.randbits(128)).getrandbits  # only has to be unknown to the program
        self._view = memoryview(bytearray(_BUFFER))
        self._used = 0.0
        self._waited = 0.0
        self._look_at = 0.0
        self._start = 0.0
        self._starved_before = starved_s()
        self._channel: socket.socket
        self._process: Process
        self._core = SharedCore(session.pid)

    def __enter__(self) -> Dialogue:
        """Waits until the program is loaded; where it fails to, the first question gets no answer.

        Raises:
            JailError: no fault of the program.
        """
        for answer in self._session.ask([], []):
            self.failure = answer.failure
        self._core.__enter__()
        if self.failure is None:
            with contextlib.suppress(Hangup):
                self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._core.__exit__()

    @property
    def over(self) -> bool:
        """Whether no more questions are answered."""
        return self.failure is not None or self.fault is not None or self.stopped

    def ask(self, *arguments: Any) -> Value:
        """The program's decision: any value that may cross, which nobody has checked. Tuples are lists.

        Numpy's scalars arrive as Python's, except inside lists and dicts, where they are 0-d arrays.

        Raises:
            WireError: an argument is of a type that may not cross; a fault of the simulator.
            Hangup: there is no answer; `failure`, `fault` or `stopped` says why.
        """
        if self.failure is not None or self.fault is not None or self.stopped:
            raise Hangup
        nonce = self._draw(64)
        self.questions += 1
        return self._exchange(turn.question(arguments, nonce), nonce)

    def confer(self, arguments: Sequence[Any], reply: Callable[[Value], Any]) -> Value:
        """As `ask`; what the program asks on its way to the decision, `reply` answers.

        Args:
            reply: from a value that nobody has checked, plain or a flat list, to one that may cross. Each call is a
                question to the program that it answers, by the rules of `ask` for time and memory.
        """
        answer = self.ask(*arguments)
        while self._asked_back:
            self._asked_back = False
            answer = self.ask(reply(answer))
        return answer

    def finish(self) -> Usage:
        """Looks at the clock a last time, and ends the process.

        Raises:
            JailError: no fault of the program.
        """
        if self.fault is not None:
            raise self.fault
        if not self.over:
            with contextlib.suppress(Hangup):
                self._look(time.monotonic())
        return self._session.close()

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the answers so far, as last looked at."""
        return self._used

    # -- turns --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Takes the channel over, and has the child wait for turns."""
        try:
            self._channel, self._process = self._session.hand_over()
        except wire.WireError as error:
            self._end(Status.INVALID, f"the answer cannot be decoded: {error}")
        self._channel.setblocking(True)
        slice_ = struct.pack("@ll", 0, int(SLICE_S * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._channel.setsockopt(socket.SOL_SOCKET, option, slice_)
        self._start = self._clock()
        self._exchange(turn.SWITCH_ASIDE if self._asides else turn.SWITCH, 0)

    def _exchange(self, frame: bytes, nonce: int) -> Value:
        start = time.monotonic()
        try:
            sent = self._channel.send(frame)
        except OSError:
            sent = 0  # a full socket or a dead process: `_send` finds out
        if sent != len(frame):
            self._send(frame, sent, start)
        try:
            size = self._channel.recv_into(self._view)
        except OSError:
            size = self._receive(0, start)
        try:
            value = self._read(size, nonce, start)
        except wire.WireError as error:
            self._end(Status.INVALID, f"the answer cannot be decoded: {error}")
        now = time.monotonic()
        self._waited += now - start
        if now >= self._look_at:
            self._look(now)
        return value

    def _read(self, size: int, nonce: int, start: float) -> Value:
        """The value of the frame whose first `size` bytes are here."""
        value: Value
        if size >= turn.HEAD.size:
            length, kind, echo = turn.HEAD.unpack_from(self._view)
            whole = echo == nonce and size == length + wire.HEADER.size
            if whole and kind == turn.ASIDE and self._asides:
                self._asked_back = True
                value = turn.quick_answer(self._view[turn.HEAD.size : size])
                return value
            if whole and kind == turn.QUICK:
                body = self._view[turn.HEAD.size : size]
                value = turn.quick_answer(body)
                if self._heard is not None:
                    self._heard(body)
                return value
        return self._read_other(self._complete(size, start), nonce, start)

    def _read_other(self, size: int, nonce: int, start: float) -> Value:
        """The value of a whole frame of any kind."""
        frame = self._view[wire.HEADER.size : size]
        if size > wire.HEADER.size and frame[0] == wire.FAILURE:
            self.failure = self._session.claim(wire.decode(frame)[1])
            raise Hangup
        if size < turn.HEAD.size:
            raise wire.WireError("a frame without a head")
        _, kind, echo = turn.HEAD.unpack_from(self._view)
        if echo != nonce:
            raise wire.WireError("an answer to something that was not asked")
        body = self._view[turn.HEAD.size : size]
        value: Value
        if kind == turn.QUICK:
            value = turn.quick_answer(body)
        elif kind == turn.RICH:
            value = wire.decode(body)[1]
        elif kind == turn.ASIDE and self._asides:
            value, self._asked_back = turn.quick_answer(body), True
        else:
            raise wire.WireError("a frame out of turn")
        if self._heard is not None:
            self._heard(body)
        return value

    def _complete(self, size: int, start: float) -> int:
        """Reads on until one whole frame is here; its size in bytes."""
        while size < wire.HEADER.size:
            size = self._receive(size, start)
        end = wire.HEADER.size + int(wire.HEADER.unpack_from(self._view)[0])
        if end > self._largest:
            raise wire.WireError(f"a frame of {end} bytes")
        if end > len(self._view):
            larger = memoryview(bytearray(end))
            larger[:size] = self._view[:size]
            self._view = larger
        while size < end:
            size = self._receive(size, start)
        if size > end:
            raise wire.WireError("bytes behind the answer, before the next question")
        return end

    # -- waiting ------------------------------------------------------------------------------------------

    def _send(self, frame: bytes, sent: int, start: float) -> None:
        """What the socket did not take at once."""
        while sent < len(frame):
            try:
                sent += self._channel.send(memoryview(frame)[sent:])
            except BlockingIOError:
                self._look(start)
            except ConnectionError:
                self._died()
            self._glance(start)

    def _receive(self, size: int, start: float) -> int:
        """Some more bytes behind the `size` ones that are here; how many there are then."""
        self._glance(start)  # bytes that trickle in, each just in time, must not put off every look
        while True:
            try:
                more = self._channel.recv_into(self._view[size:])
            except BlockingIOError:
                self._core.part()  # no turn is being taken: it computes for long, or does not get to compute
                self._look(start)
                continue
            except ConnectionError:
                more = 0
            if more == 0:
                self._died()
            return size + more

    def _clock(self) -> float:
        used = self._process.cpu_s()
        if used is None:
            self._died()
        return used

    def _glance(self, start: float) -> None:
        """Looks if it is time."""
        if time.monotonic() >= self._look_at:
            self._look(start)

    def _look(self, start: float) -> None:
        """Compares clocks with limits; `start`: since when the present answer has been waited for."""
        now = time.monotonic()
        self._look_at = now + SLICE_S
        self._used = self._clock() - self._start
        if self._used > self._limit:
            self._end(Status.TIMED_OUT, f"the answers together took more than {self._limit:g} s of CPU")
        wall = wall_limit(self._limit) + GRACE_S * self.questions
        late = self._waited + now - start - wall
        if late > 0 and late > self._starved():
            text = f"the answers together took more than {wall:.3g} s, of which {self._used:.2g} s were CPU"
            self._end(Status.TIMED_OUT, f"{text}: the program waits or sleeps")
        if self._stop():
            self.stopped = True
            raise Hangup

    def _starved(self) -> float:
        """Wall seconds in which the program, or this thread, got no core: not the program's fault."""
        return self._process.starved_s() + starved_s() - self._starved_before

    def _died(self) -> NoReturn:
        try:
            self.failure = self._session.died()
        except JailError as error:
            self.fault = error
        raise Hangup

    def _end(self, status: Status, text: str) -> NoReturn:
        self.failure = Failure(status, text)
        raise Hangup
