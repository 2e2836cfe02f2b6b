"""Descriptions of nested runs: where a candidate comes from and what came of it, as links that the UI follows."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from evolve.observers.mlflow_store import Nested
from evolve.records import Candidate, Promotion

LINKED = 40  # children named in a description; the tag `parents` finds the others
_MARKUP = re.compile(r"([\\`*_\[\]()|~])")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


@dataclass
class Family:
    """Who descends from whom among the candidates that have a nested run. experiment: of the runs."""

    experiment: str
    _names: dict[str, str] = field(default_factory=dict)
    _parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _children: dict[str, list[str]] = field(default_factory=dict)
    _stale: dict[str, None] = field(default_factory=dict)

    def born(self, candidate: Candidate, name: str) -> None:
        """Take note of a candidate that has a nested run."""
        if candidate.id in self._names:
            return
        self._names[candidate.id] = name
        self._parents[candidate.id] = candidate.parents
        for parent in dict.fromkeys(candidate.parents):
            self._children.setdefault(parent, []).append(candidate.id)
            self._stale[parent] = None

    def grown(self, nested: Mapping[str, Nested]) -> Iterator[tuple[str, int]]:
        """Candidates with more children than their descriptions name, and how many, since the last call."""
        stale, self._stale = self._stale, {}
        for identity in stale:
            count = len(self._children[identity])
            if identity in nested and count > nested[identity].children:
                yield identity, count

    def describe(self, identity: str, nested: Mapping[str, Nested]) -> str:
        """The description, in Markdown."""
        parents = [self.link(parent, nested) for parent in dict.fromkeys(self._parents[identity])]
        children = self._children.get(identity, [])
        lines = [f"**{escaped(self._names[identity])}**"]
        if parents:
            lines.append(f"{'Parents' if len(parents) > 1 else 'Parent'}: {', '.join(parents)}")
        if children:
            listed = ", ".join(self.link(child, nested) for child in children[:LINKED])
            more = f" and {len(children) - LINKED} more" if len(children) > LINKED else ""
            lines.append(f"{len(children)} {'children' if len(children) > 1 else 'child'}: {listed}{more}")
        lines.append(
            "Artifacts: `diff.html` to the parent, `diff_to_best_seed.html`, the program, its feedback."
        )
        return "\n\n".join(lines)

    def link(self, identity: str, nested: Mapping[str, Nested]) -> str:
        """A link to a candidate's run; its name alone if it has none."""
        name = escaped(self._names.get(identity, identity))
        if identity not in nested:
            return name
        return f"[{name}](#/experiments/{self.experiment}/runs/{nested[identity].run})"


def escaped(text: str) -> str:
    """Text as Markdown that shows it literally; it may come from a candidate."""
    return _MARKUP.sub(r"\\\1", html.escape(_UNSEEN.sub(" ", text), quote=False))


def name_of(candidate: Candidate) -> str:
    """What a nested run is called."""
    text = " ".join(f"{candidate.operator} {candidate.note}".split())
    return f"#{candidate.number} {text}"[:80].rstrip()


def verdict(promotion: Promotion) -> str:
    """A verdict of the promotion test, in words."""
    head = f"{'promoted' if promotion.promoted else 'not promoted'}: {promotion.reason}"
    if not promotion.champion or not promotion.high:
        return head
    return (
        f"{head}; difference {promotion.difference:+.6g} "
        f"[{promotion.low:+.6g}, {promotion.high:+.6g}] at {promotion.confidence:.0%} to {promotion.champion}"
    )
