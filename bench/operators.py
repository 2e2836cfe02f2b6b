"""How many offspring of each operator are valid, on every bundled problem. Writes bench/operators.md.

    python bench/operators.py [--children 40] [--problems smtt smtt_dispatch] [--first 4]

Parents and donors are the problem's seeds; one operator makes each child, which is then run in the jail on the first
instances of train. Valid is a child that decides them all by the rules in time, better or worse. "any" draws the
operators by their prior weights, one to three in sequence, as a search does; what it makes of the seeds' children,
five generations deep without selection, is "deep".
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evolve import problem as problems
from evolve import program as programs
from evolve.evaluate import Evaluator
from evolve.genetic.draft import Draft
from evolve.genetic.operators import OPERATORS
from evolve.genetic.simplify import shrink
from evolve.genetic.source import Source, read
from evolve.genetic.task import Task
from evolve.genetic.tuning import tune
from evolve.jail import Level
from evolve.proposers.base import SIMPLIFICATION, TUNING
from evolve.proposers.genetic import GeneticProposer
from evolve.records import Candidate, Evaluation, Member, Sample, Split, Status
from evolve.trial import Race

HERE = Path(__file__).parent
VALID = (Status.OK, Status.RACED_OUT, Status.DUPLICATE)
GENERATIONS = 5
ATTEMPTS = 20  # for one child, before an operator counts as not applicable
WANTED = 0.7


@dataclass(frozen=True)
class Tally:
    """children: asked for. valid, made: how many decided by the rules, and how many there were at all."""

    made: int
    valid: int

    def text(self) -> str:
        return f"{self.valid / self.made:.0%} of {self.made}" if self.made else "-"


class Bench:
    """One problem: makes children, and looks whether they run."""

    def __init__(self, name: str, first: int, seed: int) -> None:
        self.problem = problems.load(name)
        spec = self.problem.spec
        self.seeds = list(self.problem.seeds.values())
        self.sources = [self.read(candidate) for candidate in self.seeds]
        self.rng = random.Random(seed)
        self.evaluator = Evaluator(self.problem, Level.RLIMITS)
        # a bar that nothing reaches: whatever decides the first instances is stopped there
        self.race = Race((first,), (1e9,) * len(self.problem.split(Split.TRAIN)), 0.95, 0)
        self.proposer = GeneticProposer(
            spec.entry.function, spec.program, spec.limits.imports, self.seeds, optional=spec.entry.optional
        )

    def read(self, candidate: Candidate) -> Source:
        spec = self.problem.spec
        return read(programs.parse(candidate.files[spec.program]), spec.entry.function)

    def judge(self, children: Sequence[Candidate]) -> Tally:
        return Tally(len(children), sum(self.is_valid(child) for child in children))

    def is_valid(self, child: Candidate) -> bool:
        return self.evaluator.evaluate(child, Split.TRAIN, self.race).status in VALID

    def by_operator(self, operator: Callable[[Task], str], count: int) -> list[Candidate]:
        found = []
        for _ in range(count):
            made = next(self._tries(operator), None)
            if made is not None:
                found.append(programs.make_candidate({self.problem.spec.program: made.text}))
        return found

    def _tries(self, operator: Callable[[Task], str]) -> Iterator[Source]:
        for _ in range(ATTEMPTS):
            parent = self.rng.choice(self.sources)
            draft = Draft(parent, self.problem.spec.limits.imports)
            task = Task(draft, self.sources, min(3, len(self.sources)), self.rng)
            if operator(task) and draft.commit() and draft.source.text != parent.text:
                yield draft.source

    def tuned(self, task: Task) -> str:
        return tune(task.draft, self.rng.randrange(12), "")

    def drawn(self, parents: Sequence[Candidate], count: int) -> list[Candidate]:
        """Children by whatever operators the proposer draws."""
        members = [
            Member(each, Evaluation(each.id, Split.TRAIN, Status.OK, (0.0,), (0.0,))) for each in parents
        ]
        found = []
        for number in range(1, count + 1):
            sample = Sample(self.rng.choice(members), tuple(self.rng.sample(members, min(3, len(members)))))
            child = self.proposer.propose(sample, number, self.rng).candidate
            if child is not None:
                found.append(child)
        return found

    def deep(self, count: int) -> list[Candidate]:
        parents: list[Candidate] = list(self.seeds)
        for _ in range(GENERATIONS):
            children = self.drawn(parents, 2 * count)
            parents = [child for child in children if self.is_valid(child)][:count] or parents
        return self.drawn(parents, count)

    def tallies(self, count: int) -> dict[str, Tally]:
        operators: dict[str, Callable[[Task], str]] = {
            **OPERATORS,
            TUNING: self.tuned,
            SIMPLIFICATION: shrink,
        }
        found = {name: self.judge(self.by_operator(each, count)) for name, each in operators.items()}
        found["any"] = self.judge(self.drawn(self.seeds, 3 * count))
        found["deep"] = self.judge(self.deep(count))
        return found


def markdown(table: dict[str, dict[str, Tally]]) -> str:
    names = list(table)
    rows = [f"| operator | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for operator in next(iter(table.values())):
        rows.append(f"| {operator} | {' | '.join(table[name][operator].text() for name in names)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--children", type=int, default=40, help="of each operator on each problem")
    parser.add_argument("--first", type=int, default=4, help="instances that a child has to decide")
    parser.add_argument("--problems", nargs="+", default=problems.bundled_problems())
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began, table = time.process_time(), dict[str, dict[str, Tally]]()
    for name in options.problems:
        bench = Bench(name, options.first, options.seed)
        with bench.evaluator:
            table[name] = bench.tallies(options.children)
        print(f"{name}: {table[name]['any'].text()} by any operator", file=sys.stderr)
        # written after each problem: what is stopped in the next one is not lost
        (HERE / "operators.md").write_text(report(table, time.process_time() - began))
    print(report(table, time.process_time() - began))


def report(table: dict[str, dict[str, Tally]], cpu_s: float) -> str:
    missed = [name for name, tallies in table.items() if tallies["any"].valid < WANTED * tallies["any"].made]
    command, verdict = " ".join(["python bench/operators.py", *sys.argv[1:]]), ", ".join(missed) or "none"
    return (
        f"# Valid offspring by operator and problem\n\nMade by `{command}` on Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {cpu_s:.0f} s of CPU outside the jail. The machine's load "
        f"changes nothing but the fate of children near a CPU limit. - = the operator found nothing to do.\n\n"
        f"{markdown(table)}\n\nWanted are {WANTED:.0%} by any operator; missed on: {verdict}.\n"
    )


if __name__ == "__main__":
    main()
