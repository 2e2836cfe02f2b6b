"""Names of models, as a user gives them: `openai:NAME`, `anthropic:NAME`, or `URL#NAME` for a compatible server."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from evolve.errors import ModelError
from evolve.models import keys

_WEIGHT = re.compile(r"=(\d+(?:\.\d+)?)$")
_EXAMPLES = "openai:NAME, anthropic:NAME or http://127.0.0.1:8000/v1#NAME"
OWN_KEY = "EVOLVE_MODEL_KEY"  # for compatible servers that want one


@dataclass(frozen=True)
class Spec:
    """A model.

    text: as the user wrote it, without the weight; the name under which the journal has it.
    interface: "openai" or "anthropic"; what is spoken.
    url: base URL of a compatible server; "" for the provider's own.
    weight: how often it is asked while nothing is known of what it is worth.
    """

    text: str
    interface: str
    name: str
    url: str = ""
    weight: float = 1.0

    @property
    def variable(self) -> str:
        """The environment variable that holds its key."""
        return OWN_KEY if self.url else keys.VARIABLES[self.interface]

    @property
    def needs_key(self) -> bool:
        return not self.url

    @property
    def local(self) -> bool:
        """Whether it is a server on this very machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def parse(text: str) -> Spec:
    """Read a model's name, with a weight if `=WEIGHT` ends it.

    A URL speaks the interface of OpenAI, unless it begins with `anthropic+`.

    Raises:
        ModelError: it has none of the three forms.
    """
    found = _WEIGHT.search(text)
    weight = float(found[1]) if found else 1.0
    bare = text[: found.start()] if found else text
    if weight <= 0:
        raise ModelError(f"--model {text}: the weight has to be above 0; leave the model out instead")
    if "://" in bare:
        return _server(bare, weight)
    provider, colon, name = bare.partition(":")
    if not colon or not name or provider not in keys.VARIABLES:
        raise ModelError(f"--model {text}: expected {_EXAMPLES}")
    return Spec(bare, provider, name, weight=weight)


def _server(text: str, weight: float) -> Spec:
    address, _, name = text.partition("#")
    interface = "anthropic" if address.startswith("anthropic+") else "openai"
    url = address.removeprefix("anthropic+").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not name:
        raise ModelError(
            f"--model {text}: a server is given as http://HOST:PORT/v1#NAME; got no NAME or no HOST"
        )
    if parts.username or parts.password:
        raise ModelError(
            f"--model: a URL with a user or a password would be stored with the run; put the key into {OWN_KEY}"
        )
    return Spec(text, interface, name, url, weight)
