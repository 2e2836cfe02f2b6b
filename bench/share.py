"""Several searches of one worker each, with and without sharing, at the same number of evaluations. Writes share.md.

    python bench/share.py [--problem smtt_dispatch] [--searches 4] [--evaluations 1500] [--repeats 5] [--every 500]

A repeat is `searches` processes of `evolve run` at a time, with search seeds of its own, once each for itself and
once through a shared folder; both arms have the same seeds. What counts is the best champion of the group, by its
score on validation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from evolve.statistics import bootstrap_median

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Group:
    """What came of searches that ran at the same time. scores: of their champions on validation.

    taken, placed: programs of the others that were taken in, and that entered an archive.
    """

    scores: list[float]
    taken: int
    placed: int
    seconds: float

    @property
    def best(self) -> float:
        return max(self.scores)


def search(folder: Path, seed: int, shared: bool, options: argparse.Namespace) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "evolve.cli",
        "run",
        options.problem,
        "--json",
        "--no-mlflow",
        "--no-cache",
    ]
    command += ["--workers", "1", "--evaluations", str(options.evaluations), "--seed", str(seed)]
    command += ["--out", str(folder / f"{'shared' if shared else 'alone'}-{seed}")]
    command += ["--seeds", options.seeds] if options.seeds else []
    command += ["--share", str(folder / "pool"), "--set", f"share.every={options.every}"] if shared else []
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def group(repeat: int, shared: bool, options: argparse.Namespace) -> Group:
    seeds = range(1 + repeat * options.searches, 1 + (repeat + 1) * options.searches)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        running = [search(Path(folder), seed, shared, options) for seed in seeds]
        found = [json.loads(process.communicate()[0]) for process in running]
    shares = [each["shared"] or {"taken": 0, "placed": 0} for each in found]
    return Group(
        [each["scores"]["champion"]["validation"]["score"] for each in found],
        sum(each["taken"] for each in shares),
        sum(each["placed"] for each in shares),
        time.monotonic() - began,
    )


def median(values: list[float], form: str = ".5f") -> str:
    middle, low, high = bootstrap_median(values)
    return f"{middle:{form}} [{low:{form}}, {high:{form}}]"


def row(name: str, groups: list[Group]) -> str:
    singles = [score for each in groups for score in each.scores]
    taken, placed = (sum(getattr(each, key) for each in groups) for key in ("taken", "placed"))
    seconds = statistics.median(each.seconds for each in groups)
    came = f"{taken / len(singles):.0f}, {placed / len(singles):.0f}" if taken else "-"
    best = median([each.best for each in groups])
    return f"| {name} | {best} | {median(singles)} | {came} | {seconds:.0f} |"


def report(alone: list[Group], shared: list[Group], options: argparse.Namespace) -> str:
    differences = [ours.best - theirs.best for ours, theirs in zip(shared, alone, strict=True)]
    won = sum(difference > 0 for difference in differences)
    return "\n".join(
        [
            "# Searches that share candidates",
            "",
            f"Made by `{' '.join(['python bench/share.py', *sys.argv[1:]])}`: {options.problem}, {options.searches} "
            f"searches of one worker at a time, {options.evaluations} evaluations each, a look at the others every "
            f"{options.every}, {options.repeats} repeats. Scores are on validation (0 = baseline, 1 = bound); medians "
            "with 95 % bootstrap intervals over the repeats, for single searches over all of them.",
            "",
            "| | best champion of a group | champion of a single search | programs taken in, placed, per search "
            "| s a group |",
            "|---|---|---|---:|---:|",
            row("each for itself", alone),
            row("shared", shared),
            "",
            f"Best of the group, shared minus alone, paired by seeds: {median(differences, '+.5f')}, better in {won} "
            f"of {len(differences)} repeats.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problem", default="smtt_dispatch")
    parser.add_argument("--seeds", default="", help="first population, by seed names")
    parser.add_argument("--searches", type=int, default=4)
    parser.add_argument("--evaluations", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--every", type=int, default=500)
    options = parser.parse_args()
    alone, shared = [], []
    for repeat in range(options.repeats):
        alone.append(group(repeat, False, options))
        shared.append(group(repeat, True, options))
        print(
            f"repeat {repeat + 1}: {alone[-1].best:.5f} alone, {shared[-1].best:.5f} shared", file=sys.stderr
        )
    text = report(alone, shared, options)
    (HERE / "share.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
