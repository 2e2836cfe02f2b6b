"""What an operator works with: the child in the making, the donors, and dice."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from evolve.genetic.draft import Draft
from evolve.genetic.grow import Grower
from evolve.genetic.places import Analysis, Scope, Site, Slot
from evolve.genetic.source import Definition, Source

Item = TypeVar("Item")
ROLE_WEIGHTS = {
    "value": 1.0, "return": 3.0, "assign": 1.0, "call": 0.8, "test": 0.6, "keyword": 0.2, "index": 0.08, "augment": 0.3,
    "bound": 0.1, "owner": 0.1, "iter": 0.1, "while": 0.03, "count": 0.25, "shape": 0.005,
    "answer": 0.0, "target": 0.0, "statement": 0.0,
}  # fmt: skip
NEAR = 0.7  # how often a donor breeds; else it is a seed
ACCEPTANCE = 4.0  # where the best place has less than 1/4 of a weight, an operator mostly declines
RULE_BONUS = 4.0  # a function without loops that returns ratings is a decision rule
WHOLE_ANSWER, WHOLE_IN_LOOP = 0.1, 0.3  # of a whole number's weight
INDEX_MALUS = 0.4  # one that returns a position or a flag belongs to the machinery


def preference(function: Definition, entry: str) -> float:
    """How much a function is worth changing: a formula that rates something before its scaffold."""
    returns = function.signature.returns.kind
    if not function.has_loop and returns in ("vector", "float"):
        return RULE_BONUS
    if returns in ("int", "bool", "unknown") and function.name != entry:
        return INDEX_MALUS
    return 1.0


def caution(site: Site) -> float:
    """How likely a change at a place is to leave a program that runs: whole numbers are mostly positions."""
    careful = 1.0
    if site.type.kind == "int":
        answered = site.role == "return" or isinstance(site.holder, (ast.Tuple, ast.IfExp))
        careful = WHOLE_ANSWER if answered else WHOLE_IN_LOOP if site.depth > 0 else 1.0
    return careful * ROLE_WEIGHTS.get(site.role, 0.0)


@dataclass
class Task:
    """One application of operators.

    donors: programs to take building blocks from; first `near` that breed, then the seeds.
    """

    draft: Draft
    donors: Sequence[Source]
    near: int
    rng: random.Random

    @property
    def source(self) -> Source:
        return self.draft.source

    def analysis(self, function: str) -> Analysis:
        return self.source.analysis(function)

    def grower(self, scope: Scope, function: str = "") -> Grower:
        """A grower for a place in a function, which it knows the reading habits of."""
        used = self.source.functions[function].mentions if function in self.source.functions else ()
        return Grower(self.draft, scope, self.rng, used)

    def pick(self, items: Sequence[Item], weights: Sequence[float]) -> Item | None:
        """One item by weight; None if there is none with a weight above 0."""
        return self.rng.choices(items, weights)[0] if items and sum(weights) > 0 else None

    def donor(self) -> Source | None:
        """A program to take something from: more often one that breeds."""
        near, far = self.donors[: self.near], self.donors[self.near :]
        pool = near if near and (not far or self.rng.random() < NEAR) else far
        return self.rng.choice(pool) if pool else None

    def functions(self) -> list[Definition]:
        return list(self.source.functions.values())

    def function(self) -> Definition | None:
        """A function to change: bigger ones more often, decision rules more often than their scaffold."""
        pool = self.functions()
        return self.pick(pool, [preference(d, self.source.entry) * d.size**0.5 for d in pool])

    def site(
        self,
        accepts: Callable[[Site], bool],
        weigh: Callable[[Site], float] = caution,
        here: Callable[[Site], bool] | None = None,
    ) -> Place | None:
        """An expression by weight.

        Args:
            accepts: which expressions, judged by themselves; a function of a module's top level.
            weigh: their weights; a function of a module's top level.
            here: which of them suit this program.
        """
        places: list[tuple[str, Site]] = []
        weights: list[float] = []
        for definition in self.functions():
            analysis = self.analysis(definition.name)
            sites, worth = analysis.select(accepts, weigh)
            favour = preference(definition, self.source.entry) / max(1, len(analysis.sites)) ** 0.5
            suiting = range(len(sites)) if here is None else [i for i, s in enumerate(sites) if here(s)]
            places += [(definition.name, sites[i]) for i in suiting]
            weights += [favour * worth[i] for i in suiting]
        chosen = self.pick(places, weights)
        if chosen is None or self.rng.random() > ACCEPTANCE * max(weights):
            return None
        return self.place(*chosen)

    def place(self, function: str, seen: Site) -> Place:
        return Place(self.draft, function, seen)

    def slot(self, accepts: Callable[[Slot], bool]) -> tuple[str, Slot] | None:
        """A statement that `accepts`, in the opened copy of its function."""
        pool = [(d.name, s) for d in self.functions() for s in self.analysis(d.name).slots if accepts(s)]
        if not pool:
            return None
        function, slot = self.rng.choice(pool)
        return function, self.draft.slot(function, slot)


@dataclass(frozen=True)
class Place:
    """An expression chosen for a change."""

    draft: Draft
    function: str
    seen: Site  # in the unchanged function

    @cached_property
    def live(self) -> Site:
        """The same place in the copy that may be changed, which is opened for it."""
        return self.draft.site(self.function, self.seen)
