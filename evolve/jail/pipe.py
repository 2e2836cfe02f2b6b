"""The trusted side's end of a child's answer socket: never blocks on a write, never trusts a length."""

from __future__ import annotations

import contextlib
import math
import select
import socket
from collections import deque
from collections.abc import Iterable

from evolve.jail import wire

_CHUNK = 1 << 16
_OVERHEAD = 64  # bytes of a frame that are not the answer


class Pipe:
    """Frames out and frames in, both buffered, so that neither side can wait for the other for ever."""

    def __init__(self, channel: socket.socket, largest: int) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._largest = largest + _OVERHEAD
        self._outbox: deque[memoryview] = deque()
        self._inbox = bytearray()
        self._chunk = memoryview(bytearray(_CHUNK))
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    def queue(self, frames: Iterable[bytes]) -> None:
        """Writes what the socket takes now; the rest goes out during `exchange`."""
        self._outbox.extend(map(memoryview, frames))
        self._flush()

    def exchange(self, timeout_s: float) -> bool:
        """Writes and reads until something has come or the time is over. False at the end of the stream."""
        self._poll.modify(self._channel, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        events = self._poll.poll(math.ceil(timeout_s * 1000))
        if not events:
            return True
        if events[0][1] & select.POLLOUT:
            self._flush()
        try:
            size = self._channel.recv_into(self._chunk)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        self._inbox += self._chunk[:size]
        return size > 0

    @property
    def has_frame(self) -> bool:
        """Whether a complete frame is here.

        Raises:
            WireError: the next frame announces more than an answer may have.
        """
        if len(self._inbox) < wire.HEADER.size:
            return False
        end = wire.HEADER.size + int(wire.HEADER.unpack_from(self._inbox)[0])
        if end > self._largest:
            raise wire.WireError(f"a frame of {end} bytes")
        return len(self._inbox) >= end

    def take(self) -> bytes | None:
        """The body of the next complete frame, if it is here."""
        if not self.has_frame:
            return None
        end = wire.HEADER.size + wire.HEADER.unpack_from(self._inbox)[0]
        body = bytes(self._inbox[wire.HEADER.size : end])
        del self._inbox[:end]
        return body

    def hand_over(self) -> socket.socket:
        """The socket, with nothing left in either buffer.

        Raises:
            WireError: something came that nobody asked for.
        """
        if self._inbox:
            raise wire.WireError("a frame out of turn")
        return self._channel

    def close(self) -> None:
        self._channel.close()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # a dead child shows as end of stream
            while self._outbox:
                sent = self._channel.send(self._outbox[0])
                self._outbox[0] = self._outbox[0][sent:]
                if not self._outbox[0]:
                    self._outbox.popleft()
