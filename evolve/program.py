"""Program text: parsing, normalising, hashing, checking, diffing. Nothing here runs a program."""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections.abc import Mapping

from evolve.errors import ProgramError
from evolve.records import Candidate

MAX_SOURCE_BYTES = 100_000


def parse(source: str, name: str = "program.py") -> ast.Module:
    """Parse source text.

    Raises:
        ProgramError: it is too long, too deeply nested, holds null bytes, or does not parse.
    """
    if len(source) > MAX_SOURCE_BYTES:
        raise ProgramError(f"{name}: {len(source)} characters; a program has at most {MAX_SOURCE_BYTES}")
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise ProgramError(f"{name}, line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ProgramError(f"{name}: {error}") from None


def normalise(tree: ast.Module) -> str:
    """The canonical text of a parsed program: formatting, comments and docstrings are gone.

    The tree is not changed.
    """
    bodies = [
        node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef))
    ]
    kept = [(node, node.body) for node in bodies if ast.get_docstring(node, clean=False) is not None]
    for node, body in kept:
        node.body = body[1:] or [ast.Pass()]
    try:
        return ast.unparse(tree)
    except (RecursionError, ValueError) as error:
        raise ProgramError(f"the program cannot be normalised: {error}") from None
    finally:
        for node, body in kept:
            node.body = body


def identity(files: Mapping[str, str], trees: Mapping[str, ast.Module] | None = None) -> str:
    """A candidate's id: 16 hex digits of the SHA-256 of its normalised files.

    trees: of the files that are parsed already.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        tree = trees[name] if trees and name in trees else parse(files[name], name)
        digest.update(f"{name}\0{normalise(tree)}\0".encode())
    return digest.hexdigest()[:16]


def defined_functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    """Top-level functions by name."""
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def exports(files: Mapping[str, str], name: str) -> tuple[str, ...]:
    """What other files of a program import from one of them, in the order of their texts.

    All its functions, where one imports it as a whole.

    Raises:
        ProgramError: a file does not parse.
    """
    module, found = name.removesuffix(".py"), dict[str, None]()
    for other, text in files.items():
        for node in ast.walk(parse(text, other)) if other != name else ():
            if isinstance(node, ast.ImportFrom) and node.module == module:
                found |= dict.fromkeys(alias.name for alias in node.names)
            elif isinstance(node, ast.Import) and module in {alias.name for alias in node.names}:
                found |= dict.fromkeys(defined_functions(parse(files[name], name)))
    return tuple(found)


def size(files: Mapping[str, str]) -> int:
    """Syntax-tree nodes of a program.

    Raises:
        ProgramError: a file does not parse.
    """
    return sum(sum(1 for _ in ast.walk(parse(text, name))) for name, text in files.items())


def make_candidate(
    files: Mapping[str, str],
    parents: tuple[str, ...] = (),
    operator: str = "seed",
    note: str = "",
    trees: Mapping[str, ast.Module] | None = None,
) -> Candidate:
    """A candidate with its id computed from its source.

    trees: of the files that are parsed already.

    Raises:
        ProgramError: a file does not parse.
    """
    return Candidate(identity(files, trees), dict(files), parents, operator, note)


def unified_diff(old: Mapping[str, str], new: Mapping[str, str], context: int = 3) -> str:
    """Unified diff between two programs, files in alphabetical order; empty if they are the same."""
    parts: list[str] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name, "").splitlines(), new.get(name, "").splitlines()
        parts += difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm="", n=context)
    return "\n".join(parts)
