"""The interface of OpenAI's chat completions, which vLLM, llama.cpp, Ollama and most gateways speak as well."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from evolve.models.base import Failure, Model, Reply, estimated, without_keys
from evolve.models.http import of_status, rehearsal, reusing
from evolve.models.spec import Spec
from evolve.records import Fault, Prompt, Usage

if TYPE_CHECKING:
    import httpx2
    from openai.types import CompletionUsage

NO_KEY = "none"  # compatible servers want the header, whatever is in it
_USAGE = '"usage":{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":0}}'
_COMPLETION = (
    '{"id":"","created":0,"model":"","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop",'
    '"message":{"role":"assistant","content":"yes"}}],' + _USAGE + "}"
)
_CHUNK = (
    'data: {"id":"","created":0,"model":"","object":"chat.completion.chunk","choices":[{"index":0,'
    '"finish_reason":"stop","delta":{"content":"yes"}}],' + _USAGE + "}\n\ndata: [DONE]\n\n"
)


class OpenAIModel(Model):
    """A model behind chat completions; of OpenAI itself, or of a server with a base URL."""

    def __init__(
        self, spec: Spec, key: str, timeout_s: float, stream: bool, http: httpx2.Client | None = None
    ) -> None:
        """timeout_s: without a single byte; a stream may take longer as a whole. http: None = the network."""
        import openai

        self._spec = spec
        self._key = key
        self._stream = stream
        self._client = openai.OpenAI(
            api_key=key or NO_KEY,
            base_url=spec.url or None,
            timeout=timeout_s,
            max_retries=0,
            http_client=http or reusing(),
        )

    def ask(self, prompt: Prompt, reply_tokens: int) -> Reply:
        with self._failures(prompt):
            reply = (
                self._ask_stream(prompt, reply_tokens) if self._stream else self._ask(prompt, reply_tokens)
            )
        if not reply.text.strip():
            raise Failure(Fault.EMPTY, "the reply has no text", usage=reply.usage)
        return reply

    def warm(self) -> None:
        with rehearsal(_CHUNK if self._stream else _COMPLETION, self._stream) as http:
            OpenAIModel(self._spec, "", 1.0, self._stream, http).ask(Prompt("", ""), 1)

    def close(self) -> None:
        self._client.close()

    def _options(self, prompt: Prompt, reply_tokens: int) -> dict[str, Any]:
        messages = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ]
        options: dict[str, Any] = {"model": self._spec.name, "messages": messages}
        if self._spec.url:
            return {**options, "max_tokens": reply_tokens}  # the older name, which all servers know
        # calls with the same beginning go to the same machine, whose cache has it
        route = hashlib.sha256(prompt.system.encode()).hexdigest()[:16]
        return {**options, "max_completion_tokens": reply_tokens, "prompt_cache_key": route}

    def _ask(self, prompt: Prompt, reply_tokens: int) -> Reply:
        answer = self._client.chat.completions.create(**self._options(prompt, reply_tokens))
        try:
            choice = answer.choices[0]
            text, refusal = choice.message.content or "", getattr(choice.message, "refusal", None)
            usage, finish = answer.usage, choice.finish_reason
        except (AttributeError, IndexError, TypeError):
            raise Failure(Fault.MALFORMED, "the response has no choices[0].message") from None
        return _judged(prompt, text, refusal, finish, usage)

    def _ask_stream(self, prompt: Prompt, reply_tokens: int) -> Reply:
        import openai

        parts: list[str] = []
        refusal, finish, usage = "", None, None
        options = self._options(prompt, reply_tokens)
        try:
            for chunk in self._client.chat.completions.create(
                **options, stream=True, stream_options={"include_usage": True}
            ):
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    parts.append(choice.delta.content or "")
                    refusal += getattr(choice.delta, "refusal", None) or ""
                    finish = choice.finish_reason or finish
        except (AttributeError, TypeError):
            raise Failure(Fault.MALFORMED, "a part of the stream has no choices[].delta") from None
        except (openai.APIConnectionError, ValueError) as error:
            if parts:  # something came, so it will be billed
                raise _cut(prompt, parts, error) from error
            raise
        if finish is None:
            raise _cut(prompt, parts, "the stream ended without a finish_reason")
        return _judged(prompt, "".join(parts), refusal, finish, usage)

    @contextmanager
    def _failures(self, prompt: Prompt) -> Iterator[None]:
        """Turns the errors of the client library into failures."""
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            raise of_status(
                error.status_code, self._told(error.response.text), error.response.headers
            ) from None
        except openai.APITimeoutError as error:
            raise Failure(Fault.TIMED_OUT, self._told(error)) from None
        except openai.APIConnectionError as error:
            raise Failure(Fault.UNREACHABLE, self._told(f"{error} {error.__cause__ or ''}")) from None
        except openai.APIError as error:  # an error inside a stream
            raise of_status(500, self._told(f"{error.message} {error.body or ''}"), {}) from None
        except ValueError as error:  # a body that is no JSON
            raise Failure(Fault.MALFORMED, self._told(f"{type(error).__name__}: {error}")) from None

    def _told(self, error: object) -> str:
        return without_keys(str(error), self._key).strip()


def _judged(
    prompt: Prompt, text: str, refusal: str | None, finish: str | None, reported: CompletionUsage | None
) -> Reply:
    usage = _usage(reported) if reported else estimated(prompt, text)
    if refusal:
        raise Failure(Fault.REFUSED, refusal, usage=usage)
    if finish == "content_filter":
        raise Failure(Fault.FILTERED, "the provider's filter took the reply back", usage=usage)
    return Reply(text, usage, cut=finish == "length")


def _usage(reported: CompletionUsage) -> Usage:
    """Prompt tokens here contain those read from and written to the cache."""
    prompt, completion = reported.prompt_tokens_details, reported.completion_tokens_details
    return Usage(
        input=reported.prompt_tokens or 0,
        output=reported.completion_tokens or 0,
        cached=(prompt.cached_tokens or 0) if prompt else 0,
        written=(getattr(prompt, "cache_write_tokens", None) or 0) if prompt else 0,
        reasoning=(completion.reasoning_tokens or 0) if completion else 0,
    )


def _cut(prompt: Prompt, parts: list[str], why: object) -> Failure:
    text = "".join(parts)
    usage = estimated(prompt, text) if text else None
    return Failure(Fault.CUT_STREAM, f"after {len(text)} characters: {why}", usage=usage)
