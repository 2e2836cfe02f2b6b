"""The interface of all models."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from evolve.records import Fault, Prompt, Usage

BYTES_PER_TOKEN = (
    3  # of code and English; the usual tokenizers take 3.3 to 4.5, so this errs to the safe side
)
LONGEST_DETAIL = 300  # characters of a provider's message that are kept


@dataclass(frozen=True)
class Reply:
    """What a model said. cut: it reached the limit of its length."""

    text: str
    usage: Usage
    cut: bool = False


class Failure(Exception):  # noqa: N818 - the fault is data; this carries it to the one place that decides
    """A call that gave no usable reply.

    retry_after_s: how long the provider asks to wait, if it does.
    usage: what was spent all the same.
    """

    def __init__(
        self, fault: Fault, detail: str = "", retry_after_s: float | None = None, usage: Usage | None = None
    ) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail[:LONGEST_DETAIL]
        self.retry_after_s = retry_after_s
        self.usage = usage or Usage()


class Model(ABC):
    """One model of one provider. `ask` is called from several threads at a time."""

    @abstractmethod
    def ask(self, prompt: Prompt, reply_tokens: int) -> Reply:
        """Ask once, without retrying.

        Args:
            reply_tokens: how many tokens may be generated at most, reasoning included.

        Raises:
            Failure: there is no usable reply.
        """

    def warm(self) -> None:  # noqa: B027 - most models have nothing to prepare
        """Do once what the first call would do; 64 first calls at once would each be in the others' way.

        A client library imports parts of itself, and builds the types of its replies, when they are first needed.
        """

    def close(self) -> None:  # noqa: B027 - most models hold nothing
        """Give back connections."""


def estimate(text: str) -> int:
    """How many tokens a text has, rather too many than too few."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def estimated(prompt: Prompt, reply: str) -> Usage:
    """Usage of an exchange for which the provider reported none."""
    return Usage(estimate(prompt.system) + estimate(prompt.user), estimate(reply), estimated=True)


_KEYS = re.compile(r"\b(?:sk-|Bearer )[\w*.\-]{5,}\w")


def without_keys(text: str, *keys: str) -> str:
    """A text of a provider without any key that it may quote."""
    for key in keys:
        if key:
            text = text.replace(key, "[key]")
    return _KEYS.sub("[key]", text)
