"""What every archive keeps to. A new archive inherits this class and gives `make`."""

import random

import numpy as np
import pytest

from evolve.archives.base import Archive
from evolve.program import make_candidate
from evolve.records import Candidate, Evaluation, Intervention, Member, Outcome, Split, Status


def member(number: int, scores: tuple[float, ...], status: Status = Status.OK) -> Member:
    made = make_candidate({"program.py": f"def f(x):\n    return x + {number}\n"})
    candidate = Candidate(made.id, made.files, ("0" * 16,), "test", "", number)
    ok = status is Status.OK
    descriptors = {"size": 30.0 + number * 37 % 400, "edd": number * 0.618 % 1} if ok else {}
    evaluation = Evaluation(
        made.id, Split.TRAIN, status, scores, scores if ok else (), descriptors=descriptors
    )
    return Member(candidate, evaluation)


def crowd(count: int, seed: int = 0) -> list[Member]:
    rng = np.random.default_rng(seed)
    return [member(number, tuple(rng.random(3))) for number in range(1, count + 1)]


def proposed(archive: Archive, number: int) -> list[Intervention]:
    """Proposal `number` was made: what a search does then."""
    archive.advance(number)
    steps = []
    while (step := archive.remedy(number)) is not None:
        archive.apply(step)
        steps.append(step)
    return steps


class ArchiveContract:
    def make(self) -> Archive:
        raise NotImplementedError

    def test_only_ok_evaluations_are_placed(self) -> None:
        archive = self.make()
        for status in Status:
            if status is not Status.OK:
                assert archive.add(member(1, (1.0,), status)).outcome is Outcome.REJECTED
        assert len(archive) == 0
        assert archive.best is None

    def test_the_best_ever_added_is_kept(self) -> None:
        archive = self.make()
        members = crowd(200)
        for each in members:
            archive.add(each)
        assert archive.best is max(members, key=lambda each: each.score)
        assert archive.best in list(archive.members())

    def test_what_is_discarded_is_gone_and_the_next_best_takes_over(self) -> None:
        archive = self.make()
        for each in crowd(40):
            archive.add(each)
        for _ in range(5):
            best = archive.best
            if best is None:
                return  # an archive of one member
            archive.discard(best.candidate.id)
            left = list(archive.members())
            assert best not in left
            assert archive.best is max(left, key=lambda each: each.score, default=None)

    def test_a_member_that_supersedes_another_has_its_place_also_as_the_best(self) -> None:
        archive = self.make()
        for each in crowd(40):
            archive.add(each)
        best = archive.best
        assert best is not None
        count = len(archive)
        heir = member(99, best.evaluation.scores)
        placement = archive.supersede(best.candidate.id, heir)
        assert (placement.outcome, placement.replaced) == (Outcome.IMPROVED, best.candidate.id)
        assert archive.best is heir
        assert best not in list(archive.members())
        assert len(archive) == count

    def test_a_placement_says_what_happened(self) -> None:
        archive = self.make()
        for each in crowd(200):
            before = {other.candidate.id for other in archive.members()}
            placement = archive.add(each)
            after = {other.candidate.id for other in archive.members()}
            assert (each.candidate.id in after) == (placement.outcome is not Outcome.REJECTED)
            if placement.outcome is Outcome.IMPROVED:
                assert placement.replaced in before

    def test_the_same_generator_gives_the_same_sample(self) -> None:
        one, two = self.make(), self.make()
        for each in crowd(50):
            one.add(each)
            two.add(each)
        for number in range(51, 400):
            assert one.sample(number, random.Random(number)) == two.sample(number, random.Random(number))
            assert proposed(one, number) == proposed(two, number)

    def test_sampling_changes_nothing(self) -> None:
        archive = self.make()
        for each in crowd(50):
            archive.add(each)
        first = [archive.sample(number, random.Random(number)) for number in range(51, 150)]
        assert first == [archive.sample(number, random.Random(number)) for number in range(51, 150)]

    def test_samples_are_members_and_the_parent_is_no_inspiration(self) -> None:
        archive = self.make()
        for each in crowd(50):
            archive.add(each)
        for number in range(51, 200):
            sample = archive.sample(number, random.Random(number))
            members = {other.candidate.id for other in archive.members()}
            assert sample.parent.candidate.id in members
            assert sample.parent not in sample.inspirations
            assert {other.candidate.id for other in sample.inspirations} <= members

    def test_an_empty_archive_has_nothing_to_sample(self) -> None:
        with pytest.raises(LookupError, match="empty"):
            self.make().sample(1, random.Random(1))

    def test_the_best_outlives_a_search_that_is_stuck(self) -> None:
        archive = self.make()
        members = crowd(60)
        archive.found(members[:5])
        for each in members[5:]:
            archive.add(each)
        best = max(members, key=lambda each: each.score)
        for number in range(61, 600):
            proposed(archive, number)
            assert archive.sample(number, random.Random(number)).parent in list(archive.members())
        assert archive.best is best
        assert best in list(archive.members())

    def test_what_an_archive_did_can_be_done_again_from_the_steps_alone(self) -> None:
        live, replayed = self.make(), self.make()
        members = crowd(60)
        for archive in (live, replayed):
            archive.found(members[:5])
            for each in members[5:]:
                archive.add(each)
        for number in range(61, 400):
            steps = proposed(live, number)
            replayed.advance(number)
            for step in steps:
                replayed.apply(step)
            assert list(live.members()) == list(replayed.members())
            assert live.sample(number, random.Random(number)) == replayed.sample(
                number, random.Random(number)
            )

    def test_asking_for_a_remedy_changes_nothing(self) -> None:
        archive = self.make()
        archive.found(crowd(5))
        for number in range(6, 200):
            archive.advance(number)
            before = list(archive.members())
            assert archive.remedy(number) == archive.remedy(number)
            assert archive.spread(number) == archive.spread(number)
            assert list(archive.members()) == before

    def test_no_member_is_listed_twice(self) -> None:
        archive = self.make()
        archive.found(crowd(5))
        for each in crowd(200)[5:]:
            archive.add(each)
        identities = [each.candidate.id for each in archive.members()]
        assert len(identities) == len(set(identities)) == len(archive)

    def test_the_founders_are_in_from_the_beginning(self) -> None:
        archive = self.make()
        founders = crowd(6)
        archive.found(founders)
        assert archive.best is max(founders, key=lambda each: each.score)
        assert {each.candidate.id for each in archive.members()} <= {each.candidate.id for each in founders}

    def test_a_member_that_does_not_beat_the_bar_is_not_placed(self) -> None:
        archive = self.make()
        for each in crowd(300):
            archive.add(each)
        bar = archive.bar(301)
        assert bar is not None
        worse = tuple(value - 0.5 for value in bar.evaluation.scores)
        assert archive.add(member(301, worse)).outcome is Outcome.REJECTED
