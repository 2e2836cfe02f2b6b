"""Programs of a search in little room: lines are stored once, and each program as a change of its first parent.

Thousands of programs that descend from each other differ in a line or two; the page that reads this back follows the
parents down to a program that is stored whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

Change = list[int]
"""Place of the parent in the list (-1: none), lines kept at its start, lines kept at its end, then the new lines."""


@dataclass
class Pack:
    """lines: each once. changes: one for every candidate; None where the program is left out."""

    lines: list[str] = field(default_factory=list)
    changes: list[Change | None] = field(default_factory=list)


def joined(files: Mapping[str, str]) -> str:
    """A program as one text; several files each under a line with their name."""
    if len(files) == 1:
        return next(iter(files.values()))
    return "\n".join(f"# ---- {name}\n{text}" for name, text in sorted(files.items()))


def pack(programs: Iterable[tuple[str, str | None, str]]) -> Pack:
    """Pack programs.

    Args:
        programs: identity, text (None: to be left out) and first parent's identity ("": none); parents come first.
    """
    found = Pack()
    numbers: dict[str, int] = {}
    stored: dict[str, list[int]] = {}
    places: dict[str, int] = {}
    for place, (identity, text, parent) in enumerate(programs):
        places[identity] = place
        if text is None:
            found.changes.append(None)
            continue
        lines = [numbers.setdefault(line, len(numbers)) for line in text.split("\n")]
        base = stored.get(parent)
        stored[identity] = lines
        if base is None:
            found.changes.append([-1, 0, 0, *lines])
        else:
            found.changes.append([places[parent], *_change(base, lines)])
    found.lines = list(numbers)
    return found


def _change(base: list[int], lines: list[int]) -> Change:
    most = min(len(base), len(lines))
    head = _alike(base, lines, most)
    tail = _alike(base[::-1], lines[::-1], most - head)
    return [head, tail, *lines[head : len(lines) - tail]]


def _alike(ours: list[int], theirs: list[int], most: int) -> int:
    pairs = zip(ours[:most], theirs[:most], strict=True)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
