"""Operators that bring pieces of other programs here."""

from __future__ import annotations

import ast

from evolve.genetic.nodes import clone, names_bound, names_loaded, short, size
from evolve.genetic.operators.expressions import can_grow, put
from evolve.genetic.places import Scope, Site, Slot
from evolve.genetic.source import Source
from evolve.genetic.task import ROLE_WEIGHTS, Task
from evolve.genetic.types import Type, shapeless

MAX_PIECE = 60  # nodes of a transplanted expression


def is_exchangeable(site: Site) -> bool:
    return can_grow(site) or site.type.is_structure


def cross_subtree(task: Task) -> str:
    """An expression of another program in place of one of the same type, its names bound to names here."""
    place, donor = task.site(is_exchangeable), task.donor()
    if place is None or donor is None:
        return ""
    wanted = place.seen.type
    pieces = [(f, s) for f in donor_functions(donor, place.function) for s in _pieces(donor, f, wanted)]
    if not pieces:
        return ""
    _, piece = task.rng.choice(pieces)
    new = transplant(task, donor, piece, place.seen.scope, wanted)
    return "" if new is None else put(place, new)


def donor_functions(donor: Source, like: str) -> list[str]:
    """The function of the same name, if there is one; else all."""
    return [like] if like in donor.functions else list(donor.functions)


def _pieces(donor: Source, function: str, wanted: Type) -> list[Site]:
    kind = shapeless(wanted)
    return [
        site
        for site in donor.analysis(function).sites
        if shapeless(site.type) == kind
        and not isinstance(site.node, (ast.Constant, ast.Slice))
        and ROLE_WEIGHTS.get(site.role, 0.0) >= 0.1
    ]


def transplant(task: Task, donor: Source, piece: Site, scope: Scope, wanted: Type) -> ast.expr | None:
    """A copy of a donor's expression whose names mean something in `scope`; None if one cannot be bound."""
    if size(piece.node) > MAX_PIECE:
        return None
    new = clone(piece.node)
    dims = {piece.type.dim: wanted.dim} if wanted.is_array else {}
    inner = names_bound(new)
    for name in names_loaded(new):
        if name.id in inner:
            continue
        here = _bound_name(task, donor, name.id, piece.scope, scope, dims)
        if here == "":
            return None
        name.id = here
    return new


def _bound_name(
    task: Task, donor: Source, name: str, there: Scope, scope: Scope, dims: dict[str, str]
) -> str:
    if name in donor.by_name:
        return task.draft.adopt(donor, name)
    kind = there.get(name)
    return name if kind is None else _local_name(task, name, kind, scope, dims)


def _local_name(task: Task, name: str, kind: Type, scope: Scope, dims: dict[str, str]) -> str:
    """The name of the same type here: the same name if possible. Lengths must map one to one."""
    fitting = [other for other, here in scope.items() if _matches(here, kind, dims)]
    if not fitting:
        return ""
    chosen = name if name in fitting else task.rng.choice(fitting)
    if kind.is_array:
        dims.setdefault(kind.dim, scope[chosen].dim)
    return chosen


def _matches(here: Type, there: Type, dims: dict[str, str]) -> bool:
    if here.kind == "unknown" or shapeless(here) != shapeless(there):
        return False
    return not here.is_array or dims.get(there.dim, here.dim) == here.dim


def cross_block(task: Task) -> str:
    """Statements of another program's function of the same name go before a statement here."""
    donor = task.donor()
    target = task.slot(lambda _: True)
    if donor is None or target is None:
        return ""
    function, slot = target
    pieces = [
        (f, s) for f in donor_functions(donor, function) for s in donor.analysis(f).slots if _movable(s)
    ]
    if not pieces:
        return ""
    source, piece = task.rng.choice(pieces)
    new = transplanted_statement(task, donor, piece, slot.scope)
    if new is None:
        return ""
    replace = task.rng.random() < 0.5 and type(slot.node) is type(new)
    slot.block[slot.index : slot.index + replace] = [new]
    return f"{function}: statement of {source}: {short(new, 50)}"


def _movable(slot: Slot) -> bool:
    return (
        isinstance(slot.node, (ast.Assign, ast.AugAssign, ast.If, ast.For)) and size(slot.node) <= MAX_PIECE
    )


def transplanted_statement(task: Task, donor: Source, piece: Slot, scope: Scope) -> ast.stmt | None:
    new = clone(piece.node)
    if any(isinstance(node, (ast.Return, ast.Break, ast.Continue)) for node in ast.walk(new)):
        return None
    bound, dims, names = names_bound(new), dict[str, str](), dict[str, str]()
    for name in names_loaded(new):
        if name.id in bound and name.id not in piece.scope:
            continue
        if name.id not in names:
            names[name.id] = _bound_name(task, donor, name.id, piece.scope, scope, dims)
        if not names[name.id]:
            return None
    for node in ast.walk(new):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
    return new
