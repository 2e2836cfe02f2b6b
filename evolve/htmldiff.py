"""A diff as one self-contained HTML page in a single column, for panes too narrow for two.

No script, no network: the style is inline, long lines wrap, unchanged stretches fold. Program text is
hostile text: it is escaped, and characters that would not show (or would reorder a line) are spelled out.
"""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

CONTEXT = 3  # unchanged lines kept beside a change
PAIRED = 0.5  # similarity from which a removed and an added line count as one changed line
TOKENS = 200  # lines with more tokens are not compared within

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")

Piece = tuple[str, str]  # a class of syntax ("" for none), and text
Line = tuple[Piece, ...]

_STYLE = """
:root { color-scheme: light dark; --bg: #fff; --fg: #1f2328; --dim: #59636e; --rule: #d1d9e0; --fold: #f3f6f9;
  --add: #e6f6e9; --add-mark: #a8e0b3; --del: #ffeceb; --del-mark: #ffc4c0; --plus: #1a7f37; --minus: #c1272d;
  --k: #a3195b; --s: #0a5d8a; --c: #66707b; --n: #8a4600; --f: #5b33a8; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #0d1117; --fg: #e6edf3; --dim: #9198a1; --rule: #3d444d; --fold: #161b22;
  --add: #12261e; --add-mark: #1f5a33; --del: #2d1518; --del-mark: #7a2329; --plus: #3fb950; --minus: #f85149;
  --k: #ff8fb4; --s: #9ecbff; --c: #8b949e; --n: #f0a868; --f: #d2a8ff; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 12px; background: var(--bg); color: var(--fg);
  font: 13px/1.45 system-ui, sans-serif; }
h1 { font-size: 15px; line-height: 1.3; margin: 0 0 6px; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 10px; margin: 0 0 8px; font-size: 12px; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
p { margin: 0 0 8px; font-size: 12px; color: var(--dim); }
.plus { color: var(--plus); } .minus { color: var(--minus); }
main { border: 1px solid var(--rule); border-radius: 6px; overflow: hidden;
  font: 12px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.row { display: grid; grid-template-columns: 4.2ch 2ch 1fr; padding-right: 6px;
  tab-size: 4; min-height: 1.5em; }
.row::before { content: attr(data-n); color: var(--dim); text-align: right; }
.row::after { content: attr(data-s); order: 1; text-align: center; }
code { order: 2; font: inherit; white-space: pre-wrap; overflow-wrap: anywhere;
  padding-left: 4ch; text-indent: -4ch; }
.add { background: var(--add); } .add::after { color: var(--plus); }
.add mark { background: var(--add-mark); }
.del { background: var(--del); } .del::after { color: var(--minus); }
.del mark { background: var(--del-mark); }
mark { color: inherit; border-radius: 2px; } mark * { color: inherit; }
summary { background: var(--fold); color: var(--dim); padding: 1px 6px 1px 12px; cursor: pointer; }
i { font-style: normal; } .k { color: var(--k); } .s { color: var(--s); } .c { color: var(--c); }
.n { color: var(--n); } .f { color: var(--f); }
"""


@dataclass(frozen=True)
class _Row:
    """One line of the page. kind: same, add or del. number: its line in the new (for del: old) program."""

    kind: str
    number: int
    line: Line
    changed: tuple[tuple[int, int], ...] = ()


def html_diff(
    old: str, new: str, title: str, facts: Sequence[tuple[str, str]] = (), context: int = CONTEXT
) -> str:
    """What changed from one program to another, as a page.

    Args:
        old: the text before; "" if there was none, then `new` is shown whole and unmarked.
        facts: pairs of name and value shown under the title.
        context: unchanged lines shown around a change; the rest folds.
    """
    if not old:
        rows = [_Row("same", number, line) for number, line in enumerate(_lines(new), 1)]
        body, summary = "".join(map(_row, rows)), f"<p>{len(rows)} lines, compared with nothing</p>"
    else:
        rows = list(_compare(_lines(old), _lines(new)))
        body, summary = "".join(_folded(rows, context)), _summary(rows)
    listed = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in facts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escaped(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body><h1>{escaped(title)}</h1>{f'<dl>{listed}</dl>' if listed else ''}{summary}\n"
        f"<main>\n{body}</main></body></html>\n"
    )


def _summary(rows: Sequence[_Row]) -> str:
    added, removed = (sum(row.kind == kind for row in rows) for kind in ("add", "del"))
    if not added and not removed:
        return "<p>the same text</p>"
    return f'<p><span class="plus">+{added}</span> <span class="minus">−{removed}</span> lines</p>'


@lru_cache(maxsize=64)  # a parent is compared with many children
def _lines(source: str) -> tuple[Line, ...]:
    """The lines of a program, cut into coloured pieces."""
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    plain = source.removesuffix("\n").split("\n") if source else []
    lines: list[list[Piece]] = [[]]
    for kind, value in _tokens(source):
        first, *others = value.split("\n")
        lines[-1].append((kind, first))
        lines += [[(kind, other)] for other in others]
    coloured = tuple(tuple(piece for piece in line if piece[1]) for line in lines[: len(plain)])
    if ["".join(text for _, text in line) for line in coloured] == plain:
        return coloured
    return tuple(
        (("", line),) for line in plain
    )  # the lexer dropped something: text matters more than colour


def _tokens(source: str) -> Iterator[Piece]:
    # imported on use: the command line must not pay for it
    from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]

    before: Piece = ("", "")
    for token, value in PythonLexer(stripnl=False, ensurenl=False).get_tokens(source):
        kind = _class(token)
        if kind == before[0]:
            before = (kind, before[1] + value)
        else:
            yield before
            before = (kind, value)
    yield before


def _class(token: Any) -> str:
    from pygments.token import Comment, Keyword, Name, Number, Operator, String  # type: ignore[import-untyped]

    table = ((Comment, "c"), (String, "s"), (Number, "n"), (Keyword, "k"), (Operator.Word, "k"))
    named = ((Name.Function, "f"), (Name.Class, "f"), (Name.Builtin, "f"), (Name.Decorator, "f"))
    return next((kind for parent, kind in (*table, *named) if token in parent), "")


def _compare(old: Sequence[Line], new: Sequence[Line]) -> Iterator[_Row]:
    before, after = ([_plain(line) for line in lines] for lines in (old, new))
    for tag, i, i_end, j, j_end in difflib.SequenceMatcher(None, before, after).get_opcodes():
        if tag == "equal":
            yield from (_Row("same", number + 1, new[number]) for number in range(j, j_end))
            continue
        marks = _marks(before[i:i_end], after[j:j_end])
        for number in range(i, i_end):
            yield _Row("del", number + 1, old[number], marks[0].get(number - i, ()))
        for number in range(j, j_end):
            yield _Row("add", number + 1, new[number], marks[1].get(number - j, ()))


Ranges = dict[int, tuple[tuple[int, int], ...]]


def _marks(before: Sequence[str], after: Sequence[str]) -> tuple[Ranges, Ranges]:
    """What changed within lines that were altered rather than replaced: character ranges by line."""
    removed: Ranges = {}
    added: Ranges = {}
    for index, (old, new) in enumerate(zip(before, after, strict=False)):
        words = _WORDS.findall(old), _WORDS.findall(new)
        if not max(map(len, words)) <= TOKENS:
            continue
        matcher = difflib.SequenceMatcher(None, *words, autojunk=False)
        if matcher.ratio() >= PAIRED:
            changes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
            removed[index] = _ranges(words[0], [(low, high) for _, low, high, _, _ in changes])
            added[index] = _ranges(words[1], [(low, high) for _, _, _, low, high in changes])
    return removed, added


def _ranges(words: Sequence[str], changes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word))
    return tuple((starts[low], starts[high]) for low, high in changes if low < high)


def _plain(line: Line) -> str:
    return "".join(text for _, text in line)


def _folded(rows: Sequence[_Row], context: int) -> Iterator[str]:
    changed = [index for index, row in enumerate(rows) if row.kind != "same"]
    shown = {near for index in changed for near in range(index - context, index + context + 1)}
    hidden: list[_Row] = []
    for index, row in enumerate(rows):
        if index not in shown:
            hidden.append(row)
            continue
        yield _fold(hidden)
        hidden = []
        yield _row(row)
    yield _fold(hidden)


def _fold(rows: Sequence[_Row]) -> str:
    body = "".join(map(_row, rows))
    if len(rows) < 2:
        return body  # a fold would be as long as what it hides
    return f"<details><summary>⋯ {len(rows)} unchanged lines</summary>\n{body}</details>\n"


def _row(row: _Row) -> str:
    sign = {"same": "", "add": "+", "del": "−"}[row.kind]
    cells = "".join(_pieces(row.line, row.changed))
    return f'<div class="row {row.kind}" data-n="{row.number}" data-s="{sign}"><code>{cells}</code></div>\n'


def _pieces(line: Line, changed: Sequence[tuple[int, int]]) -> Iterator[str]:
    position = 0
    edges = sorted({edge for pair in changed for edge in pair})
    for kind, text in line:
        end = position + len(text)
        cuts = [position, *(edge for edge in edges if position < edge < end), end]
        for low, high in pairwise(cuts):
            part = escaped(text[low - position : high - position])
            part = f'<i class="{kind}">{part}</i>' if kind else part
            inside = any(start <= low and high <= stop for start, stop in changed)
            yield f"<mark>{part}</mark>" if inside else part
        position = end


def escaped(text: str) -> str:
    """Text for HTML; characters that would not show, or would reorder a line, are spelled out."""
    return html.escape(_HIDDEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text))
