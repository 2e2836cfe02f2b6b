"""Programs as tables of definitions: printing, pruning, adopting, renaming."""

from __future__ import annotations

import ast

import pytest

from evolve import program as programs
from evolve.genetic.draft import Draft
from evolve.genetic.nodes import clone, literal, number, size
from evolve.genetic.source import Source, read
from tests.genetic_programs import DESCENT, DISPATCH, ENTRIES, GRAPH


def source(text: str, entry: str = "sequence") -> Source:
    return read(programs.parse(text), entry)


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_the_text_is_the_normalised_program(name: str) -> None:
    text, entry = ENTRIES[name]
    assert source(text, entry).text == programs.normalise(programs.parse(text))


def test_what_the_entry_does_not_reach_is_dropped() -> None:
    dead = DISPATCH + "\nUNUSED = 3\n\ndef helper(x: int) -> int:\n    return x + UNUSED\n"
    assert source(dead).text == source(DISPATCH).text


def test_a_constant_that_a_reached_function_reads_stays() -> None:
    assert "WEIGHT = 2" in source(DESCENT).text


def test_a_clone_prints_the_same_and_shares_no_statement() -> None:
    tree = programs.parse(GRAPH)
    copy = clone(tree)
    assert ast.unparse(copy) == ast.unparse(tree)
    assert not {id(node) for node in ast.walk(tree) if isinstance(node, (ast.stmt, ast.expr))} & {
        id(node) for node in ast.walk(copy)
    }


@pytest.mark.parametrize("value", [0, 3, -2, 0.5, -1.25])
def test_a_number_reads_back_as_itself(value: float) -> None:
    made = ast.unparse(ast.BinOp(number(value), ast.Pow(), number(2)))
    assert ast.unparse(ast.parse(made)) == made
    assert literal(number(value)) == value


def test_an_adopted_function_brings_its_helpers_constants_and_imports() -> None:
    draft = Draft(source("def sequence(p, d):\n    return list(range(len(p)))\n"), ["numpy"])
    assert draft.adopt(source(DESCENT), "descend") == "descend"
    assert {"descend", "cost", "swapped", "WEIGHT", "np"} <= set(draft.source.by_name)


def test_a_function_whose_import_is_not_allowed_cannot_come() -> None:
    draft = Draft(source("def sequence(p, d):\n    return list(range(len(p)))\n"), ["math"])
    assert draft.adopt(source(DESCENT), "descend") == ""


def test_a_function_that_is_already_here_is_not_copied() -> None:
    draft = Draft(source(DISPATCH), ["numpy"])
    before = len(draft.source.definitions)
    assert draft.adopt(source(DISPATCH), "priority") == "priority"
    assert len(draft.source.definitions) == before


def test_a_clash_of_names_renames_the_newcomer_and_its_callers() -> None:
    other = DISPATCH.replace("return d\n", "return p + d\n")
    draft = Draft(source(DISPATCH), ["numpy"])
    assert draft.adopt(source(other), "sequence") == "sequence_2"
    adopted = draft.source.by_name["sequence_2"].text
    assert "priority_2(p[left], d[left], t)" in adopted
    assert "return p + d" in draft.source.by_name["priority_2"].text


def test_a_function_with_a_changed_helper_is_not_taken_for_the_same() -> None:
    other = DESCENT.replace("WEIGHT = 2", "WEIGHT = 3")
    draft = Draft(source(DESCENT), ["numpy"])
    assert draft.adopt(source(other), "descend") == "descend_2"


def test_numbers_of_names_go_when_the_plain_name_is_free() -> None:
    text = DISPATCH.replace("priority(", "priority_2(")
    draft = Draft(source(text), ["numpy"])
    draft.commit()
    assert draft.source.text == source(DISPATCH).text


def test_undo_forgets_changes_since_the_last_commit() -> None:
    draft = Draft(source(DISPATCH), ["numpy"])
    function = draft.open("priority").root
    function.body = [ast.Pass()]
    draft.adopt(source(DESCENT), "descend")
    draft.undo()
    assert draft.source.text == source(DISPATCH).text


def test_changing_a_draft_leaves_the_program_it_began_with_alone() -> None:
    start = source(DISPATCH)
    draft = Draft(start, ["numpy"])
    function = draft.open("priority").root
    function.body = [ast.Return(number(1))]
    draft.commit()
    assert "return 1" in draft.source.by_name["priority"].text
    assert ast.unparse(start.functions["priority"].function).endswith("return d")


def test_the_size_counts_every_expression_once() -> None:
    assert size(ast.parse("x + 1", mode="eval").body) == 3


def test_constants_bound_together_come_with_the_function_that_reads_one_of_them() -> None:
    donor = source("IDLE, BUSY = 0, 1\n\ndef state(x):\n    return BUSY if x else IDLE\n", "state")
    draft = Draft(source("BUSY = 7\n\ndef sequence(p, d):\n    return [BUSY]\n"), [])
    assert draft.adopt(donor, "state") == "state"
    assert draft.source.by_name["state"].text.endswith("return BUSY_2 if x else IDLE")
    assert draft.source.by_name["BUSY_2"].text == "BUSY_2 = 1"


def test_a_function_that_reads_what_a_statement_without_a_name_binds_cannot_come() -> None:
    donor = source("LOW, HIGH = (n * 2 for n in (1, 2))\n\ndef limit(x):\n    return max(x, LOW)\n", "limit")
    draft = Draft(source("def sequence(p, d):\n    return list(range(len(p)))\n"), [])
    assert draft.adopt(donor, "limit") == ""
    assert "limit" not in draft.source.by_name
