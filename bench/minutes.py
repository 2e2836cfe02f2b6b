"""What searches of some minutes, without a key, reach on the holdout, beside every seed of the problem.

    python bench/minutes.py [PROBLEM ...] [--seconds 60 300] [--repeats 3] [--workers 1] [--jobs 2]

One search goes on to the longest time; its champion at each of the times is taken from its journal. Programs are
compared by the paired bootstrap with the seed that is best on the holdout, a hard rival: nobody knows it before.
Results are kept in bench/minutes.jsonl, so that what is stopped goes on; bench/minutes.md is written from all of them.
Each look at a holdout is noted in runs/holdout.jsonl, so that proofs made there later count it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from evolve import openings, run, settings
from evolve.errors import EvolveError
from evolve.evaluate import Evaluator
from evolve.problem import Problem, load
from evolve.records import Candidate, Promotion, Proposal, Split
from evolve.statistics import paired_bootstrap

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "minutes.jsonl", HERE / "minutes.md"
PROBLEMS = (
    *("txn_scheduling", "txn_online", "moe_placement", "llm_routing", "spot_scheduling", "spot_multi_region"),
    *("kernel_config", "smtt_dispatch", "online_paging", "smtt"),
)
HEAD = """# What a search reaches on the holdout

Made by `python bench/minutes.py`: searches with the defaults, without a model, from all seeds of the problem. One
search goes on to the longest time; its champions at the shorter ones are those of its journal. The table's first lines
are the seeds; a seed that fails says how. Scores: 0 is the naive baseline, 1 the bound. Leads are over the seed that is
best *on the holdout*, by the paired bootstrap; validation, by which champions are chosen, may have another best one. No
holdout result ever goes back into a search. One worker is half of what two
cores allow; those with two were made after each worker had got a process of its own.

"""
Facts = dict[str, Any]


def on_holdout(evaluator: Evaluator, candidate: Candidate) -> Facts:
    openings.record(evaluator.problem.digest, candidate.id, "bench/minutes.py")
    evaluation = evaluator.evaluate(candidate, Split.HOLDOUT)
    return {
        "status": str(evaluation.status),
        "score": evaluation.score if evaluation.ok else None,
        "objective": evaluation.objective if evaluation.ok else None,
        "scores": list(evaluation.scores) if evaluation.ok else [],
    }


def champions(running: run.Run, times: Sequence[float]) -> list[Candidate]:
    """The champion at each of these running times; the first one where it came later."""
    programs: dict[str, Candidate] = {}
    crowned: list[tuple[float, Candidate]] = []
    for entry in running.journal.entries():
        if isinstance(entry.record, Proposal) and entry.record.candidate:
            programs[entry.record.candidate.id] = entry.record.candidate
        elif isinstance(entry.record, Promotion) and entry.record.promoted:
            crowned.append((entry.at, programs[entry.record.challenger]))
    if not crowned:
        raise SystemExit(f"{running.problem.name}: no program passed validation")
    return [
        next((candidate for at, candidate in reversed(crowned) if at <= limit), crowned[0][1])
        for limit in times
    ]


def seeds_on_holdout(name: str) -> list[Facts]:
    problem = load(name)
    with Evaluator(problem, "landlock+seccomp") as evaluator:
        return [
            {"problem": name, "program": seed, **on_holdout(evaluator, candidate)}
            for seed, candidate in problem.seeds.items()
        ]


def search(name: str, seed: int, times: Sequence[float], workers: int) -> list[Facts]:
    given = {
        "budget": {"seconds": max(times)},
        "workers": workers,
        "seed": seed,
        "mlflow": {"enabled": False},
    }
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        running = run.start(Path(folder) / "run", settings.resolve(name, given, ["cache.enabled=false"]))
        with running.journal:
            result = running.execute()
            found = champions(running, times)
    with Evaluator(running.problem, "landlock+seccomp") as evaluator:
        return [
            {
                "problem": name,
                "program": candidate.id,
                "seed": seed,
                "at_s": limit,
                "workers": workers,
                "evaluations": result.evaluations,
                "load": round(before, 1),
                **on_holdout(evaluator, candidate),
            }
            for limit, candidate in zip(times, found, strict=True)
        ]


# -- the page ---------------------------------------------------------------------------------------------


def section(problem: Problem, found: Sequence[Facts]) -> str:
    seeds = sorted(
        (each for each in found if "seed" not in each), key=lambda each: -float(each["score"] or 0)
    )
    seeds.sort(key=lambda each: each["score"] is None)  # those that fail come last
    searches = sorted(
        (each for each in found if "seed" in each), key=lambda each: (each["at_s"], each["seed"])
    )
    rival = seeds[0]
    lines = [
        f"## {problem.name}",
        "",
        f"Raw values in {problem.spec.objective.unit}. The seed that is best on the holdout: `{rival['program']}`.",
        "",
        "| program | raw | score | lead over the best seed, 95 % interval | it is |",
        "|---|---:|---:|---|---|",
    ]
    for each in [*seeds, *searches]:
        ours = "seed" in each
        name = (
            f"**champion after {each['at_s']:g} s, search {each['seed']}**"
            if ours
            else f"`{each['program']}`"
        )
        if not each["scores"]:
            lines.append(f"| {name} | {each['status']} | | | |")
            continue
        lead = paired_bootstrap(each["scores"], rival["scores"], families=problem.families(Split.HOLDOUT))
        verdict = "better" if lead.low > 0 else "worse" if lead.high < 0 else "not shown to differ"
        told = f"{lead.mean:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}] | {verdict}" if ours else " | "
        lines.append(f"| {name} | {each['objective']:.5g} | {each['score']:.4f} | {told} |")
    lines += ["", made(searches), ""]
    return "\n".join(lines)


def made(searches: Iterable[Facts]) -> str:
    """How much was searched, in words."""
    last: dict[int, Facts] = {each["seed"]: each for each in searches}
    counts = ", ".join(f"{each['evaluations']:,}" for each in last.values())
    workers = ", ".join(sorted({f"{each['workers']}" for each in last.values()}))
    loads = ", ".join(f"{each['load']:g}" for each in last.values())
    return f"Candidates in the longest searches: {counts}; workers: {workers}; load when they began: {loads}."


def write_page(found: Sequence[Facts]) -> None:
    names = [name for name in PROBLEMS if any(each["problem"] == name and "seed" in each for each in found)]
    parts = [section(load(name), [each for each in found if each["problem"] == name]) for name in names]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.\n\n"
    PAGE.write_text(HEAD + machine + "\n".join(parts), encoding="utf-8")


def kept() -> list[Facts]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", default=list(PROBLEMS))
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0, 300.0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=settings.available_cores(), help="searches at a time")
    options = parser.parse_args()
    try:
        names = [load(name).name for name in options.problems]
    except EvolveError as error:
        parser.error(str(error))
    done = {(each["problem"], each.get("seed", 0)) for each in kept()}
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = [
            pool.submit(search, name, seed, options.seconds, options.workers)
            if seed
            else pool.submit(seeds_on_holdout, name)
            for name in names
            for seed in range(options.repeats + 1)
            if (name, seed) not in done
        ]
        for job in as_completed(jobs):
            with RESULTS.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(each) + "\n" for each in job.result())
            write_page(kept())
            print(
                *(f"{each['problem']} {each['program'][:20]} {each['score']}" for each in job.result()),
                sep="\n",
            )


if __name__ == "__main__":
    main()
