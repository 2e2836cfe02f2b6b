"""The text of a syntax tree, the same as `ast.unparse` gives, in a fraction of the time.

`ast.unparse` visits each node through a visitor, and keeps a table of precedences. Here a node's text is put together
from those of its parts, which are told the precedence that they stand in. It knows the nodes that programs are mostly
made of; a tree with any other is left to `ast.unparse`.
"""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# grammar's levels of precedence, the loosest first; an operand that binds less than its place asks is put in brackets
_TUPLE, _YIELD, _TEST, _OR, _AND, _NOT, _CMP, _EXPR = range(2, 10)
_XOR, _BITAND, _SHIFT, _ARITH, _TERM, _FACTOR, _POWER, _AWAIT, _ATOM = range(10, 19)
_KNOWN_VERSION = sys.version_info < (3, 14)  # what `ast.unparse` prints may change from one to the next
_INDENT = "    "

_BINARY: dict[type, tuple[str, int]] = {
    ast.Add: (" + ", _ARITH), ast.Sub: (" - ", _ARITH), ast.Mult: (" * ", _TERM), ast.MatMult: (" @ ", _TERM),
    ast.Div: (" / ", _TERM), ast.Mod: (" % ", _TERM), ast.LShift: (" << ", _SHIFT), ast.RShift: (" >> ", _SHIFT),
    ast.BitOr: (" | ", _EXPR), ast.BitXor: (" ^ ", _XOR), ast.BitAnd: (" & ", _BITAND),
    ast.FloorDiv: (" // ", _TERM), ast.Pow: (" ** ", _POWER),
}  # fmt: skip
_UNARY: dict[type, tuple[str, int]] = {
    ast.Invert: ("~", _FACTOR), ast.Not: ("not ", _NOT), ast.UAdd: ("+", _FACTOR), ast.USub: ("-", _FACTOR),
}  # fmt: skip
_COMPARISONS: dict[type, str] = {
    ast.Eq: " == ", ast.NotEq: " != ", ast.Lt: " < ", ast.LtE: " <= ", ast.Gt: " > ", ast.GtE: " >= ",
    ast.Is: " is ", ast.IsNot: " is not ", ast.In: " in ", ast.NotIn: " not in ",
}  # fmt: skip


class _Unknown(Exception):  # noqa: N818  (it never leaves this file)
    """There is a node that is printed by `ast.unparse` only."""


def unparse(node: ast.AST) -> str:
    """The text that `ast.unparse` gives for an expression or a statement."""
    if not _KNOWN_VERSION:
        return ast.unparse(node)
    try:
        if isinstance(node, ast.stmt):
            return _statement(node, "")
        return _text(node, _TEST)
    except _Unknown:
        return ast.unparse(node)


# ---- expressions: each handler is given the node and the precedence of its place


def _text(node: Any, place: int) -> str:
    handler = _EXPRESSIONS.get(node.__class__)
    if handler is None:
        raise _Unknown
    return handler(node, place)


def _listed(nodes: Iterable[Any]) -> str:
    return ", ".join([_text(node, _TEST) for node in nodes])


def _items(nodes: Sequence[Any]) -> str:
    """What stands in a tuple; of one item, with a comma after it."""
    return _text(nodes[0], _TEST) + "," if len(nodes) == 1 else _listed(nodes)


def _name(node: ast.Name, _place: int) -> str:
    return node.id


def _constant(node: ast.Constant, _place: int) -> str:
    value: Any = node.value
    kind = value.__class__
    if kind is float:
        if not math.isfinite(value):
            raise _Unknown
    elif (kind is not int and kind is not bool and kind is not str and value is not None) or node.kind:
        raise _Unknown
    return repr(value)


def _binary(node: ast.BinOp, place: int) -> str:
    sign, level = _BINARY[node.op.__class__]
    power = level == _POWER
    left = _text(node.left, level + power)
    text = left + sign + _text(node.right, level + (not power))
    return f"({text})" if place > level else text


def _unary(node: ast.UnaryOp, place: int) -> str:
    sign, level = _UNARY[node.op.__class__]
    text = sign + _text(node.operand, level)
    return f"({text})" if place > level else text


def _boolean(node: ast.BoolOp, place: int) -> str:
    word, level = (" and ", _AND) if node.op.__class__ is ast.And else (" or ", _OR)
    values = enumerate(node.values, level + 1)
    text = word.join([_text(value, min(inner, _ATOM)) for inner, value in values])
    return f"({text})" if place > level else text


def _compare(node: ast.Compare, place: int) -> str:
    text = _text(node.left, _EXPR)
    for sign, operand in zip(node.ops, node.comparators, strict=True):
        text += _COMPARISONS[sign.__class__] + _text(operand, _EXPR)
    return f"({text})" if place > _CMP else text


def _attribute(node: ast.Attribute, _place: int) -> str:
    owner = _text(node.value, _ATOM)
    whole = isinstance(node.value, ast.Constant) and isinstance(node.value.value, int)
    return f"{owner} .{node.attr}" if whole else f"{owner}.{node.attr}"


def _call(node: ast.Call, _place: int) -> str:
    parts = [_text(argument, _TEST) for argument in node.args]
    for keyword in node.keywords:
        value = _text(keyword.value, _TEST)
        parts.append(f"**{value}" if keyword.arg is None else f"{keyword.arg}={value}")
    return f"{_text(node.func, _ATOM)}({', '.join(parts)})"


def _subscript(node: ast.Subscript, _place: int) -> str:
    index = node.slice
    if isinstance(index, ast.Tuple) and index.elts:
        if any(isinstance(each, ast.Starred) for each in index.elts):
            raise _Unknown  # versions differ
        inner = _items(index.elts)
    else:
        inner = _text(index, _TEST)
    return f"{_text(node.value, _ATOM)}[{inner}]"


def _slice(node: ast.Slice, _place: int) -> str:
    lower = _text(node.lower, _TEST) if node.lower else ""
    upper = _text(node.upper, _TEST) if node.upper else ""
    step = ":" + _text(node.step, _TEST) if node.step else ""
    return f"{lower}:{upper}{step}"


def _conditional(node: ast.IfExp, place: int) -> str:
    text = f"{_text(node.body, _OR)} if {_text(node.test, _OR)} else {_text(node.orelse, _TEST)}"
    return f"({text})" if place > _TEST else text


def _tuple(node: ast.Tuple, place: int) -> str:
    if not node.elts:
        return "()"
    text = _items(node.elts)
    return f"({text})" if place > _TUPLE else text


def _list(node: ast.List, _place: int) -> str:
    return f"[{_listed(node.elts)}]"


def _set(node: ast.Set, _place: int) -> str:
    if not node.elts:
        raise _Unknown
    return f"{{{_listed(node.elts)}}}"


def _dict(node: ast.Dict, _place: int) -> str:
    parts = [
        f"**{_text(value, _EXPR)}" if key is None else f"{_text(key, _TEST)}: {_text(value, _TEST)}"
        for key, value in zip(node.keys, node.values, strict=True)
    ]
    return f"{{{', '.join(parts)}}}"


def _generators(nodes: Iterable[ast.comprehension]) -> str:
    parts = []
    for node in nodes:
        if node.is_async:
            raise _Unknown
        parts.append(f" for {_text(node.target, _TUPLE)} in {_text(node.iter, _OR)}")
        parts += [f" if {_text(test, _OR)}" for test in node.ifs]
    return "".join(parts)


def _list_of(node: ast.ListComp, _place: int) -> str:
    return f"[{_text(node.elt, _TEST)}{_generators(node.generators)}]"


def _set_of(node: ast.SetComp, _place: int) -> str:
    return f"{{{_text(node.elt, _TEST)}{_generators(node.generators)}}}"


def _generator(node: ast.GeneratorExp, _place: int) -> str:
    return f"({_text(node.elt, _TEST)}{_generators(node.generators)})"


def _dict_of(node: ast.DictComp, _place: int) -> str:
    return f"{{{_text(node.key, _TEST)}: {_text(node.value, _TEST)}{_generators(node.generators)}}}"


def _lambda(node: ast.Lambda, place: int) -> str:
    parameters = _parameters(node.args)
    text = f"lambda {parameters}: " if parameters else "lambda: "
    text += _text(node.body, _TEST)
    return f"({text})" if place > _TEST else text


def _starred(node: ast.Starred, _place: int) -> str:
    return "*" + _text(node.value, _EXPR)


def _parameters(node: ast.arguments) -> str:
    if node.posonlyargs or node.vararg or node.kwonlyargs or node.kwarg:
        raise _Unknown
    first = len(node.args) - len(node.defaults)  # that has a default
    parts = []
    for index, parameter in enumerate(node.args):
        text = parameter.arg
        if parameter.annotation:
            text += ": " + _text(parameter.annotation, _TEST)
        parts.append(text if index < first else f"{text}={_text(node.defaults[index - first], _TEST)}")
    return ", ".join(parts)


_EXPRESSIONS: dict[type, Callable[[Any, int], str]] = {
    ast.Name: _name,
    ast.Constant: _constant,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _compare,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.Subscript: _subscript,
    ast.Slice: _slice,
    ast.IfExp: _conditional,
    ast.Tuple: _tuple,
    ast.List: _list,
    ast.Set: _set,
    ast.Dict: _dict,
    ast.ListComp: _list_of,
    ast.SetComp: _set_of,
    ast.GeneratorExp: _generator,
    ast.DictComp: _dict_of,
    ast.Lambda: _lambda,
    ast.Starred: _starred,
}


# ---- statements: each handler is given the node and what its lines begin with


def _statement(node: Any, start: str) -> str:
    handler = _STATEMENTS.get(node.__class__)
    if handler is None or getattr(node, "type_comment", None) is not None:
        raise _Unknown
    return handler(node, start)


def _block(body: Iterable[ast.stmt], start: str) -> str:
    """The lines of a block, each after the end of the one before."""
    inner = start + _INDENT
    parts = []
    for node in body:
        parts.append("\n\n" if node.__class__ is ast.FunctionDef else "\n")
        parts.append(_statement(node, inner))
    return "".join(parts)


def _otherwise(body: Sequence[ast.stmt], start: str) -> str:
    return f"\n{start}else:{_block(body, start)}" if body else ""


def _function(node: ast.FunctionDef, start: str) -> str:
    first = node.body[0]
    if node.decorator_list or getattr(node, "type_params", None):
        raise _Unknown
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        raise _Unknown  # a docstring
    returns = f" -> {_text(node.returns, _TEST)}" if node.returns else ""
    return f"{start}def {node.name}({_parameters(node.args)}){returns}:{_block(node.body, start)}"


def _return(node: ast.Return, start: str) -> str:
    return f"{start}return {_text(node.value, _TEST)}" if node.value else start + "return"


def _assign(node: ast.Assign, start: str) -> str:
    targets = "".join([_text(target, _TUPLE) + " = " for target in node.targets])
    return start + targets + _text(node.value, _TEST)


def _augmented(node: ast.AugAssign, start: str) -> str:
    sign = _BINARY[node.op.__class__][0].rstrip()
    return f"{start}{_text(node.target, _TEST)}{sign}= {_text(node.value, _TEST)}"


def _annotated(node: ast.AnnAssign, start: str) -> str:
    target = _text(node.target, _TEST)
    if not node.simple and isinstance(node.target, ast.Name):
        target = f"({target})"
    value = f" = {_text(node.value, _TEST)}" if node.value else ""
    return f"{start}{target}: {_text(node.annotation, _TEST)}{value}"


def _expression(node: ast.Expr, start: str) -> str:
    return start + _text(node.value, _YIELD)


def _if(node: ast.If, start: str) -> str:
    text = f"{start}if {_text(node.test, _TEST)}:{_block(node.body, start)}"
    while len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        node = node.orelse[0]
        text += f"\n{start}elif {_text(node.test, _TEST)}:{_block(node.body, start)}"
    return text + _otherwise(node.orelse, start)


def _for(node: ast.For, start: str) -> str:
    head = f"{start}for {_text(node.target, _TUPLE)} in {_text(node.iter, _TEST)}:"
    return head + _block(node.body, start) + _otherwise(node.orelse, start)


def _while(node: ast.While, start: str) -> str:
    head = f"{start}while {_text(node.test, _TEST)}:"
    return head + _block(node.body, start) + _otherwise(node.orelse, start)


def _aliases(nodes: Iterable[ast.alias]) -> str:
    return ", ".join([f"{node.name} as {node.asname}" if node.asname else node.name for node in nodes])


def _import(node: ast.Import, start: str) -> str:
    return f"{start}import {_aliases(node.names)}"


def _import_from(node: ast.ImportFrom, start: str) -> str:
    return f"{start}from {'.' * (node.level or 0)}{node.module or ''} import {_aliases(node.names)}"


_STATEMENTS: dict[type, Callable[[Any, str], str]] = {
    ast.FunctionDef: _function,
    ast.Return: _return,
    ast.Assign: _assign,
    ast.AugAssign: _augmented,
    ast.AnnAssign: _annotated,
    ast.Expr: _expression,
    ast.If: _if,
    ast.For: _for,
    ast.While: _while,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.Pass: lambda _node, start: start + "pass",
    ast.Break: lambda _node, start: start + "break",
    ast.Continue: lambda _node, start: start + "continue",
}
