"""Tuning: a program's numbers improved one after the other, while its structure stays.

A pattern search (Hooke and Jeeves, "Direct search solution of numerical and statistical problems", 1961): every
number is tried a step up and a step down in turn; a step that succeeds is taken again from where it led; when a
round over all numbers has failed, steps are halved. It is cheap because a trial that is worse loses its race after a
few instances, and it needs no memory: how many trials a program had is counted from the journal, and the step that
led to a program stands in its note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from evolve.genetic.draft import Draft
from evolve.genetic.grow import round_off
from evolve.genetic.nodes import literal, number
from evolve.genetic.operators.expressions import is_number_literal, may_be_fractional
from evolve.genetic.places import Site
from evolve.genetic.source import Source

STEP = 0.3  # first step, as a share of the number
ROUNDS = 4  # with steps halved from one to the next; afterwards a program counts as tuned
ZERO = 0.1  # what a zero is moved by, times the step
_FIXED = ("index", "shape", "answer", "bound", "iter", "while", "owner", "target")
_NOTE = re.compile(r"\(number (\d+) of \d+ (up|down) by ([\d.e-]+)\)$")


@dataclass(frozen=True)
class Step:
    """One trial: which number, in what direction, and by what share of itself."""

    index: int
    up: bool
    share: float

    def text(self, count: int) -> str:
        return f"(number {self.index + 1} of {count} {'up' if self.up else 'down'} by {self.share:g})"


def tune(draft: Draft, tried: int, note: str) -> str:
    """Change one number of a program by the next step of its search; what was done, "" if all is tried.

    Args:
        tried: trials that the program had before.
        note: of the program: it holds the step that led there, if it came of tuning.
    """
    places = list(_numbers(draft.source))
    if not places:
        return ""
    first = _parsed(note) or Step(0, True, STEP)
    for trial in range(tried, ROUNDS * 2 * len(places)):
        step = _step(first, trial, len(places))
        function, site = places[step.index]
        old = literal(site.node)
        assert old is not None
        whole = isinstance(old, int) and not may_be_fractional(site, draft.source.analysis(function))
        new = _moved(old, step, whole)
        if new != old:
            draft.site(function, site).replace(number(new))
            return f"{function}: {old:g} -> {new:g} {step.text(len(places))}"
    return ""


def _numbers(source: Source) -> Iterator[tuple[str, Site]]:
    """The numbers that may be tuned, with their functions, in the order of the text."""
    for name in source.functions:
        for site in source.analysis(name).sites:
            if is_number_literal(site) and site.role not in _FIXED:
                yield name, site


def _parsed(note: str) -> Step | None:
    found = _NOTE.search(note)
    return Step(int(found[1]) - 1, found[2] == "up", float(found[3])) if found else None


def _step(first: Step, trial: int, count: int) -> Step:
    rounds, turn = divmod(trial, 2 * count)
    return Step((first.index + turn // 2) % count, first.up ^ bool(turn % 2), first.share / 2**rounds)


def _moved(old: float, step: Step, whole: bool) -> float:
    if whole:
        size = max(1, round(abs(old) * step.share))
        return max(0, int(old) + (size if step.up else -size))
    if not old:
        return round_off(ZERO * step.share * (1 if step.up else -1))
    return round_off(old * (1 + step.share) if step.up else old / (1 + step.share))
