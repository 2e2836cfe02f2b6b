"""`evolve report`: what the page says, what it must not run, and that it works in a real browser."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve.errors import JournalError, UsageError
from evolve.folders import FILE
from evolve.journal import Journal
from evolve.problem import Problem
from evolve.records import Evaluation, Proposal, Split, Status
from evolve.report import Report, write
from evolve.report.programs import pack
from evolve.settings import ArchiveSettings, load, save
from evolve.yields import Yields
from tests.journals import Story

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> & \u202e ]]>"
LOADED = re.compile(r"""(?:src|href|action)\s*=\s*["']?(?!#)[^"'\s>]+|@import|url\(""")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_BROWSER = "needs chromium (Debian and Ubuntu: `apt install chromium`) and playwright"
in_browser = pytest.mark.skipif(
    BROWSER is None or importlib.util.find_spec("playwright") is None, reason=NO_BROWSER
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, small: Problem) -> Path:
    """The folder of a run; tests only read it."""
    return Story(small).write(tmp_path_factory.mktemp("runs") / "told")


@pytest.fixture(scope="module")
def report(told: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write(told, tmp_path_factory.mktemp("reports") / "report.html", measure=False)


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    return report.file.read_text(encoding="utf-8")


def data(file: Path) -> dict[str, Any]:
    found = re.search(r'id="data">([^<]*)<', file.read_text(encoding="utf-8"))
    assert found is not None
    unpacked: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(found[1])))
    return unpacked


# ---- what it says


def test_the_table_has_the_champion_and_every_baseline(html: str, small: Problem) -> None:
    table = html[html.index('id="standings"') : html.index('id="progress"')]
    assert "★ champion" in table
    for name in small.seeds:
        assert f"<td>{name}" in table


def test_baselines_that_the_journal_lacks_are_measured(told: Path, tmp_path: Path) -> None:
    found = write(told, tmp_path / "report.html").facts()
    seeds = [each for each in found["standings"] if each["name"] != "champion"]
    assert seeds
    for each in seeds:
        assert each["validation"]["status"] == "ok"
        assert each["validation"]["lead"]["interval"][0] <= each["validation"]["lead"]["score"]


def test_the_holdout_is_not_opened(told: Path, tmp_path: Path) -> None:
    found = write(told, tmp_path / "report.html")
    assert all(Split.HOLDOUT not in each.found for each in found.standings.baselines)
    assert ">holdout</th>" not in found.file.read_text(encoding="utf-8")


def test_an_opened_holdout_is_shown(small: Problem, tmp_path: Path) -> None:
    story = Story(small)
    folder = story.write(tmp_path / "run")
    first = write(folder, measure=False).standings.champion
    assert first is not None
    with Journal.open(folder) as journal:
        for seed in small.seeds.values():
            journal.append(story.evaluation(seed, Split.HOLDOUT, 0.1), 9.0)
        journal.append(story.evaluation(journal.candidate(first.candidate), Split.HOLDOUT, 0.8), 9.0)
    found = write(folder, measure=False)
    assert ">holdout</th>" in found.file.read_text(encoding="utf-8")
    assert found.claim.startswith("On the sealed holdout the champion is better than")
    assert "score +0.70000" in found.claim


def test_the_claim_is_about_the_best_baseline(report: Report, small: Problem) -> None:
    best = list(small.seeds)[-1]  # the story's scores rise with the number
    assert report.standings.best is not None
    assert report.standings.best.name == best


def test_without_a_champion_the_report_says_so(small: Problem, tmp_path: Path) -> None:
    folder = Story(small, count=2).write(tmp_path / "run")
    found = write(folder, measure=False)
    assert found.claim == "No program has passed validation: there is no champion."
    assert found.facts()["champion"] is None


def test_a_journal_without_an_entry_makes_a_report(small: Problem, tmp_path: Path) -> None:
    folder = Story(small).write(tmp_path / "run")
    with sqlite3.connect(folder / FILE) as database:
        for table in ("proposals", "evaluations", "placements", "promotions"):
            database.execute(f"DELETE FROM {table}")
    assert write(folder, measure=False).candidates == 0


def test_a_problem_that_has_gone_is_said(small: Problem, tmp_path: Path) -> None:
    folder = Story(small).write(tmp_path / "run")
    with Journal.open(folder) as journal:
        journal.note("folder", str(tmp_path / "gone"))
    found = write(folder)
    assert "gone" in found.standings.without
    assert [each.name for each in found.standings.baselines] == list(reversed(list(small.seeds)))


def test_a_problem_that_has_changed_is_not_measured(small: Problem, tmp_path: Path) -> None:
    folder = Story(small).write(tmp_path / "run")
    with Journal.open(folder) as journal:
        journal.note("digest", "0")
    assert "has changed since this run" in write(folder).standings.without


def test_impossible_scores_are_told_loudly(small: Problem, tmp_path: Path) -> None:
    folder = Story(small).write(tmp_path / "run")
    with Journal.open(folder) as journal:
        identity = next(iter(small.seeds.values())).id
        journal.append(Evaluation(identity, Split.TRAIN, Status.IMPOSSIBLE, feedback="9 beats 10"), 9.0)
    text = write(folder, measure=False).file.read_text(encoding="utf-8")
    assert 'id="impossible"' in text
    assert "9 beats 10" in text


def test_failures_are_counted_by_status(html: str) -> None:
    assert re.search(r"<td>crashed</td><td>8</td>.*IndexError", html)
    assert re.search(r"<td>no program</td><td>1</td>", html)


def test_a_best_of_n_run_beside_it_is_drawn(small: Problem, tmp_path: Path) -> None:
    folders = [Story(small).write(tmp_path / name) for name in ("own", "control", "stranger")]
    for folder, kind in zip(folders, ("islands", "best-of-n", "islands"), strict=True):
        chosen = load(folder / "settings.toml")
        saved = ArchiveSettings(kind=kind)
        save(type(chosen)(problem=chosen.problem, workers=1, archive=saved), folder / "settings.toml")
    text = write(folders[0], measure=False).file.read_text(encoding="utf-8")
    assert "best-of-n (control)" in text
    assert "stranger" not in text


def test_a_run_on_another_problem_is_no_comparison(told: Path, small: Problem, tmp_path: Path) -> None:
    other = Story(small).write(tmp_path / "other")
    with Journal.open(other) as journal:
        journal.note("digest", "0")
    with pytest.raises(UsageError, match="same instances"):
        write(told, tmp_path / "report.html", against=[other])


def asked(folder: Path) -> None:
    """Let every tenth proposal of a run have been made by a model."""
    with sqlite3.connect(folder / FILE) as database:
        columns = {row[1] for row in database.execute("PRAGMA table_info(proposals)")}
        for name, kind in (("model", "TEXT"), ("tokens", "INTEGER"), ("dollars", "REAL")):
            if name not in columns:
                database.execute(f"ALTER TABLE proposals ADD COLUMN {name} {kind} NOT NULL DEFAULT ''")
        database.execute(
            "UPDATE proposals SET model = 'some <b>model</b>', tokens = 1000, dollars = 0.25 WHERE number % 10 = 0"
        )


def test_what_models_took_is_told_and_drawn(small: Problem, tmp_path: Path) -> None:
    folder = Story(small).write(tmp_path / "run")
    asked(folder)
    text = write(folder, measure=False).file.read_text(encoding="utf-8")
    assert "what is left to the bound against dollars" in text
    models = text[text.index("<h3>Models</h3>") :]
    assert "<td>some &lt;b&gt;model&lt;/b&gt;</td><td>5,000</td><td>1.2500</td>" in models


def test_without_models_no_dollars_are_drawn(html: str) -> None:
    assert "against dollars" not in html
    assert "<h3>Models</h3>" not in html


def test_the_same_journal_gives_the_same_report(told: Path, report: Report, tmp_path: Path) -> None:
    again = write(told, tmp_path / "report.html", measure=False)
    assert again.file.read_bytes() == report.file.read_bytes()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"no journal\.db there"):
        write(tmp_path)


def test_a_place_that_cannot_be_written_is_named(told: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        write(told, tmp_path / "file" / "report.html", measure=False)


# ---- programs


def unpack(changes: list[Any], lines: list[str], place: int) -> str:
    """What the page's script does."""

    def numbers(at: int) -> list[int]:
        base, head, tail, *new = changes[at]
        before = numbers(base) if base >= 0 else []
        return [*before[:head], *new, *before[len(before) - tail :]]

    return "\n".join(lines[number] for number in numbers(place))


texts = st.lists(st.sampled_from(["a", "b", "", "c"]), max_size=6).map("\n".join)


@settings(deadline=None)
@given(st.lists(st.tuples(texts, st.integers(-1, 8)), max_size=9))
def test_every_packed_program_can_be_unpacked(programs: list[tuple[str, int]]) -> None:
    listed = [(str(place), text, str(parent)) for place, (text, parent) in enumerate(programs)]
    packed = pack(listed)
    for place, (_, text, _) in enumerate(listed):
        assert unpack(packed.changes, packed.lines, place) == text


def test_the_programs_of_the_page_are_those_of_the_journal(told: Path, report: Report) -> None:
    found = data(report.file)
    with Journal.open(told, read_only=True) as journal:
        for place, identity in enumerate(found["id"]):
            text = next(iter(journal.candidate(identity).files.values()))
            assert unpack(found["changes"], found["lines"], place) == text


@pytest.mark.parametrize(("share", "left_out"), [(0.97, "failed"), (0.0, "all")])
def test_a_page_that_would_be_too_large_leaves_programs_out(
    told: Path, report: Report, tmp_path: Path, share: float, left_out: str
) -> None:
    whole = len(re.search(r'id="data">([^<]*)<', report.file.read_text("utf-8"))[1])  # type: ignore[index]
    found = write(told, tmp_path / "report.html", measure=False, limit=int(share * whole))
    changes = data(found.file)["changes"]
    assert found.programs == sum(change is not None for change in changes) < found.candidates
    assert f"{found.programs:,} of {found.candidates:,} programs" in found.file.read_text("utf-8")
    champion = found.standings.champion
    assert champion is not None
    place = data(found.file)["id"].index(champion.candidate)
    assert (changes[place] is None) == (left_out == "all")


# ---- operators


def test_what_operators_made_together_counts_for_each() -> None:
    yields = Yields()
    for operator in ("tweak", "tweak + hoist", "hoist + hoist"):
        yields.take(Proposal(1, operator, (), None, "no"))
    assert {name: made.proposed for name, made in yields} == {"tweak": 2, "hoist": 2}


# ---- what it must not run


class Tags(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, small: Problem) -> Report:
    """The report of a run whose programs, notes, reasons and feedback are an attack."""
    return write(Story(small, text=HOSTILE).write(tmp_path_factory.mktemp("hostile") / "run"), measure=False)


def test_text_of_candidates_makes_no_element(hostile: Report, report: Report) -> None:
    tags = [Tags(each.file.read_text(encoding="utf-8")).found for each in (hostile, report)]
    assert tags[0] == tags[1]
    assert tags[0].count("script") == 2
    assert "\u202e" not in hostile.file.read_text(encoding="utf-8")


def test_the_page_loads_nothing(html: str) -> None:
    style_and_markup = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert not LOADED.findall(style_and_markup)
    assert "default-src 'none'" in html
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", html.replace(data_text(html), ""))


def data_text(html: str) -> str:
    found = re.search(r'id="data">([^<]*)<', html)
    assert found is not None
    return found[1]


# ---- in a real browser


class Desk:
    """A page in chromium that notes every error, every warning and every request."""

    def __init__(self, browser: Any, file: Path, width: int = 1200, scheme: str = "light") -> None:
        self.noise: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 850}, color_scheme=scheme)
        self.page = context.new_page()
        self.page.on("console", lambda message: self.noise.append(message.text))
        self.page.on("pageerror", lambda error: self.noise.append(str(error)))
        self.page.on(
            "request", lambda request: self.noise.append(request.url) if request.url != self.url else None
        )
        self.url = file.resolve().as_uri()
        self.page.goto(self.url)
        self.page.wait_for_selector("html[data-ready]", timeout=120_000)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # as root, as in most containers, chromium has no sandbox of its own; the page is ours
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def desk(browser: Any, report: Report) -> Desk:
    return Desk(browser, report.file)


@in_browser
def test_the_champion_is_shown_first(desk: Desk, report: Report) -> None:
    assert report.standings.champion is not None
    assert report.standings.champion.candidate in desk.text("#detail")
    assert "★ champion" in desk.text("#detail")


@in_browser
def test_every_link_and_button_works_without_an_error(desk: Desk) -> None:
    page = desk.page
    for link in page.query_selector_all("nav a"):
        link.click()
        target = link.get_attribute("href")
        assert page.query_selector(target) is not None
    page.query_selector("details summary").click()
    for button in page.query_selector_all("[data-open]"):
        button.click()
        assert button.get_attribute("data-open") in desk.text("#detail")
    for view in ("parent", "best", "program"):
        page.click(f"[data-view={view}]")
        assert page.get_attribute(f"[data-view={view}]", "aria-pressed") == "true"
        assert page.query_selector("#detail .code .row") is not None
    parent = page.get_attribute("#detail .links button", "data-candidate")
    page.click("#detail .links button")
    assert parent in desk.text("#detail")
    page.click("#to-champion")
    for name in ("rival", "split", "rows", "columns"):
        for option in page.query_selector_all(f"#heat-{name} option"):
            page.select_option(f"#heat-{name}", option.get_attribute("value"))
            assert desk.text("#heat")
    assert desk.noise == []


@in_browser
def test_the_tree_unfolds_and_folds(desk: Desk) -> None:
    rows = len(desk.page.query_selector_all("#tree .node"))
    desk.page.click("#tree .fold[aria-expanded=false]")
    assert len(desk.page.query_selector_all("#tree .node")) > rows
    desk.page.click("#tree .fold[aria-expanded=true]")
    assert desk.noise == []


@in_browser
def test_a_click_on_the_map_chooses_a_candidate(desk: Desk) -> None:
    desk.page.click("#map", position={"x": 8, "y": 100})
    assert "seed" in desk.text("#detail h3")
    assert desk.noise == []


@in_browser
def test_a_candidate_is_found_by_its_number(desk: Desk) -> None:
    desk.page.fill("#find", "#12")
    assert desk.text("#detail h3").startswith("#12 ")


@in_browser
def test_the_diff_shows_what_changed(desk: Desk) -> None:
    desk.page.fill("#find", "#30")
    desk.page.click("[data-view=parent]")
    rows = [row.inner_text() for row in desk.page.query_selector_all("#detail .row.add")]
    assert len(rows) == 1
    assert "+ 30)" in rows[0]


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser: Any, report: Report, scheme: str) -> None:
    desk = Desk(browser, report.file, 360, scheme)
    assert desk.page.evaluate("document.documentElement.scrollWidth") == 360
    assert desk.noise == []


@in_browser
def test_hostile_programs_run_nothing(browser: Any, hostile: Report) -> None:
    desk = Desk(browser, hostile.file)
    title = desk.page.title()
    desk.page.click("[data-view=program]")
    assert "document.title" in desk.text("#detail .code")
    desk.page.click("#detail .links button")
    desk.page.wait_for_timeout(200)
    assert desk.page.title() == title != "owned"
    assert desk.page.query_selector("img") is None
    assert desk.noise == []


# ---- the command


def test_the_command_prints_facts_as_json(told: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evolve.cli", "report", str(told), "--no-measure", "--json"]
    command += ["--out", str(tmp_path / "report.html")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    found = json.loads(done.stdout)
    assert found["report"] == str(tmp_path / "report.html")
    assert found["bytes"] == (tmp_path / "report.html").stat().st_size
    assert found["standings"][0]["name"] == "champion"
