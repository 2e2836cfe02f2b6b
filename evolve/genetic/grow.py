"""Growing random expressions of a wanted type from the names in scope.

Grown code is meant to run: a denominator is kept away from zero, a root gets no negative number, an exponent
is bounded. Depths are small, because a child should differ from its parent by one idea. Sums, extremes and
choices, which leave the unit of their operands alone, are more likely than products, after dimensionally aware
genetic programming (Keijzer and Babovic, EuroGP 1999), although no unit is known here.
"""

from __future__ import annotations

import ast
import math
import random
from collections.abc import Callable, Collection, Sequence

from evolve.genetic.draft import Draft
from evolve.genetic.nodes import binary, call, compare, function_of, method, name, number
from evolve.genetic.places import Scope
from evolve.genetic.types import BOOL, FLOAT, INT, Type, fits, mask, vector

FORM_WEIGHTS = (10, 9, 4, 3, 1, 2, 1.5)  # sums, extremes, choices, scalings, products, ratios, bends
UNUSED_BONUS = 2.5  # a parameter that a function ignores is where an idea may be missing
ROUND_NUMBERS = (0.5, 2, 3, 0.1, 0.25, 1.5, 4, 5, 10, 1)
REDUCTIONS = ("mean", "max", "min", "sum", "std")
_ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
Form = str


def constant(rng: random.Random) -> int | float:
    """A positive number: often a round one, else from a wide log-normal distribution with three digits."""
    if rng.random() < 0.6:
        return rng.choice(ROUND_NUMBERS)
    return round_off(math.exp(rng.gauss(0.0, 1.2)))


def round_off(value: float) -> float:
    """Three significant digits: programs are read by people."""
    return float(f"{value:.3g}")


class Grower:
    """Grows expressions for one place; `None` means that nothing of the type can be made there."""

    def __init__(self, draft: Draft, scope: Scope, rng: random.Random, used: Collection[str] = ()) -> None:
        """`used` names the variables that the function already reads; others are drawn more often."""
        self.rng = rng
        self.scope = scope
        self.draft = draft
        self.used = used
        modules = draft.source.known.modules
        self.numpy = next((alias for alias, module in modules.items() if module == "numpy"), "")

    def names(self, want: Type) -> list[str]:
        return [item for item, kind in self.scope.items() if fits(kind, want)]

    def draw(self, names: Sequence[str]) -> ast.Name:
        weights = [1.0 if item in self.used else UNUSED_BONUS for item in names]
        return name(self.rng.choices(names, weights)[0])

    def pair(self, left: Callable[[], ast.expr], right: Callable[[], ast.expr]) -> tuple[ast.expr, ast.expr]:
        """Two operands, not twice the same variable if that can be helped."""
        first, second = left(), right()
        for _ in range(3):
            if not (isinstance(first, ast.Name) and isinstance(second, ast.Name) and first.id == second.id):
                break
            second = right()
        return first, second

    def grow(self, want: Type, depth: int) -> ast.expr | None:
        """An expression of type `want`, at most `depth` operations deep."""
        if want.kind == "vector":
            return self.vector(want, depth)
        if want.kind == "mask":
            return self.mask(want.dim, depth)
        if want.kind == "bool":
            return self.test(depth)
        if want.kind == "int":
            return self.integer(depth)
        if want.kind == "float":
            return self.scalar(depth)
        return self.structure(want)

    # arrays

    def vector(self, want: Type, depth: int) -> ast.expr | None:
        names = self.names(want)
        if want.text:  # of several axes
            return self.draw(names) if names else None
        if want.items and self.numpy and self.rng.random() < 0.5:
            inner = self.vector(vector(want.dim), depth - 1)
            return None if inner is None else call(f"{self.numpy}.argsort", inner)
        if not names:
            return None
        if want.items or depth <= 0 or not self.numpy or self.rng.random() < 0.2:
            return self.draw(names)
        forms = (self._sum, self._extreme, self._choice, self._scaled, self._product, self._ratio, self._bend)
        form = self.rng.choices(forms, FORM_WEIGHTS)[0]
        return form(want.dim, depth - 1)

    def partner(self, dim: str, depth: int) -> ast.expr:
        """A vector or, less often, a number that is broadcast."""
        if self.rng.random() < 0.65:
            grown = self.vector(vector(dim), depth)
            if grown is not None:
                return grown
        return self.scalar(depth, dim)

    def _some(self, dim: str, depth: int) -> ast.expr:
        return self.vector(vector(dim), depth) or self.scalar(depth, dim)

    def _sum(self, dim: str, depth: int) -> ast.expr:
        operator = self.rng.choices((ast.Add, ast.Sub), (5, 4))[0]()
        left, right = self._operands(dim, depth)
        return binary(left, operator, right)

    def _product(self, dim: str, depth: int) -> ast.expr:
        left, right = self._operands(dim, depth)
        return binary(left, ast.Mult(), right)

    def _scaled(self, dim: str, depth: int) -> ast.expr:
        """Times a number or a ratio: the unit stays what it was."""
        if self.rng.random() < 0.5:
            return binary(number(constant(self.rng)), ast.Mult(), self._some(dim, depth))
        return binary(self._some(dim, depth), ast.Mult(), self._ratio(dim, depth - 1))

    def _operands(self, dim: str, depth: int) -> tuple[ast.expr, ast.expr]:
        return self.pair(lambda: self._some(dim, depth), lambda: self.partner(dim, depth))

    def _ratio(self, dim: str, depth: int) -> ast.expr:
        left, right = self._operands(dim, depth)
        return binary(left, ast.Div(), self.denominator(right))

    def _extreme(self, dim: str, depth: int) -> ast.expr:
        function = self.rng.choice(("maximum", "minimum"))
        return call(f"{self.numpy}.{function}", *self._operands(dim, depth))

    def _choice(self, dim: str, depth: int) -> ast.expr:
        test = self.mask(dim, depth)
        if test is None:
            return self._extreme(dim, depth)
        return call(f"{self.numpy}.where", test, *self._operands(dim, depth))

    def _bend(self, dim: str, depth: int) -> ast.expr:
        inner, np = self._some(dim, depth), self.numpy
        form = self.rng.choice(("abs", "sqrt", "log", "exp", "square", "positive"))
        if form == "sqrt":
            return call(f"{np}.sqrt", call(f"{np}.abs", inner))
        if form == "log":
            return call(f"{np}.log1p", call(f"{np}.abs", inner))
        if form == "exp":
            scaled = binary(inner, ast.Div(), self.denominator(self.scalar(depth, dim)))
            return call(f"{np}.exp", ast.UnaryOp(ast.USub(), call(f"{np}.abs", scaled)))
        if form == "positive":
            return call(f"{np}.maximum", inner, number(0))
        return call(f"{np}.{form}", inner)

    def mask(self, dim: str, depth: int) -> ast.expr | None:
        if not self.names(vector(dim)):
            names = self.names(mask(dim))
            return self.draw(names) if names else None
        left, right = self._operands(dim, depth - 1)
        return compare(left, self.rng.choice(_ORDERS)(), right)

    # numbers

    def denominator(self, grown: ast.expr) -> ast.expr:
        """The expression kept at 1 or above, unless it is a literal."""
        if isinstance(grown, ast.Constant):
            return grown if grown.value else number(1)
        return call(f"{self.numpy}.maximum" if self.numpy else "max", grown, number(1))

    def scalar(self, depth: int, dim: str = "") -> ast.expr:
        """A number; reductions prefer arrays of length `dim`, which are those that matter at this place."""
        forms = (self._number_name, self._reduction, self._literal, self._formula)
        form = self.rng.choices(forms, (4, 3 if depth >= 0 else 1, 3, 3 if depth > 0 else 0))[0]
        return form(depth, dim)

    def _number_name(self, depth: int, dim: str) -> ast.expr:
        names = self.names(FLOAT)
        return self.draw(names) if names else self._reduction(depth, dim)

    def _reduction(self, depth: int, dim: str) -> ast.expr:
        arrays = [item for item, kind in self.scope.items() if kind.is_array]
        near = [item for item in arrays if self.scope[item].dim == dim]
        pool = near if near and self.rng.random() < 0.8 else arrays
        if not pool:
            return self._length()
        chosen = self.rng.choice(pool)
        if self.rng.random() < 0.1:
            return call("len", name(chosen))
        inner: ast.expr = name(chosen)
        if depth > 0 and self.rng.random() < 0.3:
            inner = self.vector(vector(self.scope[chosen].dim), depth - 1) or inner
        return method(inner, self.rng.choice(REDUCTIONS))

    def _length(self) -> ast.expr:
        sized = [
            item for item, kind in self.scope.items() if kind.kind in ("list", "dict", "tuple", "str", "set")
        ]
        return call("len", name(self.rng.choice(sized))) if sized else self._literal(0, "")

    def _literal(self, depth: int, dim: str) -> ast.expr:
        return number(constant(self.rng))

    def _formula(self, depth: int, dim: str) -> ast.expr:
        left, right = self._numbers(depth - 1, dim)
        form = self.rng.choice(("+", "-", "*", "/", "max", "min"))
        if form == "/":
            return binary(left, ast.Div(), self.denominator(right))
        if form in ("max", "min"):
            return call(form, left, right)
        return binary(left, {"+": ast.Add, "-": ast.Sub, "*": ast.Mult}[form](), right)

    def _numbers(self, depth: int, dim: str = "") -> tuple[ast.expr, ast.expr]:
        return self.pair(lambda: self.scalar(depth, dim), lambda: self.scalar(depth, dim))

    def integer(self, depth: int) -> ast.expr:
        names = self.names(INT)
        draw = self.rng.random()
        if names and draw < 0.5:
            return self.draw(names)
        if draw < 0.65:
            return self._length_of_anything()
        if depth <= 0 or draw < 0.85:
            return number(self.rng.choice((0, 1, 2, 3, 4, 5, 8)))
        form = self.rng.choice(("+", "-", "max", "min", "//"))
        left, right = self.integer(depth - 1), self.integer(depth - 1)
        if form in ("max", "min"):
            return call(form, left, right)
        if form == "//":
            return binary(left, ast.FloorDiv(), number(self.rng.choice((2, 3, 4))))
        return binary(left, ast.Add() if form == "+" else ast.Sub(), right)

    def _length_of_anything(self) -> ast.expr:
        arrays = [item for item, kind in self.scope.items() if kind.is_array]
        return call("len", name(self.rng.choice(arrays))) if arrays else self._length()

    def test(self, depth: int) -> ast.expr:
        flags = self.names(BOOL)
        if flags and self.rng.random() < 0.2:
            return name(self.rng.choice(flags))
        left, right = self._numbers(depth - 1)
        return compare(left, self.rng.choice(_ORDERS)(), right)

    # structures

    def structure(self, want: Type) -> ast.expr | None:
        """A variable of the type; of a list also a reversed or re-sorted one, which keeps its elements."""
        names = self.names(want)
        if not names:
            return None
        chosen = self.draw(names)
        if want.kind != "list" or self.rng.random() < 0.4:
            return chosen
        if self.rng.random() < 0.3:
            return ast.Subscript(chosen, ast.Slice(None, None, number(-1)), ast.Load())
        return self.resorted(chosen, want)

    def resorted(self, items: ast.expr, want: Type) -> ast.expr:
        """`sorted(items, key=...)`, where the key looks the element up in the arrays of the scope."""
        element = want.items[0] if want.items else Type("unknown")
        parameter = self.draft.fresh("item")
        arrays = [item for item, kind in self.scope.items() if kind.kind == "vector" and not kind.text]
        if element.is_number and (not arrays or self.rng.random() < 0.1):
            key: ast.expr = binary(name(parameter), ast.Mult(), number(self.rng.choice((-1, 2))))
        elif element.kind == "int" and arrays:
            key = self._lookups(parameter, arrays)
        else:
            return ast.Subscript(items, ast.Slice(None, None, number(-1)), ast.Load())
        keyword = ast.keyword("key", function_of(parameter, key))
        return ast.Call(name("sorted"), [items], [keyword])

    def _lookups(self, parameter: str, arrays: Sequence[str]) -> ast.expr:
        def entry() -> ast.expr:
            return ast.Subscript(name(self.rng.choice(arrays)), name(parameter), ast.Load())

        if self.rng.random() < 0.5:
            return entry()
        other = entry() if self.rng.random() < 0.5 else number(constant(self.rng))
        form = self.rng.choice(("+", "-", "*", "max", "min"))
        if form in ("max", "min"):
            return call(form, entry(), other)
        return binary(entry(), {"+": ast.Add, "-": ast.Sub, "*": ast.Mult}[form](), other)
