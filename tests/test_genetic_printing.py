"""Printing: every text is the one that `ast.unparse` gives, whatever the node."""

from __future__ import annotations

import ast
import heapq
import inspect
import statistics
import textwrap
from types import ModuleType

import numpy.lib._function_base_impl as arrays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.genetic.printing import unparse

STATEMENTS = """
x: int = 3
(y): float
a, b = (1, 2), -3 ** -2 ** 0.5
a[i, :, 1:2:3], (b), *c = d, = [], {}, {1}, {**p, 'k': -1}
a @= (yield_ := 2) if (lambda: 0) else lambda q, r=1: (q, r)
z = not (a and (b or c) and not d) or (x if y else z) is not None
t = 5 .real + (-5).imag + 1.5.real + True .real - (a - (b - c)) // (d * e) ** f
u = (a < b < c) != (not d), ~(e & f | g ^ h) << 2 >> 1
v = [i for i, (j, k) in s if i if j] + [*m, *n] + list({i: j for i in s for j in t} | {k for k in w})
w = f(*args, k=(1,), **more)(i for i in s)[()][1,][a[0]:]
if a:
    pass
elif b:
    if c:
        return
    else:
        continue
else:
    if d:
        break
for i, in s:
    def inner(m: 'list[int]'=(), *rest):
        '''Text.'''
        return f'{m!r:>{i}}'
    def other() -> None:
        s[0] += 'two\\nlines'
else:
    raise ValueError(1e999, 3j, b'', ...)
while (n := n - 1):
    import numpy as np, math
    from .. import sibling as s
    with a as b, c:
        global g
else:
    (yield)
    await x, (lambda *, k: k)
try:
    del a[0]
except* (A, B) as e:
    assert e, 'no'
@property
class C(Base, metaclass=M):
    async def f(self, /, *args, **keywords): ...
match a:
    case [1, *_] if b: pass
"""
PARTS = [node for node in ast.walk(ast.parse(STATEMENTS)) if isinstance(node, (ast.expr, ast.stmt))]


def test_each_statement_and_each_expression_is_printed_as_by_python() -> None:
    assert [unparse(node) for node in PARTS] == [ast.unparse(node) for node in PARTS]


@pytest.mark.parametrize("module", [heapq, statistics, textwrap, arrays])
def test_whole_modules_are_printed_as_by_python(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    assert [unparse(node) for node in tree.body] == [ast.unparse(node) for node in tree.body]


OPERATORS = [
    kind() for base in (ast.operator, ast.unaryop, ast.boolop, ast.cmpop) for kind in base.__subclasses__()
]


def nested(inner: st.SearchStrategy[ast.expr]) -> st.SearchStrategy[ast.expr]:
    def of(base: type[ast.AST]) -> st.SearchStrategy[ast.AST]:
        return st.sampled_from([operator for operator in OPERATORS if isinstance(operator, base)])

    return st.one_of(
        st.builds(ast.BinOp, inner, of(ast.operator), inner),
        st.builds(ast.UnaryOp, of(ast.unaryop), inner),
        st.builds(ast.BoolOp, of(ast.boolop), st.lists(inner, min_size=2, max_size=4)),
        st.builds(lambda left, sign, right: ast.Compare(left, [sign], [right]), inner, of(ast.cmpop), inner),
        st.builds(ast.IfExp, inner, inner, inner),
        st.builds(lambda items: ast.Tuple(items, ast.Load()), st.lists(inner, max_size=3)),
        st.builds(lambda owner, index: ast.Subscript(owner, index, ast.Load()), inner, inner),
        st.builds(lambda owner: ast.Attribute(owner, "size", ast.Load()), inner),
        st.builds(
            lambda function, values: ast.Call(function, values, []), inner, st.lists(inner, max_size=2)
        ),
    )


LEAVES = st.one_of(
    st.sampled_from("abc").map(lambda name: ast.Name(name, ast.Load())),
    st.one_of(st.none(), st.booleans(), st.integers(0), st.floats(0), st.text()).map(ast.Constant),
)


@given(st.recursive(LEAVES, nested, max_leaves=12))
def test_brackets_stand_where_python_puts_them(expression: ast.expr) -> None:
    assert unparse(expression) == ast.unparse(expression)
