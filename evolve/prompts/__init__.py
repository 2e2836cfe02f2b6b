"""Texts for language models, one file each: their variables in the first line, then the text.

Strict on both sides: a text uses exactly the variables that it declares, and is given exactly these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_USED = re.compile(r"\{\{(\w+)\}\}")
_HEAD = "variables:"


@dataclass(frozen=True)
class Template:
    """A text with `{{variable}}` in it."""

    name: str
    variables: frozenset[str]
    text: str

    def fill(self, **values: str) -> str:
        """The text with its variables replaced; what is filled in is not looked at again.

        Raises:
            ValueError: a variable is missing, or was never declared.
        """
        if values.keys() != self.variables:
            wrong = sorted(values.keys() ^ self.variables)
            raise ValueError(
                f"prompt {self.name}: declared and given variables differ in: {', '.join(wrong)}"
            )
        return _USED.sub(lambda found: values[found[1]], self.text)


def read(name: str, content: str) -> Template:
    """A template from the content of its file.

    Raises:
        ValueError: the first line does not declare the variables that the text uses, no more and no fewer.
    """
    head, _, text = content.partition("\n")
    if not head.startswith(_HEAD):
        raise ValueError(f"prompt {name}: the first line has to be '{_HEAD} NAME, NAME'")
    declared = frozenset(word.strip() for word in head.removeprefix(_HEAD).split(",") if word.strip())
    used = frozenset(_USED.findall(text))
    if declared != used:
        wrong = sorted(declared ^ used)
        raise ValueError(f"prompt {name}: declared and used variables differ in: {', '.join(wrong)}")
    return Template(name, declared, text.strip() + "\n")


@cache
def template(name: str) -> Template:
    """The template in the file NAME.md beside this one."""
    return read(name, (Path(__file__).parent / f"{name}.md").read_text(encoding="utf-8"))
