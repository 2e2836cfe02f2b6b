"""Simplification: shorter programs that are likely to decide as before.

Whether they do is shown by an evaluation, in which the parent runs beside them: one that has its scores but decides
otherwise on any instance of train is dropped (`Race.elder`).
"""

from __future__ import annotations

import ast

from evolve.genetic.nodes import children, clone, names_bound, names_loaded, short, walk
from evolve.genetic.operators import OPERATORS
from evolve.genetic.task import Task

SHRINKING = ("hoist", "delete statement", "decompose", "unwrap statement")
STEPS = (1, 1, 2)  # how many of them in a row
INLINE = 0.3  # how often a local variable that is read once gives way to its value


def shrink(task: Task) -> str:
    """Make a program shorter; what was done, "" if nothing was found or it did not become shorter."""
    before = task.source.size
    notes = []
    for _ in range(task.rng.choice(STEPS)):
        operator = inline_local if task.rng.random() < INLINE else OPERATORS[task.rng.choice(SHRINKING)]
        note = operator(task)
        if note and task.draft.commit():
            notes.append(note)
        else:
            task.draft.undo()
    return "; ".join(notes) if task.source.size < before else ""


def inline_local(task: Task) -> str:
    """The value of a local variable in place of its name, where it is bound once and read once, right after."""
    chosen = task.slot(lambda s: isinstance(s.node, ast.Assign) and s.index + 1 < len(s.block))
    if chosen is None:
        return ""
    function, slot = chosen
    statement, after = slot.node, slot.block[slot.index + 1]
    assert isinstance(statement, ast.Assign)
    target = statement.targets[0]
    if not isinstance(target, ast.Name) or isinstance(after, (ast.For, ast.While)):
        return ""
    root = task.draft.open(function).root
    reads = [node for node in names_loaded(root) if node.id == target.id]
    binds = [node for node in walk(root) if isinstance(node, ast.Name) and node.id == target.id]
    if len(reads) != 1 or len(binds) != 2 or not any(node is reads[0] for node in walk(after)):
        return ""
    new = clone(after)
    for parent in list(walk(new)):
        for place, node in children(parent):
            if isinstance(node, ast.Name) and node.id == target.id:
                place(clone(statement.value))
    if names_bound(new) & {node.id for node in names_loaded(statement.value)}:
        return ""  # what the value reads would mean something else there
    slot.block[slot.index : slot.index + 2] = [new]
    return f"{function}: {target.id} is {short(statement.value, 50)}"
