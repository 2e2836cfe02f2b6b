"""Journals for tests: records such as a search appends, without a search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from evolve import settings
from evolve.journal import Journal, Placed, Record
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.records import Candidate, Evaluation, Outcome, Placement, Promotion, Proposal, Split, Status

SOURCE = "def order(p, w):\n    return sorted(range(len(p)), key=lambda j: p[j] / w[j] + {number})\n"


@dataclass(frozen=True)
class Story:
    """A search on a problem: its seeds, then `count` candidates, each a child of an earlier one.

    Of five in a row, one crashes and one is raced out; every tenth is validated, every twentieth promoted. text: what
    stands in each program, note and feedback besides.
    """

    problem: Problem
    count: int = 40
    text: str = ""
    ended: str = "budget spent"

    def write(self, folder: Path) -> Path:
        """The folder of the run, with its journal and settings."""
        folder.mkdir(parents=True)
        settings.save(settings.resolve(str(self.problem.folder), {"workers": 1}), folder / "settings.toml")
        meta = {
            "problem": self.problem.name,
            "folder": str(self.problem.folder),
            "digest": self.problem.digest,
            "founders": "[]",
            "started": "2026-03-01T12:00:00+0000",
            "versions": '{"evolve": "0.1.0", "python": "3.11.7"}',
        }
        with Journal.create(folder, meta) as journal:
            for place, record in enumerate(self.records()):
                journal.append(record, place / 100)
            journal.note("ended", self.ended)
        return folder

    def records(self) -> Iterator[Record]:
        seeds = [replace(each, number=place) for place, each in enumerate(self.problem.seeds.values(), 1)]
        for seed in seeds:
            yield Proposal(seed.number, "seed", (), seed)
            yield self.evaluation(seed, Split.TRAIN, 0.1 * seed.number)
            yield Placed(seed.id, Placement(Outcome.NEW, "founder"))
        made, best = list(seeds), ""
        for number in range(len(seeds) + 1, len(seeds) + self.count + 1):
            candidate = self.candidate(number, (made[number // 2 - 1].id, seeds[0].id))
            made.append(candidate)
            yield Proposal(number, candidate.operator, candidate.parents, candidate)
            score = 0.5 + 0.4 * number / (len(seeds) + self.count)
            yield self.trained(candidate, score)
            if number % 5 < 3:
                yield Placed(candidate.id, Placement(Outcome.NEW, "island 1"))
            if number % 10 == 0:
                yield self.evaluation(candidate, Split.VALIDATION, score)
                promoted = number % 20 == 0 or not best
                yield Promotion(candidate.id, best, promoted, 0.02, 0.01, 0.03, 0.95, 2, f"better{self.text}")
                best = candidate.id if promoted else best
        yield Proposal(10**6, "tweak", (seeds[0].id,), None, "the program was proposed before")

    def candidate(self, number: int, parents: tuple[str, ...]) -> Candidate:
        source = SOURCE.format(number=number) + (f"# {self.text}\n" if self.text else "")
        made = make_candidate({self.problem.spec.program: source}, parents)
        operator = "tweak" if number % 2 else "tweak + hoist"
        return replace(made, operator=operator, note=f"bias {number}{self.text}", number=number)

    def trained(self, candidate: Candidate, score: float) -> Evaluation:
        if candidate.number % 5 == 3:
            return Evaluation(candidate.id, Split.TRAIN, Status.CRASHED, feedback=f"IndexError{self.text}")
        if candidate.number % 5 == 4:
            return Evaluation(
                candidate.id, Split.TRAIN, Status.RACED_OUT, feedback="stopped after 8 instances"
            )
        return self.evaluation(candidate, Split.TRAIN, score)

    def evaluation(self, candidate: Candidate, split: Split, score: float) -> Evaluation:
        count = len(self.problem.split(split))
        return Evaluation(
            candidate=candidate.id,
            split=split,
            status=Status.OK,
            objectives=tuple(100 * (1 - score) + place % 3 for place in range(count)),
            scores=tuple(score + (place % 3 - 1) / 10 for place in range(count)),
            instances=count,
            feedback=f"worst: n=50{self.text}",
            cpu_s=0.25,
            peak_mb=40.0,
            jail="full",
        )
