"""What inference finds in a function: its expressions and statements, each with where it stands."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from evolve.genetic.types import AXES, UNKNOWN, Type, from_annotation

Scope = Mapping[str, Type]
"""The types of the local names that an expression or a statement may use."""


@dataclass(frozen=True)
class Signature:
    """A function's parameters (name, type, whether it has a default) and what it returns.

    opaque: the author says what it returns, and that is no list, array or number.
    """

    parameters: tuple[tuple[str, Type, bool], ...]
    returns: Type
    opaque: bool = False

    @property
    def required(self) -> int:
        return sum(not default for _, _, default in self.parameters)


@dataclass(slots=True)
class Site:
    """An expression in its place: `holder.field`, or `holder.field[index]` where the field is a list.

    role: "value", "test" (decides a branch), "while" (a while test), "index", "bound" (of a range), "iter",
        "shape" (how an array is made, or a whole number that becomes a position or a shape further on),
        "call" (an argument of a function), "count" (one that is a whole number), "answer" (of a function whose
        author says that it returns no list, array or number: its parts are no quantities), "return", "assign" or
        "augment" (the whole right side).
    depth: how many loops, comprehensions and lambdas it lies in.
    """

    holder: ast.AST
    field: str
    index: int
    node: ast.expr
    type: Type
    scope: Scope
    role: str
    depth: int

    def replace(self, new: ast.expr) -> None:
        if self.index < 0:
            setattr(self.holder, self.field, new)
        else:
            getattr(self.holder, self.field)[self.index] = new


@dataclass(slots=True)
class Slot:
    """A statement in its block, with the names it may use."""

    block: list[ast.stmt]
    index: int
    scope: Scope
    depth: int
    pinned: frozenset[str]  # names that steer a surrounding while loop

    @property
    def node(self) -> ast.stmt:
        return self.block[self.index]


@dataclass
class Analysis:
    """All expressions and statements of one function, in the order of evaluation."""

    sites: list[Site] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    unbound: list[str] = field(default_factory=list)
    structural: set[str] = field(default_factory=set)  # names that become positions or shapes
    _chosen: dict[object, tuple[list[Site], list[float]]] = field(default_factory=dict, repr=False)

    def select(
        self, accepts: Callable[[Site], bool], weigh: Callable[[Site], float]
    ) -> tuple[list[Site], list[float]]:
        """The expressions that `accepts`, and their weights. It is remembered: functions of a program are
        asked the same by every child, so both have to be functions of the module's top level."""
        key = accepts, weigh
        if key not in self._chosen:
            sites = [site for site in self.sites if accepts(site)]
            self._chosen[key] = sites, [weigh(site) for site in sites]
        return self._chosen[key]


def signature(node: ast.FunctionDef) -> Signature:
    """The signature by annotations; without parameters if it has *args, **kwargs or keyword-only ones."""
    spec = node.args
    if spec.vararg or spec.kwarg or spec.kwonlyargs:
        return Signature((), UNKNOWN)
    plain = [*spec.posonlyargs, *spec.args]
    first_default = len(plain) - len(spec.defaults)
    parameters = tuple(
        (a.arg, from_annotation(a.annotation), i >= first_default) for i, a in enumerate(plain)
    )
    returns = from_annotation(node.returns)
    return Signature(parameters, returns, node.returns is not None and returns.kind == "unknown")


def shaped(declared: Signature, axes: Collection[str]) -> Signature:
    """A signature of which no two arrays are taken to be of one length; `axes` names those of several axes."""
    parameters = tuple(
        (name, kind._replace(dim=name, text=AXES if name in axes else "") if kind.is_array else kind, default)
        for name, kind, default in declared.parameters
    )
    return replace(declared, parameters=parameters)


@dataclass(frozen=True)
class Globals:
    """What the top level of a program binds: functions, modules (name -> module) and other names."""

    functions: Mapping[str, Signature]
    modules: Mapping[str, str]
    values: Mapping[str, Type]
