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
_LOGIN = re.compile(r"[^/\s]*@")  # of a URL; no error says it
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
    shown = _LOGIN.sub("[...]@", text)
    found = _WEIGHT.search(text)
    weight = float(found[1]) if found else 1.0
    bare = text[: found.start()] if found else text
    if weight <= 0:
        raise ModelError(f"--model {shown}: the weight has to be above 0; leave the model out instead")
    if "://" in bare:
        return _server(bare, weight, shown)
    provider, colon, name = bare.partition(":")
    if not colon or not name or provider not in keys.VARIABLES:
        raise ModelError(f"--model {shown}: expected {_EXAMPLES}")
    return Spec(bare, provider, name, weight=weight)


def _server(text: str, weight: float, shown: str) -> Spec:
    address, _, name = text.partition("#")
    interface = "anthropic" if address.startswith("anthropic+") else "openai"
    url = address.removeprefix("anthropic+").rstrip("/")
    wrong = ModelError(
        f"--model {shown}: a server is given as http://HOST:PORT/v1#NAME; got no NAME, no HOST or a wrong PORT"
    )
    try:
        parts = urlsplit(url)
        valid = parts.port != 0 and parts.scheme in ("http", "https") and parts.hostname and name
    except ValueError:  # a port beyond 65535, an address that is none
        raise wrong from None
    if not valid:
        raise wrong
    if "@" in parts.netloc or parts.query:
        raise ModelError(
            f"--model {shown.partition('?')[0]}: a URL with a user, a password or a query would be stored; "
            f"put the key into {OWN_KEY}"
        )
    return Spec(text, interface, name, url, weight)
