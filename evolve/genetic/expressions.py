"""The types of expressions, given the types of the names in scope."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence

from evolve.genetic import calls
from evolve.genetic.calls import describe, element
from evolve.genetic.places import Analysis, Globals, Signature, Site
from evolve.genetic.types import BOOL, FLOAT, INT, NONE, SHAPE, STR, UNKNOWN, Type, join, mask, vector

BUILTINS = frozenset(dir(builtins))
_CONSTANTS = {bool: BOOL, int: INT, float: FLOAT, str: STR, type(None): NONE}
NO_SHAPE = 99  # more than a call has arguments
_REGIONS = frozenset(
    {"index", "bound", "while", "shape", "count", "answer"}
)  # roles that everything inside shares

_STRUCTURE = frozenset({"index", "shape", "answer"})  # of which what is read becomes a position or a shape


class Expressions:
    """Walks expressions in a scope and records each as a site, unless the pass is a silent one."""

    def __init__(self, known: Globals) -> None:
        self.known = known
        self.result = Analysis()
        self.scope: dict[str, Type] = {}
        self.quiet = 0
        self.depth = 0
        self.region = ""

    def bind(self, target: ast.expr, kind: Type) -> None:
        """Give a target of an assignment its type."""
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
        if self.region in _STRUCTURE and not self.quiet:
            self.result.structural.add(node.id)
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
        return of_binary(node.op, left, self.visit(node, "right", -1, "value"))

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
            return Type("tuple", owner.dim, text=SHAPE)
        return owner if owner.is_array and node.attr == "T" else UNKNOWN

    def subscript(self, node: ast.Subscript) -> Type:
        owner = self.visit(node, "value", -1, "owner")
        index = self.visit(node, "slice", -1, "shape" if owner.text == SHAPE else "index")
        if owner.is_array:
            return _indexed_array(owner, node, index)
        if owner.text == SHAPE:
            if isinstance(node.slice, ast.Slice):
                return owner
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
            shape = calls.SHAPED_FROM.get(function.attr, NO_SHAPE) if module == "numpy" else NO_SHAPE
            role = "bound" if module == "random" else "value"
            arguments = self._arguments(node, role, shape=shape)
            if module == "numpy":
                return calls.of_numpy(function.attr, node, arguments)
            return calls.of_math(function.attr) if module == "math" else UNKNOWN
        owner = self.visit(function, "value", -1, "owner")
        shape = calls.SHAPED_FROM.get(function.attr, NO_SHAPE) - 1  # the array is no argument
        role = "bound" if function.attr in calls.DRAWS else "value"
        arguments = self._arguments(node, role, element(owner), max(shape, 0))
        return calls.of_method(function.attr, node, owner, arguments)

    def _builtin_call(self, node: ast.Call, name: str) -> Type:
        roles = {"range": "bound", "enumerate": "iter", "zip": "iter", "len": "owner", "list": "iter"}
        arguments = self._arguments(node, roles.get(name, "value"))
        return calls.of_builtin(name, arguments)

    def _own_call(self, node: ast.Call, known: Signature) -> Type:
        counts = [kind.kind == "int" for _, kind, _ in known.parameters]
        arguments = self._arguments(node, "call", counts=counts)
        if not known.returns.is_array:
            return known.returns
        arrays = [argument for argument in arguments if argument.is_array]
        return known.returns._replace(dim=arrays[0].dim if arrays else describe(node))

    def _arguments(
        self,
        node: ast.Call,
        role: str,
        item: Type = UNKNOWN,
        shape: int = NO_SHAPE,
        counts: Sequence[bool] = (),
    ) -> list[Type]:
        """The arguments' types.

        Args:
            item: type of what a lambda among the keywords gets.
            shape: from which argument on they give a shape.
            counts: which of the first arguments have to be whole numbers.
        """
        kinds = []
        for index in range(len(node.args)):
            own = "count" if index < len(counts) and counts[index] else role
            kinds.append(self.visit(node, "args", index, "shape" if index >= shape else own))
        if kinds and item == UNKNOWN:
            item = element(kinds[0]) if len(kinds) == 1 else kinds[0]
        for keyword in node.keywords:
            if isinstance(keyword.value, ast.Lambda):
                self.function(keyword.value, (item,))
            else:
                self.visit(keyword, "value", -1, "shape" if keyword.arg in calls.SHAPE_WORDS else "keyword")
        return kinds


def of_binary(operator: ast.operator, left: Type, right: Type) -> Type:
    if left.kind == right.kind == "mask" and isinstance(operator, (ast.BitAnd, ast.BitOr, ast.BitXor)):
        return left
    if left.is_array or right.is_array:
        return calls.numeric((left, right))
    if left.is_scalar and right.is_scalar:
        whole = left.kind != "float" and right.kind != "float" and not isinstance(operator, ast.Div)
        return INT if whole else FLOAT
    if left.kind in ("list", "str") and left.kind == right.kind:
        return join(left, right)
    if left.kind in ("list", "str") and right.kind == "int":
        return left
    return right if right.kind in ("list", "str") and left.kind == "int" else UNKNOWN


def _indexed_array(owner: Type, node: ast.Subscript, index: Type) -> Type:
    if owner.text:
        return UNKNOWN
    if index.kind == "mask":
        return owner._replace(dim=f"{owner.dim}[{describe(node.slice)}]")
    if index.kind == "vector":
        return owner._replace(dim=index.dim)
    if isinstance(node.slice, ast.Slice):
        return owner._replace(dim=f"{owner.dim}[{describe(node.slice)}]")
    if index.is_scalar:
        return element(owner)
    return owner._replace(dim=describe(node.slice)) if index.kind == "list" else UNKNOWN


_EXPRESSIONS: dict[type[ast.expr], Callable[..., Type]] = {
    ast.Constant: Expressions.constant,
    ast.Name: Expressions.name,
    ast.BinOp: Expressions.binary,
    ast.UnaryOp: Expressions.unary,
    ast.BoolOp: Expressions.boolean,
    ast.Compare: Expressions.compare,
    ast.IfExp: Expressions.conditional,
    ast.List: Expressions.sequence,
    ast.Tuple: Expressions.sequence,
    ast.Set: Expressions.sequence,
    ast.Dict: Expressions.mapping,
    ast.Attribute: Expressions.attribute,
    ast.Subscript: Expressions.subscript,
    ast.Slice: Expressions.slice,
    ast.Lambda: Expressions.function,
    ast.ListComp: Expressions.comprehension,
    ast.SetComp: Expressions.comprehension,
    ast.GeneratorExp: Expressions.comprehension,
    ast.DictComp: Expressions.comprehension,
    ast.Starred: Expressions.starred,
    ast.NamedExpr: Expressions.walrus,
    ast.Call: Expressions.call,
}
