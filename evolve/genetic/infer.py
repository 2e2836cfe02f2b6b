"""Static types of every expression of a function, by abstract interpretation of its body.

The interpreter walks the statements in order with an environment of types. A loop body is walked twice: once
in silence to learn what the loop changes, then, with the joined environment, to record. What cannot be known
is UNKNOWN, which operators leave alone.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from evolve.genetic.calls import element
from evolve.genetic.expressions import Expressions, of_binary
from evolve.genetic.places import Analysis, Globals, Signature, Slot, signature
from evolve.genetic.types import UNKNOWN, Type, from_annotation, join

_CARRIERS = frozenset({"int", "min", "max", "abs", "round"})
_ENDINGS = (ast.Return, ast.Raise, ast.Break, ast.Continue)


def analyse(function: ast.FunctionDef, own: Signature, known: Globals) -> Analysis:
    """Infer the types in one function, whose nodes the result refers to."""
    return _Interpreter(known).run(function, own)


class _Interpreter(Expressions):
    """Walks statements."""

    def __init__(self, known: Globals) -> None:
        super().__init__(known)
        self.pinned: frozenset[str] = frozenset()
        self.opaque_answer = False  # see Signature
        self._assigned: list[tuple[int, int, str]] = []  # sites, from and up to, that are the value of a name

    def run(self, function: ast.FunctionDef, own: Signature) -> Analysis:
        for name, kind, _ in own.parameters:
            self.scope[name] = kind
        for other in (*function.args.kwonlyargs, function.args.vararg, function.args.kwarg):
            if other is not None:
                self.scope[other.arg] = UNKNOWN
        self.opaque_answer = own.opaque
        self.block(function.body)
        self._settle()
        return self.result

    def _settle(self) -> None:
        """Give what becomes a position or a shape the role of one: whole numbers on the way there.

        The assignments are gone through from the last to the first, so that each knows what is read of it.
        """
        sites, structural = self.result.sites, self.result.structural
        if not structural:
            return
        for start, end, name in reversed(self._assigned):
            if name not in structural:
                continue
            root, inside = sites[end - 1].node, set[int]()
            for site in reversed(sites[start:end]):  # what holds an expression comes before it
                if site.node is not root and id(site.holder) not in inside:
                    continue
                carries = _carries_a_number(site.node)
                if carries:
                    inside.add(id(site.node))
                if carries or site.type.kind == "int" or isinstance(site.holder, ast.BinOp):
                    site.role = "shape"
                if isinstance(site.node, ast.Name):
                    structural.add(site.node.id)

    def block(self, body: list[ast.stmt]) -> None:
        for index, statement in enumerate(body):
            if not self.quiet:
                self.result.slots.append(Slot(body, index, self.scope, self.depth, self.pinned))
            handler = _STATEMENTS.get(type(statement))
            if handler is not None:
                handler(self, statement)
            else:
                self.other(statement)

    def assign(self, node: ast.Assign) -> None:
        start = len(self.result.sites)
        kind = self.visit(node, "value", -1, "assign")
        target = node.targets[0]
        if not self.quiet and isinstance(target, ast.Name) and kind.kind in ("int", "unknown", "vector"):
            self._assigned.append((start, len(self.result.sites), target.id))
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
            self.bind(node.target, of_binary(node.op, old, kind))
        else:
            self.bind(node.target, kind)

    def returned(self, node: ast.Return) -> None:
        if node.value is not None:
            self.visit(node, "value", -1, "answer" if self.opaque_answer else "return")

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


def _carries_a_number(node: ast.expr) -> bool:
    """Whether the value of an expression is made of those of its direct parts."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _CARRIERS
    return isinstance(node, (ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Name))


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
