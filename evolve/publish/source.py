"""The program's text as a module: documented, and still the same program."""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from evolve import program
from evolve.errors import ProgramError
from evolve.records import Value

WIDTH = 100


def document(source: str, function: str, about_module: str, about_function: str) -> str:
    """The source with these two docstrings; comments stay, the normalised program is unchanged.

    An own docstring of the function is kept behind the new one. Blank lines part paragraphs; a paragraph that
    begins with a digit or a space is not wrapped again.

    Raises:
        ProgramError: the source does not parse, or has a layout that defeats this.
    """
    wanted = program.normalise(program.parse(source))
    for text in (source, wanted):
        try:
            documented = _documented(text, function, about_module, about_function)
            if program.normalise(ast.parse(documented)) == wanted:
                return documented
        except SyntaxError:  # an exotic layout, such as a body behind a backslash
            continue
    raise ProgramError("the program cannot be documented without changing it")


def _documented(source: str, function: str, about_module: str, about_function: str) -> str:
    text = source.replace("\r\n", "\n").replace("\r", "\n").strip("\n") + "\n"
    entry = program.defined_functions(ast.parse(text)).get(function)
    if entry is not None:
        own = ast.get_docstring(entry)
        about = f"{about_function}\n\n{own}" if own else about_function
        text = _with_docstring(text, entry.body, about, entry.col_offset + 4)
    return _with_docstring(text, ast.parse(text).body, about_module, 0, "\n")


def _with_docstring(text: str, body: Sequence[ast.stmt], about: str, column: int, gap: str = "") -> str:
    """Put a docstring in front of a body, in place of the one that is there."""
    first = body[0]
    start, end = _span(text, first)
    head, tail = text.encode()[:start].decode(), text.encode()[end:].decode()
    indent = head[head.rfind("\n") + 1 :]
    if indent.strip():  # the body begins on the line of its `def`
        indent = " " * column
        head = f"{head.rstrip()}\n{indent}"
    rest = tail.lstrip(" \t;")
    if not rest.startswith(("\n", "#")):
        rest = f"\n{gap}{indent}{rest}"
    return f"{head}{_literal(about, indent)}{rest}"


def _span(text: str, first: ast.stmt) -> tuple[int, int]:
    """Where the docstring that `first` is lies in the text, or where one goes; offsets in bytes of UTF-8."""
    starts = [0]
    for line in text.encode().split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        assert first.end_lineno is not None
        assert first.end_col_offset is not None
        return starts[first.lineno - 1] + first.col_offset, starts[
            first.end_lineno - 1
        ] + first.end_col_offset
    decorators = getattr(first, "decorator_list", [])
    line = min([first.lineno, *(decorator.lineno for decorator in decorators)])
    start = starts[line - 1] + first.col_offset
    return start, start


def _literal(about: str, indent: str) -> str:
    blocks = [_block(paragraph, indent) for paragraph in about.strip().split("\n\n")]
    text = "\n\n".join(blocks).lstrip().replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{text}\n{indent}"""'


def _block(paragraph: str, indent: str) -> str:
    if paragraph[:1].isdigit() or "\n " in paragraph:
        return textwrap.indent(paragraph, indent)
    width = WIDTH - len(indent)
    filled = textwrap.fill(" ".join(paragraph.split()), width, break_long_words=False, break_on_hyphens=False)
    return textwrap.indent(filled, indent)


def modules(source: str, optional: bool = True) -> set[str]:
    """Top-level names of the modules that a program imports, the standard library's left out.

    Args:
        optional: count also what it tries to import, and can do without.

    Raises:
        ProgramError: a relative import, which has no meaning outside the program's own package.
    """
    found: set[str] = set()
    tree = program.parse(source)
    tried = set() if optional else {id(node) for node in _tried(tree)}
    for node in ast.walk(tree):
        if id(node) in tried:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ProgramError(f"line {node.lineno}: a relative import")
            found.add(str(node.module).partition(".")[0])
    return found - sys.stdlib_module_names


def _tried(tree: ast.AST) -> Iterator[ast.AST]:
    """What stands in a `try` that goes on after an ImportError."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Try):
            continue
        for handler in node.handlers:
            caught = (
                {name.id for name in ast.walk(handler.type) if isinstance(name, ast.Name)}
                if handler.type
                else set()
            )
            ends = any(isinstance(step, ast.Raise) for each in handler.body for step in ast.walk(each))
            if caught & {"ImportError", "ModuleNotFoundError"} and not ends:
                yield from (below for statement in node.body for below in ast.walk(statement))


def foreign(files: Mapping[str, str]) -> set[str]:
    """Modules that the files of a program import, without each other and the standard library.

    Raises:
        ProgramError: a relative import.
    """
    found = {name for text in files.values() for name in modules(text)}
    return found - {name.removesuffix(".py") for name in files}


def relative(source: str, files: Mapping[str, str]) -> str:
    """The source as a module of a package: imports of a program's other files become relative ones."""
    siblings = {name.removesuffix(".py") for name in files}
    text = source.encode()
    starts = [0]
    for line in text.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    places = [
        node for node in ast.walk(program.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    for node in sorted(places, key=lambda node: -node.lineno):
        new = _within(node, siblings)
        if new and node.end_lineno is not None and node.end_col_offset is not None:
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            text = text[:start] + new.encode() + text[end:]
    return text.decode()


def _within(node: ast.Import | ast.ImportFrom, siblings: set[str]) -> str:
    """An import statement as a package's module has it; "" if it stays as it is."""
    if isinstance(node, ast.ImportFrom):
        moved = ast.ImportFrom(node.module, node.names, 1)
        return ast.unparse(moved) if node.module in siblings else ""
    mine = [alias for alias in node.names if alias.name in siblings]
    others = [alias for alias in node.names if alias.name not in siblings]
    parts = [*([ast.Import(others)] if others else []), *([ast.ImportFrom(None, mine, 1)] if mine else [])]
    return "; ".join(ast.unparse(part) for part in parts) if mine else ""


def stub(source: str, function: str, arguments: Mapping[str, Value]) -> str:
    """Type stub of the entry function, from the types of an instance's arguments; "" if it is annotated."""
    entry = program.defined_functions(program.parse(source)).get(function)
    if entry is not None and entry.returns and all(argument.annotation for argument in entry.args.args):
        return ""
    typed = ", ".join(f"{name}: {_type(value)}" for name, value in arguments.items())
    needs_numpy = any(isinstance(value, np.ndarray) for value in arguments.values())
    head = "from typing import Any\n" + ("\nimport numpy as np\n" if needs_numpy else "")
    return f"{head}\ndef {function}({typed}) -> Any: ...\n"


def _type(value: Value) -> str:
    if isinstance(value, np.ndarray):
        return "np.ndarray[Any, Any]"
    name = type(value).__name__
    return {"list": "list[Any]", "dict": "dict[str, Any]", "NoneType": "None"}.get(name, name)
