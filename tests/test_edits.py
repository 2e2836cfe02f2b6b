"""Edits apply where they are meant, and say why where they do not; whatever a model writes, nothing breaks."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evolve.edits import Edit, EditError, apply, blocks, program

PARENT = """import math


def rate(p, w):
    best = 0.0
    for j in range(len(p)):
        if p[j] > best:
            best = p[j]
    return best


def order(p, w):
    return sorted(range(len(p)), key=lambda j: p[j])
"""


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


words = st.text("abcxyz_01 =+()", min_size=1, max_size=12).filter(lambda text: text.strip())
sources = st.lists(words, min_size=1, max_size=20)


@given(lines=sources, start=st.integers(0, 19), size=st.integers(1, 5), new=st.lists(words, max_size=4))
def test_an_exact_passage_is_replaced_and_nothing_else(
    lines: list[str], start: int, size: int, new: list[str]
) -> None:
    start %= len(lines)
    old = lines[start : start + size]
    found = [i for i in range(len(lines)) if lines[i : i + len(old)] == old]
    assume(len(found) == 1)
    made = apply("\n".join(lines), [Edit(tuple(old), tuple(new))])
    assert made.splitlines() == [*lines[:start], *new, *lines[start + len(old) :]]


@given(
    lines=sources,
    start=st.integers(0, 19),
    size=st.integers(1, 5),
    shift=st.integers(1, 8),
    pad=st.integers(0, 3),
)
def test_indentation_and_trailing_blanks_do_not_matter(
    lines: list[str], start: int, size: int, shift: int, pad: int
) -> None:
    lines = [" " * 8 + line.strip() for line in lines]
    start %= len(lines)
    old = lines[start : start + size]
    assume(sum(lines[i : i + len(old)] == old for i in range(len(lines))) == 1)
    said = tuple(line[shift:] + " " * pad for line in old)
    made = apply("\n".join(lines), [Edit(said, (" " * (8 - shift) + "new",))])
    assert made.splitlines() == [*lines[:start], " " * 8 + "new", *lines[start + len(old) :]]


@given(reply=st.text(max_size=400), cut=st.booleans())
@settings(max_examples=300)
def test_any_text_gives_a_program_or_a_reason(reply: str, cut: bool) -> None:
    assert_program_or_reason(reply, cut)


def assert_program_or_reason(reply: str, cut: bool) -> None:
    reason = ""
    try:
        made = program(reply, PARENT, cut)
    except EditError as error:
        made, reason = "", str(error)
    assert bool(reason) != made.endswith("\n")


pieces = st.sampled_from(
    [
        "<<<<<<< SEARCH",
        "=======",
        ">>>>>>> REPLACE",
        "```python",
        "```",
        "def f():",
        "    return 1",
        "",
        "prose",
    ]
)


@given(parts=st.lists(pieces, max_size=14), cut=st.booleans())
@settings(max_examples=300)
def test_any_order_of_markers_gives_a_program_or_a_reason(parts: list[str], cut: bool) -> None:
    assert_program_or_reason("\n".join(parts), cut)


@given(end=st.integers(0, 400))
def test_a_reply_cut_anywhere_gives_all_complete_edits_or_a_reason(end: int) -> None:
    whole = (
        block("    best = 0.0", "    best = -1.0")
        + "and then\n"
        + block("    return best", "    return 2 * best")
    )
    try:
        made = program(whole[:end], PARENT, cut=True)
    except EditError:
        assert end < len(block("    best = 0.0", "    best = -1.0")) - 1
        return
    assert "best = -1.0" in made


def test_several_blocks_apply_in_their_order() -> None:
    reply = block("    best = 0.0", "    best = 1.0") + block("    best = 1.0", "    best = 2.0")
    assert "best = 2.0" in program(reply, PARENT)


def test_a_small_slip_in_the_search_text_is_forgiven() -> None:
    reply = block(
        "    for j in range(len(p)):\n        if p[j] >  best:\n            best = p[i]", "    best = max(p)"
    )
    assert program(reply, PARENT) == PARENT.replace(
        "    for j in range(len(p)):\n        if p[j] > best:\n            best = p[j]\n",
        "    best = max(p)\n",
    )


def test_a_passage_that_is_there_twice_is_not_guessed() -> None:
    parent = "a = 1\nb = 2\na = 1\n"
    with pytest.raises(EditError, match="2 times"):
        program(block("a = 1", "a = 3"), parent)


def test_a_passage_like_two_others_is_not_guessed() -> None:
    parent = "value_of_first = compute(x, 1)\nother\nvalue_of_first = compute(x, 2)\n"
    with pytest.raises(EditError, match="more than one passage"):
        program(block("value_of_first = compute(x, 3)", "y"), parent)


def test_a_search_text_that_is_nowhere_is_quoted() -> None:
    with pytest.raises(EditError, match="not in the program: 'while True:'"):
        program(block("while True:", "pass"), PARENT)


def test_a_whole_program_is_taken_from_its_fence() -> None:
    reply = f"Idea: shorter.\n\n```python\n{PARENT}```\nThat is all."
    assert program(reply, "x = 1\n") == PARENT


def test_the_longest_of_several_fences_is_the_program() -> None:
    reply = f"```python\nx = 1\n```\n```\n{PARENT}```\n```json\n{'{}' * 400}\n```"
    assert program(reply, "") == PARENT


@pytest.mark.parametrize(
    "head", ["```python title='program.py'", "```program.py", "```{python}", "```{.python}", "~~~~ python"]
)
def test_a_fence_may_say_more_than_its_language(head: str) -> None:
    mark = "~~~~" if head.startswith("~") else "```"
    assert program(f"Idea: x\n{head}\n{PARENT}{mark}\nDone.", "x = 1\n") == PARENT


def test_a_fence_around_the_whole_answer_is_seen_through() -> None:
    assert program(f"````markdown\nIdea: x\n```python\n{PARENT}```\n````\n", "x = 1\n") == PARENT


def test_a_test_that_is_longer_than_the_program_is_not_taken_for_it() -> None:
    reply = f"```python\n{PARENT}```\nTests:\n```python\n{'assert order([1], [2]) == [0]' * 40}\n```\n"
    assert program(reply, "x = 1\n", entry="order") == PARENT


def test_of_a_reply_that_ends_early_no_sketch_is_taken() -> None:
    with pytest.raises(EditError, match="ends inside of its program"):
        program("First:\n```\nx = 1\n```\nThen:\n```python\ndef order(p, w):", PARENT, True, "order")


@pytest.mark.parametrize("opened", ["<think>\n", ""])
def test_reasoning_in_front_of_an_answer_is_no_part_of_it(opened: str) -> None:
    draft = block("    best = 0.0", "    best = 9.0") + f"```python\n{PARENT}# long\n```\n"
    reply = f"{opened}{draft}</think>\n" + block("    best = 0.0", "    best = 1.0")
    assert "best = 1.0" in program(reply, PARENT)
    with pytest.raises(EditError, match="inside of its reasoning"):
        program(f"<think>\n{draft}", PARENT, cut=True)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\u2028"])
def test_ends_of_lines_of_any_kind_are_the_same(end: str) -> None:
    for reply in (block("    best = 0.0", "    best = 1.0"), f"```python\n{PARENT}```\n"):
        assert program(reply.replace("\n", end), PARENT) == program(reply, PARENT)


def test_a_block_may_lie_in_a_fence() -> None:
    reply = "```python\n" + block("    best = 0.0", "    best = 5.0") + "```"
    assert "best = 5.0" in program(reply, PARENT)


def test_an_empty_replacement_deletes() -> None:
    assert "best = 0.0" not in program("<<<<<<< SEARCH\n    best = 0.0\n=======\n>>>>>>> REPLACE", PARENT)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "neither"),
        ("I would sort by p.", "neither"),
        ("```python\ndef order(p, w):\n", "ends inside of its program: it reached its limit"),
        ("<<<<<<< SEARCH\n    best = 0.0\n=======\n    be", "ends inside of its first edit: it reached"),
        ("def order(p, w):\n    return", "ends inside of its program"),
        (block("", "x = 1"), "search text is empty"),
    ],
)
def test_a_reply_without_a_usable_program_says_why(reply: str, reason: str) -> None:
    with pytest.raises(EditError, match=reason):
        program(reply, PARENT, cut=True)


def test_blocks_keep_their_texts_as_they_are() -> None:
    found, unfinished = blocks("text\n" + block("  a\n\n  b", "c"))
    assert found == [Edit(("  a", "", "  b"), ("c",))]
    assert not unfinished
