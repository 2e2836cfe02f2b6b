"""What models cost. A price that is not known is an error, never zero."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import msgspec

from evolve.errors import ModelError
from evolve.models.spec import Spec
from evolve.records import Usage

FILE = Path(__file__).with_name("prices.toml")
_SNAPSHOT = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2})$")  # claude-haiku-4-5-20251001, gpt-5-2025-08-07
_GIVEN = re.compile(r"\d+(?:\.\d+)?(?:/\d+(?:\.\d+)?){1,2}")


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens. cached, written: read from and written to the provider's cache; None = as input."""

    input: float
    output: float
    cached: float | None = None
    written: float | None = None

    def dollars(self, usage: Usage) -> float:
        """What an exchange costs."""
        cached = self.input if self.cached is None else self.cached
        written = self.input if self.written is None else self.written
        plain = usage.input - usage.cached - usage.written
        parts = plain * self.input + usage.cached * cached + usage.written * written
        return (parts + usage.output * self.output) / 1e6

    def most(self, input_tokens: int, output_tokens: int) -> float:
        """What a call may cost at most."""
        return (input_tokens * max(self.input, self.written or 0.0) + output_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0)


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    date: date
    openai: dict[str, Price]
    anthropic: dict[str, Price]


@cache
def table() -> _Table:
    """The prices that come with evolve, and their date."""
    return msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8")), _Table)


def price(spec: Spec, given: Mapping[str, str], counted: bool) -> Price:
    """The price of a model: the one given, else the one in prices.toml.

    Args:
        given: `IN/OUT` or `IN/OUT/CACHED` by model name, in dollars per million tokens.
        counted: a budget in dollars depends on it. If not, a server on this machine needs no price.

    Raises:
        ModelError: the price is not known.
    """
    for name in (spec.text, spec.name):
        if name in given:
            return read(name, given[name])
    if not spec.url:
        known: dict[str, Price] = getattr(table(), spec.interface)
        found = known.get(spec.name) or known.get(_SNAPSHOT.sub("", spec.name))
        if found is not None:
            return found
    elif spec.local and not counted:
        return FREE
    raise ModelError(
        f"--model {spec.text}: its price is not known; give it in dollars per million tokens: "
        f"--price {spec.name}=INPUT/OUTPUT, for example --price {spec.name}=0.5/2 (0/0 if it costs nothing)"
    )


def read(name: str, text: str) -> Price:
    """A price as a user gives it.

    Raises:
        ModelError: it has another form.
    """
    if not _GIVEN.fullmatch(text):
        raise ModelError(
            f"--price {name}={text}: expected {name}=INPUT/OUTPUT or {name}=INPUT/OUTPUT/CACHED in dollars per "
            f"million tokens, for example {name}=0.5/2"
        )
    return Price(*(float(part) for part in text.split("/")))
