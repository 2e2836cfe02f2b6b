"""One cheap call to each model, to see that it answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from evolve.errors import ModelError
from evolve.models import keys
from evolve.models.base import Failure
from evolve.models.cast import DEFAULTS
from evolve.models.connect import connect
from evolve.models.prices import price
from evolve.models.spec import Spec, parse
from evolve.records import Prompt

PROMPT = Prompt("You are asked whether you can be reached.", "Answer with the word: yes")
REPLY_TOKENS = 1024  # a model that reasons needs some before it says a word
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Checked:
    """What a call has shown. fault: "" if the model answered. dollars: None where the price is not known."""

    model: str
    fault: str = ""
    latency_s: float = 0.0
    tokens: int = 0
    dollars: float | None = None


def check(names: Sequence[str]) -> list[Checked]:
    """Ask each model one question.

    Args:
        names: as for `evolve run --model`; () = the default model of each provider whose key is there.

    Raises:
        ModelError: a name has none of the known forms.
    """
    texts = names or [f"{provider}:{name}" for provider, name in DEFAULTS.items() if _has_key(provider)]
    return [_ask(parse(text)) for text in texts]


def _has_key(provider: str) -> bool:
    return bool(keys.find(keys.VARIABLES[provider]))


def _ask(spec: Spec) -> Checked:
    began = time.monotonic()
    try:
        model = connect(spec, TIMEOUT_S, stream=True)
    except ModelError as error:
        return Checked(spec.text, str(error))
    try:
        usage = model.ask(PROMPT, REPLY_TOKENS).usage
    except Failure as failure:
        return Checked(spec.text, str(failure), time.monotonic() - began)
    finally:
        model.close()
    try:
        dollars = price(spec, {}, counted=True).dollars(usage)
    except ModelError:
        dollars = None
    return Checked(spec.text, "", time.monotonic() - began, usage.total, dollars)
