"""The files that a problem's modules are made of, found by reading: what they import, and what files they name."""

from __future__ import annotations

import ast
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


def closure(roots: Sequence[Path]) -> list[Path]:
    """Files that some Python files depend on, those themselves left out; each once, in the order in which it is met.

    Two things count, and are followed on through the Python files among them: imports, anywhere in the text, of modules
    that lie beside the importing file, beside one of `roots` or on the path of imports; and texts that are a path of a
    file, relative to the folder of the file that holds them, as of a table that is read. Python's own modules,
    installed ones and evolve itself are no part of a problem. A name that is put together at run time is not found.
    """
    given = [root.resolve() for root in roots]
    places = [*dict.fromkeys(root.parent for root in given), *_searched()]
    found: dict[Path, None] = {}
    waiting = list(given)
    while waiting:
        path = waiting.pop(0)
        for other in _mentioned(path, places):
            if other not in found and other not in given:
                found[other] = None
                waiting += [other] if other.suffix == ".py" else []
    return list(found)


def _searched() -> list[Path]:
    """The folders on the path of imports in which neither Python's nor installed modules lie."""
    paths = sysconfig.get_paths()
    installed = {paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"]}
    installed |= {*site.getsitepackages(), site.getusersitepackages()}
    known = {Path(each).resolve() for each in installed}
    folders = [Path(each).resolve() for each in sys.path]
    return [each for each in folders if each.is_dir() and known.isdisjoint({each, *each.parents})]


def _mentioned(path: Path, places: Sequence[Path]) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _named(path.parent, node.value)
        for folder, name in _imported(node, path, places):
            yield from _module(folder, name)


def _named(folder: Path, text: str) -> Iterator[Path]:
    """The file that a text is the path of, if it is one."""
    if 0 < len(text) <= 200 and text.isprintable() and not text.startswith(("/", "~")):
        path = folder / text
        if path.is_file():
            yield path.resolve()


def _imported(node: ast.AST, path: Path, places: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Folders and the modules that an import may mean there."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        names = [module, *(f"{module}.{alias.name}".lstrip(".") for alias in node.names)]
    else:
        return
    if isinstance(node, ast.ImportFrom) and node.level:
        folders: Iterable[Path] = [path.parents[node.level - 1]]
    else:
        foreign = sys.stdlib_module_names | {__name__.partition(".")[0]}
        names = [name for name in names if name.partition(".")[0] not in foreign]
        folders = dict.fromkeys((path.parent, *places))
    yield from ((folder, name) for folder in folders for name in names if name)


def _module(folder: Path, name: str) -> Iterator[Path]:
    """The files of a module in a folder, those of the packages that it lies in included."""
    *packages, last = name.split(".")
    for package in packages:
        folder /= package
        yield from _present(folder / "__init__.py")
    yield from _present(folder / f"{last}.py")
    yield from _present(folder / last / "__init__.py")


def _present(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path.resolve()
