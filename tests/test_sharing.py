"""Searches share candidates: through files, as data, and whatever else lies there stops nobody."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console

from evolve import replay, run
from evolve.assembly import make_proposer
from evolve.errors import ProgramError, UsageError
from evolve.journal import Entry, Journal, Placed
from evolve.lineage import Lineage
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.proposers.base import Proposer
from evolve.records import MIGRANT, Candidate, Evaluation, Member, Proposal, Sample, Split, Status
from evolve.settings import BudgetSettings, Settings
from evolve.sharing import offers
from evolve.sharing.gate import Gate
from evolve.sharing.neighbours import Neighbours, prepare
from evolve.sharing.offers import Offer, Origin, Program
from tests.test_run import command, entries, facts, resolved, wait_for

SOUND = "def order(p, w):\n    return sorted(range(len(p)), key=lambda j: p[j] / w[j])\n"
HOST = "elsewhere"
EVALUATIONS = 30
PATIENCE_S = 240.0  # for what has to come some time; the machine may be crowded


class Patient:
    """Lets the search wait for each look at the others, so that what arrives depends on no thread."""

    def begin(self, running: run.Run) -> None: ...

    def tick(self, running: run.Run) -> None:
        if running.neighbours is not None:
            wait_for(lambda: running.neighbours.idle, PATIENCE_S)  # type: ignore[union-attr]

    def entry(self, running: run.Run, entry: Entry) -> None: ...

    def end(self, running: run.Run, result: run.Result) -> None: ...


@dataclass(frozen=True)
class Pool:
    """A folder to share through, and a problem that is searched there."""

    folder: Path
    problem: Problem

    def origin(self, name: str = "other", digest: str = "") -> Origin:
        return Origin(name, HOST, self.problem.name, digest or self.problem.digest)

    def lay(self, *sources: str, name: str = "other", digest: str = "") -> None:
        """An offer such as another run lays out."""
        programs = tuple(
            Program(f"{place:016x}", place, {self.problem.spec.program: source})
            for place, source in enumerate(sources, 1)
        )
        self.folder.mkdir(exist_ok=True)
        offers.write(self.folder, name, Offer(self.origin(name, digest), programs))

    def settings(self, evaluations: int) -> Settings:
        share = (f"share.folder='{self.folder}'", "share.every=5")
        return resolved(self.problem.folder, *share, evaluations=evaluations)

    def search(self, folder: Path, evaluations: int = EVALUATIONS) -> run.Result:
        """A run that shares through the folder."""
        return ended(run.start(folder, self.settings(evaluations), [Patient()]))

    @contextmanager
    def visitor(self, count: int = 4) -> Iterator[Neighbours]:
        """What a run sees of the others, without the run."""
        found = Neighbours(
            [self.folder], self.folder, "own", self.origin("own"), Gate(self.problem), count, lambda _: False
        )
        yield found
        found.leave(())


def look(neighbours: Neighbours) -> list[str]:
    """Of each program that one look brings, the last line."""
    neighbours.look(())
    wait_for(lambda: neighbours.idle, PATIENCE_S)
    return [next(iter(each.files.values())).splitlines()[-1] for each in neighbours.arrived()]


def ended(made: run.Run) -> run.Result:
    try:
        result = made.execute()
    finally:
        made.journal.close()
    if made.neighbours is not None:
        made.neighbours._thread.join(PATIENCE_S)  # a run itself does not wait so long for its last offer
    return result


@pytest.fixture
def pool(tmp_path: Path, small: Problem) -> Pool:
    return Pool(tmp_path / "pool", small)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, small_folder: Path) -> list[object]:
    """What happens in a run that shares with nobody."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    ended(run.start(folder, resolved(small_folder, evaluations=EVALUATIONS)))
    return facts(folder)


def migrants(folder: Path) -> list[Candidate]:
    found = (entry.record for entry in entries(folder))
    return [
        each.candidate
        for each in found
        if isinstance(each, Proposal) and each.operator == MIGRANT and each.candidate
    ]


def trained(folder: Path) -> dict[str, Evaluation]:
    found = (entry.record for entry in entries(folder))
    return {
        each.candidate: each for each in found if isinstance(each, Evaluation) and each.split is Split.TRAIN
    }


def placed(folder: Path) -> set[str]:
    return {entry.record.candidate for entry in entries(folder) if isinstance(entry.record, Placed)}


# ---- runs that share


def test_a_migrant_is_evaluated_here_and_the_run_resumes_bit_for_bit_without_the_other(
    pool: Pool, tmp_path: Path
) -> None:
    pool.lay(SOUND, SOUND.replace("p[j] / w[j]", "p[j]"), SOUND.replace("p[j] / w[j]", "-w[j]"))
    folder = tmp_path / "run"
    made = run.start(folder, pool.settings(40), [Patient()])
    result = ended(made)
    came = migrants(folder)
    assert [each.files for each in came[:1]] == [{pool.problem.spec.program: SOUND}]
    assert came[0].id == make_candidate(came[0].files).id
    assert trained(folder)[came[0].id].score == pytest.approx(1.0)
    assert came[0].id in placed(folder)
    assert result.evaluations == 40, "a migrant counts in the budget like any other candidate"
    assert result.shared == run.Shared(3, len(placed(folder) & {each.id for each in came}), ())

    shutil.rmtree(pool.folder)
    again = run.reopen(folder, BudgetSettings(evaluations=50))
    assert list(again.search.archive.members()) == list(made.search.archive.members())
    assert again.search.propose() == made.search.propose()
    assert (again.search.migrants, again.search.settled) == (made.search.migrants, made.search.settled)
    ended(again)
    check_lineage(folder, came[0].id)
    check_replay(folder, came[0])


def check_lineage(folder: Path, identity: str) -> None:
    """It shows where a migrant came from."""
    screen = Console(file=io.StringIO(), width=200, record=True)
    with Journal.open(folder, read_only=True) as journal, Lineage(journal) as lineage:
        screen.print(lineage.tree(identity))
        screen.print(lineage.tree())
    text = screen.export_text()
    assert f"migrant: candidate 0000000000000001 (#1) of other on {HOST}" in text
    assert "from other runs: 3" in text


def check_replay(folder: Path, came: Candidate) -> None:
    """All comes out the same, but for a migrant that is put in here and has another program's id."""
    with Journal.open(folder) as journal:
        made = [entry for entry in journal.entries() if isinstance(entry.record, Proposal)]
        forged = replace(came, id="f" * 16)
        journal.append(Proposal(len(made) + 1, MIGRANT, (), forged), 99.0)
    (difference,) = replay.replay(folder).differences
    assert difference.seq == len(entries(folder))
    assert "candidate was" in difference.what


def test_a_run_offers_its_champion_first_and_only_what_came_about_in_it(pool: Pool, tmp_path: Path) -> None:
    pool.lay(SOUND.replace("p[j] / w[j]", "-w[j]"))
    result = pool.search(tmp_path / "run", evaluations=60)
    (name,) = offers.names(pool.folder, "other")
    offer = offers.read(pool.folder / name)
    assert offer.origin.digest == pool.problem.digest
    assert result.champion is not None
    made = [make_candidate(program.files).id for program in offer.programs]
    assert made == [program.id for program in offer.programs]
    operators = {
        entry.record.candidate.id: entry.record.operator
        for entry in entries(tmp_path / "run")
        if isinstance(entry.record, Proposal) and entry.record.candidate
    }
    assert made
    assert not {operators[each] for each in made} & {"seed", MIGRANT}
    if operators[result.champion.candidate.id] not in ("seed", MIGRANT):
        assert made[0] == result.champion.candidate.id


def test_two_runs_in_two_processes_share_and_one_is_killed(small_folder: Path, tmp_path: Path) -> None:
    pool, one, two = tmp_path / "pool", tmp_path / "one", tmp_path / "two"
    with begin(small_folder, one, pool, seed=1) as first, begin(small_folder, two, pool, seed=2) as second:
        wait_for(lambda: has_taken(one) and has_taken(two), PATIENCE_S)
        first.kill()
        first.wait()
        left = len(entries(two))
        wait_for(lambda: len(entries(two)) > left + 20, PATIENCE_S)
        second.send_signal(signal.SIGINT)
        output, errors = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, errors.decode()
    assert json.loads(output)["shared"]["taken"] >= 1
    came = migrants(two)[0]
    assert came.note.endswith(f" of one on {offers.word(os.uname().nodename)}")
    with Journal.open(one) as journal:
        assert journal.candidate(came.id).files == came.files, "the id tells what it was there"
    ended(run.reopen(one, BudgetSettings(evaluations=1)))


@contextmanager
def begin(problem: Path, folder: Path, pool: Path, seed: int) -> Iterator[subprocess.Popen[bytes]]:
    options = ["--share", str(pool), "--seed", str(seed), "--workers", "1", "--seconds", "600", "--no-mlflow"]
    settings = ["--json", "--no-cache", "--set", "share.every=10", "--set", "jail.minimum=rlimits"]
    process = subprocess.Popen(
        command("run", str(problem), "--out", str(folder), *options, *settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder.parent,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def has_taken(folder: Path) -> bool:
    return (folder / "journal.db").is_file() and any(each.id in trained(folder) for each in migrants(folder))


def test_garbage_in_the_folder_and_other_problems_change_nothing(
    pool: Pool, tmp_path: Path, alone: list[object]
) -> None:
    pool.lay(SOUND, digest="0123456789abcdef")
    garbage(pool)
    result = pool.search(tmp_path / "run")
    assert facts(tmp_path / "run") == alone
    assert result.shared is not None
    told = result.shared.remarks
    assert all(remark.isprintable() for remark in told)
    for name in ("half", "bytes", "nested", "types", "pipe", "huge", "device", "later-format", "liar"):
        assert sum(f"{name}.json is passed over" in remark for remark in told) == 1, name
    (refused,) = [remark for remark in told if "0123456789abcdef" in remark]
    assert f"nothing is taken from other on {HOST}" in refused
    assert pool.problem.digest in refused


def garbage(pool: Pool) -> None:
    """What may lie in a folder that others can write."""
    folder = pool.folder
    (folder / "half.json").write_bytes(b'{"origin": {"run": "a", "host"')
    (folder / "bytes.json").write_bytes(bytes(range(128, 256)) * 10)
    (folder / "nested.json").write_bytes(b'{"x": ' + b"[" * 1_000_000)
    (folder / "types.json").write_bytes(b'{"origin": 7, "programs": "all", "format": 1}')
    (folder / "folder.json").mkdir()
    (folder / "\x1b[2J.json").touch()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.json")).touch()
    (folder / "dangling.json").symlink_to(folder / "nothing")
    (folder / "device.json").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.json")
    with (folder / "huge.json").open("wb") as file:
        file.truncate(10 * 2**30)
    for name, old, new in (
        ("later-format", '"format":1', '"format":2'),
        ("liar", '"run":"liar"', '"run":"\\u001b[31m\\nliar"'),
    ):
        pool.lay(SOUND, name=name)
        text = (folder / f"{name}.json").read_text()
        (folder / f"{name}.json").write_text(text.replace(old, new))


def test_a_hostile_program_runs_in_the_jail_alone(pool: Pool, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    attack = f"import os\nopen({str(trace)!r}, 'w').write(str(os.getpid()))\n{SOUND}"
    hidden = SOUND.replace("    return", f"    open({str(trace)!r}, 'w').close()\n    return")
    pool.lay(attack, hidden)
    pool.search(tmp_path / "run")
    assert not trace.exists()
    came = {each.id for each in migrants(tmp_path / "run")}
    assert len(came) == 2
    assert all(trained(tmp_path / "run")[each].status is not Status.OK for each in came)
    assert not placed(tmp_path / "run") & came


# ---- what a look brings


def test_a_look_brings_one_program_of_each_run_and_the_next_look_the_next(pool: Pool) -> None:
    pool.lay(SOUND, SOUND + "A = 1\n", name="a")
    pool.lay(SOUND + "B = 1\n", name="b")
    with pool.visitor() as neighbours:
        assert look(neighbours) == [SOUND.splitlines()[-1], "B = 1"]
        assert look(neighbours) == ["A = 1"]
        assert look(neighbours) == []
        pool.lay(SOUND + "B = 2\n", SOUND + "B = 1\n", name="b")
        assert look(neighbours) == ["B = 2"]


def test_looks_go_around_so_that_nobody_is_left_out(pool: Pool) -> None:
    for name in "abcde":
        pool.lay(*(f"{SOUND}{name} = {number}\n" for number in range(8)), name=name)
    with pool.visitor(count=2) as neighbours:
        heard = [line[0] for _ in range(5) for line in look(neighbours)]
    assert heard == list("abcdeabcde")


def test_an_honest_neighbour_is_heard_among_thousands_of_files(pool: Pool) -> None:
    pool.folder.mkdir()
    for number in range(3000):
        (pool.folder / f"{number}.json").touch()
    pool.lay(SOUND)
    with pool.visitor() as neighbours:
        assert sum(len(look(neighbours)) for _ in range(4)) == 1, "a look asks about 1,000 files"
        assert len(neighbours.remarks) <= 21


def test_a_refused_program_is_told_and_does_not_hide_the_next_one(pool: Pool) -> None:
    pool.lay("def order(", SOUND)
    with pool.visitor() as neighbours:
        assert look(neighbours) == []
        assert look(neighbours) == [SOUND.splitlines()[-1]]
        (remark,) = neighbours.remarks
        assert f"a program of other on {HOST} is refused" in remark


def test_a_folder_that_goes_away_is_said_and_used_again_when_it_is_back(pool: Pool) -> None:
    pool.folder.write_text("no folder at all")
    with pytest.raises(UsageError, match=r"--share .*pool: the folder cannot be made"):
        prepare(str(pool.folder))
    with pool.visitor() as neighbours:
        assert look(neighbours) == []
        assert any("nothing can be laid out" in remark for remark in neighbours.remarks)
        pool.folder.unlink()
        pool.lay(SOUND)
        assert len(look(neighbours)) == 1
        assert (pool.folder / "own.json").is_file()


def test_a_temporary_file_that_is_a_link_is_not_written_through(pool: Pool, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    pool.folder.mkdir()
    (pool.folder / ".other.tmp").symlink_to(victim)
    pool.lay(SOUND)
    assert victim.read_text() == "mine"
    assert offers.read(pool.folder / "other.json").programs[0].files[pool.problem.spec.program] == SOUND


# ---- programs are text until the jail runs them


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def order(p, w:\n", "line 1"),
        ("def other(p, w):\n    return []\n", "does not define order"),
        (f"x = {'-' * 150}1\n{SOUND}", r"nested 15\d deep"),
        (f"x = {'[' * 150}1{']' * 150}\n{SOUND}", r"nested 15\d deep"),
        (f"x = 1{' + 1' * 30_000}\n{SOUND}", "characters"),
        (f"x = '\ud800'\n{SOUND}", "surrogates"),
        (f"x = '\0'\n{SOUND}", "null bytes"),
    ],
)
def test_the_gate_refuses_what_is_no_program(pool: Pool, source: str, reason: str) -> None:
    with pytest.raises(ProgramError, match=reason):
        Gate(pool.problem).admit(Program("0", 1, {pool.problem.spec.program: source}), pool.origin())


def test_the_gate_takes_the_files_of_a_program_and_no_others(pool: Pool) -> None:
    for names in ([], ["../evil.py"], [pool.problem.spec.program, "sitecustomize.py"]):
        with pytest.raises(ProgramError, match="and no others"):
            Gate(pool.problem).admit(Program("0", 1, dict.fromkeys(names, SOUND)), pool.origin())


EXOTIC = '''
import math as m
from math import *
class Box:
    """A box."""
    x: int = 3
    def __init__(self, *a, k=1, **kw): self.a, *self.b = (*a, 0, 1)
    async def f(self): return [i async for i in self]
@(lambda f: f)
def deco(a, /, b=2, *, c: "int" = 3) -> "list[int]":
    global G
    G = (n := 5) if a else ...
    match a:
        case [1, *rest] | {"k": rest}: return rest
        case Box(x=3) as q if q: pass
        case _: pass
    try:
        with open as h, (yield): del h
    except ValueError as e: raise e from None
    finally: assert True, f"{a!r:>{b}} {{}}"
    for a.x, (i[0], *j) in [] or (): continue
    else: return 1_000j
def order(p, w):
    key = lambda j, *_, d={1: 2, **{}}: (p[j] / w[j], d[1], not j, -j ** 2, 1 < j <= 3, p[::2] and None)[0]
    return sorted({*range(len(p))}, key=key)
'''


@pytest.mark.parametrize(
    "source",
    [
        EXOTIC,
        EXOTIC[EXOTIC.index("def order") :],
        f"order = 3\n{SOUND}\norder2 = order\n(a, b), *c = [order, (1, 2)], 3\nx: int\nwhile a: break\n",
        "def f(x): return g(x)\ndef g(x): return f(x)\ndef order(p, w, *, f=f): return f(p) or order(p, w)\n",
        "def order(*a, **k): pass\n",
        f"def order(p, w):\n    return {'[' * 80}p{']' * 80}\n",
        f"A = [{'1, ' * 9000}]\n{SOUND}",
    ],
)
def test_whatever_syntax_a_migrant_has_the_proposer_can_breed_from_it(pool: Pool, source: str) -> None:
    problem = pool.problem
    came = Gate(problem).admit(Program("0", 1, {problem.spec.program: source}), pool.origin())
    proposer = make_proposer(resolved(problem.folder), problem, list(problem.seeds.values()))
    assert isinstance(proposer, Proposer)
    made = Member(came, Evaluation(came.id, Split.TRAIN, Status.OK, (1.0,), (0.5,), 1))
    seed = replace(made, candidate=next(iter(problem.seeds.values())))
    samples = [Sample(made, (seed,)), Sample(seed, (made,))]
    proposals = [proposer.propose(samples[k % 2], k, random.Random(k)) for k in range(40)]
    assert any(each.candidate for each in proposals)
