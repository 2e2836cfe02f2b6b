"""What a short search without a key finds on a problem, beside the best of its seeds.

    python bench/first_minute.py PROBLEM ... [--seconds 60 | --evaluations N] [--repeats 3] [--workers 2] [--holdout]

Writes bench/first_minute_PROBLEM.md. The best seed is the one that scores most on validation, of all seeds. Both are
compared on the validation instances, and with --holdout on the holdout, by the paired bootstrap. With --evaluations the
candidates do not depend on how busy the machine is, with one worker not at all.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from evolve import run, settings
from evolve.evaluate import Evaluator
from evolve.problem import Problem, load
from evolve.records import Evaluation, Split
from evolve.statistics import paired_bootstrap

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Found:
    """A search: its seed, how long it took and what it evaluated, and its champion."""

    seed: int
    elapsed_s: float
    evaluations: int
    by: str
    results: dict[Split, Evaluation]


def search(problem: Problem, seed: int, budget: dict[str, float], workers: int, judge: Judge) -> Found:
    given = {"budget": budget, "workers": workers, "seed": seed, "mlflow": {"enabled": False}}
    with tempfile.TemporaryDirectory() as folder:
        running = run.start(
            Path(folder) / "run", settings.resolve(problem.name, given, ["cache.enabled=false"])
        )
        result = running.execute()
        running.journal.close()
    if result.champion is None:
        raise SystemExit(f"{problem.name}: no program passed validation")
    candidate = result.champion.candidate
    results = {split: judge.evaluator.evaluate(candidate, split) for split in judge.splits}
    return Found(seed, result.elapsed_s, result.evaluations, candidate.operator, results)


@dataclass(frozen=True)
class Judge:
    """Evaluates on the splits that are shown, validation first."""

    evaluator: Evaluator
    splits: tuple[Split, ...]

    def best_seed(self, problem: Problem) -> tuple[str, dict[Split, Evaluation]]:
        """The seed that scores most on validation, and its evaluations."""
        found = {
            name: self.evaluator.evaluate(seed, Split.VALIDATION) for name, seed in problem.seeds.items()
        }
        name = max(found, key=lambda each: found[each].score if found[each].ok else -float("inf"))
        rest = {split: self.evaluator.evaluate(problem.seeds[name], split) for split in self.splits[1:]}
        return name, {Split.VALIDATION: found[name], **rest}


def rows(problem: Problem, best: dict[Split, Evaluation], searches: list[Found]) -> list[str]:
    lines = []
    for split, theirs in best.items():
        for each in searches:
            ours = each.results[split]
            families = problem.families(split)
            lead = paired_bootstrap(ours.scores, theirs.scores, families=families)
            lines.append(
                f"| {each.seed} | {each.evaluations} in {each.elapsed_s:.0f} s | {split} | {theirs.objective:.5g} "
                f"| {theirs.score:.4f} | {ours.objective:.5g} | {ours.score:.4f} "
                f"| {lead.mean:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}] | {'yes' if lead.low > 0 else 'no'} |"
            )
    return lines


def report(problem: Problem, options: argparse.Namespace) -> str:
    budget = {"evaluations": options.evaluations} if options.evaluations else {"seconds": options.seconds}
    splits = (Split.VALIDATION, Split.HOLDOUT) if options.holdout else (Split.VALIDATION,)
    load_before = os.getloadavg()[0]
    with Evaluator(problem, "landlock+seccomp") as evaluator:
        judge = Judge(evaluator, splits)
        name, best = judge.best_seed(problem)
        searches = [
            search(problem, seed, budget, options.workers, judge) for seed in range(1, options.repeats + 1)
        ]
    unit = problem.spec.objective.unit
    told = ", ".join(f"{value:g} {key}" for key, value in budget.items())
    return "\n".join(
        [
            f"# A short search on {problem.name}",
            "",
            f"{told}, {options.workers} workers, no model; the best seed on validation is `{name}`. Raw values in "
            f"{unit}. Load average when it began: {load_before:.1f}.",
            "",
            "| search seed | candidates | split | best seed | score | champion | score "
            "| lead, 95 % interval | better |",
            "|---:|---|---|---:|---:|---:|---:|---|---|",
            *rows(problem, best, searches),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("problems", nargs="+", metavar="PROBLEM")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--evaluations", type=int, default=0, help="instead of --seconds")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--holdout", action="store_true", help="compare on the holdout, too")
    options = parser.parse_args()
    for name in options.problems:
        problem = load(name)
        text = report(problem, options)
        (HERE / f"first_minute_{problem.name}.md").write_text(text, encoding="utf-8")
        print(text)


if __name__ == "__main__":
    main()
