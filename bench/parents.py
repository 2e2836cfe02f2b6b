"""Which program to ask a model about: the choice of parents alone, on the same children for every rule.

    python bench/parents.py [--problem smtt] [--begin edd] [--worlds 10] [--calls 200] [--jobs 2]

The stand-in model of bench/peers answers the k-th request about a program with the same child, whoever asks. So what a
search reaches depends on nothing but which program it asks about. Each world is another seed of the stand-in. Programs
are evaluated on train; two calls are under way while one is answered. Writes bench/parents.md.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections import Counter, deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.peers.standin import Kin, normal
from evolve import problem as problems
from evolve import program
from evolve.archives import make_archive
from evolve.errors import EvolveError
from evolve.evaluate import Evaluator
from evolve.records import Evaluation, Member, Split
from evolve.settings import ArchiveSettings
from evolve.statistics import bootstrap_median

PAGE = Path(__file__).with_suffix(".md")
MARKS = (50, 100, 200, 500)
UNDER_WAY = 2
RULES = {
    "tournament of 4 (the default)": {},
    "tournament of 16": {"tournament": 16},
    "any alike": {"tournament": 1},
    "always the best": {"size": 1, "patience": 0},
    "tournament of 4, four islands": {"islands": 4},
    "always the first: best of n": {"kind": "best-of-n"},
}


class World:
    """The children of every program, and their evaluations on train, each made once."""

    def __init__(self, problem: problems.Problem, evaluator: Evaluator, seed: int) -> None:
        self._name = problem.spec.program
        self._evaluator = evaluator
        self._kin = Kin(problem.spec.entry.function, seed, Path(os.devnull))
        self._children: dict[tuple[str, int], str] = {}
        self._evaluations: dict[str, Evaluation] = {}

    def member(self, source: str, number: int) -> Member:
        candidate = replace(program.make_candidate({self._name: source}), number=number)
        if candidate.id not in self._evaluations:
            self._evaluations[candidate.id] = self._evaluator.evaluate(candidate, Split.TRAIN)
        return Member(candidate, self._evaluations[candidate.id])

    def child(self, parent: Member, time_asked: int) -> str:
        key = (parent.candidate.id, time_asked)
        if key not in self._children:
            self._children[key] = self._kin.child(parent.candidate.files[self._name], *key)
        return self._children[key]


def search(world: World, first: str, rule: dict[str, object], calls: int, seed: int) -> dict[int, float]:
    """The best score on train after so many calls."""
    archive = make_archive(ArchiveSettings(**{"islands": 1, **rule}))  # type: ignore[arg-type]
    archive.found([world.member(first, 0)])
    under_way: deque[tuple[int, str]] = deque()
    reached: dict[int, float] = {}
    asked: Counter[str] = Counter()  # times that a program was asked about
    for number in range(1, calls + 1):
        parent = archive.sample(number, random.Random(f"{seed}/{number}")).parent
        archive.advance(number)
        asked[parent.candidate.id] += 1
        while (step := archive.remedy(number)) is not None:
            archive.apply(step)
        under_way.append((number, world.child(parent, asked[parent.candidate.id])))
        if len(under_way) > UNDER_WAY:
            born, source = under_way.popleft()
            archive.add(world.member(source, born))
        if number in MARKS and archive.best is not None:
            reached[number] = archive.best.score
    return reached


def explore(name: str, begin: str, seed: int, calls: int) -> dict[str, dict[int, float]]:
    """What every rule reaches in one world."""
    problem = problems.load(name)
    first = normal(problem.seeds[begin].files[problem.spec.program])
    with Evaluator(problem, "landlock+seccomp") as evaluator:
        world = World(problem, evaluator, seed)
        return {rule: search(world, first, given, calls, seed) for rule, given in RULES.items()}


def page(found: list[dict[str, dict[int, float]]], options: argparse.Namespace) -> str:
    marks = [mark for mark in MARKS if mark <= options.calls]
    lines = [
        "# Which program to ask a model about",
        "",
        f"Made by `{' '.join(['python bench/parents.py', *sys.argv[1:]])}`. The stand-in model answers the k-th",
        "request about a program with the same child, whoever asks, so that nothing but the choice of the program",
        f"asked about differs. {options.problem}, from `{options.begin}`: best score on train by calls, medians over",
        f"{len(found)} worlds (seeds of the stand-in) with 95 % bootstrap intervals.",
        "",
        f"| parents | {' | '.join(f'{mark} calls' for mark in marks)} |",
        f"|---|{'---:|' * len(marks)}",
    ]
    for rule in RULES:
        columns = ([world[rule][mark] for world in found] for mark in marks)
        cells = ["{:.3f} [{:.3f}, {:.3f}]".format(*bootstrap_median(scores, 0.95)) for scores in columns]
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problem", default="smtt")
    parser.add_argument("--begin", default="edd", help="the seed to begin with")
    parser.add_argument("--worlds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    try:
        seeds = problems.load(options.problem).seeds
    except EvolveError as error:
        parser.error(str(error))
    if options.begin not in seeds:
        parser.error(f"--begin {options.begin}: no such seed; there are {', '.join(seeds)}")
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = [
            pool.submit(explore, options.problem, options.begin, seed, options.calls)
            for seed in range(1, options.worlds + 1)
        ]
        found = [job.result() for job in jobs]
    text = page(found, options)
    PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
