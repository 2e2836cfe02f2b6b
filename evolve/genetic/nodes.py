"""Making and copying syntax trees. Trees made here are the trees that their own text parses to."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from evolve.genetic.printing import unparse

LOAD, STORE = ast.Load(), ast.Store()
Node = TypeVar("Node", bound=ast.AST)
_PLAIN: frozenset[type] = frozenset({str, int, float, complex, bool, bytes, type(None), type(...)})
# what a copy shares with its original: constants, and nodes without fields (contexts and operators)
_ATOMS = _PLAIN | {
    kind for base in (ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop)
    for kind in base.__subclasses__()
}  # fmt: skip
_LEAVES = frozenset({ast.Name, ast.Constant, *_ATOMS})


def clone(node: Node) -> Node:
    """A deep copy; several times faster than copy.deepcopy because a syntax tree has no cycles."""
    kind = node.__class__
    new = kind.__new__(kind)
    fields = new.__dict__
    for name, value in node.__dict__.items():
        inner = value.__class__
        if inner in _ATOMS:
            fields[name] = value
        elif inner is list:
            fields[name] = [item if item.__class__ in _ATOMS else clone(item) for item in value]
        else:
            fields[name] = clone(value)
    return new


def shallow(node: Node) -> Node:
    """A node with the same parts."""
    new = node.__class__.__new__(node.__class__)
    new.__dict__.update(node.__dict__)
    return new


Holder = ast.AST | list[Any]


def holders(root: ast.AST) -> dict[int, tuple[Holder, str]]:
    """What holds each node and each list below the root, by id, and in which field; "" in a list."""
    found: dict[int, tuple[Holder, str]] = {}
    for node in walk(root):
        if node.__class__ in _LEAVES:
            continue
        for field, value in node.__dict__.items():
            kind = value.__class__
            if kind is list:
                found[id(value)] = node, field
                for item in value:
                    found[id(item)] = value, ""
            elif kind not in _ATOMS:
                found[id(value)] = node, field
    return found


def size(node: ast.AST) -> int:
    """Number of nodes, contexts and operators not counted."""
    return sum(1 for _ in walk(node))


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but contexts, parents first, in the order of the text; lists of operators are included."""
    todo: list[ast.AST] = [node]
    take, put = todo.pop, todo.append
    while todo:
        node = take()
        yield node
        if node.__class__ in _LEAVES:
            continue
        for value in reversed(node.__dict__.values()):
            kind = value.__class__
            if kind in _ATOMS:
                continue
            if kind is list:
                for item in reversed(value):
                    if item.__class__ not in _PLAIN:
                        put(item)
            else:
                put(value)


def bare(tree: ast.Module) -> None:
    """Drop the positions of a parsed tree, so that it is as trees made here are, and quicker to copy."""
    for node in ast.walk(tree):
        fields = node.__dict__
        for name in ("lineno", "end_lineno", "col_offset", "end_col_offset"):
            fields.pop(name, None)
        if isinstance(node, ast.stmt):
            node.lineno = 0  # ast.unparse looks for type comments there


def children(node: ast.AST) -> list[tuple[Callable[[ast.expr], None], ast.expr]]:
    """The expressions right below a node, each with what puts another in its place."""
    found: list[tuple[Callable[[ast.expr], None], ast.expr]] = []
    for field, value in node.__dict__.items():
        if isinstance(value, ast.expr):
            found.append((partial(setattr, node, field), value))
        elif isinstance(value, list):
            places = [
                (partial(value.__setitem__, i), v) for i, v in enumerate(value) if isinstance(v, ast.expr)
            ]
            found.extend(places)
    return found


def names_loaded(node: ast.AST) -> list[ast.Name]:
    """The Name nodes that are read."""
    return [name for name in walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)]


def names_bound(node: ast.AST) -> frozenset[str]:
    """Names that something inside binds: targets, parameters, nested functions."""
    bound = set()
    for child in walk(node):
        if isinstance(child, ast.Name) and not isinstance(child.ctx, ast.Load):
            bound.add(child.id)
        elif isinstance(child, ast.arg):
            bound.add(child.arg)
        elif isinstance(child, ast.FunctionDef) and child is not node:
            bound.add(child.name)
    return frozenset(bound)


@dataclass(frozen=True)
class Survey:
    """What one walk over a definition finds: see `size`, `names_loaded` and `names_bound`."""

    size: int
    mentions: tuple[str, ...]  # names read, each once, in the order of the text
    binds: frozenset[str]
    has_loop: bool
    axes: frozenset[str]  # names that are used as arrays of several axes


def survey(node: ast.AST) -> Survey:
    """Everything that is asked of a definition again and again, in one walk."""
    count, loop = 0, False
    mentions: dict[str, None] = {}
    binds: set[str] = set()
    axes: set[str] = set()
    for child in walk(node):
        count += 1
        kind = child.__class__
        if kind is ast.Name:
            if child.ctx.__class__ is ast.Load:  # type: ignore[attr-defined]
                mentions[child.id] = None  # type: ignore[attr-defined]
            else:
                binds.add(child.id)  # type: ignore[attr-defined]
        elif kind is ast.arg:
            binds.add(child.arg)  # type: ignore[attr-defined]
        elif kind is ast.For or kind is ast.While or kind is ast.comprehension:
            loop = True
        elif kind is ast.FunctionDef and child is not node:
            binds.add(child.name)  # type: ignore[attr-defined]
        # the quick looks spare most nodes the call: every new definition is surveyed
        elif kind is ast.Call:
            if child.keywords:  # type: ignore[attr-defined]
                _note_axes(child, axes)
        elif kind is ast.Subscript:
            if child.slice.__class__ is ast.Tuple or child.value.__class__ is ast.Attribute:  # type: ignore[attr-defined]
                _note_axes(child, axes)
        elif kind is ast.Assign and child.value.__class__ is ast.Attribute:  # type: ignore[attr-defined]
            _note_axes(child, axes)
    return Survey(count, tuple(mentions), frozenset(binds), loop, frozenset(axes))


def _note_axes(node: ast.AST, found: set[str]) -> None:
    """Add what a node shows to be an array of several axes: `x[i, j]`, `a, b = x.shape`, `f(x, axis=1)`."""
    shown: list[ast.expr] = []
    if isinstance(node, ast.Call):
        if node.keywords and any(word.arg == "axis" for word in node.keywords):
            shown = [*([node.func.value] if isinstance(node.func, ast.Attribute) else []), *node.args]
    elif isinstance(node, ast.Subscript):
        if isinstance(node.slice, ast.Tuple):
            shown = [node.value]
        elif isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            first = isinstance(node.slice, ast.Constant) and node.slice.value == 0
            shown = [] if first else [node.value.value]
    elif (
        isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape"
    ):
        shown = [node.value.value] if isinstance(node.targets[0], ast.Tuple) else []
    found.update(each.id for each in shown if isinstance(each, ast.Name))


def name(identifier: str) -> ast.Name:
    return ast.Name(identifier, LOAD)


def number(value: int | float) -> ast.expr:
    """A literal; a negative one is a minus sign before a positive literal, as the parser sees it."""
    if value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value, None))
    return ast.Constant(value, None)


def literal(node: ast.expr) -> int | float | None:
    """The value of a number literal with or without a sign; None for any other expression."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = literal(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return cast("int | float", node.value)
    return None


def call(function: str, *arguments: ast.expr) -> ast.Call:
    """A call of `name` or `module.name`."""
    module, _, attribute = function.rpartition(".")
    target: ast.expr = ast.Attribute(name(module), attribute, LOAD) if module else name(attribute)
    return ast.Call(target, list(arguments), [])


def method(owner: ast.expr, attribute: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(owner, attribute, LOAD), list(arguments), [])


def binary(left: ast.expr, operator: ast.operator, right: ast.expr) -> ast.BinOp:
    return ast.BinOp(left, operator, right)


def compare(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> ast.Compare:
    return ast.Compare(left, [operator], [right])


def function_of(parameter: str, body: ast.expr) -> ast.Lambda:
    spec = ast.arguments([], [ast.arg(parameter, None, None)], None, [], [], None, [])
    return ast.Lambda(spec, body)


def assign(target: str, value: ast.expr) -> ast.Assign:
    return ast.Assign([ast.Name(target, STORE)], value, None, lineno=0)


def repeat(target: str, times: ast.expr, body: Sequence[ast.stmt]) -> ast.For:
    loop = ast.Name(target, STORE)
    return ast.For(loop, call("range", times), list(body), [], None, lineno=0)


def short(node: ast.AST, limit: int = 60) -> str:
    """The text of a node for a note, on one line."""
    text = " ".join(unparse(node).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
