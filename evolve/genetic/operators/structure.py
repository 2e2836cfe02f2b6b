"""Operators on what shapes a program: what a choice goes by, what a loop does, what is a function of its own."""

from __future__ import annotations

import ast

from evolve.genetic.nodes import bare, call, clone, name, names_bound, names_loaded, short, size, walk
from evolve.genetic.operators.crossover import MAX_PIECE, donor_functions, transplanted_statement
from evolve.genetic.operators.expressions import TERM_FORMS, combined, must_be_whole, put
from evolve.genetic.places import Scope, Site, Slot
from evolve.genetic.task import Task
from evolve.genetic.types import FLOAT, Type

_CHOOSERS = ("argsort", "argmin", "argmax")
_FIXED = ("bound", "index", "shape", "answer", "target", "owner")
HELPER = (4, 60)  # least and most nodes of an expression that becomes a function
_ANNOTATIONS = {"int": "int", "float": "float", "bool": "bool"}


def is_key(site: Site) -> bool:
    """What a choice goes by: the body of a `key` function, or the array that is sorted or searched."""
    if isinstance(site.holder, ast.Lambda) and site.field == "body":
        return not site.type.is_array
    around = site.holder
    if not isinstance(around, ast.Call) or not isinstance(around.func, ast.Attribute):
        return False
    return around.func.attr in _CHOOSERS and site.index == 0 and site.type.kind == "vector"


def evenly(_: Site) -> float:
    return 1.0


def replace_key(task: Task) -> str:
    """Choose by something else: a grown key, alone or before the old one, which then breaks ties."""
    place = task.site(is_key, evenly)
    if place is None:
        return ""
    grower, kind, rng = task.grower(place.seen.scope, place.function), place.seen.type, task.rng
    wanted = kind if kind.kind == "vector" else FLOAT
    new = grower.grow(wanted, rng.choice((1, 2, 3)))
    if new is None:
        return ""
    if isinstance(place.seen.holder, ast.Lambda) and rng.random() < 0.3:
        new = ast.Tuple([new, place.live.node], ast.Load())
    return put(place, new)


def replace_loop_body(task: Task) -> str:
    """A loop over the same does what a loop of another program does."""
    donor = task.donor()
    target = task.slot(_is_plain_loop)
    if donor is None or target is None:
        return ""
    function, slot = target
    bodies = [
        piece
        for other in donor_functions(donor, function)
        for piece in donor.analysis(other).slots
        if _is_plain_loop(piece) and size(piece.node) <= MAX_PIECE
    ]
    if not bodies:
        return ""
    new = transplanted_statement(task, donor, task.rng.choice(bodies), slot.scope)
    old = slot.node
    if not isinstance(new, ast.For) or not isinstance(old, ast.For):
        return ""
    assert isinstance(new.target, ast.Name)
    assert isinstance(old.target, ast.Name)
    theirs, ours = new.target.id, old.target.id
    for node in [found for statement in new.body for found in walk(statement)]:
        if isinstance(node, ast.Name) and node.id == theirs:
            node.id = ours
    slot.block[slot.index] = ast.For(old.target, old.iter, new.body, [], None, lineno=0)
    return f"{function}: loop over {short(old.iter, 30)} does {short(new.body[0], 40)}"


def _is_plain_loop(slot: Slot) -> bool:
    return isinstance(slot.node, ast.For) and isinstance(slot.node.target, ast.Name)


def is_extractable(site: Site) -> bool:
    if site.type.kind not in ("int", "float", "vector") or site.role in _FIXED:
        return False
    if site.type.kind == "int" and must_be_whole(site):
        return False  # a helper has a term added, which may be a fraction
    return HELPER[0] <= size(site.node) <= HELPER[1] and not isinstance(site.node, (ast.Name, ast.Constant))


def extract_helper(task: Task) -> str:
    """An expression becomes a function of what it reads, with a new term in it.

    As a function it can be exchanged, called and changed as a whole from then on; the term is there because the
    same program in other words would decide the same.
    """
    place = task.site(is_extractable)
    if place is None:
        return ""
    free = _free(task, place.seen)
    if free is None:
        return ""
    kind, old = place.seen.type, clone(place.seen.node)
    whole = kind if kind.kind == "vector" else FLOAT
    grower = task.grower({read: place.seen.scope[read] for read in free}, place.function)
    forms = {form: weight for form, weight in TERM_FORMS.items() if grower.numpy or whole is FLOAT}
    body = combined(grower, whole, task.rng.choices(list(forms), list(forms.values()))[0], old)
    helper = task.draft.define(_helper(task, place.seen.scope, free, whole, body))
    return put(place, call(helper, *(name(read) for read in free)))


def _free(task: Task, site: Site) -> list[str] | None:
    """The local names that an expression reads, which become parameters; None if one has no plain type."""
    inner = names_bound(site.node)
    reads = dict.fromkeys(node.id for node in names_loaded(site.node) if node.id not in inner)
    local = [read for read in reads if read in site.scope]
    others = [read for read in reads if read not in site.scope]
    if any(read not in task.source.by_name and read not in _builtin_names() for read in others):
        return None
    plain = all(site.scope[read].kind in (*_ANNOTATIONS, "vector") for read in local)
    # arrays that enter a function together are taken to be of one length
    lengths = {site.scope[read].dim for read in local if site.scope[read].is_array}
    return local if local and plain and len(lengths) < 2 else None


def _builtin_names() -> frozenset[str]:
    return frozenset({"min", "max", "abs", "len", "sum", "int", "float", "round", "bool", "pow"})


def _helper(task: Task, scope: Scope, free: list[str], kind: Type, body: ast.expr) -> ast.FunctionDef:
    modules = task.source.known.modules
    numpy = next((alias for alias, module in modules.items() if module == "numpy"), "")

    def annotation(of: Type) -> ast.expr | None:
        if of.kind == "vector":
            return ast.Attribute(name(numpy), "ndarray", ast.Load()) if numpy else None
        return name(_ANNOTATIONS[of.kind])

    parameters = [ast.arg(read, annotation(scope[read]), None) for read in free]
    # parsed, not made: each version of Python has other fields there
    module = ast.parse("def term(): pass")
    bare(module)
    function = module.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.name, function.returns, function.body = (
        task.draft.fresh("term"),
        annotation(kind),
        [ast.Return(body)],
    )
    function.args = ast.arguments([], parameters, None, [], [], None, [])
    return function
