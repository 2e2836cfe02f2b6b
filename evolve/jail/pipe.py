"""The trusted side's end of a child's answer socket: never blocks on a write, never trusts a length."""

from __future__ import annotations

import contextlib
import math
import select
import socket
from collections import deque
from collections.abc import Iterable
from itertools import islice

from evolve.jail import wire

_CHUNK = 1 << 16
_GATHERED = 256  # buffers that one call sends
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
    def unsent(self) -> int:
        """Frames that the socket has not taken yet, one in part perhaps."""
        return len(self._outbox)

    @property
    def has_frame(self) -> bool:
        """Whether a complete frame is here.

        Raises:
            WireError: the next frame announces more than an answer may have.
        """
        return self._frame_end(0) > 0

    def take(self, count: int) -> list[bytes]:
        """The bodies of the complete frames that are here, in order, at most `count`.

        Raises:
            WireError: a frame announces more than an answer may have.
        """
        bodies: list[bytes] = []
        if not self.has_frame:
            return bodies
        start, head, inbox = 0, wire.HEADER.size, bytes(self._inbox)
        while len(bodies) < count and (end := self._frame_end(start)):
            bodies.append(inbox[start + head : end])
            start = end
        if start:
            del self._inbox[:start]
        return bodies

    def _frame_end(self, start: int) -> int:
        """Where the frame that starts there ends; 0 if it is not complete."""
        if len(self._inbox) < start + wire.HEADER.size:
            return 0
        size = wire.HEADER.size + int(wire.HEADER.unpack_from(self._inbox, start)[0])
        if size > self._largest:
            raise wire.WireError(f"a frame of {size} bytes")
        return start + size if len(self._inbox) >= start + size else 0

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
                self._drop(self._channel.sendmsg(islice(self._outbox, _GATHERED)))

    def _drop(self, sent: int) -> None:
        """Forgets the first `sent` bytes of the outbox."""
        while sent:
            head = self._outbox[0]
            if sent < len(head):
                self._outbox[0] = head[sent:]
                return
            sent -= len(self._outbox.popleft())
