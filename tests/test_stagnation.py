"""Stagnation: noticed, answered in turns, written down, and done again from the journal."""

import random
from dataclasses import replace
from pathlib import Path

from evolve import assembly, run, settings
from evolve.journal import Journal
from evolve.proposers.base import Proposer
from evolve.records import Evaluation, Intervention, Proposal, Remedy
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
    return Search(known.settings, list(known.problem.seeds.values()), proposer(known))


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
