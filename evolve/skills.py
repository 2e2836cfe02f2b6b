"""Skill cards: ideas that raised the score in earlier runs of a problem, each with its evidence. Opt in.

A card is written from the lineage of a run's champion: the idea in the words of the model that had it, the candidate
in which it came, and what it gained over its parent. Cards lie beside the runs, one file a problem, and are read
when a run begins: what it was shown is noted in its journal, so that it can be resumed and replayed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from evolve import folders
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.records import Split

KEPT = 30  # cards of a problem, those with the largest gain
SHOWN = 6


class Card(msgspec.Struct, frozen=True):
    """idea: in a model's words. gain: of the score on train over the parent. run, candidate: where it came about."""

    idea: str
    gain: float
    run: str
    candidate: str
    parent: str


def path(digest: str) -> Path:
    """Where the cards of a problem lie. digest: of the problem; cards of another version do not hold for this one."""
    return folders.RUNS / "skills" / f"{digest}.json"


def load(digest: str) -> list[Card]:
    """The cards of a problem, the best first; none if there is no readable file."""
    try:
        return msgspec.json.decode(path(digest).read_bytes(), type=list[Card])
    except (FileNotFoundError, msgspec.MsgspecError):
        return []


def lines(cards: Sequence[Card]) -> list[str]:
    """The best cards, as they are shown to a model."""
    return [f"{card.idea} (gained {card.gain:.4f})" for card in cards[:SHOWN]]


def learn(journal: Journal, run: str, champion: str) -> list[Card]:
    """Cards from the steps that led to a run's champion: children that models made and that beat their parent."""
    found = []
    with Lineage(journal) as lineage:
        for node in lineage.line(champion):
            if not node.parents or not node.note or journal.request(node.number) is None:
                continue
            own, other = (lineage.verdict(each, Split.TRAIN) for each in (node.id, node.parents[0]))
            if own and other and own.score > other.score:
                found.append(Card(node.note, own.score - other.score, run, node.id, node.parents[0]))
    return found


def keep(digest: str, new: Sequence[Card]) -> None:
    """Add cards to those of a problem; of the same idea the better one stays."""
    best: dict[str, Card] = {}
    for card in sorted((*load(digest), *new), key=lambda card: -card.gain):
        best.setdefault(card.idea, card)
    file = path(digest)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    cards = [msgspec.to_builtins(card) for card in list(best.values())[:KEPT]]
    temporary.write_text(json.dumps(cards, indent=1), encoding="utf-8")
    temporary.replace(file)
