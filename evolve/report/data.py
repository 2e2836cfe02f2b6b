"""What the page's script explores: candidates in columns, programs, and scores by instance; as text for a page."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from evolve.records import SPLITS, Split, Status
from evolve.report.history import History, Member
from evolve.report.programs import joined, pack
from evolve.report.standings import Standings, grid

LIMIT = 4_300_000  # characters that candidates and programs may take; the rest of the page is small
DIGITS = 7


class _Words:
    """Texts that come again and again, each once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def texts(self) -> list[str]:
        return list(self._numbers)


@dataclass(frozen=True)
class Packed:
    """The data as base64 of gzipped JSON. shown: candidates whose program is in it, of `total`."""

    text: str
    shown: int
    total: int


def packed(history: History, standings: Standings, limit: int = LIMIT) -> Packed:
    """All programs if they fit into `limit` characters; else those that entered the archive and their ancestors;
    else the champions, their ancestors and the seeds; else none."""
    fixed = {**_columns(history), **_splits(standings)}
    members = list(history.members.values())
    text, kept = "", set[str]()
    for choose in (_all, _archived, _champions, None):
        kept = choose(history) if choose else set()
        text = _compressed({**fixed, **_programs(members, kept)})
        if len(text) <= limit:
            break
    return Packed(text, len(kept), len(members))


def _all(history: History) -> set[str]:
    return set(history.members)


def _archived(history: History) -> set[str]:
    entered = [
        each for each in history.members.values() if each.placement or each.verdict or not each.parents
    ]
    return _with_ancestors(history, entered)


def _champions(history: History) -> set[str]:
    crowned = [each for each in history.members.values() if not each.parents or _crowned(each)]
    return _with_ancestors(history, crowned)


def _crowned(member: Member) -> bool:
    return member.verdict is not None and member.verdict.promoted


def _with_ancestors(history: History, members: Iterable[Member]) -> set[str]:
    found: set[str] = set()
    waiting = list(members)
    while waiting:
        member = waiting.pop()
        if member.id not in found:
            found.add(member.id)
            waiting += [history.members[each] for each in member.parents if each in history.members]
    return found


def _compressed(data: dict[str, Any]) -> str:
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    # no time in the header: the same journal gives the same page
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _programs(members: Sequence[Member], kept: set[str]) -> dict[str, Any]:
    texts = (
        (each.id, joined(each.files) if each.id in kept else None, each.parents[0] if each.parents else "")
        for each in members
    )
    found = pack(texts)
    return {"lines": found.lines, "changes": found.changes}


# ---- candidates


def _columns(history: History) -> dict[str, Any]:
    members = list(history.members.values())
    places = {each.id: place for place, each in enumerate(members)}
    operators, feedbacks, cells, statuses = _Words(), _Words(), _Words(), _Words()
    trained = [each.judged.get(Split.TRAIN) for each in members]

    def column(value: Callable[[Member], Any]) -> list[Any]:
        return [value(each) for each in members]

    return {
        "id": column(lambda each: each.id),
        "number": column(lambda each: each.number),
        "at": column(lambda each: round(each.at, 2)),
        "parents": column(lambda each: _earlier(each, places)),
        "operator": column(lambda each: operators(each.operator)),
        "note": column(lambda each: each.note),
        "cell": column(lambda each: cells(each.placement.cell) if each.placement else -1),
        "status": [statuses(str(each.status)) if each else -1 for each in trained],
        "score": [_number(each.score) if each else None for each in trained],
        "raw": [_number(each.objective) if each else None for each in trained],
        "cpu": [round(each.cpu_s, 4) if each else None for each in trained],
        "feedback": [feedbacks(each.feedback) if each else -1 for each in trained],
        "further": {str(places[each.id]): found for each in members if (found := _further(each))},
        "champions": [
            places[p.challenger] for _, p in history.promotions if p.promoted and p.challenger in places
        ],
        "operators": operators.texts,
        "feedbacks": feedbacks.texts,
        "cells": cells.texts,
        "statuses": statuses.texts,
        "ok": str(Status.OK),
    }


def _earlier(member: Member, places: Mapping[str, int]) -> list[int]:
    """Places of its parents; a parent that the journal lacks, or has only later, is none."""
    found = [places.get(parent, len(places)) for parent in member.parents]
    return [place for place in found if place < places[member.id]]


def _further(member: Member) -> dict[str, Any]:
    """Evaluations besides that on train, and the verdict of the promotion test."""
    found: dict[str, Any] = {}
    for split, judged in member.judged.items():
        if split is not Split.TRAIN:
            numbers = _number(judged.score), _number(judged.objective)
            found[str(split)] = [str(judged.status), *numbers, judged.feedback]
    if member.verdict is not None:
        verdict = member.verdict
        interval = [_number(value) for value in (verdict.difference, verdict.low, verdict.high)]
        found["verdict"] = [verdict.promoted, verdict.reason, verdict.champion, *interval]
    return found


def _number(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


# ---- splits


def _splits(standings: Standings) -> dict[str, Any]:
    """Scores by instance of the champion and of each baseline, and where each instance lies in the grid."""
    the_problem = standings.problem
    programs = [*([standings.champion] if standings.champion else []), *standings.baselines]
    listed = [
        {
            "name": each.name,
            "scores": {
                str(split): [_number(score) for score in found.scores]
                for split in SPLITS
                if (found := each.ok(split))
            },
        }
        for each in programs
    ]
    spec = the_problem.spec if the_problem else None
    return {
        "programs": listed if standings.champion else [],
        "grid": {str(split): keys for split, keys in grid(the_problem, standings.splits)}
        if the_problem
        else {},
        "best": standings.best.candidate if standings.best else "",
        "objective": msgspec.to_builtins(spec.objective) if spec else {"name": "objective", "unit": ""},
    }
