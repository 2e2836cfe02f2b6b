"""Static types of every expression of a function, by abstract interpretation of its body.

The interpreter walks the statements in order with an environment of types. A loop body is walked twice: once
in silence to learn what the loop changes, then, with the joined environment, to record. What cannot be known
is UNKNOWN, which operators leave alone.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from evolve.genetic import calls
from evolve.genetic.calls import describe, element
from evolve.genetic.types import (
    BOOL,
    FLOAT,
    INT,
    NONE,
    STR,
    UNKNOWN,
    Type,
    from_annotation,
    join,
    mask,
    vector,
)

Scope = Mapping[str, Type]
BUILTINS = frozenset(dir(builtins))
_CONSTANTS = {bool: BOOL, int: INT, float: FLOAT, str: STR, type(None): NONE}
_REGIONS = frozenset({"index", "bound", "while"})  # roles that everything inside shares
_ENDINGS = (ast.Return, ast.Raise, ast.Break, ast.Continue)


@dataclass(frozen=True)
class Signature:
    """A function's parameters (name, type, whether it has a default) and what it returns."""

    parameters: tuple[tuple[str, Type, bool], ...]
    returns: Type

    @property
    def required(self) -> int:
        return sum(not default for _, _, default in self.parameters)


@dataclass(slots=True)
class Site:
    """An expression in its place: `holder.field`, or `holder.field[index]` where the field is a list.

    role: "value", "test" (decides a branch), "while" (a while test), "index", "bound" (of a range), "iter",
        "call" (an argument of a function), "return", "assign" or "augment" (the whole right side).
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
    return Signature(parameters, from_annotation(node.returns))


@dataclass(frozen=True)
class Globals:
    """What the top level of a program binds: functions, modules (name -> module) and other names."""

    functions: Mapping[str, Signature]
    modules: Mapping[str, str]
    values: Mapping[str, Type]


def analyse(function: ast.FunctionDef, known: Globals) -> Analysis:
    """Infer the types in one function, whose nodes the result refers to."""
    return _Interpreter(known).run(function)


class _Interpreter:
    def __init__(self, known: Globals) -> None:
        self.known = known
        self.result = Analysis()
        self.scope: dict[str, Type] = {}
        self.quiet = 0
        self.depth = 0
        self.pinned: frozenset[str] = frozenset()
        self.region = ""

    def run(self, function: ast.FunctionDef) -> Analysis:
        for name, kind, _ in signature(function).parameters:
            self.scope[name] = kind
        for other in (*function.args.kwonlyargs, function.args.vararg, function.args.kwarg):
            if other is not None:
                self.scope[other.arg] = UNKNOWN
        self.block(function.body)
        return self.result

    # statements

    def block(self, body: list[ast.stmt]) -> None:
        for index, statement in enumerate(body):
            if not self.quiet:
                self.result.slots.append(Slot(body, index, self.scope, self.depth, self.pinned))
            handler = _STATEMENTS.get(type(statement))
            if handler is not None:
                handler(self, statement)
            else:
                self.other(statement)

    def bind(self, target: ast.expr, kind: Type) -> None:
        if isinstance(target, ast.Name):
            self.scope = {**self.scope, target.id: kind}
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._bind_tuple(target, kind)
        elif isinstance(target, ast.Subscript):
            self.visit(target, "value", -1, "target")
            self.visit(target, "slice", -1, "index")
        elif isinstance(target, (ast.Attribute, ast.Starred)):
            self.visit(target, "value", -1, "target")

    def _bind_tuple(self, target: ast.Tuple | ast.List, kind: Type) -> None:
        fixed = kind.kind == "tuple" and len(kind.items) == len(target.elts)
        for index, item in enumerate(target.elts):
            self.bind(item, kind.items[index] if fixed else element(kind))

    def assign(self, node: ast.Assign) -> None:
        kind = self.visit(node, "value", -1, "assign")
        for target in node.targets:
            self.bind(target, kind)

    def annotated(self, node: ast.AnnAssign) -> None:
        kind = self.visit(node, "value", -1, "assign") if node.value is not None else UNKNOWN
        annotation = from_annotation(node.annotation)
        self.bind(node.target, kind if annotation.is_array and kind.is_array else annotation)

    def augmented(self, node: ast.AugAssign) -> None:
        kind = self.visit(node, "value", -1, "augment")
        if isinstance(node.target, ast.Name):
            old = self.scope.get(node.target.id, UNKNOWN)
            self.bind(node.target, _binary(node.op, old, kind))
        else:
            self.bind(node.target, kind)

    def returned(self, node: ast.Return) -> None:
        if node.value is not None:
            self.visit(node, "value", -1, "return")

    def expression(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.visit(node, "value", -1, "statement")

    def branch(self, node: ast.If) -> None:
        self.visit(node, "test", -1, "test")
        before = self.scope
        self.block(node.body)
        after_body = self.scope
        self.scope = before
        self.block(node.orelse)
        if _ends(node.orelse):
            self.scope = after_body
        elif not _ends(node.body):
            self.scope = _merge(after_body, self.scope)

    def loop(self, node: ast.For) -> None:
        item = element(self.visit(node, "iter", -1, "iter"))
        self._repeat(node, lambda: self.bind(node.target, item))

    def while_loop(self, node: ast.While) -> None:
        outer = self.pinned
        self.pinned = outer | {name.id for name in ast.walk(node.test) if isinstance(name, ast.Name)}
        self._repeat(node, lambda: self.visit(node, "test", -1, "while"))
        self.pinned = outer

    def _repeat(self, node: ast.For | ast.While, head: Callable[[], object]) -> None:
        before = self.scope
        self.depth += 1
        self.quiet += 1
        if self.quiet == 1:  # an inner loop of a silent pass is walked once: nested loops stay cheap
            head()
            self.block(node.body)
            self.scope = _merge(before, self.scope, keep=before)
        self.quiet -= 1
        head()
        self.block(node.body)
        self.depth -= 1
        self.scope = _merge(before, self.scope)
        self.block(node.orelse)

    def nested(self, node: ast.FunctionDef) -> None:
        outer = self.scope
        for name, kind, _ in signature(node).parameters:
            self.scope = {**self.scope, name: kind}
        self.depth += 1
        self.block(node.body)
        self.depth -= 1
        self.scope = {**outer, node.name: UNKNOWN}

    def other(self, node: ast.stmt) -> None:
        """Statements without a rule of their own: their blocks are walked, names they bind are unknown."""
        for name in ast.walk(node):
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                self.scope = {**self.scope, name.id: UNKNOWN}
            elif isinstance(name, (ast.ExceptHandler, ast.ClassDef)) and name.name:
                self.scope = {**self.scope, name.name: UNKNOWN}
            elif isinstance(name, ast.alias):
                self.scope = {**self.scope, name.asname or name.name.split(".")[0]: UNKNOWN}
        for block in ("body", "orelse", "finalbody"):
            if not isinstance(node, ast.ClassDef):
                self.block(getattr(node, block, []))

    # expressions

    def visit(self, holder: ast.AST, name: str, index: int, role: str) -> Type:
        node = getattr(holder, name)
        if index >= 0:
            node = node[index]
        handler = _EXPRESSIONS.get(type(node))
        scope, depth, outer = self.scope, self.depth, self.region
        role = outer or role
        self.region = role if role in _REGIONS else ""
        kind = handler(self, node) if handler is not None else self.opaque(node)
        self.region = outer
        if not self.quiet:
            self.result.sites.append(Site(holder, name, index, node, kind, scope, role, depth))
        return kind

    def each(self, holder: ast.AST, name: str, role: str = "value") -> list[Type]:
        return [self.visit(holder, name, index, role) for index in range(len(getattr(holder, name)))]

    def opaque(self, node: ast.expr) -> Type:
        for name in ast.walk(node):
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load):
                self.name(name)
        return STR if isinstance(node, ast.JoinedStr) else UNKNOWN

    def constant(self, node: ast.Constant) -> Type:
        return _CONSTANTS.get(type(node.value), UNKNOWN)

    def name(self, node: ast.Name) -> Type:
        kind = self.scope.get(node.id)
        if kind is not None:
            return kind
        if node.id in self.known.functions:
            return Type("function", text=node.id)
        if node.id in self.known.values:
            return self.known.values[node.id]
        if node.id not in self.known.modules and node.id not in BUILTINS and not self.quiet:
            self.result.unbound.append(node.id)
        return UNKNOWN

    def binary(self, node: ast.BinOp) -> Type:
        left = self.visit(node, "left", -1, "value")
        return _binary(node.op, left, self.visit(node, "right", -1, "value"))

    def unary(self, node: ast.UnaryOp) -> Type:
        kind = self.visit(node, "operand", -1, "value")
        if isinstance(node.op, ast.Not):
            return BOOL
        return vector(kind.dim) if kind.kind == "mask" and not isinstance(node.op, ast.Invert) else kind

    def boolean(self, node: ast.BoolOp) -> Type:
        kinds = self.each(node, "values", "test")
        return BOOL if all(kind == BOOL for kind in kinds) else UNKNOWN

    def compare(self, node: ast.Compare) -> Type:
        kinds = [self.visit(node, "left", -1, "value"), *self.each(node, "comparators")]
        arrays = [kind for kind in kinds if kind.is_array]
        if arrays and not isinstance(node.ops[0], (ast.In, ast.NotIn, ast.Is, ast.IsNot)):
            return mask(arrays[0].dim)
        return BOOL

    def conditional(self, node: ast.IfExp) -> Type:
        self.visit(node, "test", -1, "test")
        return join(self.visit(node, "body", -1, "value"), self.visit(node, "orelse", -1, "value"))

    def sequence(self, node: ast.List | ast.Tuple | ast.Set) -> Type:
        kinds = tuple(self.each(node, "elts"))
        if isinstance(node, ast.Tuple):
            return Type("tuple", items=kinds)
        if not kinds or any(kind != kinds[0] for kind in kinds):
            return Type("list" if isinstance(node, ast.List) else "set")
        return Type("list" if isinstance(node, ast.List) else "set", items=(kinds[0],))

    def mapping(self, node: ast.Dict) -> Type:
        if any(key is None for key in node.keys):
            return self.opaque(node)
        keys, values = self.each(node, "keys"), self.each(node, "values")
        return Type("dict", items=(keys[0], values[0])) if keys else Type("dict")

    def attribute(self, node: ast.Attribute) -> Type:
        if isinstance(node.value, ast.Name) and node.value.id in self.known.modules:
            return FLOAT if node.attr in ("pi", "e", "inf") else UNKNOWN
        owner = self.visit(node, "value", -1, "owner")
        if owner.is_array and node.attr == "size":
            return Type("int", owner.dim)
        if owner.is_array and node.attr == "shape":
            return Type("tuple", owner.dim, text="shape")
        return owner if owner.is_array and node.attr == "T" else UNKNOWN

    def subscript(self, node: ast.Subscript) -> Type:
        owner = self.visit(node, "value", -1, "owner")
        index = self.visit(node, "slice", -1, "index")
        if owner.is_array:
            return _indexed_array(owner, node, index)
        if owner.text == "shape":
            return Type("int", owner.dim) if describe(node.slice) == "0" else INT
        if isinstance(node.slice, ast.Slice):
            return owner if owner.kind in ("list", "str") else UNKNOWN
        if owner.kind == "dict":
            return owner.items[1] if len(owner.items) == 2 else UNKNOWN
        if (
            owner.kind == "tuple"
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, int)
        ):
            return owner.items[node.slice.value] if 0 <= node.slice.value < len(owner.items) else UNKNOWN
        return element(owner) if owner.kind in ("list", "str", "tuple") else UNKNOWN

    def slice(self, node: ast.Slice) -> Type:
        for name in ("lower", "upper", "step"):
            if getattr(node, name) is not None:
                self.visit(node, name, -1, "index")
        return UNKNOWN

    def function(self, node: ast.Lambda, kinds: Sequence[Type] = ()) -> Type:
        outer = self.scope
        arguments = [argument.arg for argument in node.args.args]
        padded = [*kinds, *[UNKNOWN] * len(arguments)]
        self.scope = {**outer, **dict(zip(arguments, padded, strict=False))}
        self.depth += 1
        self.visit(node, "body", -1, "value")
        self.depth -= 1
        self.scope = outer
        return UNKNOWN

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Type:
        outer, loops = self.scope, len(node.generators)
        for generator in node.generators:
            self.bind(generator.target, element(self.visit(generator, "iter", -1, "iter")))
            self.depth += 1
            self.each(generator, "ifs", "test")
        if isinstance(node, ast.DictComp):
            items: tuple[Type, ...] = (
                self.visit(node, "key", -1, "value"),
                self.visit(node, "value", -1, "value"),
            )
        else:
            items = (self.visit(node, "elt", -1, "value"),)
        self.scope = outer
        self.depth -= loops
        kinds = {ast.ListComp: "list", ast.SetComp: "set", ast.DictComp: "dict", ast.GeneratorExp: "iterator"}
        return Type(kinds[type(node)], items=() if UNKNOWN in items else items)

    def starred(self, node: ast.Starred) -> Type:
        self.visit(node, "value", -1, "iter")
        return UNKNOWN

    def walrus(self, node: ast.NamedExpr) -> Type:
        kind = self.visit(node, "value", -1, "value")
        self.bind(node.target, kind)
        return kind

    # calls

    def call(self, node: ast.Call) -> Type:
        function = node.func
        if isinstance(function, ast.Attribute):
            return self._attribute_call(node, function)
        if isinstance(function, ast.Name) and function.id in self.scope:
            function_type = self.scope[function.id]
            self._arguments(node, "call")
            return function_type if function_type.kind == "callable" else UNKNOWN
        if isinstance(function, ast.Name) and function.id in self.known.functions:
            return self._own_call(node, self.known.functions[function.id])
        if isinstance(function, ast.Name):
            self.name(function)
            return self._builtin_call(node, function.id)
        self.visit(node, "func", -1, "owner")
        self._arguments(node, "call")
        return UNKNOWN

    def _attribute_call(self, node: ast.Call, function: ast.Attribute) -> Type:
        if isinstance(function.value, ast.Name) and function.value.id in self.known.modules:
            module = self.known.modules[function.value.id]
            arguments = self._arguments(node, "value")
            if module == "numpy":
                return calls.of_numpy(function.attr, node, arguments)
            return calls.of_math(function.attr) if module == "math" else UNKNOWN
        owner = self.visit(function, "value", -1, "owner")
        arguments = self._arguments(node, "value", element(owner))
        return calls.of_method(function.attr, node, owner, arguments)

    def _builtin_call(self, node: ast.Call, name: str) -> Type:
        roles = {"range": "bound", "enumerate": "iter", "zip": "iter", "len": "owner", "list": "iter"}
        arguments = self._arguments(node, roles.get(name, "value"))
        return calls.of_builtin(name, arguments)

    def _own_call(self, node: ast.Call, known: Signature) -> Type:
        arguments = self._arguments(node, "call")
        if not known.returns.is_array:
            return known.returns
        arrays = [argument for argument in arguments if argument.is_array]
        return known.returns._replace(dim=arrays[0].dim if arrays else describe(node))

    def _arguments(self, node: ast.Call, role: str, item: Type = UNKNOWN) -> list[Type]:
        kinds = self.each(node, "args", role)
        if kinds and item == UNKNOWN:
            item = element(kinds[0]) if len(kinds) == 1 else kinds[0]
        for keyword in node.keywords:
            if isinstance(keyword.value, ast.Lambda):
                self.function(keyword.value, (item,))
            else:
                self.visit(keyword, "value", -1, "keyword")
        return kinds


def _binary(operator: ast.operator, left: Type, right: Type) -> Type:
    if left.kind == right.kind == "mask" and isinstance(operator, (ast.BitAnd, ast.BitOr, ast.BitXor)):
        return left
    if left.is_array or right.is_array:
        return calls.numeric((left, right))
    if left.is_scalar and right.is_scalar:
        result = calls.numeric((left, right))
        return FLOAT if isinstance(operator, ast.Div) else result._replace(dim="")
    if left.kind in ("list", "str") and left.kind == right.kind:
        return join(left, right)
    if left.kind in ("list", "str") and right.kind == "int":
        return left
    return right if right.kind in ("list", "str") and left.kind == "int" else UNKNOWN


def _indexed_array(owner: Type, node: ast.Subscript, index: Type) -> Type:
    if index.kind == "mask":
        return owner._replace(dim=f"{owner.dim}[{describe(node.slice)}]")
    if index.kind == "vector":
        return owner._replace(dim=index.dim)
    if isinstance(node.slice, ast.Slice):
        return owner._replace(dim=f"{owner.dim}[{describe(node.slice)}]")
    if index.is_scalar:
        return element(owner)
    return owner._replace(dim=describe(node.slice)) if index.kind == "list" else UNKNOWN


def _ends(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], _ENDINGS)


def _merge(
    left: dict[str, Type], right: dict[str, Type], keep: Mapping[str, Type] | None = None
) -> dict[str, Type]:
    """The environment after one of two ways; a name that only one way binds has an unknown type."""
    if left is right:
        return left
    merged = {}
    for name in (*left, *(name for name in right if name not in left)):
        first, second = left.get(name), right.get(name)
        if first is not None and second is not None:
            merged[name] = join(first, second)
        elif keep is None or name in keep:
            merged[name] = UNKNOWN
    return merged


_STATEMENTS: dict[type[ast.stmt], Callable[..., None]] = {
    ast.Assign: _Interpreter.assign,
    ast.AnnAssign: _Interpreter.annotated,
    ast.AugAssign: _Interpreter.augmented,
    ast.Return: _Interpreter.returned,
    ast.Expr: _Interpreter.expression,
    ast.If: _Interpreter.branch,
    ast.For: _Interpreter.loop,
    ast.While: _Interpreter.while_loop,
    ast.FunctionDef: _Interpreter.nested,
}
_EXPRESSIONS: dict[type[ast.expr], Callable[..., Type]] = {
    ast.Constant: _Interpreter.constant,
    ast.Name: _Interpreter.name,
    ast.BinOp: _Interpreter.binary,
    ast.UnaryOp: _Interpreter.unary,
    ast.BoolOp: _Interpreter.boolean,
    ast.Compare: _Interpreter.compare,
    ast.IfExp: _Interpreter.conditional,
    ast.List: _Interpreter.sequence,
    ast.Tuple: _Interpreter.sequence,
    ast.Set: _Interpreter.sequence,
    ast.Dict: _Interpreter.mapping,
    ast.Attribute: _Interpreter.attribute,
    ast.Subscript: _Interpreter.subscript,
    ast.Slice: _Interpreter.slice,
    ast.Lambda: _Interpreter.function,
    ast.ListComp: _Interpreter.comprehension,
    ast.SetComp: _Interpreter.comprehension,
    ast.GeneratorExp: _Interpreter.comprehension,
    ast.DictComp: _Interpreter.comprehension,
    ast.Starred: _Interpreter.starred,
    ast.NamedExpr: _Interpreter.walrus,
    ast.Call: _Interpreter.call,
}
