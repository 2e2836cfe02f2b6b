import random

from evolve.archives.base import Archive
from evolve.archives.islands import Islands
from evolve.records import Outcome
from evolve.settings import ArchiveSettings
from tests.contracts.archive import ArchiveContract, crowd, member


class TestIslands(ArchiveContract):
    def make(self) -> Archive:
        return Islands(ArchiveSettings(islands=3, size=10, migrate_every=20))


def test_a_child_belongs_to_the_island_it_was_bred_on() -> None:
    archive = Islands(ArchiveSettings(islands=3, size=10, migrate_every=0))
    cells = [archive.add(each).cell for each in crowd(6)]
    assert cells == ["island 1", "island 2", "island 0"] * 2


def test_migration_brings_the_best_of_each_island_to_the_next() -> None:
    archive = Islands(ArchiveSettings(islands=2, size=10, migrate_every=10))
    archive.add(member(1, (0.9,)))
    archive.add(member(2, (0.1,)))
    parents = {archive.sample(8, random.Random(seed)).parent.candidate.number for seed in range(20)}
    assert parents == {2}
    parents = {archive.sample(10, random.Random(seed)).parent.candidate.number for seed in range(20)}
    assert 1 in parents


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
