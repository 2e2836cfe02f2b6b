"""A child in the making: a program whose functions can be changed, and that can adopt functions of others."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from evolve.genetic.nodes import shallow, size
from evolve.genetic.places import Site, Slot
from evolve.genetic.source import Definition, Source

_BUILTINS = frozenset(dir(builtins))


class Opened:
    """A function being changed: only what leads from its root to the changed places is copied."""

    def __init__(self, definition: Definition) -> None:
        self.root = shallow(definition.function)
        self._holders = definition.holders
        self._copies: dict[int, Any] = {id(definition.node): self.root}

    def copy(self, original: Any) -> Any:
        """The copy of a node or list of the unchanged function, made and put in its place if need be."""
        if id(original) not in self._copies:
            holder, field = self._holders[id(original)]
            home = self.copy(holder)
            new = list(original) if isinstance(original, list) else shallow(original)
            self._copies[id(original)] = new
            if not isinstance(home, list):
                setattr(home, field, new)
            elif original in home:  # syntax trees compare by identity
                home[home.index(original)] = new
        return self._copies[id(original)]

    def current(self, original: ast.expr) -> ast.expr:
        """The copy if there is one, else the original, which must not be changed."""
        found: ast.expr = self._copies.get(id(original), original)
        return found


class Draft:
    """Functions are copied when first opened; `commit` makes them part of `source`, `undo` forgets them."""

    def __init__(self, source: Source, imports: Sequence[str]) -> None:
        self.source = source
        self.imports = tuple(imports)
        self._start = source
        self._open: dict[str, Opened] = {}

    def open(self, function: str) -> Opened:
        """The copy of a function that may be changed."""
        if function not in self._open:
            self._open[function] = Opened(self.source.functions[function])
        return self._open[function]

    def site(self, function: str, site: Site) -> Site:
        """The same place in the copy, where the expression may be replaced but not changed."""
        opened = self.open(function)
        holder, node = opened.copy(site.holder), opened.current(site.node)
        if site.index >= 0:
            opened.copy(getattr(site.holder, site.field))
        return Site(holder, site.field, site.index, node, site.type, site.scope, site.role, site.depth)

    def slot(self, function: str, slot: Slot) -> Slot:
        """The same statement in the copy that may be changed."""
        block = self.open(function).copy(slot.block)
        return Slot(block, slot.index, slot.scope, slot.depth, slot.pinned)

    def commit(self) -> bool:
        """Close the open functions and drop what the entry no longer reaches.

        Returns:
            False, with everything undone, if a function reads a name that nothing binds.
        """
        if self._open:
            changed = {name: Definition(name, opened.root) for name, opened in self._open.items()}
            kept = [changed.get(d.name, d) if d.is_function else d for d in self.source.definitions]
            self.source = replace(self.source, definitions=tuple(kept)).pruned()
            names = [name for name in changed if name in self.source.functions]
            if any(self.source.lacks_names(name) for name in names):
                self.undo()
                return False
        self._open.clear()
        self._start = self.source = _plainly_named(self.source)
        return True

    def sizes(self) -> list[tuple[int, int]]:
        """New and old number of nodes of each open function without loops."""
        opened = [(opened.root, self.source.functions[name]) for name, opened in self._open.items()]
        return [(size(node), old.size) for node, old in opened if not old.has_loop]

    def undo(self) -> None:
        """Forget everything since the last commit."""
        self._open.clear()
        self.source = self._start

    def module(self, name: str) -> str:
        """What an allowed module is called here, importing it if need be; "" if it may not be imported."""
        for bound, module in self.source.known.modules.items():
            if module == name:
                return bound
        alias = "np" if name == "numpy" else name
        if name not in self.imports or alias in self.source.by_name:
            return ""
        statement = ast.Import([ast.alias(name, alias if alias != name else None)])
        self._insert([Definition(alias, statement)])
        return alias

    def fresh(self, wanted: str, also_taken: Collection[str] = ()) -> str:
        """A name that nothing in the program uses, as close to the wanted one as possible."""
        taken = {name for d in self.source.definitions for name in (*d.binds, *d.mentions)}
        taken |= {*self.source.by_name, *_BUILTINS, *also_taken}
        stem, _, suffix = wanted.rpartition("_")
        if not (stem and suffix.isdigit()):
            stem = wanted
        name, number = wanted, 2
        while name in taken:
            name, number = f"{stem}_{number}", number + 1
        return name

    def define(self, function: ast.FunctionDef) -> str:
        """Add a function whose name nothing uses yet; gives that name."""
        self._insert([Definition(function.name, function)])
        return function.name

    def adopt(self, donor: Source, name: str) -> str:
        """Bring a definition of another program here, with everything that it needs.

        Returns:
            What it is called here; "" if it cannot come, for want of an import or of what a statement binds.
        """
        if donor.lacks(name):
            return ""
        needed = donor.needs(name)
        incoming = [d for d in donor.definitions if d.name in needed]
        if not all(self._importable(d) for d in incoming if d.is_import):
            return ""
        same = self._already_here(incoming)
        renames: dict[str, str] = {}
        for definition in incoming:
            if definition.is_import:
                renames[definition.name] = definition.name
            elif definition.name not in same:
                renames[definition.name] = self.fresh(definition.name, renames.values())
        arrivals = [d.renamed(renames) for d in incoming if d.name not in same]
        self._insert(arrivals)
        return renames.get(name, name)

    def _importable(self, definition: Definition) -> bool:
        here = self.source.by_name.get(definition.name)
        if here is not None:
            return here.text == definition.text
        node = definition.node
        module = node.names[0].name if isinstance(node, ast.Import) else getattr(node, "module", "") or ""
        return module.split(".")[0] in {name.split(".")[0] for name in self.imports}

    def _already_here(self, incoming: Sequence[Definition]) -> set[str]:
        """Names that mean the same in both programs, down to everything that they mention."""
        mine = self.source.by_name
        same = {d.name for d in incoming if d.name in mine and mine[d.name].text == d.text}
        names = {d.name for d in incoming}
        while True:
            broken = {d.name for d in incoming if d.name in same and (names & {*d.mentions}) - same}
            if not broken:
                return same
            same -= broken

    def _insert(self, arrivals: Sequence[Definition]) -> None:
        """Imports go last among the imports, the rest right after them."""
        old = list(self.source.definitions)
        at = max((i + 1 for i, d in enumerate(old) if d.is_import), default=0)
        modules = [d for d in arrivals if d.is_import]
        others = [d for d in arrivals if not d.is_import]
        self.source = replace(self.source, definitions=(*old[:at], *modules, *others, *old[at:]))


def _plainly_named(source: Source) -> Source:
    """Drop the numbers of names whose plain name is free: programs that do the same look the same."""
    renames: dict[str, str] = {}
    for definition in source.definitions:
        stem, _, suffix = definition.name.rpartition("_")
        fixed = definition.name == source.entry or definition.name in source.exports
        if stem and suffix.isdigit() and not fixed and not _is_taken(stem, source, renames):
            renames[definition.name] = stem
    if not renames:
        return source
    return replace(source, definitions=tuple(d.renamed(renames) for d in source.definitions))


def _is_taken(name: str, source: Source, renames: dict[str, str]) -> bool:
    if name in source.by_name or name in renames.values() or name in _BUILTINS:
        return True
    return any(name in definition.binds or name in definition.mentions for definition in source.definitions)
