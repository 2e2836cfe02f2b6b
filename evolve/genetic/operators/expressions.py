"""Operators on expressions: each returns what it did in a few words, or "" if it found nothing to do."""

from __future__ import annotations

import ast
import math

from evolve.genetic.grow import Grower, constant, round_off
from evolve.genetic.nodes import binary, call, clone, compare, literal, name, number, short, walk
from evolve.genetic.places import Analysis, Site
from evolve.genetic.task import Place, Task
from evolve.genetic.types import FLOAT, Type, fits

_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_NUMPY_EXTREMES, _BUILTIN_EXTREMES = ("maximum", "minimum"), ("max", "min")
SPREADS = (0.05, 0.2, 0.7)  # of the logarithm of a number that is scaled
TERM_FORMS = {"nudge": 8, "+": 3, "-": 3, "*": 3, "/": 2, "max": 6, "min": 4, "choice": 3}
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def note(place: Place, new: ast.AST) -> str:
    return f"{place.function}: {short(place.seen.node, 40)} -> {short(new, 60)}"


def put(place: Place, new: ast.expr) -> str:
    place.live.replace(new)
    return note(place, new)


def is_numeric(site: Site) -> bool:
    return site.type.is_number or (site.type.kind == "vector" and not site.type.items)


def is_number_literal(site: Site) -> bool:
    return isinstance(site.node, ast.Constant) and literal(site.node) is not None


def is_operation(site: Site) -> bool:
    return _extreme_name(site) != "" or isinstance(site.node, (ast.BinOp, ast.BoolOp))


def is_comparison(site: Site) -> bool:
    return isinstance(site.node, ast.Compare) and isinstance(site.node.ops[0], _COMPARISONS)


def is_term(site: Site) -> bool:
    return is_numeric(site) and site.role not in ("index", "shape", "answer", "bound", "owner")


def is_composite(site: Site) -> bool:
    return can_grow(site) and not isinstance(site.node, (ast.Name, ast.Constant))


def is_variable(site: Site) -> bool:
    return isinstance(site.node, ast.Name) and (site.type.is_structure or is_numeric(site))


def is_parameter_of_a_rule(site: Site) -> bool:
    return literal(site.node) is not None and site.type.kind == "float" and site.role == "value"


def is_test(site: Site) -> bool:
    return site.type.kind in ("bool", "mask") and site.role != "while"


def can_grow(site: Site) -> bool:
    return site.type.is_scalar or site.type.is_array or site.type.kind == "list"


# constants


def tweak_constant(task: Task) -> str:
    """Scale a number, step it, flip its sign, or make it a round one."""
    place = task.site(is_number_literal)
    if place is None:
        return ""
    old = literal(place.seen.node)
    assert old is not None
    whole = isinstance(old, int) and not may_be_fractional(place.seen, task.analysis(place.function))
    new = _stepped(task, int(old)) if whole else _scaled(task, float(old))
    if new == old:
        return ""
    return put(place, number(new))


def _stepped(task: Task, old: int) -> int:
    return task.rng.choice((old + 1, old - 1, old * 2, old // 2, old + 2, old + task.rng.randint(1, 10)))


def _scaled(task: Task, old: float) -> float | int:
    draw = task.rng.random()
    if draw < 0.2:
        return task.rng.choice((0, 1, 2, 0.5))
    if draw < 0.25 and old:
        return -old
    if not old:
        return constant(task.rng)
    spread = task.rng.choice(SPREADS)
    return round_off(old * math.exp(task.rng.gauss(0.0, spread)))


def may_be_fractional(site: Site, analysis: Analysis) -> bool:
    """Whether a fraction can stand for a whole number: in arithmetic whose result is not a whole number."""
    if site.role != "value":
        return False
    around = next((other for other in analysis.sites if other.node is site.holder), None)
    if around is None:
        return False
    if isinstance(around.node, ast.Compare):
        left = next(
            other for other in analysis.sites if other.holder is around.node and other.node is not site.node
        )
        return left.type.kind in ("float", "vector")
    return around.type.kind in ("float", "vector")


# operators


def swap_operator(task: Task) -> str:
    """Another arithmetic or logical operator, maximum and minimum among them."""
    place = task.site(is_operation)
    if place is None:
        return ""
    live = place.live.node
    if isinstance(live, ast.BoolOp):
        return put(place, ast.BoolOp(ast.Or() if isinstance(live.op, ast.And) else ast.And(), live.values))
    if isinstance(live, ast.BinOp) and place.seen.type.kind == "mask":
        return put(
            place,
            binary(live.left, ast.BitOr() if isinstance(live.op, ast.BitAnd) else ast.BitAnd(), live.right),
        )
    if not is_numeric(place.seen):
        return ""
    return _swap_arithmetic(task, place)


def _extreme_name(site: Site) -> str:
    node = site.node
    if not isinstance(node, ast.Call) or len(node.args) != 2 or node.keywords or not is_numeric(site):
        return ""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr if node.func.attr in _NUMPY_EXTREMES else ""
    return node.func.id if isinstance(node.func, ast.Name) and node.func.id in _BUILTIN_EXTREMES else ""


def _swap_arithmetic(task: Task, place: Place) -> str:
    node, old = place.live.node, _extreme_name(place.seen)
    if isinstance(node, ast.Call):
        left, right = node.args
    else:
        assert isinstance(node, ast.BinOp)
        left, right = node.left, node.right
    grower = task.grower(place.seen.scope, place.function)
    extremes = (
        [*_BUILTIN_EXTREMES] if place.seen.type.is_number else [*_NUMPY_EXTREMES] if grower.numpy else []
    )
    whole = place.seen.type.kind == "int"
    operators = [
        o
        for o in (*_ARITHMETIC[: 3 if whole else 4], ast.FloorDiv)[:4]
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, o)
    ]
    draw = task.rng.randrange(len(operators) + len(extremes))
    if draw >= len(operators):
        function = extremes[draw - len(operators)]
        if function == old:
            return ""
        return put(
            place,
            call(function if function in _BUILTIN_EXTREMES else f"{grower.numpy}.{function}", left, right),
        )
    chosen = operators[draw]
    if chosen in (ast.Div, ast.FloorDiv):
        right = grower.denominator(right)
    return put(place, binary(left, chosen(), right))


def swap_comparison(task: Task) -> str:
    """Another comparison between the same two sides."""
    place = task.site(is_comparison)
    if place is None or not isinstance(place.live.node, ast.Compare):
        return ""
    node = place.live.node
    others = [o for o in _COMPARISONS if not isinstance(node.ops[0], o)]
    return put(place, ast.Compare(node.left, [task.rng.choice(others)(), *node.ops[1:]], node.comparators))


# subtrees


def replace_subtree(task: Task) -> str:
    """A grown expression in place of another of its type."""
    place = task.site(can_grow)
    if place is None:
        return ""
    new = task.grower(place.seen.scope, place.function).grow(
        _loose(place.seen), task.rng.choice((0, 1, 1, 2, 2, 3))
    )
    return "" if new is None else put(place, new)


def _loose(site: Site) -> Type:
    """What to grow: whole numbers only where they must be whole."""
    free = (
        site.role == "value" and site.type.kind == "int" and isinstance(site.holder, (ast.BinOp, ast.Compare))
    )
    return FLOAT if free and site.depth == 0 else site.type


def insert_term(task: Task) -> str:
    """Combine an expression with a grown term: arithmetic, maximum, minimum, or a choice between the two."""
    place = task.site(is_term)
    if place is None:
        return ""
    kind, old, rng = place.seen.type, place.live.node, task.rng
    grower = task.grower(place.seen.scope, place.function)
    if kind.kind == "int" and must_be_whole(place.seen):
        return put(place, binary(old, rng.choice((ast.Add, ast.Sub))(), grower.integer(rng.choice((0, 1)))))
    form = rng.choices(list(TERM_FORMS), list(TERM_FORMS.values()))[0]
    if kind.kind == "vector" and not grower.numpy and form in ("max", "min", "choice"):
        return ""
    return put(place, combined(grower, kind, form, old))


def must_be_whole(site: Site) -> bool:
    """Whether a whole number cannot give way to a fraction, as far as its place tells."""
    return site.role in ("assign", "return", "call", "count") or not isinstance(
        site.holder, (ast.BinOp, ast.Compare)
    )


def combined(grower: Grower, kind: Type, form: str, old: ast.expr) -> ast.expr:
    """The old expression, of type `kind`, and a new term; numpy is at hand if a form of arrays needs it."""
    array, rng = kind.kind == "vector", grower.rng
    term = (
        grower.partner(kind.dim, rng.choice((0, 1, 1, 2)))
        if array
        else grower.scalar(rng.choice((0, 1, 1, 2)))
    )
    if form == "nudge":
        return _nudged(grower, kind, old, term)
    if form == "choice":
        return _chosen(grower, kind, old, term)
    if form in ("max", "min"):
        return call(f"{grower.numpy}.{form}imum" if array else form, old, term)
    if form == "/":
        flip = rng.random() < 0.3 and not isinstance(term, ast.Constant)
        above, below = (term, old) if flip else (old, term)
        return binary(above, ast.Div(), grower.denominator(below))
    if literal(term) == (1 if form == "*" else 0):
        term = number(2)
    return binary(old, {"+": ast.Add, "-": ast.Sub, "*": ast.Mult}[form](), term)


def _nudged(grower: Grower, kind: Type, old: ast.expr, term: ast.expr) -> ast.expr:
    """A small change: plus a fraction of a term, or times about 1. Good rules are improved by small steps."""
    share, rng = round_off(math.exp(grower.rng.uniform(math.log(0.02), math.log(1.0)))), grower.rng
    operator: ast.operator = ast.Add() if rng.random() < 0.6 else ast.Sub()
    if isinstance(term, ast.Constant):
        return binary(old, operator, term)
    if rng.random() < 0.7:
        return binary(old, operator, binary(number(share), ast.Mult(), term))
    below = grower.denominator(grower.partner(kind.dim, 0) if kind.kind == "vector" else grower.scalar(0))
    ratio = binary(binary(number(share), ast.Mult(), term), ast.Div(), below)
    return binary(old, ast.Mult(), binary(number(1), operator, ratio))


def _chosen(grower: Grower, kind: Type, old: ast.expr, term: ast.expr) -> ast.expr:
    """Either the old expression or the term, by a grown test."""
    if kind.kind != "vector":
        return ast.IfExp(grower.test(1), old, term)
    test = grower.mask(kind.dim, 1) or compare(clone(old), ast.Gt(), grower.partner(kind.dim, 0))
    sides = (old, term) if grower.rng.random() < 0.5 else (term, old)
    return call(f"{grower.numpy}.where", test, *sides)


def hoist(task: Task) -> str:
    """Put a part in place of the whole: the direct parts more often. Shrinks the program."""
    place = task.site(is_composite)
    if place is None:
        return ""
    whole = place.seen
    inside = {id(node) for node in walk(whole.node)}
    parts = [
        s for s in task.analysis(place.function).sites
        if id(s.node) in inside and s.node is not whole.node and s.depth == whole.depth
        and fits(s.type, whole.type)
    ]  # fmt: skip
    chosen = task.pick(parts, [3.0 if s.holder is whole.node else 1.0 for s in parts])
    if chosen is None:
        return ""
    return put(place, task.draft.site(place.function, chosen).node)


def swap_name(task: Task) -> str:
    """Another variable of the same type in place of a variable."""
    place = task.site(is_variable)
    if place is None or not isinstance(place.seen.node, ast.Name):
        return ""
    others = [
        n
        for n in task.grower(place.seen.scope, place.function).names(place.seen.type)
        if n != place.seen.node.id
    ]
    return put(place, name(task.rng.choice(others))) if others else ""


def shift_with_time(task: Task) -> str:
    """Make a number in a rule depend on the state: multiply or offset a literal by a grown number."""
    place = task.site(is_parameter_of_a_rule)
    if place is None:
        return ""
    term = task.grower(place.seen.scope, place.function).scalar(1)
    operator = task.rng.choice((ast.Mult, ast.Add))
    return put(place, binary(place.live.node, operator(), term))


def negate_test(task: Task) -> str:
    """Turn a test or a mask around, or join it with another."""
    place = task.site(is_test)
    if place is None:
        return ""
    grower, old, kind = task.grower(place.seen.scope, place.function), place.live.node, place.seen.type
    if kind.kind == "mask":
        other = grower.mask(kind.dim, 1)
        if other is None:
            return put(place, ast.UnaryOp(ast.Invert(), old))
        return put(place, binary(old, task.rng.choice((ast.BitAnd, ast.BitOr))(), other))
    if task.rng.random() < 0.3:
        return put(place, ast.UnaryOp(ast.Not(), old))
    return put(place, ast.BoolOp(task.rng.choice((ast.And, ast.Or))(), [old, grower.test(1)]))
