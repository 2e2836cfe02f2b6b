"""The operators by name, each with its weight in the draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from evolve.genetic.operators import crossover, expressions, functions, statements, structure
from evolve.genetic.task import Task

Operator = Callable[[Task], str]
"""Changes the open draft of a task; returns what it did in a few words, "" if it found nothing to do."""

OPERATORS: Mapping[str, Operator] = {
    "tweak constant": expressions.tweak_constant,
    "swap operator": expressions.swap_operator,
    "swap comparison": expressions.swap_comparison,
    "replace subtree": expressions.replace_subtree,
    "insert term": expressions.insert_term,
    "hoist": expressions.hoist,
    "swap name": expressions.swap_name,
    "vary constant": expressions.shift_with_time,
    "change test": expressions.negate_test,
    "cross subtree": crossover.cross_subtree,
    "cross block": crossover.cross_block,
    "cross function": functions.cross_function,
    "compose": functions.compose,
    "decompose": functions.decompose,
    "substitute call": functions.substitute_call,
    "replace answer": functions.replace_answer,
    "select best": functions.select_best,
    "extend selection": functions.extend_selection,
    "delete statement": statements.delete_statement,
    "duplicate statement": statements.duplicate_statement,
    "swap statements": statements.swap_statements,
    "guard statement": statements.guard_statement,
    "unwrap statement": statements.unwrap_statement,
    "repeat statement": statements.repeat_statement,
    "change bound": statements.change_bound,
    "new local": statements.new_local,
    "rearrange answer": statements.apply_at_statement,
    "replace key": structure.replace_key,
    "replace loop body": structure.replace_loop_body,
    "extract helper": structure.extract_helper,
}

WEIGHTS: Mapping[str, float] = {
    "tweak constant": 14,
    "swap operator": 6,
    "swap comparison": 2,
    "replace subtree": 14,
    "insert term": 16,
    "hoist": 9,
    "swap name": 6,
    "vary constant": 3,
    "change test": 2,
    "cross subtree": 14,
    "cross block": 1.5,
    "cross function": 3,
    "compose": 18,
    "decompose": 2.5,
    "substitute call": 7,
    "replace answer": 6,
    "select best": 14,
    "extend selection": 4,
    "delete statement": 1.5,
    "duplicate statement": 0.7,
    "swap statements": 0.7,
    "guard statement": 0.7,
    "unwrap statement": 0.5,
    "repeat statement": 1.5,
    "change bound": 1,
    "new local": 3,
    "rearrange answer": 0.5,
    "replace key": 4,
    "replace loop body": 0.7,
    "extract helper": 3,
}
