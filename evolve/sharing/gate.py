"""The gate for programs of other runs: text that may be looked at, and nothing else, until the jail runs it."""

from __future__ import annotations

import ast

from evolve import program as programs
from evolve.errors import ProgramError
from evolve.problem import Problem
from evolve.records import MIGRANT, Candidate
from evolve.sharing.offers import SOURCE_CHARACTERS, Origin, Program

DEPTH = 100  # of nested syntax: operators that walk a tree take one level of Python's stack for each


class Gate:
    """Makes candidates of foreign programs."""

    def __init__(self, problem: Problem) -> None:
        spec = problem.spec
        self._changing = spec.changing
        self._program, self._entry = spec.program, spec.entry.function
        # what a search may not change is the problem's own, whatever somebody sends
        seed = problem.seeds[spec.score.baseline]
        self._fixed = {name: text for name, text in seed.files.items() if name not in spec.changing}

    def admit(self, program: Program, origin: Origin) -> Candidate:
        """The candidate that a foreign program is in this run; its id is computed here.

        Raises:
            ProgramError: it is none.
        """
        if program.files.keys() != set(self._changing):
            raise ProgramError(f"a program has the files {', '.join(self._changing)}, and no others")
        files = {**self._fixed, **program.files}
        trees = {name: _parse(text, name) for name, text in files.items()}
        if self._entry not in programs.defined_functions(trees[self._program]):
            raise ProgramError(f"{self._program} does not define {self._entry}")
        note = f"candidate {program.id[:16]} (#{program.number}) of {origin.name}"
        return Candidate(programs.identity(files, trees), files, (), MIGRANT, note)


def _parse(text: str, name: str) -> ast.Module:
    if len(text) > SOURCE_CHARACTERS:
        raise ProgramError(
            f"{name}: {len(text)} characters; a program of another run has at most {SOURCE_CHARACTERS}"
        )
    tree = programs.parse(text, name)
    if (found := _depth(tree)) > DEPTH:
        raise ProgramError(f"{name}: nested {found} deep; a program of another run is at most {DEPTH} deep")
    return tree


def _depth(tree: ast.Module) -> int:
    """How deep the syntax is nested, without recursion."""
    level: list[ast.AST] = [tree]
    depth = 0
    while level:
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        depth += 1
    return depth
