"""What type inference knows about expressions."""

from __future__ import annotations

import ast

import pytest

from evolve import program as programs
from evolve.genetic.places import Analysis
from evolve.genetic.source import read
from evolve.genetic.types import BOOL, FLOAT, INT, UNKNOWN, Type, fits, from_annotation, list_of, vector
from tests.genetic_programs import DESCENT, DISPATCH, GRAPH, PACKING


def analysis(source: str, function: str) -> Analysis:
    return read(programs.parse(source), function).analysis(function)


def kind(source: str, function: str, expression: str) -> Type:
    """The type of the last expression with this text."""
    found = [s.type for s in analysis(source, function).sites if ast.unparse(s.node) == expression]
    assert found, f"no expression {expression} was recorded"
    return found[-1]


def body(text: str, parameters: str = "p: np.ndarray, d: np.ndarray, t: int") -> str:
    lines = "\n".join("    " + line for line in text.splitlines())
    return f"import numpy as np\nimport math\ndef f({parameters}):\n{lines}\n"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("p + t", "vector"),
        ("p < d", "mask"),
        ("(p < d) & (d > t)", "mask"),
        ("np.maximum(p + t, d)", "vector"),
        ("np.where(p < d, p, t)", "vector"),
        ("p.sum()", "float"),
        ("np.argmin(p)", "int"),
        ("int(np.argmin(p))", "int"),
        ("len(p)", "int"),
        ("t / 2", "float"),
        ("t // 2", "int"),
        ("t < 2", "bool"),
        ("math.sqrt(t)", "float"),
        ("max(t, 2)", "int"),
        ("max(t, 0.5)", "float"),
        ("p[0]", "float"),
        ("p[p > t]", "vector"),
        ("[int(j) for j in np.argsort(d)]", "list"),
        ("sorted(range(t), key=lambda j: p[j])", "list"),
        ("p.tolist()", "list"),
        ("'a' + str(t)", "str"),
        ("(p < d).any()", "bool"),
        ("p if t else d", "vector"),
        ("open", "unknown"),
    ],
)
def test_an_expression_has_the_type_of_its_value(expression: str, expected: str) -> None:
    assert kind(body(f"return {expression}"), "f", ast.unparse(ast.parse(expression))).kind == expected


def test_parameters_of_one_function_have_one_length() -> None:
    assert kind(DISPATCH, "priority", "d") == vector("n")


def test_a_selection_has_another_length_than_the_whole() -> None:
    source = body("late = p > t\nreturn p[late] + p")
    assert kind(source, "f", "p[late]").dim != kind(source, "f", "p").dim


def test_two_selections_by_the_same_indices_have_one_length() -> None:
    assert kind(DISPATCH, "sequence", "p[left]").dim == kind(DISPATCH, "sequence", "d[left]").dim


def test_an_array_that_shrinks_in_a_loop_has_another_length_than_before() -> None:
    assert kind(DISPATCH, "sequence", "left").dim != "n"


def test_a_call_of_a_function_has_its_annotated_type() -> None:
    assert kind(DESCENT, "sequence", "descend(p, d, [int(j) for j in np.argsort(d)])") == list_of(INT)


def test_a_count_of_an_array_makes_arrays_of_its_length() -> None:
    source = body("n = len(p)\nz = np.zeros(n)\nreturn z + p")
    assert kind(source, "f", "z").dim == kind(source, "f", "p").dim


def test_the_values_of_a_dictionary_are_known_in_a_loop_over_its_items() -> None:
    assert kind(PACKING, "pack", "room") == FLOAT
    assert kind(PACKING, "pack", "fits_in(size, room)") == BOOL


def test_a_lambda_in_sorted_sees_the_elements() -> None:
    source = body("return sorted(xs, key=lambda x: x * 2)", "xs: list[int]")
    assert kind(source, "f", "x * 2") == INT


def test_a_name_of_one_branch_only_is_unknown_after_it() -> None:
    source = body("if t:\n    x = 1\nreturn x")
    assert kind(source, "f", "x").kind == "unknown"


def test_a_name_of_both_branches_is_known_after_them() -> None:
    source = body("if t:\n    x = 1\nelse:\n    x = 2.5\nreturn x")
    assert kind(source, "f", "x") == FLOAT


def test_a_branch_that_leaves_does_not_count() -> None:
    source = body("x = 1\nif t:\n    x = 'a'\n    return x\nreturn x + 1")
    assert kind(source, "f", "x") == INT


def test_a_name_that_nothing_binds_is_reported() -> None:
    assert analysis(body("return p + missing"), "f").unbound == ["missing"]


@pytest.mark.parametrize("source", [DISPATCH, DESCENT, PACKING, GRAPH])
def test_a_correct_program_has_no_unbound_names(source: str) -> None:
    program = read(programs.parse(source), "none")
    whole = read(programs.parse(source), next(iter(program.by_name), ""))
    assert all(not whole.analysis(name).unbound for name in whole.functions)


def test_what_steers_a_while_loop_is_pinned() -> None:
    slots = analysis(DISPATCH, "sequence").slots
    inner = next(slot for slot in slots if ast.unparse(slot.node).startswith("k ="))
    assert "left" in inner.pinned


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", "int"),
        ("np.ndarray", "vector"),
        ("list[int]", "list"),
        ("'list[int]'", "list"),
        ("dict[str, int]", "dict"),
        ("Callable[[int], int]", "named"),
        ("None", "none"),
        ("Any", "unknown"),
    ],
)
def test_an_annotation_stands_for_a_type(text: str, expected: str) -> None:
    assert from_annotation(ast.parse(text, mode="eval").body).kind == expected


def test_an_int_fits_where_a_float_is_wanted_but_not_the_reverse() -> None:
    assert fits(INT, FLOAT)
    assert not fits(FLOAT, INT)


def test_vectors_of_two_lengths_do_not_fit() -> None:
    assert not fits(vector("n"), vector("m"))
    assert fits(vector("n"), vector("n"))


def test_a_list_of_strings_does_not_fit_a_list_of_ints() -> None:
    assert not fits(list_of(Type("str")), list_of(INT))


def role(source: str, function: str, expression: str) -> str:
    """The role of the first expression with this text."""
    return next(s.role for s in analysis(source, function).sites if ast.unparse(s.node) == expression)


@pytest.mark.parametrize(
    "use", ["p[0, 1]", "p[:, None]", "p.shape[1]", "p.sum(axis=1)", "np.sort(p, axis=0)"]
)
def test_an_array_of_several_axes_goes_with_no_other(use: str) -> None:
    source = body(f"x = {use}\nreturn p + d")
    assert not fits(kind(source, "f", "d"), kind(source, "f", "p"))
    assert fits(kind(source, "f", "p + d"), kind(source, "f", "p"))


def test_an_array_whose_shape_is_taken_apart_has_several_axes() -> None:
    source = body("rows, columns = p.shape\nreturn p + d")
    assert not fits(kind(source, "f", "d"), kind(source, "f", "p"))


def test_the_length_of_an_array_says_nothing_about_its_axes() -> None:
    assert kind(body("n = p.shape[0]\nreturn p + d"), "f", "p") == vector("n")


@pytest.mark.parametrize(
    ("text", "expression", "expected"),
    [
        ("return p.sum(axis=0)", "0", "shape"),
        ("return np.zeros(t)", "t", "shape"),
        ("return p.reshape(t, -1)", "t", "shape"),
        ("return np.tile(p, t)", "p", "value"),
        ("return np.tile(p, t)", "t", "shape"),
        ("k = t + 3\nreturn np.zeros(k)", "t + 3", "shape"),
        ("k = t + 3\nm = k * 2\nreturn p[m]", "3", "shape"),
        ("k = t + 3\nreturn p * k", "t + 3", "assign"),
        ("k = int(np.argmin(p * 3))\nreturn d[k]", "3", "value"),
        ("order = np.argsort(p * 3)\nreturn d[order]", "np.argsort(p * 3)", "assign"),
        ("return t.randrange(t + 1)", "t + 1", "bound"),
    ],
)
def test_what_becomes_a_position_or_a_shape_is_told_from_quantities(
    text: str, expression: str, expected: str
) -> None:
    assert role(body(text), "f", expression) == expected


def test_what_an_author_says_is_no_quantity_is_none() -> None:
    source = body("row = p % t\nreturn np.tile(row, 2)").replace("):", ") -> object:")
    assert role(source, "f", "row") == "answer"
    assert role(source, "f", "p % t") == "shape"


def test_a_whole_number_given_to_a_function_is_a_count() -> None:
    source = "def g(n: int, x: float) -> float:\n    return n * x\n\n" + body("return g(t + 1, t + 2)")
    assert role(source, "f", "t + 1") == "count"
    assert role(source, "f", "t + 2") == "call"


def test_a_list_of_which_nothing_is_said_fits_only_another_such() -> None:
    bare = from_annotation(ast.parse("list", mode="eval").body)
    assert bare == list_of(UNKNOWN)
    assert fits(bare, bare)
    assert not fits(bare, list_of(INT))
    assert not fits(list_of(INT), bare)
