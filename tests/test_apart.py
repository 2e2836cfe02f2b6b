"""Proposals that are made in processes of their own: the same whoever makes them, and in order."""

from __future__ import annotations

import importlib.util
import os
import queue
import random
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from evolve import apart, replay, run
from evolve.apart import LEAD, Apart, Made
from evolve.assembly import make_proposer
from evolve.backends.base import Backend, Host, Returned
from evolve.backends.crew import Crew
from evolve.backends.station import serve
from evolve.journal import Entry
from evolve.problem import Problem
from evolve.proposers.base import Proposer
from evolve.proposers.process import generator, member
from evolve.records import Evaluation, Proposal, Sample
from evolve.settings import Settings
from evolve.trial import Seen
from tests.contracts.backend import PATIENCE_S, chosen
from tests.test_run import entries

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="the settings of a run on Dask need it installed"
)


def samples(small: Problem, count: int) -> list[tuple[int, Sample]]:
    """What to make proposals of, by their numbers."""
    seeds = [member(seed, float(place)) for place, seed in enumerate(small.seeds.values())]
    rng = random.Random(1)
    return [
        (number, Sample(rng.choice(seeds), tuple(rng.sample(seeds, 2)), width=1 + number % 3))
        for number in range(7, 7 + count)
    ]


def collected(made: Apart, told: queue.SimpleQueue[Made], count: int) -> list[Proposal]:
    found: list[Proposal] = []
    while len(found) < count:
        made.came(told.get(timeout=PATIENCE_S))
        found += made.made()
    return found


@pytest.mark.parametrize("processes", [1, 2])
def test_proposals_come_in_order_and_are_those_that_the_proposer_makes_here(
    small: Problem, small_folder: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "PROCESSES", processes)
    monkeypatch.setattr(apart, "available_cores", lambda: 8)
    the_settings = chosen(small_folder, kind="dask")
    proposer = make_proposer(the_settings, small, list(small.seeds.values()))
    assert isinstance(proposer, Proposer)
    asked, told = samples(small, 60), queue.SimpleQueue[Made]()
    with Apart(the_settings, small, told.put) as made:
        assert made.worthwhile(apart.MANY)
        assert len(made.processes) == processes
        found = []
        for part in (asked[:40], asked[40:]):
            for number, sample in part:
                made.ask(number, sample)
            made.send()
            found += collected(made, told, len(part))
        assert made.asked == 0
    expected = [
        proposer.propose(sample, number, generator(the_settings.seed, number)) for number, sample in asked
    ]
    assert found == expected
    assert sum(each.candidate is not None for each in found) > 30


def test_no_more_is_asked_for_than_the_processes_can_soon_make(small: Problem, small_folder: Path) -> None:
    with Apart(chosen(small_folder, kind="dask"), small, lambda _: None) as made:
        assert made.worthwhile(apart.MANY)
        asked = iter(samples(small, 1000))
        while made.room:
            made.ask(*next(asked))
        assert made.asked == LEAD * len(made.processes)


@pytest.mark.parametrize(("kind", "capacity"), [("loky", 10_000), ("dask", apart.MANY - 1)])
def test_the_loop_proposes_where_evaluations_are_done_here_or_few_at_a_time(
    kind: str, capacity: int, small: Problem, small_folder: Path
) -> None:
    with Apart(chosen(small_folder, kind=kind), small, lambda _: None) as made:
        assert not made.worthwhile(capacity)
        assert not made.processes


# ---- runs


class Threads:
    """An engine for Crew that evaluates in threads of this process."""

    cost_s = 0.005

    def __init__(self, key: str, parcel: bytes) -> None:
        self._parcel = parcel
        self._pool = ThreadPoolExecutor(2)

    def look(self) -> None: ...

    def slots(self) -> int:
        return 2

    def hosts(self) -> Sequence[Host]:
        return [Host("here", "full", 2)]

    def examining(self) -> bool:
        return False

    def send(self, batch: bytes, returned: Returned) -> None:
        self._pool.submit(serve, batch, self._parcel).add_done_callback(lambda done: returned(done.result()))

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class Witness:
    """Notes which processes made proposals, and ends one of them if it is told to."""

    def __init__(self, kills: bool) -> None:
        self.seen: set[int] = set()
        self.kills = kills

    def begin(self, running: run.Run) -> None: ...

    def entry(self, running: run.Run, entry: Entry) -> None: ...

    def end(self, running: run.Run, result: run.Result) -> None: ...

    def tick(self, running: run.Run) -> None:
        if self.kills and running.apart.processes and running.search.evaluations > 15:
            os.kill(running.apart.processes[0], signal.SIGKILL)
            self.kills = False
        self.seen |= set(running.apart.processes)


@contextmanager
def on_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Inside, runs on a cluster have one of threads, which is large enough for processes that propose."""

    def make(the_problem: Problem, the_settings: Settings, seen: Seen, *_: object) -> Backend:
        return Crew(the_problem, the_settings, seen, Threads)

    with monkeypatch.context() as patch:
        patch.setattr(run, "make_backend", make)
        patch.setattr(apart, "MANY", 1)
        yield


@needs_dask
@pytest.mark.parametrize("kills", [False, True])
def test_a_run_with_proposals_from_processes_is_complete_and_resumes_exactly(
    kills: bool, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = Witness(kills)
    with on_threads(monkeypatch):
        searched = run.start(tmp_path / "run", chosen(small_folder, kind="dask"), [witness])
        result = searched.execute()
        searched.journal.close()
    assert result.evaluations == 40
    assert witness.seen
    assert not any(Path(f"/proc/{process}").exists() for process in witness.seen)
    records = [entry.record for entry in entries(tmp_path / "run")]
    proposals = [each for each in records if isinstance(each, Proposal)]
    assert [each.number for each in proposals] == list(range(1, len(proposals) + 1))
    assert all(each.candidate.number == each.number for each in proposals if each.candidate)
    tried = [(each.candidate, each.split) for each in records if isinstance(each, Evaluation)]
    assert len(set(tried)) == len(tried)
    assert {each.candidate.id for each in proposals if each.candidate} <= {name for name, _ in tried}
    assert replay.replay(tmp_path / "run").differences == []
    again = run.reopen(tmp_path / "run")
    assert list(again.search.archive.members()) == list(searched.search.archive.members())
    assert again.search.proposals == searched.search.proposals
    again.journal.close()
