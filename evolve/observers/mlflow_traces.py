"""Calls to models as MLflow traces: what was asked, what came back, the tokens and the dollars that it took."""

from __future__ import annotations

from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.tracing.constant import CostKey, SpanAttributeKey, TokenUsageKey

from evolve.journal import Journal
from evolve.observers.mlflow_store import RUN
from evolve.records import Candidate, Exchange, Request

EXCHANGE = "evolve.exchange"  # number of the proposal and of the attempt
KIND = "CHAT_MODEL"
PAGE = 500


def asked(journal: Journal, candidate: Candidate) -> dict[str, str]:
    """The prompt and the reply that a candidate came from, as files; none where no model was asked."""
    request, reply = journal.request(candidate.number), journal.reply(candidate.number)
    if request is None or reply is None:
        return {}
    return {"prompt.md": f"{request.prompt.system}\n\n{request.prompt.user}", "reply.md": reply.reply}


class Traces:
    """The traces of one search, each written once.

    MLflow drops a trace that it cannot store without a word; so `settle` looks whether all are there.
    """

    def __init__(self, uri: str, experiment: str, run: str, key: str) -> None:
        """
        Args:
            run: the parent run of the search. key: of the search, in the tag that its traces share.
        """
        mlflow.set_tracking_uri(uri)  # what traces are written to, whatever the client says
        self._client = MlflowClient(uri, uri)
        self._experiment = experiment
        self._run = run
        self._key = key
        self._known: set[str] | None = None
        self._sent: set[str] = set()

    def take(self, request: Request | None, exchange: Exchange, end_ms: int) -> None:
        """Write the trace of a call, unless it is there already. end_ms: since 1970, when the call had ended."""
        name = f"{exchange.number}/{exchange.attempt}"
        if self._known is None:
            self._known = self._stored()
        self._sent.add(name)
        if name in self._known:
            return
        end_ns = end_ms * 1_000_000
        root = self._client.start_trace(
            request.operator if request else "call",
            span_type=KIND,
            inputs=_inputs(request),
            attributes=_attributes(exchange),
            tags={
                RUN: self._key,
                EXCHANGE: name,
                "model": exchange.model,
                "fault": str(exchange.fault or ""),
            },
            experiment_id=self._experiment,
            start_time_ns=end_ns - round(exchange.latency_s * 1e9),
            run_id=self._run,
        )
        status = "ERROR" if exchange.fault else "OK"
        self._client.end_trace(root.trace_id, outputs=_outputs(exchange), status=status, end_time_ns=end_ns)

    def settle(self) -> None:
        """Make sure that what was written is stored.

        Raises:
            ConnectionError: some is not; a new mirror writes it again.
        """
        if not self._sent:
            return
        mlflow.flush_trace_async_logging()
        missing = self._sent - self._stored()
        if missing:
            raise ConnectionError(f"{len(missing)} traces of calls to models were not stored")

    def _stored(self) -> set[str]:
        found: set[str] = set()
        token: str | None = None
        while True:
            page = self._client.search_traces(
                locations=[self._experiment],
                filter_string=f"tags.`{RUN}` = '{self._key}'",
                max_results=PAGE,
                page_token=token,
                include_spans=False,
            )
            found |= {trace.info.tags.get(EXCHANGE, "") for trace in page}
            token = page.token
            if not token:
                return found


def _inputs(request: Request | None) -> dict[str, Any]:
    if request is None:
        return {}
    said = (("system", request.prompt.system), ("user", request.prompt.user))
    return {"model": request.model, "messages": [{"role": role, "content": text} for role, text in said]}


def _outputs(exchange: Exchange) -> dict[str, Any]:
    if exchange.fault:
        return {"fault": str(exchange.fault), "detail": exchange.detail}
    return {"choices": [{"message": {"role": "assistant", "content": exchange.reply}}]}


def _attributes(exchange: Exchange) -> dict[str, Any]:
    usage = exchange.usage
    tokens = {
        TokenUsageKey.INPUT_TOKENS: usage.input,
        TokenUsageKey.OUTPUT_TOKENS: usage.output,
        TokenUsageKey.TOTAL_TOKENS: usage.total,
        TokenUsageKey.CACHE_READ_INPUT_TOKENS: usage.cached,
    }
    # the journal knows what a call took as a whole
    cost = {CostKey.INPUT_COST: 0.0, CostKey.OUTPUT_COST: 0.0, CostKey.TOTAL_COST: exchange.dollars}
    return {
        SpanAttributeKey.CHAT_USAGE: tokens,
        SpanAttributeKey.LLM_COST: cost,
        SpanAttributeKey.MODEL: exchange.model,
    }
