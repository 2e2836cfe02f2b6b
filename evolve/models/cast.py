"""The models that a run's settings name: who they are, what they cost, and how they are reached."""

from __future__ import annotations

from pathlib import Path

from evolve.errors import ModelError, UsageError
from evolve.models import keys
from evolve.models.base import Model
from evolve.models.calls import Line
from evolve.models.connect import connect, missing
from evolve.models.manual import Manual
from evolve.models.panel import Seat
from evolve.models.prices import FREE, Price, price
from evolve.models.recorded import Recorded
from evolve.models.retry import VERDICTS, Verdict
from evolve.models.spec import Spec, parse
from evolve.records import Exchange
from evolve.settings import Settings

DEFAULTS = {"anthropic": "claude-haiku-5-5", "openai": "gpt-6-luna"}
"""The model that is asked where a key is there and no model was named: a cheap one."""


def default() -> str:
    """The model to ask if none was named, by the keys that are there; "" without a key."""
    for provider, name in DEFAULTS.items():
        if keys.find(keys.VARIABLES[provider]):
            return f"{provider}:{name}"
    return ""


def seats(settings: Settings) -> list[Seat]:
    """The models of a run with their prices.

    Raises:
        ModelError: a name is wrong, or a price is missing.
        UsageError: none is named, or the proposer takes none.
    """
    if settings.proposer != "llm":
        if settings.models:
            raise UsageError(f"--proposer {settings.proposer} asks no model; leave out --model")
        if settings.proposer == "replay" and not settings.llm.source:
            raise UsageError("--proposer replay: name the run whose replies are used: --from RUN")
        return [Seat(settings.proposer, 1.0, FREE)]
    specs = [parse(text) for text in settings.models]
    if not specs:
        raise UsageError("--proposer llm: name a model: --model openai:NAME, anthropic:NAME or URL#NAME")
    if len({spec.text for spec in specs}) < len(specs):
        raise ModelError("--model: one is named twice; give it a weight instead: --model NAME=2")
    return [Seat(spec.text, spec.weight, _price(spec, settings)) for spec in specs]


def check_keys(settings: Settings) -> None:
    """Make sure that every model of a run has the key that it needs.

    Raises:
        ModelError: naming the model and the variable.
    """
    for spec in map(parse, settings.models):
        if settings.proposer == "llm" and not keys.find(spec.variable) and spec.needs_key:
            raise ModelError(missing(spec))


def lines(settings: Settings, folder: Path) -> dict[str, Line]:
    """The models of a run, ready to be asked.

    Args:
        folder: of the run; prompts for a person are put there.
    """
    limit = settings.llm.reply_tokens
    if settings.proposer == "manual":
        return {"manual": Line(Manual(folder / "manual"), FREE, limit)}
    if settings.proposer == "replay":
        return {"replay": Line(Recorded(Path(settings.llm.source)), FREE, limit)}
    specs = [parse(text) for text in settings.models]
    return {spec.text: Line(_connect(spec, settings), _price(spec, settings), limit) for spec in specs}


def require_key(exchange: Exchange) -> None:
    """Stop where a key was refused: no other call with it will do better.

    Raises:
        ModelError: naming the variable.
    """
    if exchange.fault is not None and VERDICTS[exchange.fault] is Verdict.STOP:
        spec = parse(exchange.model)
        raise ModelError(
            f"--model {exchange.model}: the provider refuses the key in {spec.variable} ({exchange.detail}); "
            f"set the right one and `evolve resume` the run"
        )


def _price(spec: Spec, settings: Settings) -> Price:
    return price(spec, settings.llm.prices, settings.budget.dollars is not None)


def _connect(spec: Spec, settings: Settings) -> Model:
    return connect(spec, settings.llm.timeout_s, settings.llm.stream)
