"""Stagnation: noticed, answered in turns, written down, and done again from the journal."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from evolve import assembly, run, settings
from evolve.gate import Gate
from evolve.journal import TABLES, Journal, Record
from evolve.problem import Problem, bundled_problems, content, load
from evolve.proposers.base import Proposer
from evolve.records import (
    Candidate,
    Evaluation,
    Intervention,
    Member,
    Proposal,
    Remedy,
    Resumed,
    Split,
    Status,
)
from evolve.replay import replay
from evolve.search import Search
from evolve.settings import BudgetSettings, Settings, StagnationSettings
from evolve.stagnation import WIDER, Stagnation


def stuck(stagnation: Stagnation, evaluations: int, best: float = 0.5) -> tuple[Remedy, ...]:
    for _ in range(evaluations):
        stagnation.saw(best)
    return stagnation.due


def test_a_search_that_moves_on_is_left_alone() -> None:
    stagnation = Stagnation(StagnationSettings(patience=10))
    for step in range(50):
        stagnation.saw(step / 50)
        assert stagnation.due == ()


def test_a_step_below_the_threshold_is_no_progress() -> None:
    stagnation = Stagnation(StagnationSettings(patience=10, progress=0.1))
    for step in range(11):
        stagnation.saw(0.5 + step * 0.001)
    assert stagnation.due


def test_answers_come_in_turns() -> None:
    answers = ("widen", "migrate")
    stagnation = Stagnation(StagnationSettings(patience=10, answers=answers))
    given = []
    for _ in range(4):
        first = stuck(stagnation, 11)[0]
        stagnation.apply(Intervention(first, 1))
        given.append(first)
        assert stagnation.due == ()
    assert given == [Remedy.WIDEN, Remedy.MIGRATE] * 2


def test_what_an_archive_does_of_itself_is_no_answer() -> None:
    stagnation = Stagnation(StagnationSettings(patience=10))
    due = stuck(stagnation, 11)
    stagnation.apply(Intervention(Remedy.MIGRATE, 1, place=2))
    stagnation.apply(Intervention(Remedy.RESET, 1, place=2))
    assert stagnation.due == due


def test_mutation_is_wide_until_the_best_gets_better() -> None:
    stagnation = Stagnation(StagnationSettings(patience=10))
    stuck(stagnation, 11)
    stagnation.apply(Intervention(Remedy.WIDEN, 1))
    stagnation.saw(0.5)
    assert stagnation.width == WIDER
    stagnation.saw(0.6)
    assert stagnation.width == 1


# ---- in a run


QUICK = ("stagnation.patience=15", "archive.patience=10", "archive.migration=20", "stagnation.progress=0.2")


def resolved(problem: Path, evaluations: int = 150, overrides: tuple[str, ...] = QUICK) -> Settings:
    given = {"budget": {"evaluations": evaluations}, "seed": 3, "workers": 1}
    return settings.resolve(str(problem), given, ["jail.minimum=rlimits", *overrides])


def interventions(folder: Path) -> list[Intervention]:
    with Journal.open(folder, read_only=True) as journal:
        return [each.record for each in journal.entries() if isinstance(each.record, Intervention)]


def searched(folder: Path, chosen: Settings) -> None:
    made = run.start(folder, chosen)
    made.execute()
    made.journal.close()


def test_every_step_is_in_the_journal(small_folder: Path, tmp_path: Path) -> None:
    searched(tmp_path / "run", resolved(small_folder))
    found = interventions(tmp_path / "run")
    assert {step.remedy for step in found} == set(Remedy)
    assert all(step.reason for step in found)
    sharpened = [step for step in found if step.remedy is Remedy.SHARPEN]
    assert all(sorted(step.order) == list(range(len(step.order))) and step.order for step in sharpened)


def test_a_run_with_steps_goes_on_as_if_it_had_never_stopped(small_folder: Path, tmp_path: Path) -> None:
    """Whatever the journal was cut off after, the search proposes what it proposed then."""
    searched(tmp_path / "run", resolved(small_folder))
    assert replayed(tmp_path / "run") > 100


def replayed(folder: Path) -> int:
    """Proposals made again from the records before them, and compared."""
    repeated = run.reopen(folder, BudgetSettings(evaluations=150))
    search, compared = fresh(repeated), 0
    for entry in repeated.journal.entries():
        record = entry.record
        if isinstance(record, Proposal):
            if search.ready:
                assert search.remedy() is None
                assert search.propose() == record
                compared += 1
            search.proposed(record)
        elif isinstance(record, Evaluation):
            list(search.evaluated(record, entry.at))
        elif isinstance(record, Intervention):
            assert search.remedy() == record
            search.intervened(record)
    repeated.journal.close()
    return compared


def proposer(known: run.Run) -> Proposer:
    return assembly.make_proposer(known.settings, known.problem, list(known.problem.seeds.values()))


def fresh(known: run.Run) -> Search:
    founders = list(known.problem.seeds.values())
    return Search(known.settings, founders, proposer(known), further=Split.FURTHER in known.problem.splits)


def test_without_answers_nothing_is_done(small_folder: Path, tmp_path: Path) -> None:
    chosen = resolved(small_folder, 80, ("stagnation.patience=0", "archive.patience=0"))
    searched(tmp_path / "run", chosen)
    assert interventions(tmp_path / "run") == []


def test_operators_are_drawn_by_the_chances_of_the_sample(small_folder: Path, tmp_path: Path) -> None:
    searched(tmp_path / "run", resolved(small_folder, 30))
    known = run.reopen(tmp_path / "run")
    search = known.search
    sample = search.archive.sample(99, random.Random(1))
    known.journal.close()
    chosen, genetic = replace(sample, shares={"tweak constant": 1.0}), proposer(known)
    made = [genetic.propose(chosen, number, random.Random(number)) for number in range(20)]
    assert {each.operator for each in made} <= {"tweak constant", "none"}


# ---- the gate of further instances


def member(name: str, score: float) -> Member:
    return Member(Candidate(name, {}), Evaluation(name, Split.TRAIN, Status.OK, (score,), (score,)))


def beyond(name: str, *scores: float) -> Evaluation:
    return Evaluation(name, Split.FURTHER, Status.OK if scores else Status.CRASHED, scores, scores)


def shut() -> Gate:
    """A gate of 8 of 10 further instances on which `a`, the best, and `b` differ."""
    gate = Gate(0.95)
    asked = gate.ask(gate.judges([member("b", 0.5), member("a", 0.6)]))
    assert [each.candidate.id for each in asked] == ["a", "b"]
    gate.took(beyond("a", 0.5, 0.5, *[0.5] * 8))
    assert not gate.instances, "a judge is missing"
    gate.took(beyond("b", 0.5, 0.5, *[0.1 * (each + 1) + 0.01 for each in range(8)]))
    return gate


def test_the_instances_on_which_the_best_differ_most_make_the_gate() -> None:
    assert shut().instances == (2, 9, 3, 8, 4, 7, 5, 6)


def test_who_was_asked_is_not_asked_again() -> None:
    gate = shut()
    assert gate.judges([member("a", 0.6), member("b", 0.5)]) == []
    fresh = gate.ask(gate.judges([member("a", 0.6), member("b", 0.5), member("c", 0.4)]))
    assert [each.candidate.id for each in fresh] == ["c"]


def test_only_who_would_be_the_best_has_to_pass() -> None:
    gate, best = shut(), member("a", 0.6)
    assert gate.holds(member("new", 0.7), best)
    assert not gate.holds(member("new", 0.6), best)
    assert not Gate(0.95).holds(member("new", 0.7), best)


@pytest.mark.parametrize(
    ("scores", "passes"),
    [
        ((0.5,) * 10, True),
        ((0.4, 0.6, 0.5, 0.5, 0.4, 0.6, 0.5, 0.5, 0.4, 0.6), True),
        ((0.9, 0.9, 0.4, 0.41, 0.4, 0.42, 0.4, 0.4, 0.4, 0.4), False),
        ((), False),
    ],
)
def test_who_is_clearly_worse_on_them_or_fails_does_not_pass(scores: tuple[float, ...], passes: bool) -> None:
    gate, new = shut(), member("new", 0.7)
    gate.wait(new)
    assert gate.took(beyond("new", *scores)) == new
    assert gate.passes(new, member("a", 0.6)) is passes


@pytest.fixture(scope="module")
def gated(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that looked at further instances, and had candidates wait before the gate."""
    folder = tmp_path_factory.mktemp("gated") / "run"
    given = {"budget": {"evaluations": 60}, "seed": 2, "workers": 1, "seeds": ["arrival"]}
    quick = ["jail.minimum=rlimits", "stagnation.patience=4", 'stagnation.answers=["sharpen"]']
    searched(folder, settings.resolve(str(small_folder), given, quick))
    return folder


def records(folder: Path) -> list[Record]:
    with Journal.open(folder, read_only=True) as journal:
        return [each.record for each in journal.entries()]


def test_the_best_and_who_would_be_the_best_are_evaluated_on_further_instances(gated: Path) -> None:
    judges: set[str] = set()
    challengers: list[str] = []
    for each in records(gated):
        if isinstance(each, Intervention):
            judges |= {*each.members}
        elif isinstance(each, Evaluation) and each.split is Split.FURTHER and each.candidate not in judges:
            challengers.append(each.candidate)
    assert judges
    assert challengers, "nobody had to pass the gate"
    assert len(set(challengers)) == len(challengers)


def test_a_run_killed_before_any_of_its_evaluations_on_further_instances_ends_as_it_would_have(
    gated: Path, tmp_path: Path
) -> None:
    whole = records(gated)
    looks = [
        at for at, each in enumerate(whole) if isinstance(each, Evaluation) and each.split is Split.FURTHER
    ]
    for number, cut in enumerate((looks[0], looks[-1])):
        folder = tmp_path / str(number)
        shutil.copytree(gated, folder)
        with Journal.open(folder) as journal:
            last = [entry.seq for entry in journal.entries()][cut - 1]
            for table in TABLES:
                journal._database.execute(f"DELETE FROM {table} WHERE seq > ?", (last,))
        again = run.reopen(folder)
        again.execute()
        again.journal.close()
        ended = [told(each) for each in records(folder) if not isinstance(each, Resumed)]
        assert ended == [told(each) for each in whole]


def told(record: Record) -> object:
    """A record without what a clock measured."""
    if isinstance(record, Evaluation):
        return replace(record, cpu_s=0.0, peak_mb=0.0, slowest=0.0)
    return record


def test_a_problem_that_makes_no_further_instances_has_train_reordered_and_says_so(
    small_folder: Path, tmp_path: Path
) -> None:
    problem = tmp_path / "small"
    shutil.copytree(small_folder, problem)
    text = (problem / "instances.py").read_text().replace("def further", "def _unused")
    (problem / "instances.py").write_text(text)
    searched(tmp_path / "run", resolved(problem, 60))
    sharpened = [step for step in interventions(tmp_path / "run") if step.remedy is Remedy.SHARPEN]
    assert sharpened
    assert all(step.order and not step.members for step in sharpened)
    assert all("makes no further instances" in step.reason for step in sharpened)


def test_further_instances_are_like_those_of_train_and_in_no_other_split(small: Problem) -> None:
    small.check_disjoint()
    further = small.split(Split.FURTHER)
    assert {each.group["n"] for each in further} == {each.group["n"] for each in small.split(Split.TRAIN)}


def test_a_run_with_a_gate_replays(gated: Path) -> None:
    assert replay(gated).differences == []


@pytest.mark.parametrize("name", bundled_problems())
def test_further_instances_of_a_bundled_problem_are_of_its_kinds_and_none_of_another_split(name: str) -> None:
    known = load(name)
    if Split.FURTHER not in known.splits:
        pytest.skip("it makes none")
    train = known.split(Split.TRAIN)
    further = known.split(Split.FURTHER)
    assert len(further) >= len(train) / 2
    assert {tuple(each.group.items()) for each in further} <= {tuple(each.group.items()) for each in train}
    assert not {content(each) for each in further} & {content(each) for each in train}
