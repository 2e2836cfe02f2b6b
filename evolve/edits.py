"""From a model's reply to a program: search/replace blocks that are applied to the parent, or a whole program.

A block's search text is looked for exactly, then without regard to blanks at the ends of lines and to the depth of
indentation, then by similarity; each time it has to be found in one place only. A reply is data: nothing in it is
run, and what does not apply is said, not guessed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from evolve.errors import EvolveError

SIMILAR = 0.85  # of the characters of a passage, for it to be the one that is meant
CLEARLY = 0.05  # by which it has to be more similar than any other passage
LONGEST_FUZZY = 200  # lines of a search text that are compared by similarity
QUOTED = 60  # characters of a search text that a reason quotes

_HEAD = re.compile(r"^[ \t]*<{5,9}[ \t]*SEARCH\b.*$", re.IGNORECASE)
_MIDDLE = re.compile(r"^[ \t]*={5,9}[ \t]*$")
_TAIL = re.compile(r"^[ \t]*>{5,9}[ \t]*REPLACE\b.*$", re.IGNORECASE)
_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*\{?\.?([\w.+-]*)([^`]*)$"
)  # marks, language, the rest of the line
_THOUGHTS = "<think>", "</think>"  # where servers leave a model's reasoning in its reply
_PYTHON, _TEXT = ("", "python", "py", "python3"), ("markdown", "md")


class EditError(EvolveError):
    """A reply does not give a program; says why."""


@dataclass(frozen=True)
class Edit:
    """Replace the one passage that is `search` by `replace`; both are whole lines."""

    search: tuple[str, ...]
    replace: tuple[str, ...]


def program(reply: str, parent: str, cut: bool = False, entry: str = "") -> str:
    """The program that a reply makes of its parent.

    Search/replace blocks go before a whole program: a reply with both quotes the one and means the other.

    Args:
        cut: the reply reached the limit of its length.
        entry: a function that a whole program defines, by which it is told from a sketch or a test; "" = any.

    Raises:
        EditError: it holds neither, it was cut off inside of what counts, or a block does not apply.
    """
    reply = said(reply)
    edits, unfinished = blocks(reply)
    if unfinished and not edits:
        raise EditError("the reply ends inside of its first edit" + _limit(cut))
    if edits:
        if unfinished and not cut:
            raise EditError(f"edit {len(edits) + 1} is not closed by >>>>>>> REPLACE")
        return apply(parent, edits)
    return _whole(reply, cut, entry)


def said(reply: str) -> str:
    """A reply without the reasoning that some servers leave in front of it.

    Raises:
        EditError: it ends before the reasoning does.
    """
    begin, end = _THOUGHTS
    rest = reply.rpartition(end)[2]
    if rest.lstrip().startswith(begin):
        raise EditError("the reply ends inside of its reasoning")
    return rest


def blocks(reply: str) -> tuple[list[Edit], bool]:
    """The search/replace blocks of a reply, and whether the last one is not finished."""
    found: list[Edit] = []
    search: list[str] = []
    replace: list[str] = []
    state = "text"
    for line in reply.splitlines():
        if _HEAD.match(line):
            if state == "replace":  # two heads in a row: the one before was never closed
                return found, True
            search, replace, state = [], [], "search"
        elif state == "search" and _MIDDLE.match(line):
            state = "replace"
        elif state == "replace" and _TAIL.match(line):
            found.append(Edit(tuple(search), tuple(replace)))
            state = "text"
        elif state == "search":
            search.append(line)
        elif state == "replace":
            replace.append(line)
    return found, state != "text"


def apply(source: str, edits: Sequence[Edit]) -> str:
    """Apply edits one after the other.

    Raises:
        EditError: naming the edit and why it does not apply.
    """
    lines = source.splitlines()
    for number, edit in enumerate(edits, 1):
        try:
            lines = _apply(lines, edit)
        except EditError as error:
            which = f"edit {number} of {len(edits)}" if len(edits) > 1 else "the edit"
            raise EditError(f"{which} does not apply: {error}") from None
    return "".join(f"{line}\n" for line in lines)


def _apply(lines: list[str], edit: Edit) -> list[str]:
    search = _trimmed(edit.search)
    if not search:
        if any(line.strip() for line in lines):
            raise EditError("its search text is empty")
        return list(edit.replace)
    start, length, indent = _find(lines, search)
    replace = _indented(_trimmed(edit.replace), indent)
    return [*lines[:start], *replace, *lines[start + length :]]


def _find(lines: Sequence[str], search: Sequence[str]) -> tuple[int, int, int]:
    """Where a search text is: first line, number of lines, and how much deeper it is indented there."""
    exact = _places(lines, search)
    if len(exact) == 1:
        return exact[0], len(search), 0
    bare = [line.strip() for line in search]
    loose = [
        place
        for place in _places([line.strip() for line in lines], bare)
        if _shift(lines[place : place + len(search)], search) is not None
    ]
    if len(loose) == 1 and not exact:
        return loose[0], len(search), _shift(lines[loose[0] : loose[0] + len(search)], search) or 0
    if exact or loose:
        raise EditError(
            f"its search text is there {len(exact or loose)} times, which of them is meant? {_quote(search)}"
        )
    return _most_similar(lines, search)


def _places(lines: Sequence[str], search: Sequence[str]) -> list[int]:
    """All first lines of a passage; a blank line is like any other."""
    size, head = len(search), search[0]
    last = len(lines) - size
    return [i for i in range(last + 1) if lines[i] == head and list(lines[i : i + size]) == list(search)]


def _shift(passage: Sequence[str], search: Sequence[str]) -> int | None:
    """By how many columns a passage is indented deeper than the search text; None if it differs line by line."""
    shifts = {
        _depth(there) - _depth(here) for there, here in zip(passage, search, strict=True) if here.strip()
    }
    return shifts.pop() if len(shifts) == 1 else None


def _depth(line: str) -> int:
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())


def _most_similar(lines: Sequence[str], search: Sequence[str]) -> tuple[int, int, int]:
    if len(search) > LONGEST_FUZZY or len(lines) < len(search):
        raise EditError(f"its search text is not in the program: {_quote(search)}")
    wanted = "\n".join(line.strip() for line in search)
    ratings = []
    matcher = difflib.SequenceMatcher(None, "", wanted, autojunk=False)
    for start in range(len(lines) - len(search) + 1):
        matcher.set_seq1("\n".join(line.strip() for line in lines[start : start + len(search)]))
        similar = matcher.real_quick_ratio() > SIMILAR - CLEARLY and matcher.quick_ratio() > SIMILAR - CLEARLY
        ratings.append(matcher.ratio() if similar else 0.0)
    best = max(range(len(ratings)), key=ratings.__getitem__)
    if ratings[best] < SIMILAR:
        raise EditError(f"its search text is not in the program: {_quote(search)}")
    if sum(rating > ratings[best] - CLEARLY for rating in ratings) > 1:
        raise EditError(f"its search text resembles more than one passage: {_quote(search)}")
    passage = lines[best : best + len(search)]
    pairs = zip(passage, search, strict=True)
    shift = next((_depth(there) - _depth(here) for there, here in pairs if here.strip()), 0)
    return best, len(search), shift


def _trimmed(lines: Sequence[str]) -> list[str]:
    """Without blank lines around, and without a fence around the text of a block."""
    found = list(lines)
    if len(found) > 1 and _FENCE.match(found[0]) and _FENCE.match(found[-1]):
        found = found[1:-1]
    while found and not found[0].strip():
        found.pop(0)
    while found and not found[-1].strip():
        found.pop()
    return found


def _indented(lines: Sequence[str], columns: int) -> list[str]:
    if columns >= 0:
        return [" " * columns + line if line.strip() else line for line in lines]
    return [line[min(-columns, len(line) - len(line.lstrip())) :] for line in lines]


def _whole(reply: str, cut: bool, entry: str) -> str:
    """The whole program of a reply: the longest fenced text that defines the entry, if one does, or the longest; all
    of the reply if it has no fence."""
    fenced, unfinished = _fenced(reply.splitlines())
    defines = re.compile(rf"^(?:async )?def {re.escape(entry)}\b", re.MULTILINE)
    if fenced and (not unfinished or any(map(defines.search, fenced))):
        return max(filter(defines.search, fenced), key=len, default=max(fenced, key=len))
    if unfinished:
        raise EditError("the reply ends inside of its program" + _limit(cut))
    if _looks_like_code(reply):
        if cut:
            raise EditError("the reply ends inside of its program" + _limit(cut))
        return reply.strip() + "\n"
    raise EditError("the reply holds neither a search/replace edit nor a program")


def _fenced(lines: Sequence[str]) -> tuple[list[str], bool]:
    """Fenced texts that may be Python, and whether the last fence is open."""
    found: list[str] = []
    inside: list[str] | None = None
    mark, language = "", ""
    for line in lines:
        fence = _FENCE.match(line)
        if inside is None and fence:
            inside, mark, language = [], fence[1], fence[2].lower()
        elif inside is not None and fence and not (fence[2] + fence[3]).strip() and fence[1].startswith(mark):
            if language in _PYTHON or language.endswith(".py"):
                found.append("\n".join(inside) + "\n")
            elif language in _TEXT:  # a fence around an answer that has one of its own
                found += _fenced(inside)[0]
            inside = None
        elif inside is not None:
            inside.append(line)
    return [text for text in found if text.strip()], inside is not None


def _looks_like_code(reply: str) -> bool:
    first = next((line for line in reply.splitlines() if line.strip()), "")
    return first.startswith(("def ", "import ", "from ", '"""', "#!", "@")) and "def " in reply


def _limit(cut: bool) -> str:
    return ": it reached its limit of tokens" if cut else ""


def _quote(search: Sequence[str]) -> str:
    first = next(line.strip() for line in search if line.strip())
    return repr(first[:QUOTED])
