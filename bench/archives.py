"""The default search against best-of-n, classic searches and the other archives, at equal numbers of evaluations.

    python bench/archives.py [--evaluations 2000] [--repeats 5] [--problems smtt smtt_dispatch] [--jobs 2]

Writes bench/archives.md, one section for each problem, and bench/archives-*.png; sections of problems that are not
named stay. Arms are the default, every other archive with its default settings, best-of-n, which evolves nothing, hill
climbing with restarts (a population of one) and plain tournament genetic programming (one population, the worst
replaced). The comparison itself is `evolve compare`; what is stopped goes on when the command is repeated, and
`--report` writes down the search seeds that all arms have finished so far.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from evolve import compare, compare_report, settings
from evolve.compare import Outcome, Plan
from evolve.statistics import bootstrap_median

HERE = Path(__file__).parent
PAGE = HERE / "archives.md"
PROBLEMS = ("smtt", "smtt_dispatch", "txn_scheduling", "moe_placement")
DEFAULT = "default"
STANDARD = settings.ArchiveSettings().kind
ARMS = (
    "best-of-n",
    "hill-climbing",
    "tournament",
    DEFAULT,
    *(kind for kind in settings.ARCHIVES if kind not in ("best-of-n", STANDARD)),
)
HEAD = f"# The default search against others\n\n{compare_report.EXPLANATION}\n\n"


def finished(plan: Plan, folder: Path) -> Plan:
    """The same plan with the search seeds that all arms have finished."""
    jobs = plan.jobs()
    seeds = range(1, plan.repeats + 1)
    done = {job.seed: True for job in jobs} | {
        job.seed: False for job in jobs if not compare.complete(folder / job.name)
    }
    count = next((seed - 1 for seed in seeds if not done[seed]), plan.repeats)
    if not count:
        raise SystemExit(f"{folder}: no search seed is finished by all arms yet")
    return replace(plan, repeats=count)


def duels(found: Sequence[Outcome], arms: Sequence[str]) -> str:
    """The default against each other arm, paired by search seed, on validation and on train."""
    scores = {(each.arm, each.seed): (each.validation, each.train[-1].score) for each in found}
    seeds = sorted({seed for _, seed in scores})
    head = "default against | difference on validation | won | verdict | difference on train | won"
    lines = [f"| {head} |", f"| --- |{' ---: |' * 5}"]
    for arm in arms:
        if arm == DEFAULT:
            continue
        cells = [arm]
        for split in (0, 1):
            gains = [scores[DEFAULT, seed][split] - scores[arm, seed][split] for seed in seeds]
            median, low, high = map(float, bootstrap_median(gains, compare_report.CONFIDENCE))
            cells += [
                f"{median:+.5f} [{low:+.5f}, {high:+.5f}]",
                f"{sum(g > 0 for g in gains)} of {len(seeds)}",
            ]
            if not split:
                cells.append(compare_report.verdict({"low": low, "high": high}, len(seeds)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def section(name: str, options: argparse.Namespace) -> str:
    plan = compare.make_plan(
        name, options.arms, options.repeats, options.evaluations, overrides=options.overrides
    )
    folder = compare.default_folder(plan)
    if options.report:
        plan = finished(plan, folder)
    else:
        with compare_report.display(plan, folder, Console(stderr=True)) as progress:
            compare.execute(plan, folder, options.jobs, progress)
    outcomes = list(compare.outcomes(plan, folder))
    found = compare_report.facts(plan, folder, outcomes)
    compare_report.write(found, folder)
    picture = f"archives-{name}.png"
    shutil.copyfile(folder / compare_report.PNG_FILE, HERE / picture)
    heading = compare_report.title(found)
    text = [f"## {heading}", made_by(), compare_report.markdown(found)]
    if DEFAULT in options.arms:
        text.append(duels(outcomes, [arm.name for arm in plan.arms]))
    return "\n\n".join([*text, f"![{heading}]({picture})"]) + "\n"


def made_by() -> str:
    return f"Made by `{' '.join(['python bench/archives.py', *sys.argv[1:]])}`."


def merged(old: str, new: dict[str, str]) -> str:
    """The page with the sections of the problems in `new` replaced or added."""
    parts = re.split(r"^(?=## )", old, flags=re.MULTILINE)[1:]
    kept = {re.match(r"## ([^\s:]+)", part)[1]: part for part in parts}  # type: ignore[index]
    return HEAD + "\n".join(part.rstrip() + "\n" for part in (kept | new).values())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--evaluations", type=int, default=2000, help="candidates a run")
    parser.add_argument("--repeats", type=int, default=5, help="search seeds")
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), help="as `evolve compare --arm` takes them")
    parser.add_argument("--jobs", type=int, default=settings.available_cores(), help="runs at a time")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--report", action="store_true", help="search no more, report what is finished")
    options = parser.parse_args()
    for name in options.problems:
        # written after each problem: what is stopped in the next one is not lost
        text = section(name, options)
        PAGE.write_text(merged(PAGE.read_text() if PAGE.exists() else "", {name: text}))
        print(text)


if __name__ == "__main__":
    main()
