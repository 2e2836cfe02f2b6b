"""What the cache of evaluations costs and saves. Writes bench/cache.md.

    python bench/cache.py [--evaluations 2000] [--problem smtt] [--workers 1]

Cost: what a lookup, a kept evaluation and the look at a program's text take, in microseconds of CPU, on the
programs of a real search. Savings: the same search without a cache, with an empty one, with the one that it has
just filled, and a search with another seed on that one; all with the same number of candidates.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from evolve import run, settings
from evolve.cache import Cache, Shelves, repeatable
from evolve.jail import Level
from evolve.journal import Journal
from evolve.problem import load
from evolve.records import Candidate, Evaluation, Proposal, Split, Status

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Search:
    """A finished search: wall time and CPU of its main process in s, CPU of its children in s, hits, what happened."""

    wall_s: float
    own_s: float
    jail_s: float
    hits: int
    facts: list[object]


def search(place: Path, problem: str, options: argparse.Namespace, seed: int, cache: Path | None) -> Search:
    given = {"budget": {"evaluations": options.evaluations}, "workers": options.workers, "seed": seed}
    store = Cache(cache) if cache else None
    running = run.start(place, settings.resolve(problem, given), cache=store)
    wall, own = time.monotonic(), time.process_time()
    result = running.execute()
    if result.stopped is run.Stop.INTERRUPTED:
        raise SystemExit("interrupted")
    if store:
        store.close()
    wall, own = time.monotonic() - wall, time.process_time() - own
    running.journal.close()
    with Journal.open(place, read_only=True) as journal:
        records = [entry.record for entry in journal.entries()]
    run_here = sum(each.cpu_s for each in records if isinstance(each, Evaluation) and not each.cached)
    return Search(wall, own, run_here, result.repeats.cache, [timeless(record) for record in records])


def timeless(record: object) -> object:
    if isinstance(record, Evaluation):
        return replace(record, cpu_s=0.0, peak_mb=0.0, slowest=0.0, cached=False)
    return record


def micros(work: Callable[[Candidate], object], candidates: list[Candidate]) -> float:
    began = time.process_time()
    for candidate in candidates:
        work(candidate)
    return 1e6 * (time.process_time() - began) / len(candidates)


def costs(place: Path, problem: str, candidates: list[Candidate]) -> list[tuple[str, float]]:
    loaded = load(problem)
    count = len(loaded.split(Split.TRAIN))
    with Cache(place) as cache:
        shelf = Shelves(cache, loaded, Level.FULL).shelf(
            loaded.seeds[loaded.spec.score.baseline], Split.TRAIN, (), 0
        )
        assert shelf is not None
        values = (0.5,) * count
        kept = Evaluation("", Split.TRAIN, Status.OK, values, values, count)
        return [
            ("look at the text", micros(lambda candidate: repeatable(candidate.files), candidates)),
            ("lookup of an unknown program", micros(shelf.find, candidates)),
            (
                "keeping an evaluation",
                micros(lambda candidate: shelf.keep(candidate, kept, values), candidates),
            ),
            ("lookup of a known program", micros(shelf.find, candidates)),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problem", default="smtt")
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        file = here / "cache.db"
        searches = {
            "no cache": search(here / "none", options.problem, options, 1, None),
            "empty cache": search(here / "cold", options.problem, options, 1, file),
            "its own cache": search(here / "warm", options.problem, options, 1, file),
            "no cache, seed 2": search(here / "none2", options.problem, options, 2, None),
            "seed 1's cache, seed 2": search(here / "foreign", options.problem, options, 2, file),
        }
        size = file.stat().st_size / 2**20
        proposals = [each for each in searches["no cache"].facts if isinstance(each, Proposal)]
        candidates = [proposal.candidate for proposal in proposals if proposal.candidate]
        single = costs(here / "costs.db", options.problem, candidates)
        same = share_repeatable(candidates)
    lines = [
        "# The cache of evaluations",
        "",
        f"Made by `{' '.join(['python bench/cache.py', *sys.argv[1:]])}`: {options.problem}, {options.evaluations} "
        f"candidates, {options.workers} worker(s). {same:.0%} of the programs are kept by their text; the file has "
        f"{size:.1f} MB after the searches.",
        "",
        "| | CPU, microseconds a candidate |",
        "|---|---:|",
        *(f"| {name} | {cost:.0f} |" for name, cost in single),
        "",
        "| search | wall s | candidates' CPU s | main process CPU s | hits | same as without |",
        "|---|---:|---:|---:|---:|---|",
        *(row(name, found, searches) for name, found in searches.items()),
    ]
    text = "\n".join([*lines, ""])
    (HERE / "cache.md").write_text(text)
    print(text)


def share_repeatable(candidates: list[Candidate]) -> float:
    return sum(repeatable(candidate.files) for candidate in candidates) / len(candidates)


def row(name: str, found: Search, searches: dict[str, Search]) -> str:
    plain = searches["no cache, seed 2" if name.endswith("seed 2") else "no cache"]
    return (
        f"| {name} | {found.wall_s:.1f} | {found.jail_s:.2f} | {found.own_s:.2f} | {found.hits} "
        f"| {'-' if found is plain else sameness(found.facts, plain.facts)} |"
    )


def sameness(ours: list[object], theirs: list[object]) -> str:
    """Whether two searches are the same; on a busy machine a limit of time may part any two of them."""
    for count, pair in enumerate(zip_longest(ours, theirs)):
        if pair[0] != pair[1]:
            late = any(isinstance(each, Evaluation) and each.status is Status.TIMED_OUT for each in pair)
            why = ", where one ran into its time limit" if late else ""
            return f"for {count} of {len(theirs)} entries{why}"
    return "yes"


if __name__ == "__main__":
    main()
