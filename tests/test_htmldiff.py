"""The HTML diff: what it shows is the two programs, whatever they contain."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from evolve.htmldiff import html_diff

OLD = "import numpy as np\n\n\ndef order(p, d):\n    rate = 1.5\n    return sorted(p)\n"
NEW = "import numpy as np\n\n\ndef order(p, d):\n    rate = 2.5\n    return sorted(p)\n"

HEAD = {"html", "head", "meta", "title", "style", "body", "h1", "dl", "dt", "dd", "p", "span", "main"}
OURS = HEAD | {"div", "code", "i", "mark", "details", "summary"}


class Page(HTMLParser):
    """Collects the rows of the page, and what must not be there."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self.marked: list[str] = []
        self.folds = 0
        self._open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._open.append(tag)
        classes = (dict(attrs).get("class") or "").split()
        if "row" in classes:
            self.rows.append((classes[1], ""))
        self.folds += tag == "details"

    def handle_endtag(self, tag: str) -> None:
        self._open.remove(tag)

    def handle_data(self, data: str) -> None:
        if "code" in self._open:
            kind, text = self.rows[-1]
            self.rows[-1] = kind, text + data
        if "mark" in self._open:
            self.marked.append(data)

    def lines(self, *kinds: str) -> list[str]:
        return [text for kind, text in self.rows if kind in kinds]


def visible(source: str) -> list[str]:
    return source.removesuffix("\n").split("\n") if source else []


lines = st.lists(
    st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.just("\t") | st.just("é"), max_size=20)
    | st.sampled_from(["    return x", "def f(a, b):", '"""doc', "# note", "x = '<b>'", ""]),
    max_size=12,
)


@given(lines, lines)
def test_unchanged_and_added_rows_are_the_new_program(old: list[str], new: list[str]) -> None:
    text = "\n".join(new) + "\n"
    assert Page(html_diff("\n".join([*old, "x"]), text, "t")).lines("same", "add") == visible(text)


@given(lines, lines)
def test_unchanged_and_removed_rows_are_the_old_program(old: list[str], new: list[str]) -> None:
    text = "\n".join([*old, "x"])
    assert Page(html_diff(text, "\n".join(new), "t")).lines("same", "del") == visible(text)


@given(st.text(), st.text())
def test_any_text_gives_a_page_that_can_be_encoded_and_holds_only_our_tags(old: str, new: str) -> None:
    page = Page(html_diff(old, new, new, [("note", old)]).encode().decode())
    assert page.tags <= OURS


def test_markup_in_a_program_is_shown_not_obeyed() -> None:
    source = "x = '<script>alert(1)</script>'"
    assert Page(html_diff("y = 2", source, "t")).lines("add") == [source]


def test_characters_that_reorder_a_line_are_spelled_out() -> None:
    assert "\u202e" not in html_diff("", "a = '\u202e'", "t")


def test_only_the_changed_part_of_an_altered_line_is_marked() -> None:
    assert Page(html_diff(OLD, NEW, "t")).marked == ["1", "2"]


def test_unchanged_stretches_fold() -> None:
    rest = "".join(f"a{number} = {number}\n" for number in range(40))
    assert Page(html_diff(OLD + rest, NEW + rest, "t")).folds == 1


def test_a_program_without_a_parent_is_shown_whole_and_unmarked() -> None:
    assert Page(html_diff("", NEW, "t")).rows == [("same", line) for line in visible(NEW)]


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = html_diff(OLD, NEW, "t")
    assert not any(word in page for word in ("http", "src=", "href=", "url(", "@import"))


def test_keywords_are_coloured() -> None:
    assert '<i class="k">return</i>' in html_diff("", NEW, "t")
