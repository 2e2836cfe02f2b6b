"""The journal: what is appended comes back, whatever happens in between."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve.errors import JournalError
from evolve.folders import FILE
from evolve.journal import Journal, Placed, Record
from evolve.program import make_candidate
from evolve.records import (
    Evaluation,
    Intervention,
    Outcome,
    Placement,
    Promotion,
    Proposal,
    Remedy,
    Split,
    Status,
)

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
finite = st.floats(allow_nan=False, allow_infinity=False)
ids = st.text("0123456789abcdef", min_size=16, max_size=16)


@st.composite
def proposals(draw: st.DrawFn) -> Proposal:
    number = draw(st.integers(1, 10**9))
    parents = tuple(draw(st.lists(ids, max_size=3)))
    operator = draw(text)
    if draw(st.booleans()):
        return Proposal(number, operator, parents, None, draw(text))
    made = make_candidate(
        {"program.py": f"x = {draw(st.integers())}\n# {draw(st.text('abc', max_size=500))}"}
    )
    candidate = type(made)(made.id, made.files, parents, operator, draw(text), number)
    return Proposal(number, operator, parents, candidate, draw(text))


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    status = draw(st.sampled_from(Status))
    values = tuple(draw(st.lists(finite, min_size=1, max_size=80)))
    ok = status is Status.OK
    return Evaluation(
        draw(ids),
        draw(st.sampled_from(Split)),
        status,
        values if ok else (),
        values if ok else (),
        len(values),
        draw(text),
        draw(finite),
        draw(finite),
        draw(finite),
        draw(text),
        draw(text),
    )


promotions = st.builds(
    Promotion, ids, ids, st.booleans(), finite, finite, finite, finite, st.integers(0, 10**6), text
)
placements = st.builds(Placed, ids, st.builds(Placement, st.sampled_from(Outcome), text, ids))
numbers = st.integers(0, 10**6)
interventions = st.builds(
    Intervention,
    st.sampled_from(Remedy),
    numbers,
    st.integers(-1, 99),
    st.lists(ids, max_size=4).map(tuple),
    st.lists(numbers, max_size=9).map(tuple),
    text,
)
records = st.lists(st.one_of(proposals(), evaluations(), promotions, placements, interventions), max_size=20)


@settings(max_examples=60, deadline=None)
@given(records)
def test_everything_appended_is_read_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, given: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    with Journal.create(folder, {"problem": "p"}, b"def f(x):") as journal:
        for index, record in enumerate(given):
            journal.append(record, index * 0.5)
    with Journal.open(folder) as journal:
        entries = list(journal.entries())
        assert [entry.record for entry in entries] == given
        assert [entry.at for entry in entries] == [index * 0.5 for index in range(len(given))]
        assert [entry.seq for entry in entries] == list(range(1, len(given) + 1))


def test_a_reader_sees_what_a_writer_appended_since(tmp_path: Path) -> None:
    with (
        Journal.create(tmp_path / "run", {}) as writer,
        Journal.open(tmp_path / "run", read_only=True) as reader,
    ):
        writer.append(Proposal(1, "a", (), None, "r"), 0.0)
        first = list(reader.entries())
        writer.append(Proposal(2, "b", (), None, "r"), 0.0)
        assert [entry.seq for entry in reader.entries(after=first[-1].seq)] == [2]


def test_a_run_folder_without_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"no journal\.db there"):
        Journal.open(tmp_path)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database at all, but long enough to look like one" * 20)
    with pytest.raises(JournalError, match="not a journal"):
        Journal.open(tmp_path)


def test_a_second_journal_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    Journal.create(tmp_path, {}).close()
    with pytest.raises(JournalError, match="evolve resume"):
        Journal.create(tmp_path, {})


def test_a_second_process_cannot_run_the_same_search(tmp_path: Path) -> None:
    with Journal.create(tmp_path, {}) as one, Journal.open(tmp_path) as two:
        one.lock()
        with pytest.raises(BlockingIOError):
            two.lock()


def test_candidates_are_found_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    candidate = make_candidate({"program.py": "x = 1"})
    with Journal.create(tmp_path, {}) as journal:
        journal.append(Proposal(0, "seed", (), candidate), 0.0)
        assert journal.candidate(candidate.id[:5]) == candidate
        with pytest.raises(JournalError, match="no candidate 'zz'"):
            journal.candidate("zz")


WRITER = """
import sys
from pathlib import Path
from evolve.journal import Journal
from evolve.records import Proposal
journal = Journal.create(Path(sys.argv[1]), {})
for number in range(1, 10**9):
    journal.append(Proposal(number, "op", (), None, "r" * (number % 300)), 0.0)
    print(number, flush=True)
"""


def test_what_append_returned_from_survives_sigkill(tmp_path: Path) -> None:
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline()
        time.sleep(0.05 * attempt)
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged = len(writer.stdout.read().split()) + 1
        writer.wait()
        writer.stdout.close()
        with Journal.open(folder) as journal:
            numbers = [
                entry.record.number for entry in journal.entries() if isinstance(entry.record, Proposal)
            ]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= acknowledged
