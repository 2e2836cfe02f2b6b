import random

import pytest

from evolve.archives import make_archive, needs_descriptors
from evolve.archives.base import Archive
from evolve.archives.islands import Islands
from evolve.archives.population import Axis, Grid
from evolve.records import Intervention, Outcome, Remedy
from evolve.settings import ARCHIVES, ArchiveSettings
from tests.contracts.archive import ArchiveContract, crowd, member, proposed


class TestIslands(ArchiveContract):
    def make(self) -> Archive:
        return Islands(ArchiveSettings(islands=3, size=10, patience=20))


AXES = (Axis("size", 30, 430, 4, log=True), Axis("edd", 0, 1, 5))


class TestBestOfN(ArchiveContract):
    def make(self) -> Archive:
        return make_archive(ArchiveSettings(kind="best-of-n", size=10, patience=20))


class TestTopK(ArchiveContract):
    def make(self) -> Archive:
        return make_archive(ArchiveSettings(kind="top-k", size=10, patience=20))


class TestHillClimbing(ArchiveContract):
    def make(self) -> Archive:
        return make_archive(ArchiveSettings(kind="top-k", size=1, patience=20))


class TestMapElites(ArchiveContract):
    def make(self) -> Archive:
        return make_archive(ArchiveSettings(kind="map-elites", size=12, patience=20), AXES)


class TestIslandsOfMapElites(ArchiveContract):
    def make(self) -> Archive:
        settings = ArchiveSettings(kind="islands-map-elites", islands=3, size=8, patience=20)
        return make_archive(settings, AXES)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_every_archive_can_be_made_without_axes_of_the_problem(kind: str) -> None:
    archive = make_archive(ArchiveSettings(kind=kind))
    assert archive.add(member(1, (0.5,))).outcome is Outcome.NEW
    assert needs_descriptors(ArchiveSettings(kind=kind)) == ("map-elites" in kind)


def test_nothing_but_founders_breeds_in_the_control() -> None:
    archive = make_archive(ArchiveSettings(kind="best-of-n", size=5))
    founders = crowd(4)
    archive.found(founders)
    for number in range(5, 60):
        archive.add(member(number, (0.9 + number / 1000,)))
    names = {each.candidate.id for each in founders}
    for number in range(60, 200):
        sample = archive.sample(number, random.Random(number))
        assert sample.parent.candidate.id in names
        assert {each.candidate.id for each in sample.inspirations} <= names
    assert archive.best is not None
    assert archive.best.candidate.number == 59


def test_a_hill_climber_goes_on_from_another_founder_when_it_is_stuck() -> None:
    archive = make_archive(ArchiveSettings(kind="top-k", size=1, patience=5))
    archive.found([member(1, (0.1,)), member(2, (0.2,)), member(3, (0.3,))])
    archive.add(member(4, (0.9,)))
    seen = []
    for number in range(5, 30):
        seen.append(archive.sample(number, random.Random(0)).parent.candidate.number)
        proposed(archive, number)
    assert list(dict.fromkeys(seen)) == [4, 2, 3, 1]


def test_a_population_without_islands_never_starts_anew() -> None:
    archive = make_archive(ArchiveSettings(kind="top-k", size=10, patience=5))
    archive.found(crowd(3))
    for each in crowd(30)[3:]:
        archive.add(each)
    before = list(archive.members())
    for number in range(31, 131):
        proposed(archive, number)
    assert list(archive.members()) == before


def test_a_hill_climber_whose_incumbent_is_discarded_goes_on_from_a_founder() -> None:
    archive = make_archive(ArchiveSettings(kind="top-k", size=1))
    archive.found([member(1, (0.1,)), member(2, (0.2,))])
    archive.add(member(3, (0.9,)))
    archive.discard(member(3, (0.9,)).candidate.id)
    assert archive.best is archive.sample(4, random.Random(0)).parent
    assert archive.best.candidate.number in (1, 2)


def test_a_tournament_of_one_draws_all_members_alike() -> None:
    archive = make_archive(ArchiveSettings(kind="top-k", size=10, tournament=1))
    for each in crowd(10):
        archive.add(each)
    drawn = [archive.sample(1, random.Random(seed)).parent.candidate.number for seed in range(2000)]
    assert all(140 < drawn.count(number) < 270 for number in range(1, 11))


def test_an_axis_cuts_its_range_and_takes_in_what_lies_outside() -> None:
    axis = Axis("share", 0, 1, 4)
    assert [axis.cell(value) for value in (-1, 0, 0.24, 0.26, 0.99, 1, 7)] == [0, 0, 0, 1, 3, 3, 3]
    log = Axis("size", 10, 1000, 2, log=True)
    assert [log.cell(value) for value in (0, 10, 99, 101, 5000)] == [0, 0, 0, 1, 1]


def test_a_cell_keeps_its_best_and_other_cells_are_left_alone() -> None:
    grid = Grid(10, (Axis("edd", 0, 1, 2),))
    low, high, better = member(1, (0.1,)), member(2, (0.9,)), member(3, (0.2,))
    cells = [grid.cell(each) for each in (low, high, better)]
    assert cells == [(1,), (0,), (1,)]
    assert [grid.add(each).outcome for each in (low, high)] == [Outcome.NEW, Outcome.NEW]
    assert grid.add(better).replaced == low.candidate.id
    assert grid.members == [high, better]


def test_a_new_cell_in_a_full_grid_costs_the_worst_elite_its_place() -> None:
    grid = Grid(2, (Axis("edd", 0, 1, 3),))
    worst, best = member(1, (0.1,)), member(2, (0.9,))
    grid.add(worst)
    grid.add(best)
    assert grid.add(member(3, (0.05,))).outcome is Outcome.REJECTED
    placement = grid.add(member(3, (0.5,)))
    assert (placement.outcome, placement.replaced) == (Outcome.IMPROVED, worst.candidate.id)


def test_a_child_belongs_to_the_island_it_was_bred_on() -> None:
    archive = Islands(ArchiveSettings(islands=3, size=10, patience=0))
    cells = [archive.add(each).cell for each in crowd(6)]
    assert cells == ["island 1", "island 2", "island 0"] * 2


def stuck(patience: int, proposals: int) -> Islands:
    """Two islands with a founder; the second one has a better member, and nothing more happens."""
    archive = Islands(ArchiveSettings(islands=2, size=10, patience=patience))
    archive.found([member(1, (0.1,))])
    archive.add(member(2, (0.2,)))
    archive.add(member(3, (0.9,)))
    for number in range(4, 4 + proposals):
        proposed(archive, number)
    return archive


def parents(archive: Islands, number: int) -> set[int]:
    return {archive.sample(number, random.Random(seed)).parent.candidate.number for seed in range(50)}


def test_an_island_that_is_stuck_starts_anew_from_the_founders() -> None:
    assert parents(stuck(5, 8), 100) == {1, 2}
    assert parents(stuck(5, 10), 100) == {1}


def test_every_other_new_start_has_the_best_of_all() -> None:
    assert parents(stuck(5, 20), 100) == {1, 3}


def test_an_island_that_gets_better_is_left_alone() -> None:
    archive = Islands(ArchiveSettings(islands=2, size=10, patience=5))
    archive.found([member(1, (0.1,))])
    archive.add(member(2, (0.9,)))
    for number in range(3, 60):
        archive.add(member(number, (0.1 + number / 100,))) if number % 2 else None
        assert proposed(archive, number) == []


def test_the_island_of_the_best_is_left_alone() -> None:
    assert parents(stuck(5, 100), 101) == {1, 3}


def test_a_copy_of_the_best_keeps_no_island_from_starting_anew() -> None:
    archive = stuck(5, 0)
    step = archive.spread(3)
    assert step is not None
    archive.apply(step)
    assert 3 in parents(archive, 100)
    for number in range(4, 15):
        proposed(archive, number)
    assert parents(archive, 100) == {1}


def test_a_child_bred_before_its_island_started_anew_goes_to_the_best() -> None:
    archive = stuck(5, 10)
    assert archive.add(member(12, (0.5,))).cell == "island 1"
    assert parents(archive, 100) == {1}
    assert archive.add(member(14, (0.6,))).cell == "island 0"


def islands_apart(migration: int = 0) -> Islands:
    """Three islands, each with the founders that were dealt to it, the fourth founder on the first."""
    archive = Islands(ArchiveSettings(islands=3, size=10, patience=20, founding="apart", migration=migration))
    archive.found([member(number, (0.1 * number,)) for number in (1, 2, 3, 4)])
    return archive


def test_founders_are_dealt_to_the_islands_by_rank() -> None:
    archive = islands_apart()
    assert [parents(archive, number) for number in (0, 1, 2)] == [{1, 4}, {3}, {2}]


def test_with_more_islands_than_founders_none_stays_empty() -> None:
    archive = Islands(ArchiveSettings(islands=4, size=10, founding="apart"))
    archive.found([member(1, (0.1,)), member(2, (0.2,))])
    assert [parents(archive, number) for number in range(4)] == [{2}, {1}, {2}, {1}]


def test_an_island_apart_starts_anew_from_its_own_founders() -> None:
    archive = islands_apart()
    for number in range(5, 5 + 61):
        proposed(archive, number)
    assert parents(archive, 1) == {3}
    assert archive.remedy(66) is None


def test_the_best_of_an_island_visits_the_next_one_in_turn() -> None:
    archive = islands_apart(migration=10)
    steps = [step for number in range(5, 11) for step in proposed(archive, number)]
    assert [step.remedy for step in steps] == [Remedy.MIGRATE] * 3
    assert [step.place for step in steps] == [0, 1, 2]
    visitors = [2, 4, 4]  # the third island's best goes first, then what has come to the next one goes on
    assert all(visitor in parents(archive, number) for number, visitor in enumerate(visitors))


def test_the_best_of_all_can_be_spread_to_every_island() -> None:
    archive = islands_apart()
    step = archive.spread(5)
    assert step is not None
    archive.apply(step)
    assert [4 in parents(archive, number) for number in (0, 1, 2)] == [True] * 3
    assert archive.spread(6) is None


def test_of_two_programs_with_the_same_scores_the_shorter_one_stays() -> None:
    archive = Islands(ArchiveSettings(islands=1, size=10))
    archive.add(member(1234567, (0.5, 0.6)))
    placement = archive.add(member(1, (0.5, 0.6)))
    assert placement.outcome is Outcome.IMPROVED
    assert archive.add(member(1234, (0.5, 0.6))).outcome is Outcome.REJECTED
    assert [each.candidate.number for each in archive.members()] == [1]


def test_founders_stand_on_every_island() -> None:
    archive = Islands(ArchiveSettings(islands=4, size=10))
    archive.found([member(1, (0.5,))])
    for number in range(2, 10):
        assert archive.sample(number, random.Random(number)).parent.candidate.number == 1


def test_the_best_of_all_settles_again_after_every_island_has_started_anew_without_it() -> None:
    archive = Islands(ArchiveSettings(islands=2, size=4, patience=3))
    archive.found(crowd(2))
    best = member(10, (0.99,))
    archive.add(best)
    for island in archive._islands:
        island.remove(best.candidate.id)
    assert archive.best == best
    archive.apply(Intervention(Remedy.MIGRATE, 11, members=(best.candidate.id,)))
    assert best in archive.members()
