"""What the clients of both interfaces have in common: the meaning of their errors, and connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING

from evolve.models.base import Failure
from evolve.records import Fault

if TYPE_CHECKING:
    import httpx2

_BY_STATUS = {
    401: Fault.WRONG_KEY,
    402: Fault.NO_CREDIT,
    403: Fault.WRONG_KEY,
    404: Fault.UNKNOWN_MODEL,
    408: Fault.TIMED_OUT,
    409: Fault.SERVER_ERROR,
    413: Fault.TOO_LONG,
    429: Fault.RATE_LIMITED,
    503: Fault.OVERLOADED,
    529: Fault.OVERLOADED,
}
# words by which providers and servers say what a status alone does not
_TOO_LONG = ("context_length", "context length", "prompt is too long", "maximum context", "too many tokens")
_FILTERED = ("content_filter", "content filter", "content_policy", "content management policy")
_END = b"[DONE]"
_NO_CREDIT = ("insufficient_quota", "credit balance", "billing")


def of_status(status: int, body: str, headers: Mapping[str, str]) -> Failure:
    """The failure that a response with an error status means."""
    return Failure(_fault(status, body.lower()), f"HTTP {status}: {body}", retry_after(headers))


def _fault(status: int, body: str) -> Fault:
    if status in (400, 413, 422):
        if any(word in body for word in _TOO_LONG):
            return Fault.TOO_LONG
        if any(word in body for word in _FILTERED):
            return Fault.FILTERED
    if status in (400, 402, 403, 429) and any(word in body for word in _NO_CREDIT):
        return Fault.NO_CREDIT
    default = Fault.SERVER_ERROR if status >= 500 else Fault.BAD_REQUEST
    return _BY_STATUS.get(status, default)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait: a number, or a date."""
    text = headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time()) if text else None
    except ValueError:
        return None


@contextmanager
def rehearsal(body: str, stream: bool) -> Iterator[httpx2.Client]:
    """A client that answers each request with the same text, and opens no connection."""
    import httpx2

    headers = {"content-type": "text/event-stream" if stream else "application/json"}
    answer = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=body.encode()))
    with httpx2.Client(transport=answer) as client:
        yield client


def reusing() -> httpx2.Client:
    """A client that keeps its connections, also after a stream that its reader leaves at the mark of its end.

    What then remains is the end of the body alone. Unread it costs the connection, and the next call a new one with
    its handshakes.
    """
    import httpx2
    import openai

    class ToTheEnd(httpx2.SyncByteStream):
        def __init__(self, body: httpx2.SyncByteStream) -> None:
            self._body, self._parts, self._last = body, iter(body), b""

        def __iter__(self) -> Iterator[bytes]:
            for part in self._parts:
                self._last = part
                yield part

        def close(self) -> None:
            if _END in self._last:
                with suppress(httpx2.HTTPError):  # the reply is complete: nothing is lost with the connection
                    for _ in self._parts:
                        pass
            self._body.close()

    def keep(response: httpx2.Response) -> None:
        if isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = ToTheEnd(response.stream)

    return openai.DefaultHttpxClient(event_hooks={"response": [keep]})
