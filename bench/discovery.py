"""What a search finds on smtt: from the state of the art, and from scratch. Writes bench/discovery_*.md and .png.

    python bench/discovery.py all [--seconds 300] [--repeats 3] [--workers 2] [--set KEY=VALUE ...]
    python bench/discovery.py edd

From the state of the art: all seeds are in the first population; the champion is compared with the best seed
that fits the limits. From scratch: the first population is EDD alone; the champion is compared with MDD. Both by
the paired bootstrap on the validation instances. The state after 60 s is that of the same run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from evolve import run, settings
from evolve.evaluate import Evaluator
from evolve.journal import Journal
from evolve.problem import Problem, load
from evolve.records import Candidate, Evaluation, Promotion, Split
from evolve.statistics import paired_bootstrap
from evolve.table import summary

HERE = Path(__file__).parent
EARLY_S = 60.0
GAP = "mean gap over OPT > 0 (%)"


@dataclass(frozen=True)
class Step:
    """A champion, from the moment it was promoted."""

    at: float
    candidate: Candidate
    validation: Evaluation


@dataclass(frozen=True)
class Search:
    """One run: its champions in order, and how many candidates it evaluated by when."""

    seed: int
    steps: list[Step]
    evaluated_at: list[float]

    def champion(self, at: float) -> Step:
        return [step for step in self.steps if step.at <= at][-1]

    def evaluations(self, at: float) -> int:
        return int(np.searchsorted(self.evaluated_at, at, side="right"))


def search(seed: int, seconds: float, workers: int, seeds: list[str], overrides: list[str]) -> Search:
    given = {"budget": {"seconds": seconds}, "workers": workers, "seeds": seeds, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        running = run.start(Path(folder) / "run", settings.resolve("smtt", given, overrides))
        running.execute()
        running.journal.close()
        with Journal.open(Path(folder) / "run") as journal:
            return _read(seed, journal)


def _read(seed: int, journal: Journal) -> Search:
    steps, evaluated_at, validations = [], [], {}
    for entry in journal.entries():
        record = entry.record
        if isinstance(record, Evaluation) and record.split is Split.TRAIN:
            evaluated_at.append(entry.at)
        elif isinstance(record, Evaluation):
            validations[record.candidate] = record
        elif isinstance(record, Promotion) and record.promoted:
            candidate = journal.candidate(record.challenger)
            steps.append(Step(entry.at, candidate, validations[record.challenger]))
    return Search(seed, steps, evaluated_at)


def rows(problem: Problem, searches: list[Search], rival: Evaluation, seconds: float) -> list[str]:
    lines = []
    theirs = summary(problem, rival)[GAP]
    for found in searches:
        for at in (EARLY_S, seconds):
            step = found.champion(at)
            ours = summary(problem, step.validation)[GAP]
            interval = paired_bootstrap(step.validation.scores, rival.scores)
            verdict = "yes" if interval.low > 0 else "no"
            lines.append(
                f"| {found.seed} | {at:.0f} | {found.evaluations(at)} | {step.validation.objective:.4f} "
                f"| {step.validation.objective / rival.objective:.3f} | {ours:.4f} | {ours / theirs:.3f} "
                f"| {interval.mean:+.5f} [{interval.low:+.5f}, {interval.high:+.5f}] | {verdict} |"
            )
    return lines


def section(
    title: str, problem: Problem, searches: list[Search], name: str, rival: Evaluation, seconds: float
) -> str:
    ratios = [found.champion(seconds).validation.objective / rival.objective for found in searches]
    head = [
        f"## {title}",
        "",
        f"Against `{name}`: mean floor gap {rival.objective:.4f} %, {GAP} {summary(problem, rival)[GAP]:.4f}, "
        f"on {len(rival.scores)} validation instances.",
        "",
        "| search seed | after s | candidates | floor gap % | ratio | mean gap OPT > 0 % | ratio "
        "| score difference, 95 % interval | better |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    tail = ["", f"Median ratio of floor gaps after {seconds:.0f} s: {np.median(ratios):.3f}"]
    return "\n".join([*head, *rows(problem, searches, rival, seconds), *tail, ""])


def draw(
    title: str, searches: list[Search], lines: dict[str, Evaluation], seconds: float, place: Path
) -> None:
    figure, axis = plt.subplots(figsize=(7.5, 3.6))
    for found in searches:
        times = [*(step.at for step in found.steps), seconds]
        gaps = [step.validation.objective for step in found.steps]
        axis.step(times, [*gaps, gaps[-1]], where="post", label=f"search seed {found.seed}", linewidth=2)
    for name, evaluation in lines.items():
        axis.axhline(evaluation.objective, color="0.6", linewidth=0.8, linestyle="--")
        axis.annotate(name, (seconds, evaluation.objective), fontsize=7, color="0.4", ha="right", va="bottom")
    axis.set(title=title, xlabel="seconds on 2 cores", yscale="log", xlim=(0, seconds))
    axis.set_ylabel("champion's mean floor gap\non validation, %")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(place, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("start", choices=["all", "edd"], help="first population: all seeds, or EDD alone")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    options = parser.parse_args()
    problem = load("smtt")
    with Evaluator(problem, settings.JailSettings().minimum) as evaluator:
        measured = {name: evaluator.evaluate(seed, Split.VALIDATION) for name, seed in problem.seeds.items()}
    sound = {name: found for name, found in measured.items() if found.ok}
    best = max(sound, key=lambda name: sound[name].score)
    title, first, rival = (
        ("From the state of the art", [], best)
        if options.start == "all"
        else ("From scratch", ["edd"], "mdd")
    )
    searches = [
        search(seed, options.seconds, options.workers, first, options.overrides)
        for seed in range(1, options.repeats + 1)
    ]
    command = " ".join(["python bench/discovery.py", *sys.argv[1:]])
    body = section(title, problem, searches, rival, sound[rival], options.seconds)
    text = f"# What a search finds on smtt\n\nMade by `{command}`.\n\n{body}"
    (HERE / f"discovery_{options.start}.md").write_text(text)
    for found in searches:
        place = HERE / "found" / f"{options.start}-{found.seed}.py"
        place.parent.mkdir(exist_ok=True)
        place.write_text(found.champion(options.seconds).candidate.files[problem.spec.program])
    lines = {name: sound[name] for name in ("edd", "mdd", "aug_mddc", "dec_mdd", best) if name in sound}
    draw(title, searches, lines, options.seconds, HERE / f"discovery_{options.start}.png")
    print(text)


if __name__ == "__main__":
    main()
