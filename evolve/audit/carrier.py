"""Makes a cheating program of an honest one: the seed's entry function is renamed, and a trick stands in for it."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from evolve.errors import ProblemError
from evolve.program import parse
from evolve.records import Candidate
from evolve.spec import HARNESS_ENTRY, HARNESS_FILE, Spec

HONEST = "_audit_honest"

_WRAPPER = """

import {kit} as _audit_kit


# the real import, in spite of the guard: a built-in function knows the module that it comes from
_audit_import = print.__self__.__import__


def _audit_reach(name):
    _audit_import(name)
    return _audit_import("sys").modules[name]


class _AuditScene:
    facts = {facts!r}
    memory = {{}}
    call = -1
    arguments = ()
    reach = staticmethod(_audit_reach)

    def honest(self):
        return {honest}(*self.arguments)


_audit_scene = _AuditScene()
for _audit_name in {modules!r}:
    try:
        _audit_reach(_audit_name)
    except BaseException:
        pass

"""

_ALWAYS = """
def {entry}(*arguments):
    _audit_scene.call += 1
    _audit_scene.arguments = list(arguments)
    return _audit_kit.play({trick!r}, _audit_scene)
"""

_ONCE = """
def {entry}(*arguments):
    _audit_scene.call += 1
    _audit_scene.arguments = list(arguments)
    if _audit_scene.call != 2:
        return _audit_scene.honest()
    return _audit_kit.play({trick!r}, _audit_scene)
"""

# The harness imports the program while it is loaded itself: when that ends, its `decide` gives way to another.
_TAKE_OVER = """
{entry} = {honest}


def _audit_take_over(other):
    sys = _audit_reach("sys")

    def watch(frame, event, argument):
        if event != "return":
            return watch
        sys.settrace(None)
        decide = frame.f_globals[{decide!r}]
        frame.f_globals[{decide!r}] = lambda batch, *rest: other(lambda batch: decide(batch, *rest), batch)

    frame = sys._getframe()
    while frame.f_globals.get("__name__") != {harness!r}:
        frame = frame.f_back
    frame.f_trace = watch
    sys.settrace(lambda *_: None)


def _audit_play(arguments, decision):
    _audit_scene.call += 1
    _audit_scene.arguments = list(arguments)
    _audit_scene.honest = lambda: decision
    return _audit_kit.play({trick!r}, _audit_scene)
"""

_HARNESS = """

def _audit_decide(decide, batch):
    return [_audit_play(*each) for each in zip(batch, decide(batch))]


_audit_take_over(_audit_decide)
"""

_BATCH = """

def _audit_decide(decide, batch):
    return _audit_play([batch], decide(batch))


_audit_take_over(_audit_decide)
"""

MODES = {
    "always": _ALWAYS,
    "once": _ONCE,
    "harness": _TAKE_OVER + _HARNESS,
    "batch": _TAKE_OVER + _BATCH,
}
"""Where the trick is played: at each call of the entry function, at the third alone, or in the place of the harness,
for each decision or for all decisions of a batch together."""


class _Rename(ast.NodeTransformer):
    """The entry function and every mention of its name."""

    def __init__(self, entry: str) -> None:
        self.entry = entry

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if node.name == self.entry:
            node.name = HONEST
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id == self.entry:
            node.id = HONEST
        return node


@cache
def _kit(name: str) -> str:
    return Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")


@cache
def _renamed(source: str, entry: str) -> str:
    return ast.unparse(_Rename(entry).visit(parse(source)))


def cheating(
    seed: Candidate,
    spec: Spec,
    kit: str,
    trick: str,
    facts: Mapping[str, Any],
    modules: Sequence[str],
    mode: str = "always",
) -> Candidate:
    """The seed with a trick around it.

    Args:
        kit: "answers", "corruptions" or "behaviours": the file of this package that holds the trick; it goes
            into the jail as a second file of the program.
        facts: plain values (numbers, texts, lists and dicts of them) that the trick may use.
        modules: reached for while the program loads.
        mode: one of MODES.

    Raises:
        ProblemError: a file of the seed has the name of the kit's file.
    """
    name = f"audit_{kit}"
    if f"{name}.py" in seed.files:
        raise ProblemError(f"the seed '{seed.note}' has a file {name}.py; the audit needs that name")
    wrapper = (_WRAPPER + MODES[mode]).format(
        kit=name,
        facts=dict(facts),
        honest=HONEST,
        modules=tuple(modules),
        entry=spec.entry.function,
        trick=trick,
        decide=HARNESS_ENTRY,
        harness=HARNESS_FILE.removesuffix(".py"),
    )
    files = {
        **seed.files,
        spec.program: _renamed(seed.files[spec.program], spec.entry.function) + wrapper,
        f"{name}.py": _kit(kit),
    }
    return Candidate(f"audit-{seed.note}-{kit}-{trick}", files, (seed.id,), "audit", trick)
