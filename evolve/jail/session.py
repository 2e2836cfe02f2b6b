"""One candidate's process, asked questions: its CPU clock keeps the budget; nothing it says is trusted."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, NoReturn

from evolve.errors import JailError
from evolve.jail import wire
from evolve.jail.launch import Process, Usage, Zygote, ZygoteError
from evolve.jail.level import Limits
from evolve.jail.pipe import Pipe
from evolve.records import Status, Value

TEXT = 2000  # characters of feedback
NAP_S = 0.008  # of CPU; answers to questions written ahead are taken several at a time: each look costs
LONGEST_NAP_S = 0.05  # wall; how far a program can pass its limits before somebody looks
BUSY = 0.75  # of what a program was to work meanwhile
LAG = 2.0  # times the work that is due, for which is slept at most: a program that waits for us looks starved
ROOM = 128  # answers, and bytes of them, that are sure to have room in the socket while nobody reads
ROOM_BYTES = 1 << 16
START_S = 0.0005  # no process has loaded a program before that
_CLAIMS = frozenset({Status.INVALID, Status.CRASHED, Status.OUT_OF_MEMORY, Status.FORBIDDEN})


@dataclass(frozen=True)
class Failure:
    """Why there is no answer. The feedback is fit to be shown to a proposer."""

    status: Status
    feedback: str


class Answer(NamedTuple):
    """What the candidate returned for one question, or the failure. cpu_s: CPU seconds it took."""

    value: Value = None
    failure: Failure | None = None
    cpu_s: float = 0.0


def wall_limit(cpu_s: float) -> float:
    """Seconds of wall time for a CPU budget; time in which the program is refused a core does not count."""
    return max(10 * cpu_s, cpu_s + 2.0)


def clean(text: object) -> str:
    """Hostile text made fit to print: bounded, and without control characters."""
    if not isinstance(text, str):
        return "the program died without a readable message"
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text[:TEXT])


def _judge_exit(status: int) -> Failure:
    """Why a process that ended by itself did so; `status` as wait(2) encodes it."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return Failure(Status.CRASHED, f"the program ended its process (exit code {code})")
    if -code == signal.SIGKILL:
        return Failure(Status.OUT_OF_MEMORY, "the kernel killed the program, most likely for its memory")
    if -code == signal.SIGXCPU:
        return Failure(Status.TIMED_OUT, "the program passed the limit on its total CPU time")
    if -code == signal.SIGSYS:
        return Failure(Status.FORBIDDEN, "the program made a system call that the jail refuses")
    name = signal.strsignal(-code) or f"signal {-code}"
    hint = " (a fault in compiled code, or recursion that is too deep)" if -code == signal.SIGSEGV else ""
    return Failure(Status.CRASHED, f"the program died: {name}{hint}")


class Session:
    """A candidate loaded into a process of its own. Not thread-safe; a context manager.

    Every method raises JailError when the zygote died or a layer failed: no fault of the candidate.
    """

    def __init__(self, zygote: Zygote, process: Process, pipe: Pipe, limits: Limits, program: bytes) -> None:
        self._zygote = zygote
        self._process = process
        self._pipe = pipe
        self._load_s = limits.load_s
        self._cpu = 0.0  # the process's clock when its last answer came
        self._pace = 0.0  # CPU seconds that an answer took when we last looked
        self._room = 1  # answers of the size seen last that it can write without us
        self._forgiven = 0.0  # wall seconds without a core that have put off a deadline
        self._lag = 1.0  # wall seconds that a second of its CPU takes
        self._looked = 0.0  # when it was last seen at work, or given some
        self._before = [wire.CONFINED, wire.LOADED]  # frames due before the first answer
        self._failure: Failure | None = None
        self._usage: Usage | None = None
        pipe.queue([program])

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(JailError):
            self.close()

    @property
    def closed(self) -> bool:
        return self._usage is not None

    def ask(self, questions: Sequence[bytes], cpu_s: Sequence[float]) -> Iterator[Answer]:
        """Calls the entry point once per question; yields the answers in order, as they arrive.

        Args:
            questions: frames made by `encode_arguments`. They are written ahead as far as the pipe takes
                them; ask one at a time if a question must not be seen before the last is answered.
            cpu_s: CPU seconds for each. A failed load shows as the failure of the first answer.

        The iteration ends with the first failure. Leaving it before its end ends the session.
        """
        if len(questions) != len(cpu_s):
            raise ValueError(f"{len(questions)} questions, but {len(cpu_s)} limits")
        if self._failure is None and self._usage is not None:
            raise JailError("a closed session was asked a question; open a new one")
        if self._failure is not None:
            yield Answer(failure=self._failure)
            return
        self._pipe.queue(questions)
        self._looked = time.monotonic()
        limits = deque([*[self._load_s] * len(self._before), *cpu_s])
        try:
            while limits and self._failure is None:
                yield from self._gather(limits)
        finally:
            if limits and self._usage is None:
                self.close()

    def close(self) -> Usage:
        """Ends the process, whatever it is doing, and returns what it used."""
        if self._usage is not None:
            return self._usage
        self._zygote.look(self._process)
        self._process.kill()
        try:
            self._usage = self._zygote.reap()
        except ZygoteError as error:
            self._usage = Usage(self._cpu, 0.0, 0)
            raise JailError(f"the jail's zygote died under a candidate ({error}); try again") from error
        finally:
            self._process.close()
            self._pipe.close()
        return self._usage

    # -- for a dialogue (see dialogue.py) -------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process's id in our own namespace, if it is known for sure."""
        return self._process.pid if self._process.pidfd is not None else None

    def hand_over(self) -> tuple[socket.socket, Process]:
        """The channel and the process of a loaded program. `ask` must not be used from here on.

        Raises:
            WireError: the program has answered without being asked.
        """
        return self._pipe.hand_over(), self._process

    def claim(self, value: Any) -> Failure:
        """What the process says of its own failure, in the value of a FAILURE frame."""
        return self._claim(value)

    def died(self) -> Failure:
        """Judges the end of the stream, and ends the session."""
        return self._died()

    # -- answers ------------------------------------------------------------------------------------------

    def _gather(self, limits: deque[float]) -> Iterator[Answer]:
        """Waits for at least one frame, and takes from `limits` those of the frames that came."""
        start = self._cpu
        bodies = self._receive(limits, start)
        if isinstance(bodies, Failure):
            yield self._fail(bodies, start)
            return
        now = self._process.cpu_s()
        self._cpu = start if now is None else now
        used = self._cpu - start
        self._note_pace(used, bodies, len(limits))
        # It may be busy with the next question by the time we look, which is not held against these.
        if used > sum(islice(limits, len(bodies) + 1)):
            yield self._fail(self._too_long(limits[0]), start)
            return
        for body in bodies:
            limits.popleft()
            answer = self._judge(body, used / len(bodies))
            if isinstance(answer, Failure):
                yield self._fail(answer, start)
                return
            if answer is not None:
                yield answer

    def _note_pace(self, used: float, bodies: Sequence[bytes], awaited: int) -> None:
        """Learns from answers how long to sleep before the next look."""
        count = len(bodies)
        self._pace = 0.0 if self._before else used / count
        self._room = min(ROOM, ROOM_BYTES * count // max(1, sum(map(len, bodies))))
        now = time.monotonic()
        if count == awaited:  # it may have waited for us
            self._lag = (1.0 + self._lag) / 2
        elif used > 0:
            self._lag = min(LAG, max(1.0, (now - self._looked) / used))
        self._looked = now

    def _fail(self, failure: Failure, start: float) -> Answer:
        self._failure = failure
        return Answer(failure=failure, cpu_s=max(0.0, self.close().cpu_s - start))

    def _judge(self, body: bytes, cpu_s: float) -> Answer | Failure | None:
        """One frame's meaning; None for a frame that is due before the first answer."""
        try:
            kind, value = wire.decode(body)
        except wire.WireError as error:
            return Failure(Status.INVALID, f"the answer cannot be decoded: {error}")
        if kind == wire.FAILURE:
            return self._claim(value)
        if self._before and kind == self._before[0]:
            self._before.pop(0)
            return None
        if self._before or kind != wire.ANSWER:
            return Failure(Status.INVALID, "the answer cannot be decoded: a frame out of turn")
        return Answer(value, None, cpu_s)

    def _claim(self, value: Any) -> Failure:
        """What the process says of its own failure. It can only incriminate itself."""
        status, text = value if isinstance(value, list) and len(value) == 2 else (Status.CRASHED, None)
        if wire.CONFINED in self._before:  # no candidate code has run yet
            self._blame_jail(clean(text))
        known = isinstance(status, str) and status in _CLAIMS
        return Failure(Status(status) if known else Status.CRASHED, clean(text))

    def _blame_jail(self, text: str) -> NoReturn:
        self.close()
        raise JailError(f"{text}; run `evolve doctor` to see which layers this machine has")

    # -- waiting ------------------------------------------------------------------------------------------

    def _receive(self, limits: deque[float], start: float) -> list[bytes] | Failure:
        """At least one frame and at most one a limit, or why none came; enforces the first limit."""
        limit = left = limits[0]
        deadline = time.monotonic() + wall_limit(limit)
        self._doze(limits, start)
        try:
            while not (frames := self._pipe.take(len(limits))):
                if not self._pipe.exchange(left):
                    return self._died()
                if not self._pipe.has_frame:
                    used = self._process.cpu_s()
                    if used is None:
                        return self._died()
                    if time.monotonic() >= deadline:
                        deadline += self._starved()
                    left = min(limit - (used - start), deadline - time.monotonic())
                    if left <= 0:
                        return self._late(limit, used - start)
        except wire.WireError as error:
            return Failure(Status.INVALID, f"the answer cannot be decoded: {error}")
        return frames

    def _starved(self) -> float:
        """Wall seconds in which the program got no core, since we last asked: not its fault."""
        before, self._forgiven = self._forgiven, self._process.starved_s()
        return self._forgiven - before

    def _doze(self, limits: deque[float], start: float) -> None:
        """Sleeps while nothing is worth a look: until all but one of the answers are due, or some of them.

        What is taken together is timed together. So it lasts no longer than half of one answer's limit (or hardly
        anything): none of the answers in it was near its own.
        """
        if self._before:
            if wire.CONFINED in self._before:
                time.sleep(START_S)
            return
        share = max(NAP_S, min(LONGEST_NAP_S, limits[0] / 2, start / 2))
        # it works on what was written to it, as long as its answers have room
        undisturbed = min(len(limits) - self._pipe.unsent, self._room) - 1
        left = min(share, self._pace * undisturbed)
        # by the wall too: a program that hardly works would be waited for without end
        until = time.monotonic() + left * LAG
        while left > START_S / 10 and time.monotonic() < until:
            nap = min(LONGEST_NAP_S, left * self._lag)
            time.sleep(nap)
            now = self._process.cpu_s()
            worked = 0.0 if now is None else now - start
            if worked < BUSY * nap / self._lag:  # it waits for us by now, or has ended
                return
            left, start = left - worked, start + worked

    def _late(self, limit: float, used: float) -> Failure:
        if used >= limit:
            return self._too_long(limit)
        wall = f"no answer within {wall_limit(limit):g} s, of which {used:.2g} s were CPU"
        return Failure(Status.TIMED_OUT, f"{wall}: the program waits or sleeps")

    def _too_long(self, limit: float) -> Failure:
        what = "loading the program" if self._before else "the answer"
        return Failure(Status.TIMED_OUT, f"{what} took more than {limit:g} s of CPU")

    def _died(self) -> Failure:
        """Judges the end of the stream."""
        by_itself = self._process.ended(0.05)
        status = self.close().status
        if wire.CONFINED in self._before:
            self._blame_jail(f"a process of the jail died before it ran the program (wait status {status})")
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and not by_itself:
            return Failure(Status.CRASHED, "the program closed the descriptor that its answers go to")
        return _judge_exit(status)
