import random

from evolve.archives.base import Archive
from evolve.archives.islands import Islands
from evolve.records import Outcome
from evolve.settings import ArchiveSettings
from tests.contracts.archive import ArchiveContract, crowd, member


class TestIslands(ArchiveContract):
    def make(self) -> Archive:
        return Islands(ArchiveSettings(islands=3, size=10, patience=20))


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
        archive.advance(number)
    return archive


def parents(archive: Islands, number: int) -> set[int]:
    return {archive.sample(number, random.Random(seed)).parent.candidate.number for seed in range(50)}


def test_an_island_that_is_stuck_starts_anew_from_the_founders() -> None:
    assert parents(stuck(5, 8), 100) == {1, 2}
    assert parents(stuck(5, 10), 100) == {1}


def test_every_other_new_start_has_the_best_of_all() -> None:
    assert parents(stuck(5, 20), 100) == {1, 3}


def test_the_island_of_the_best_is_left_alone() -> None:
    assert parents(stuck(5, 100), 101) == {1, 3}


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
