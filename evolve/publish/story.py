"""A lineage in plain words: what the seed was, and what each step changed."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from evolve.records import MIGRANT, SEPARATOR

Facts = Mapping[str, Any]

SHOWN_STEPS = 12  # of a long lineage: the first and the last ones
STEP_CHARACTERS = 160
FAINT = 5e-6  # a gain below this is not worth a figure

_CHANGE = re.compile(r"(?P<place>\w+): (?P<old>.+?) -> (?P<new>.+)", re.S)
_PLACE = re.compile(r"(?P<place>\w+): (?P<rest>.+)", re.S)
_TOLD = {
    "select best": "`{place}` now keeps the best of several answers: `{new}`",
    "compose": "`{place}` now hands its answer on to be improved: `{new}`",
    "decompose": "`{place}` does without a step: `{new}` in place of `{old}`",
    "replace answer": "`{place}` now answers `{new}` in place of `{old}`",
    "hoist": "`{place}` was made simpler: `{new}` in place of `{old}`",
}
_CHANGED = "in `{place}`, `{old}` became `{new}`"
_PHRASES = (
    ("one more option: ", "`{place}` has one more answer to choose from: `{rest}`"),
    ("taken from another program", "`{place}` was taken over from another program of the search"),
    ("without ", "`{place}` no longer does `{rest}`"),
    ("twice ", "`{place}` does twice: `{rest}`"),
)


def steps(lineage: Sequence[Facts]) -> list[str]:
    """The steps from the seed on, numbered, one a line; the middle of a long lineage is left out."""
    lines = [f"{place}. {_step(lineage, place)}" for place in range(len(lineage))]
    if len(lines) <= SHOWN_STEPS:
        return lines
    half = SHOWN_STEPS // 2
    return [*lines[:half], f"   ({len(lines) - SHOWN_STEPS} steps, see PROOF.json)", *lines[-half:]]


def _step(lineage: Sequence[Facts], place: int) -> str:
    node = lineage[place]
    if not place:
        return textwrap.shorten(_began(node), 2 * STEP_CHARACTERS, placeholder=" ...")
    told = textwrap.shorten(_told(node["operator"], node["note"]), STEP_CHARACTERS, placeholder=" ...")
    return f"{told[:1].upper()}{told[1:]}{_gain(lineage[place - 1].get('train'), node.get('train'))}."


def _began(node: Facts) -> str:
    about = f": {node['about']}" if node.get("about") else ""
    if node["operator"] == "seed":
        return f"It began as the known heuristic {node['note']}{about}".rstrip(".") + "."
    if node["operator"] == MIGRANT:
        return f"It came from another run as {node['note']}{about}".rstrip(".") + "."
    return f"It began as a program made by {node['operator']}{about}".rstrip(".") + "."


def _told(operator: str, note: str) -> str:
    """What a step did; a note that is not in the form of the built-in operators stands as it is."""
    parts = [part for part in note.split("; ") if part]
    if not parts:
        return operator
    operators = operator.split(SEPARATOR)
    names = operators if len(operators) == len(parts) else [""] * len(parts)
    return "; ".join(_part(name, part) for name, part in zip(names, parts, strict=True))


def _part(operator: str, part: str) -> str:
    if found := _CHANGE.fullmatch(part):
        return _TOLD.get(operator, _CHANGED).format(**found.groupdict())
    found = _PLACE.fullmatch(part)
    if found is None:
        return part
    for begin, phrase in _PHRASES:
        if found["rest"].startswith(begin):
            return phrase.format(place=found["place"], rest=found["rest"].removeprefix(begin))
    return f"{operator or 'changed'}, in `{found['place']}`: {found['rest']}"


def _gain(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    if abs(after - before) < FAINT:
        return " (score on train as before)"
    return f" (score on train {before:.5f}, then {after:.5f})"


def about(source: str) -> str:
    """The first sentence of a program's own docstring, its function's or its module's; "" if it has none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ""
    own = ast.get_docstring(tree) or ""
    first = " ".join(own.split("\n\n")[0].split())
    return first.rstrip(".")
