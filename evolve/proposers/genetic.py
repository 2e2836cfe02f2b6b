"""The proposer that needs no model: typed genetic programming on the source of whole programs.

Genetic improvement of programs by mutation and crossover of their syntax trees goes back to Koza ("Genetic
Programming", 1992); types keep the offspring meaningful (Montana 1995), and functions of one program serve as
building blocks of others. It knows no problem: its material is the parent, the inspirations and the seeds.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from evolve.errors import ProgramError
from evolve.genetic.draft import Draft
from evolve.genetic.library import Library
from evolve.genetic.operators import OPERATORS, WEIGHTS
from evolve.genetic.simplify import shrink
from evolve.genetic.source import Source
from evolve.genetic.task import Task
from evolve.genetic.tuning import tune
from evolve.proposers.base import SIMPLIFICATION, TUNING, Proposer
from evolve.records import SEPARATOR, Candidate, Proposal, Sample
from evolve.settings import GeneticSettings

MAX_GROWTH = 400  # nodes that a program may have over the largest seed
ATTEMPTS = 12
TUNING_WEIGHT = 14.0  # prior weight of tuning beside those of the operators
CHAIN = (0.72, 0.2, 0.08)  # chances of one, two, three operators in sequence
ROOMY = 80  # nodes from which on a function that grows is given up more and more often


class GeneticProposer(Proposer):
    """Proposes children of a parent by one to three operators, drawn by the chances that the sample gives them."""

    name = "genetic"

    def __init__(
        self,
        entry: str,
        program: str,
        imports: Sequence[str],
        seeds: Sequence[Candidate],
        settings: GeneticSettings | None = None,
        changing: Sequence[str] = (),
        optional: Sequence[str] = (),
    ) -> None:
        """
        Args:
            entry: name of the function that a program must define.
            program: name of the file that holds it.
            imports: modules that a program may import.
            seeds: candidates whose functions serve as building blocks.
            changing: names of the files that may change; empty = `program` alone.
            optional: names of functions that a program may define beside the first.

        Raises:
            ProgramError: a seed does not parse.
        """
        self.settings = settings or GeneticSettings()
        tuning = {TUNING: TUNING_WEIGHT} if self.settings.tuning else {}
        self.arms: Mapping[str, float] = {**WEIGHTS, **tuning}
        self.library = Library(entry, program, changing, optional)
        siblings = {name.removesuffix(".py") for seed in seeds for name in seed.files if len(seed.files) > 1}
        self.imports = (*imports, *sorted(siblings))
        self._seeds = {
            name: tuple(self.library.read(seed, name) for seed in seeds) for name in self.library.changing
        }
        self._limits = {
            name: MAX_GROWTH + max((seed.size for seed in found), default=0)
            for name, found in self._seeds.items()
        }

    def propose(self, sample: Sample, number: int, rng: random.Random) -> Proposal:
        parent = sample.parent.candidate
        try:
            file = self.library.file(parent, rng)
            source = self.library.source(parent, file)
            others = [self.library.source(member.candidate, file) for member in sample.inspirations]
        except ProgramError as error:
            return Proposal(number, "none", (parent.id,), None, str(error))
        breeding = _distinct([*others])
        donors = _distinct([*breeding, *self._seeds[file]])
        task = Task(Draft(source, self.imports), donors, len(breeding), rng)
        shares = sample.shares or self.arms
        if rng.random() < self.settings.simplification:
            simpler = self._simplified(task, parent, file, number)
            if simpler is not None:
                return simpler
        if rng.random() * sum(shares.values()) < shares.get(TUNING, 0.0):
            tuned = self._tuned(sample, file, number)
            if tuned is not None:
                return tuned
        return self._varied(task, sample, file, number)

    def _varied(self, task: Task, sample: Sample, file: str, number: int) -> Proposal:
        parent, source, shares = sample.parent.candidate, task.source, sample.shares or self.arms
        varying = {name: share for name, share in shares.items() if name in OPERATORS}
        reason = "no operator found anything to change"
        for _ in range(ATTEMPTS):
            fresh = replace(task, draft=Draft(source, self.imports))
            operators, note = _vary(fresh, varying, sample.width)
            if not operators:
                continue
            reason = self._fault(fresh.source, source, file)
            if not reason:
                return self._proposal(fresh.source, parent, file, number, operators, note)
        return Proposal(number, "none", (parent.id,), None, reason)

    def _tuned(self, sample: Sample, file: str, number: int) -> Proposal | None:
        """A child of the best member at hand whose numbers are not tuned yet, by the next step of its tuning."""
        members = (sample.parent, *sample.inspirations)
        for member in sorted(members, key=lambda member: -member.score):
            parent = member.candidate
            draft = Draft(self.library.source(parent, file), self.imports)
            note = tune(draft, sample.tuned.get(parent.id, 0), parent.note)
            if note and draft.commit():
                return self._proposal(draft.source, parent, file, number, [TUNING], note)
        return None

    def _simplified(self, task: Task, parent: Candidate, file: str, number: int) -> Proposal | None:
        source = task.source
        for _ in range(ATTEMPTS):
            fresh = replace(task, draft=Draft(source, self.imports))
            note = shrink(fresh)
            if note and not self._fault(fresh.source, source, file):
                return self._proposal(fresh.source, parent, file, number, [SIMPLIFICATION], note)
        return None

    def _fault(self, child: Source, parent: Source, file: str) -> str:
        """Why a child is not worth a proposal; "" if it is."""
        limit = self._limits[file]
        if child.size > limit and child.size > parent.size:
            return f"the child has {child.size} nodes; at most {limit} are allowed"
        for name in (parent.entry, *parent.exports):
            if name in parent.by_name and name not in child.by_name:
                return f"the child lost {name}, which is called from outside"
        if child.text == parent.text:
            return "the child is the same as its parent"
        return ""

    def _proposal(
        self, child: Source, parent: Candidate, file: str, number: int, operators: list[str], note: str
    ) -> Proposal:
        operator = operators[0] if len(set(operators)) == 1 else SEPARATOR.join(operators)
        candidate = self.library.child(parent, file, child, operator, note, number)
        return Proposal(number, operator, (parent.id,), candidate)


def _distinct(sources: Sequence[Source]) -> tuple[Source, ...]:
    return tuple({source.text: source for source in sources}.values())


def _vary(task: Task, shares: Mapping[str, float], width: int) -> tuple[list[str], str]:
    """Apply one to three operators to a draft, `width` times over; which did something, and their notes."""
    done: list[str] = []
    notes: list[str] = []
    for _ in range(sum(task.rng.choices((1, 2, 3), CHAIN)[0] for _ in range(width))):
        name = task.rng.choices(list(shares), list(shares.values()))[0]
        note = OPERATORS[name](task)
        if note and task.rng.random() >= _crowding(task.draft) and task.draft.commit():
            done.append(name)
            notes.append(note)
        else:
            task.draft.undo()
    return done, "; ".join(notes)


def _crowding(draft: Draft) -> float:
    """How likely a change is given up because it makes a function grow that is large for a formula."""
    grown = [new for new, old in draft.sizes() if new > old]
    return min(0.9, max(0.0, (max(grown, default=0) - ROOMY) / ROOMY))
