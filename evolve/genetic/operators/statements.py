"""Operators on statements: delete, repeat, move, guard, loop, and new local variables."""

from __future__ import annotations

import ast

from evolve.genetic.nodes import (
    assign,
    binary,
    call,
    clone,
    literal,
    name,
    names_bound,
    names_loaded,
    number,
    repeat,
    short,
    size,
)
from evolve.genetic.places import Site, Slot
from evolve.genetic.task import Place, Task, caution
from evolve.genetic.types import FLOAT, Type, vector

_SIMPLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.For, ast.If)
REPEATS = (2, 3, 5, 10)


def _steers(slot: Slot) -> bool:
    """Whether a surrounding while loop would run on for ever without the statement."""
    node = slot.node
    touched = (
        names_bound(node) | {n.id for n in names_loaded(node)}
        if isinstance(node, ast.Expr)
        else names_bound(node)
    )
    return bool(touched & slot.pinned)


def _is_needed(slot: Slot, function: ast.AST) -> bool:
    """Whether the statement is the first to bind a name that others read."""
    new = {bound for bound in names_bound(slot.node) if bound not in slot.scope}
    inside = {id(node) for node in ast.walk(slot.node)}
    return any(n.id in new and id(n) not in inside for n in names_loaded(function))


def delete_statement(task: Task) -> str:
    chosen = task.slot(lambda s: isinstance(s.node, _SIMPLE) and not _steers(s))
    if chosen is None:
        return ""
    function, slot = chosen
    if _is_needed(slot, task.draft.open(function).root):
        return ""
    gone = slot.block.pop(slot.index)
    if not slot.block:
        slot.block.append(ast.Pass())
    return f"{function}: without {short(gone, 50)}"


def duplicate_statement(task: Task) -> str:
    chosen = task.slot(
        lambda s: isinstance(s.node, (ast.AugAssign, ast.If, ast.For, ast.Assign)) and size(s.node) < 60
    )
    if chosen is None:
        return ""
    function, slot = chosen
    if isinstance(slot.node, ast.Assign) and not names_bound(slot.node) & {
        n.id for n in names_loaded(slot.node)
    }:
        return ""
    slot.block.insert(slot.index, clone(slot.node))
    return f"{function}: twice {short(slot.node, 50)}"


def swap_statements(task: Task) -> str:
    """Exchange two neighbours, if the later one does not need what the earlier one binds first."""
    chosen = task.slot(lambda s: isinstance(s.node, _SIMPLE))
    if chosen is None:
        return ""
    function, slot = chosen
    if slot.index + 1 >= len(slot.block) or not isinstance(slot.block[slot.index + 1], _SIMPLE):
        return ""
    first, second = slot.block[slot.index : slot.index + 2]
    new = {bound for bound in names_bound(first) if bound not in slot.scope}
    if any(n.id in new for n in names_loaded(second)):
        return ""
    slot.block[slot.index : slot.index + 2] = [second, first]
    return f"{function}: {short(second, 40)} before {short(first, 40)}"


def guard_statement(task: Task) -> str:
    """Run a statement only under a grown condition."""
    chosen = task.slot(lambda s: isinstance(s.node, _SIMPLE) and not _steers(s))
    if chosen is None:
        return ""
    function, slot = chosen
    if any(bound not in slot.scope for bound in names_bound(slot.node)):
        return ""
    test = task.grower(slot.scope).test(1)
    slot.block[slot.index] = ast.If(test, [slot.node], [])
    return f"{function}: if {short(test, 40)}"


def unwrap_statement(task: Task) -> str:
    """The body of an if or a for in place of the whole, if it does not need the loop."""
    chosen = task.slot(lambda s: isinstance(s.node, (ast.If, ast.For)))
    if chosen is None:
        return ""
    function, slot = chosen
    node = slot.node
    assert isinstance(node, (ast.If, ast.For))
    if any(isinstance(inner, (ast.Break, ast.Continue)) for inner in ast.walk(node)):
        return ""
    if isinstance(node, ast.For):
        targets = {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}
        if any(n.id in targets for part in node.body for n in names_loaded(part)):
            return ""
    slot.block[slot.index : slot.index + 1] = node.body
    return f"{function}: unwrapped {short(node, 40)}"


def repeat_statement(task: Task) -> str:
    """`x = f(x)` a few times over."""
    chosen = task.slot(
        lambda s: isinstance(s.node, (ast.Assign, ast.AugAssign)) and s.depth < 2 and not s.pinned
    )
    if chosen is None:
        return ""
    function, slot = chosen
    bound = names_bound(slot.node)
    reads = {n.id for n in names_loaded(slot.node)} | (
        bound if isinstance(slot.node, ast.AugAssign) else set()
    )
    if not bound & reads or any(n not in slot.scope for n in bound):
        return ""
    times = task.rng.choice(REPEATS)
    slot.block[slot.index] = repeat(task.draft.fresh("_"), number(times), [slot.node])
    return f"{function}: {times} times {short(slot.block[slot.index], 50)}"


def is_bound(site: Site) -> bool:
    return site.role == "bound" and site.type.kind == "int"


def bound_weight(site: Site) -> float:
    return 10.0 * caution(site)


def change_bound(task: Task) -> str:
    """Change how far a loop runs: a step more or less, half, double."""
    place = task.site(is_bound, bound_weight)
    if place is None:
        return ""
    old = place.live.node
    value = literal(old)
    if value is not None:
        new = number(max(1, int(task.rng.choice((value + 1, value - 1, value * 2, value // 2)))))
    else:
        half, less = binary(old, ast.FloorDiv(), number(2)), binary(old, ast.Sub(), number(1))
        new = task.rng.choice((half, less, call("min", old, number(task.rng.choice((5, 10, 20, 50))))))
    place.live.replace(new)
    return f"{place.function}: loop to {short(new, 40)}"


def new_local(task: Task) -> str:
    """A grown value under a new name before a statement, which uses it in one place."""
    definition = task.function()
    if definition is None:
        return ""
    slots = task.analysis(definition.name).slots
    chosen = task.pick(slots, [1.0] * len(slots))
    if chosen is None:
        return ""
    live = task.draft.slot(definition.name, chosen)
    inside = {id(node) for node in ast.walk(chosen.node)}
    uses = [
        s for s in task.analysis(definition.name).sites
        if id(s.node) in inside and s.type.kind in ("float", "vector") and s.depth == chosen.depth
        and s.role in ("value", "return", "assign", "call")
    ]  # fmt: skip
    use = task.pick(uses, [1.0] * len(uses))
    if use is None:
        return ""
    return _add_local(task, task.place(definition.name, use), live)


def _add_local(task: Task, place: Place, slot: Slot) -> str:
    grower, kind = task.grower(slot.scope, place.function), place.seen.type
    wanted = vector(kind.dim) if kind.kind == "vector" and task.rng.random() < 0.5 else FLOAT
    value = grower.grow(wanted, 2)
    if value is None or isinstance(value, (ast.Name, ast.Constant)):
        return ""
    local = task.draft.fresh("v")
    operator = task.rng.choice((ast.Add, ast.Sub, ast.Mult))()
    place.live.replace(binary(place.live.node, operator, name(local)))
    slot.block.insert(slot.index, assign(local, value))
    return f"{place.function}: {local} = {short(value, 40)}"


def apply_at_statement(task: Task) -> str:
    """After an assignment, assign the variable again: re-sorted, reversed or another of its type."""
    chosen = task.slot(lambda s: isinstance(s.node, ast.Return) and s.depth == 0)
    if chosen is None:
        return ""
    function, slot = chosen
    names = [n for n, kind in slot.scope.items() if _is_answer(kind)]
    if not names:
        return ""
    target = task.rng.choice(names)
    value = task.grower(slot.scope).structure(slot.scope[target])
    if value is None or (isinstance(value, ast.Name) and value.id == target):
        return ""
    slot.block.insert(slot.index, assign(target, value))
    return f"{function}: {target} = {short(value, 40)}"


def _is_answer(kind: Type) -> bool:
    return kind.kind == "list"
