"""What racing saves, and whether it costs anything. Writes bench/racing.md.

    python bench/racing.py [--evaluations 2000] [--repeats 5] [--problem smtt] [--workers 1] [--set KEY=VALUE ...]

Searches with the same seeds and the same number of candidates, in three arms: without racing, racing in the order of
the problem's instances, and racing in the order that follows from the seeds' scores (the default). Candidates that
decide as a known one are dropped in all three. Saved CPU is that of the candidates on train. The champions are
compared by their scores on validation, paired by search seed, with a bootstrap interval over the search seeds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evolve import run, settings
from evolve.journal import Journal
from evolve.records import Evaluation, Split, Status
from evolve.statistics import bootstrap_mean

HERE = Path(__file__).parent
ARMS = {
    "no racing": ["racing.enabled=false"],
    "given order": ["racing.order=given"],
    "telling order": ["racing.order=telling"],
}


@dataclass(frozen=True)
class Search:
    """One search: CPU of its candidates on train in s, shares of instances decided and of candidates stopped."""

    cpu_s: float
    decided: float
    stopped: float
    score: float
    objective: float


def search(problem: str, seed: int, overrides: list[str], options: argparse.Namespace) -> Search:
    given = {"budget": {"evaluations": options.evaluations}, "workers": options.workers, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "run"
        running = run.start(place, settings.resolve(problem, given, [*options.overrides, *overrides]))
        result = running.execute()
        running.journal.close()
        if result.stopped is run.Stop.INTERRUPTED:
            raise SystemExit("interrupted")
        with Journal.open(place, read_only=True) as journal:
            found = [entry.record for entry in journal.entries() if isinstance(entry.record, Evaluation)]
    train = [each for each in found if each.split is Split.TRAIN]
    whole = max(each.instances for each in train)
    if result.validation is None:
        raise SystemExit(f"seed {seed}: no champion; search longer")
    return Search(
        sum(each.cpu_s for each in train),
        float(np.mean([each.instances / whole for each in train])),
        float(np.mean([each.status is Status.RACED_OUT for each in train])),
        result.validation.score,
        result.validation.objective,
    )


def row(name: str, found: list[Search], plain: list[Search]) -> str:
    saved = [1 - ours.cpu_s / theirs.cpu_s for ours, theirs in zip(found, plain, strict=True)]
    gain = [ours.score - theirs.score for ours, theirs in zip(found, plain, strict=True)]
    spent = f"{np.mean([each.cpu_s for each in found]):.1f}"
    rest = (
        f"{np.mean([each.decided for each in found]):.0%} | {np.mean([each.stopped for each in found]):.0%} "
        f"| {np.mean([each.objective for each in found]):.5g}"
    )
    if found is plain:
        return f"| {name} | {spent} | - | {rest} | - |"
    return f"| {name} | {spent} | {interval(saved, '.1%')} | {rest} | {interval(gain, '+.5f')} |"


def interval(values: list[float], form: str) -> str:
    found = bootstrap_mean(values)
    return f"{found.mean:{form}} [{found.low:{form}}, {found.high:{form}}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problem", default="smtt")
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5, help="search seeds 1 to N")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    options = parser.parse_args()
    found = {
        name: [search(options.problem, seed, arm, options) for seed in range(1, options.repeats + 1)]
        for name, arm in ARMS.items()
    }
    plain = found["no racing"]
    lines = [
        "# Racing",
        "",
        f"Made by `{' '.join(['python bench/racing.py', *sys.argv[1:]])}`: {options.problem}, {options.evaluations} "
        f"candidates, {options.repeats} search seeds. Means over the seeds; intervals are 95 % bootstrap intervals "
        "over the seeds, each compared with its own search without racing.",
        "",
        "| | candidates' CPU s | CPU saved | instances decided | stopped early | champion's objective on validation "
        "| champion's score, difference |",
        "|---|---:|---|---:|---:|---:|---|",
        *(row(name, searches, plain) for name, searches in found.items()),
        "",
    ]
    text = "\n".join(lines)
    (HERE / "racing.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
