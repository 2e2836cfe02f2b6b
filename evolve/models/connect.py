"""Makes a model ready to be asked from its name."""

from __future__ import annotations

from evolve.errors import ModelError
from evolve.models import keys
from evolve.models.base import Model
from evolve.models.spec import Spec


def connect(spec: Spec, timeout_s: float, stream: bool) -> Model:
    """A client of the model's interface, with the key from the environment. Imports the provider's package.

    Raises:
        ModelError: a key is needed, and there is none.
    """
    key = keys.find(spec.variable)
    if spec.needs_key and not key:
        raise ModelError(missing(spec))
    if spec.interface == "anthropic":
        from evolve.models.anthropic import AnthropicModel

        return AnthropicModel(spec, key, timeout_s, stream)
    from evolve.models.openai import OpenAIModel

    return OpenAIModel(spec, key, timeout_s, stream)


def missing(spec: Spec) -> str:
    """What to tell a user who has no key for a model."""
    return f"--model {spec.text} needs a key: set {spec.variable} in the environment, or in a .env that git ignores"
