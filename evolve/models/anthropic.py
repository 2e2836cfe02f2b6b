"""The interface of Anthropic's messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from evolve.models.base import Failure, Model, Reply, estimate, without_keys
from evolve.models.http import of_status, rehearsal
from evolve.models.spec import Spec
from evolve.records import Fault, Prompt, Usage

if TYPE_CHECKING:
    import httpx2
    from anthropic.types import Message

NO_KEY = "none"
_MESSAGE = (
    '"id":"","type":"message","role":"assistant","model":"","content":[{"type":"text","text":"yes"}],'
    '"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}'
)
_EVENTS = "".join(
    f"event: {name}\ndata: {{{data}}}\n\n"
    for name, data in (
        ("message_start", f'"type":"message_start","message":{{{_MESSAGE}}}'),
        (
            "content_block_delta",
            '"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"!"}',
        ),
        ("message_stop", '"type":"message_stop"'),
    )
)


class AnthropicModel(Model):
    """A model behind the messages interface."""

    def __init__(
        self, spec: Spec, key: str, timeout_s: float, stream: bool, http: httpx2.Client | None = None
    ) -> None:
        """timeout_s: without a single byte; a stream may take longer as a whole. http: None = the network."""
        import anthropic

        self._spec = spec
        self._key = key
        self._stream = stream
        self._timeout_s = timeout_s
        self._client = anthropic.Anthropic(
            api_key=key or NO_KEY,
            base_url=spec.url or None,
            timeout=timeout_s,
            max_retries=0,
            http_client=http,
        )

    def ask(self, prompt: Prompt, reply_tokens: int) -> Reply:
        options: dict[str, Any] = {
            "model": self._spec.name,
            "max_tokens": reply_tokens,
            # what stays the same comes first and is kept in the provider's cache
            "system": [{"type": "text", "text": prompt.system, "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": prompt.user}],
        }
        with self._failures():
            if self._stream:
                message = self._ask_stream(options)
            else:
                message = self._client.messages.create(**options, timeout=self._timeout_s)
            return _judged(message)

    def warm(self) -> None:
        with rehearsal(_EVENTS if self._stream else f"{{{_MESSAGE}}}", self._stream) as http:
            AnthropicModel(self._spec, "", 1.0, self._stream, http).ask(Prompt("", ""), 1)

    def close(self) -> None:
        self._client.close()

    def _ask_stream(self, options: dict[str, Any]) -> Message:
        import anthropic
        import httpx2

        message = None
        try:
            with self._client.messages.stream(**options) as stream:
                for _ in stream:
                    message = stream.current_message_snapshot
        except anthropic.APIStatusError:
            raise
        except (anthropic.APIError, httpx2.HTTPError) as error:
            if message is None:
                raise
            raise _cut(message, error) from error
        if message is None:
            raise Failure(Fault.CUT_STREAM, "the stream ended before it began")
        if message.stop_reason is None:
            raise _cut(message, "the stream ended without a stop_reason")
        return message

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turns the errors of the client library, and of HTTP below it while it streams, into failures."""
        import anthropic
        import httpx2

        try:
            yield
        except anthropic.APIStatusError as error:
            status = _STREAMED.get(str(error.type), error.status_code)
            text = error.response.text if status == error.status_code else str(error)
            raise of_status(status, self._told(text), error.response.headers) from None
        except (anthropic.APITimeoutError, httpx2.TimeoutException) as error:
            raise Failure(Fault.TIMED_OUT, self._told(error)) from None
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            raise Failure(Fault.UNREACHABLE, self._told(f"{error} {error.__cause__ or ''}")) from None
        except anthropic.APIError as error:
            raise Failure(Fault.MALFORMED, self._told(error.message)) from None
        except (ValueError, AttributeError, TypeError) as error:  # a body that is no JSON, or another JSON
            raise Failure(Fault.MALFORMED, self._told(f"{type(error).__name__}: {error}")) from None

    def _told(self, error: object) -> str:
        return without_keys(str(error), self._key).strip()


_STREAMED = {"overloaded_error": 529, "rate_limit_error": 429, "api_error": 500}
"""Errors inside of a stream arrive with status 200; their type says which status they would have had."""


def _judged(message: Message) -> Reply:
    usage = _usage(message)
    if message.stop_reason == "refusal":
        raise Failure(Fault.REFUSED, "stop_reason refusal", usage=usage)
    if message.stop_reason == "model_context_window_exceeded":
        raise Failure(Fault.TOO_LONG, "stop_reason model_context_window_exceeded", usage=usage)
    text = _text(message)
    if not text.strip():
        raise Failure(Fault.EMPTY, "the reply has no text", usage=usage)
    return Reply(text, usage, cut=message.stop_reason == "max_tokens")


def _text(message: Message) -> str:
    """The reply without the model's reasoning."""
    return "".join(block.text for block in message.content if block.type == "text")


def _usage(message: Message) -> Usage:
    """`input_tokens` here leaves out those read from and written to the cache."""
    reported = message.usage
    cached, written = reported.cache_read_input_tokens or 0, reported.cache_creation_input_tokens or 0
    details = getattr(reported, "output_tokens_details", None)
    return Usage(
        input=reported.input_tokens + cached + written,
        output=reported.output_tokens,
        cached=cached,
        written=written,
        reasoning=getattr(details, "thinking_tokens", None) or 0,
    )


def _cut(message: Message, why: object) -> Failure:
    """A stream that broke: the prompt was counted at its beginning, the reply is counted by its length."""
    text = _text(message)
    usage = _usage(message)
    output = max(usage.output, estimate(text))
    spent = Usage(usage.input, output, usage.cached, usage.written, estimated=True)
    return Failure(Fault.CUT_STREAM, f"after {len(text)} characters: {why}", usage=spent)
