"""Build hook: puts the bundled problems into wheels, under evolve/bundled/."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleHook(BuildHookInterface[Any]):
    """Leaves editable installs alone: they find the problems in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            for folder in ("problems", "evaluators", "seeds"):
                build_data["force_include"][folder] = f"evolve/bundled/{folder}"
