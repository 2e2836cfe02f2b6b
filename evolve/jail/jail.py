"""The jail: one warm zygote, a session a candidate, and the next candidate's process forked ahead."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

from evolve.errors import JailError
from evolve.jail import wire
from evolve.jail.launch import Process, Zygote, ZygoteError
from evolve.jail.level import Level, Limits
from evolve.jail.pipe import Pipe
from evolve.jail.probe import strongest
from evolve.jail.session import Session

ATTEMPTS = 3  # at a working zygote, before the machine is to blame


class Jail:
    """Runs candidates, each in a process of its own behind every layer that the level has.

    Not thread-safe, and one session at a time: a worker thread owns a jail. A context manager.

    Args:
        limits: what a candidate may use.
        minimum: the weakest level to accept; the strongest that the machine has is taken.
        level: take this level and no other (for tests, and for measuring what a layer stops).
        settled: candidates stay on one core; faster where there is a jail for each core, slower with cores to spare.

    Raises:
        JailError: the machine has no level that is strong enough.
    """

    def __init__(
        self,
        limits: Limits,
        minimum: Level = Level.LANDLOCK_SECCOMP,
        level: Level | None = None,
        settled: bool = False,
    ) -> None:
        self.limits = limits
        self.level = level or strongest(minimum)
        self._settled = settled
        self._zygote: Zygote | None = None
        self._session: Session | None = None
        self._spare: socket.socket | None = None  # our end to a child that was forked ahead

    def __enter__(self) -> Jail:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def zygote(self) -> int | None:
        """Process id of the warm process (with bubblewrap, of its wrapper); None before the first session."""
        return self._zygote.process.pid if self._zygote is not None else None

    @property
    def waiting(self) -> int | None:
        """Process id of the process that waits for the next candidate; None if there is none."""
        return self._zygote.waiting if self._zygote is not None else None

    def session(self, files: Mapping[str, str], program: str, entry: str) -> Session:
        """Forks a process for the candidate and starts to load `program`, one of `files`.

        Raises:
            JailError: no zygote can be started, or the last session is still open.
        """
        if self._session is not None and not self._session.closed:
            raise JailError("this jail has a session open; close it, or use a jail for each thread")
        frame = wire.encode(wire.PROGRAM, [dict(files), program, entry])
        for attempt in range(ATTEMPTS):
            try:
                self._session = self._start(frame)
                return self._session
            except ZygoteError as error:
                self._stop()
                if attempt == ATTEMPTS - 1:
                    raise JailError(f"the jail ({self.level}) cannot be started: {error}") from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Ends the session, if one is open, and the zygote."""
        if self._session is not None:
            self._session.__exit__()
        self._stop()

    def _start(self, frame: bytes) -> Session:
        if self._zygote is None:
            self._zygote = Zygote(self.limits, self.level, self._settled)
        channel, process = self._child(self._zygote)
        session = Session(self._zygote, process, Pipe(channel, self.limits.answer_bytes), self.limits, frame)
        # The next child is forked while this one works. Not where a program could reach another process.
        if self.level.filters:
            with contextlib.suppress(ZygoteError):  # the session will tell
                self._fork_ahead(self._zygote)
        return session

    def _child(self, zygote: Zygote) -> tuple[socket.socket, Process]:
        """A child that waits for its program, and our end of its channel."""
        while True:
            if self._spare is None:
                self._fork_ahead(zygote)
            channel, self._spare = self._spare, None
            assert channel is not None
            try:
                process = zygote.take()
                if not process.ended(0):
                    return channel, process
                zygote.reap()  # killed while it waited, most likely for want of memory
            except ZygoteError:
                channel.close()
                raise
            process.close()
            channel.close()

    def _fork_ahead(self, zygote: Zygote) -> None:
        ours, theirs = socket.socketpair()
        try:
            zygote.prepare(theirs)
        except ZygoteError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._spare = ours

    def _stop(self) -> None:
        if self._spare is not None:
            self._spare.close()
            self._spare = None
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
