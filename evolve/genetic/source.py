"""A program as a table of top-level definitions that reach each other by name.

A definition is never changed once made, so programs share them and each definition is printed and typed once;
two definitions may also share parts of their trees.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from evolve.genetic.expressions import BUILTINS
from evolve.genetic.infer import analyse
from evolve.genetic.nodes import Holder, Survey, assign, bare, clone, holders, survey, walk
from evolve.genetic.places import Analysis, Globals, Signature, shaped, signature
from evolve.genetic.printing import unparse
from evolve.genetic.types import BOOL, FLOAT, INT, STR, UNKNOWN, Type

RENAMES = 64  # renamed copies that a definition keeps
_LITERALS: dict[type, Type] = {bool: BOOL, int: INT, float: FLOAT, str: STR}


@dataclass(frozen=True, eq=False)
class Definition:
    """One top-level statement. `name` is what it binds; "" if it binds nothing."""

    name: str
    node: ast.stmt
    _analysis: Analysis | None = field(default=None, init=False, repr=False)

    @cached_property
    def text(self) -> str:
        """Canonical text without docstring."""
        return unparse(self.node)

    @cached_property
    def _survey(self) -> Survey:
        return survey(self.node)

    @property
    def size(self) -> int:
        return self._survey.size

    @property
    def mentions(self) -> tuple[str, ...]:
        """Names read anywhere inside, each once, in the order of the text; annotations count."""
        return self._survey.mentions

    @property
    def binds(self) -> frozenset[str]:
        return self._survey.binds

    @cached_property
    def holders(self) -> Mapping[int, tuple[Holder, str]]:
        """See `nodes.holders`."""
        return holders(self.node)

    @cached_property
    def declared(self) -> Signature:
        """The signature by annotations alone."""
        return signature(self.function)

    @cached_property
    def signature(self) -> Signature:
        """The same, with what the body shows about its arrays."""
        axes = self._survey.axes
        return shaped(self.declared, axes) if axes or self.declared.opaque else self.declared

    @property
    def is_function(self) -> bool:
        return isinstance(self.node, ast.FunctionDef)

    @property
    def is_import(self) -> bool:
        return isinstance(self.node, (ast.Import, ast.ImportFrom))

    @property
    def function(self) -> ast.FunctionDef:
        assert isinstance(self.node, ast.FunctionDef)
        return self.node

    @property
    def has_loop(self) -> bool:
        return self._survey.has_loop

    @cached_property
    def is_formula(self) -> bool:
        """Whether it is a function of one return, which binds no name but its parameters."""
        body = self.function.body if self.is_function else []
        parameters = {parameter for parameter, _, _ in self.signature.parameters} if body else set()
        return len(body) == 1 and isinstance(body[0], ast.Return) and self.binds == parameters

    @property
    def module(self) -> str:
        """The module that `import module` or `import module as name` binds; "" for anything else."""
        if isinstance(self.node, ast.Import):
            alias = self.node.names[0]
            return alias.name if alias.asname or "." not in alias.name else ""
        return ""

    def renamed(self, renames: Mapping[str, str]) -> Definition:
        """The same with other top-level names: its own, and those of others that it mentions.

        It is remembered: what a donor lends is renamed alike again and again.
        """
        mine = {self.name, *self.mentions}
        wanted = tuple((old, new) for old, new in renames.items() if old != new and old in mine)
        if not wanted:
            return self
        if wanted not in self._renamed:
            if len(self._renamed) >= RENAMES:
                self._renamed.clear()
            self._renamed[wanted] = self._rename(dict(wanted))
        return self._renamed[wanted]

    @cached_property
    def _renamed(self) -> dict[tuple[tuple[str, str], ...], Definition]:
        return {}

    def _rename(self, wanted: Mapping[str, str]) -> Definition:
        node = clone(self.node)
        for child in walk(node):
            if isinstance(child, ast.Name) and child.id in wanted and child.id not in self.binds:
                child.id = wanted[child.id]
        name = wanted.get(self.name, self.name)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            node.name = name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            node.targets[0].id = name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            node.target.id = name
        return Definition(name, node)

    def analysis(self, known: Globals) -> Analysis:
        """Types in the function, to look at; its nodes must not be changed.

        It is made once: programs that share a definition agree on all names that it mentions.
        """
        if self._analysis is None:
            object.__setattr__(self, "_analysis", analyse(self.function, self.signature, known))
        assert self._analysis is not None
        return self._analysis

    @property
    def value_type(self) -> Type:
        if isinstance(self.node, ast.Assign) and isinstance(self.node.value, ast.Constant):
            return _LITERALS.get(type(self.node.value.value), UNKNOWN)
        return UNKNOWN


@dataclass(frozen=True, eq=False)
class Source:
    """One file of a program: definitions in the order of the text, and the entry that keeps the others alive.

    exports: further definitions that stay, because other files of the program import them.
    """

    entry: str
    definitions: tuple[Definition, ...]
    exports: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Definition]:
        return {definition.name: definition for definition in self.definitions if definition.name}

    @cached_property
    def functions(self) -> Mapping[str, Definition]:
        return {name: definition for name, definition in self.by_name.items() if definition.is_function}

    @cached_property
    def known(self) -> Globals:
        modules = {name: d.module for name, d in self.by_name.items() if d.module}
        signatures = {name: d.signature for name, d in self.functions.items()}
        others = [d for name, d in self.by_name.items() if name not in modules and name not in signatures]
        return Globals(signatures, modules, {d.name: d.value_type for d in others})

    @cached_property
    def size(self) -> int:
        return sum(definition.size for definition in self.definitions)

    @cached_property
    def text(self) -> str:
        """Canonical text without docstrings: equal to the normalised text of the program."""
        lines: list[str] = []
        for definition in self.definitions:
            if lines and isinstance(definition.node, (ast.FunctionDef, ast.ClassDef)):
                lines.append("")
            lines.append(definition.text)
        return "\n".join(lines)

    def analysis(self, function: str) -> Analysis:
        return self.functions[function].analysis(self.known)

    def lacks_names(self, function: str) -> bool:
        """Whether a function reads a name that nothing binds."""
        definition = self.functions[function]
        parameters = {name for name, _, _ in definition.signature.parameters}
        free = [name for name in definition.mentions if name not in parameters and name not in self.by_name]
        # most read their parameters and the top level only, which takes no look at what is bound where
        return not BUILTINS.issuperset(free) and bool(self.analysis(function).unbound)

    def reachable(self, roots: Iterable[str]) -> frozenset[str]:
        """Names of the definitions that the roots need, themselves included."""
        seen: set[str] = set()
        todo = [root for root in roots if root in self.by_name]
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += [other for other in self.by_name[name].mentions if other in self.by_name]
        return frozenset(seen)

    @cached_property
    def _needs(self) -> dict[str, frozenset[str]]:
        return {}

    def needs(self, name: str) -> frozenset[str]:
        """What one definition reaches, itself included."""
        if name not in self._needs:
            self._needs[name] = self.reachable([name])
        return self._needs[name]

    def lacks(self, name: str) -> bool:
        """Whether a definition needs something that only a statement without a name of its own binds."""
        if not self._nameless:
            return False
        return any(self._nameless & {*self.by_name[other].mentions} for other in self.needs(name))

    @cached_property
    def _nameless(self) -> frozenset[str]:
        return frozenset(name for d in self.definitions if not d.name for name in d.binds)

    def meaning(self, name: str) -> frozenset[str]:
        """All texts that decide what a name does here; equal in two programs if it does the same in both."""
        if name not in self._meanings:
            self._meanings[name] = frozenset(self.by_name[other].text for other in self.needs(name))
        return self._meanings[name]

    @cached_property
    def _meanings(self) -> dict[str, frozenset[str]]:
        return {}

    def pruned(self) -> Source:
        """The same program without what the entry does not reach."""
        unnamed = [name for d in self.definitions if not d.name for name in d.mentions]
        alive = self.reachable([self.entry, *self.exports, *unnamed])
        kept = tuple(d for d in self.definitions if not d.name or d.name in alive)
        return self if len(kept) == len(self.definitions) else replace(self, definitions=kept)


def read(tree: ast.Module, entry: str, exports: tuple[str, ...] = ()) -> Source:
    """Split a parsed file, which is changed on the way, and drop its docstrings and dead definitions."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and _has_docstring(body):
            node.body = node.body[1:] or [ast.Pass()]
    bare(tree)
    definitions = [d for statement in tree.body for d in _definitions(statement)]
    return Source(entry, tuple(definitions), exports).pruned()


def _has_docstring(body: list[ast.stmt] | None) -> bool:
    if not body or not isinstance(body[0], ast.Expr) or not isinstance(body[0].value, ast.Constant):
        return False
    return isinstance(body[0].value.value, str)


def _definitions(statement: ast.stmt) -> list[Definition]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return [Definition(statement.name, statement)]
    if isinstance(statement, ast.Import):
        return [_imported(alias, ast.Import([alias])) for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        level, module = statement.level, statement.module
        if module == "__future__":
            return [Definition("", statement)]
        return [_imported(alias, ast.ImportFrom(module, [alias], level)) for alias in statement.names]
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if pairs := _constants(target, statement.value):
            return [Definition(name.id, assign(name.id, value)) for name, value in pairs]
        return [Definition(target.id if isinstance(target, ast.Name) else "", statement)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [Definition(statement.target.id, statement)]
    return [] if isinstance(statement, ast.Pass) else [Definition("", statement)]


def _constants(target: ast.expr, value: ast.expr) -> list[tuple[ast.Name, ast.Constant]]:
    """Names and values of `A, B = 0, 1`, which are constants of their own: a function may come with one of them."""
    if not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple):
        return []
    names = [each for each in target.elts if isinstance(each, ast.Name)]
    values = [each for each in value.elts if isinstance(each, ast.Constant)]
    if not len(target.elts) == len(names) == len(values) == len(value.elts):
        return []
    return list(zip(names, values, strict=True))


def _imported(alias: ast.alias, statement: ast.stmt) -> Definition:
    return Definition(alias.asname or alias.name.split(".")[0], statement)
