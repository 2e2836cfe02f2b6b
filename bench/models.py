"""Searches through a model that is slow, faulty, or both: how full the pipeline is, what is lost, what it takes.

    python bench/models.py pipeline [--candidates 2000] [--in-flight 64] [--latency 1]
    python bench/models.py faults [--exchanges 10000]
    python bench/models.py tokens [--candidates 300]
    python bench/models.py memory [--calls 60] [--repeats 5] [--problem PROBLEM] [--model NAME]

The model is the stand-in server of the tests, in a process of its own on the same cores. The first three print the
lines of bench/models.md; the last one writes bench/models_memory.md, of any model.
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from evolve import account, folders, new, problem, run, settings, skills
from evolve.evaluate import Evaluator
from evolve.journal import Entry, Journal
from evolve.records import Candidate, Evaluation, Exchange, Proposal, Request, Split
from evolve.statistics import bootstrap_median

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.model_server import Behaviour, ModelServer

SERVER = Path(__file__).parents[1] / "tests" / "model_server.py"
PROGRAM = """def rating(p: float, w: float) -> float:
    late = 1.250000 * p
    heavy = 0.750000 * w
    return (late + 0.100000) / (heavy + 0.200000)


def order(p: list[int], w: list[int]) -> list[int]:
    return sorted(range(len(p)), key=lambda j: rating(p[j], w[j]))
"""


@contextmanager
def served(*options: str) -> Iterator[str]:
    """The base URL of a stand-in server."""
    command = [sys.executable, str(SERVER), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def problem_folder(place: Path) -> Path:
    """A problem whose candidates take next to no time, with a seed that has numbers to change."""
    new.create(place / "small")
    (place / "small" / "seeds" / "rated.py").write_text(PROGRAM)
    return place / "small"


def searched(place: Path, tree: dict[str, object], *overrides: str) -> tuple[run.Result, list[Entry]]:
    """A search with its journal's entries."""
    resolved = settings.resolve(str(tree.pop("problem")), {"proposer": "llm", **tree}, overrides)
    made = run.start(place / "run", resolved)
    with made.journal:
        result = made.execute()
        return result, list(made.journal.entries())


def own_cpu_s() -> float:
    """CPU seconds of this process: loop, evaluation's trusted side, and all threads that ask models."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def pipeline(options: argparse.Namespace) -> None:
    """How much of the ideal rate is reached: in flight / latency."""
    with (
        tempfile.TemporaryDirectory() as name,
        served("--latency", str(options.latency), "--answer", "constants") as url,
    ):
        place = Path(name)
        tree = {
            "problem": problem_folder(place),
            "models": [f"{url}#stand-in"],
            "budget": {"evaluations": options.candidates},
            "seeds": ["arrival", "rated"],
        }
        before_s = own_cpu_s()
        _, entries = searched(place, tree, f"llm.in_flight={options.in_flight}")
        cpu_ms = 1000 * (own_cpu_s() - before_s)
    exchanges = [entry for entry in entries if isinstance(entry.record, Exchange)]
    begun = min(entry.at for entry in entries if isinstance(entry.record, Request))
    wall_s = max(entry.at for entry in exchanges) - begun
    ideal_s = len(exchanges) / options.in_flight * options.latency
    held = sum(entry.record.latency_s for entry in exchanges if isinstance(entry.record, Exchange)) / wall_s
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        "| candidates | calls | in flight, allowed | on average | ideal, s | taken, s | of the ideal | memory, MB "
        "| own CPU, ms a call |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {options.candidates} | {len(exchanges)} | {options.in_flight} | {held:.1f} | {ideal_s:.1f} | {wall_s:.1f} "
        f"| {ideal_s / wall_s:.0%} | {memory:.0f} | {cpu_ms / len(exchanges):.1f} |"
    )


def faults(options: argparse.Namespace) -> None:
    """Whether anything is lost where one call in ten fails."""
    with (
        tempfile.TemporaryDirectory() as name,
        served("--faults", "0.1", "--hang", "2", "--answer", "constants") as url,
    ):
        place = Path(name)
        tree = {
            "problem": problem_folder(place),
            "models": [f"{url}#stand-in"],
            "budget": {"tokens": 1200 * options.exchanges},
            "seeds": ["arrival", "rated"],
            "llm": {
                "in_flight": 64,
                "timeout_s": 1.0,
                "retry_s": 0.1,
                "reply_tokens": 500,
                "prompt_tokens": 3000,
            },
        }
        result, entries = searched(place, tree)
    found = [entry.record for entry in entries]
    requests = {record.number for record in found if isinstance(record, Request)}
    proposals = {record.number for record in found if isinstance(record, Proposal) and record.model}
    programs = {record.candidate.id for record in found if isinstance(record, Proposal) and record.candidate}
    trained = [r.candidate for r in found if isinstance(r, Evaluation) and r.split is Split.TRAIN]
    exchanges = [record for record in found if isinstance(record, Exchange)]
    tokens = sum(exchange.usage.total for exchange in exchanges)
    print(f"- {len(exchanges)} exchanges for {len(requests)} requests; {result.stopped}.")
    print(
        f"- requests without a proposal: {len(requests - proposals)}; "
        f"proposals without a request: {len(proposals - requests)}"
    )
    print(
        f"- programs not evaluated: {len(programs - set(trained))}; evaluated twice: {len(trained) - len(set(trained))}"
    )
    print(f"- tokens: {tokens:,} of {1200 * options.exchanges:,} allowed")
    assert result.account is not None
    print(
        "- faults: " + ", ".join(f"{count} {fault}" for fault, count in result.account.faults.most_common())
    )


def tokens(options: argparse.Namespace) -> None:
    """Tokens per proposal of each operator, and the share from the prompt cache, at both interfaces."""
    print("| interface | operator | requests | tokens in | tokens out | from the cache |")
    print("|---|---|---|---|---|---|")
    for interface in ("openai", "anthropic"):
        with tempfile.TemporaryDirectory() as name, served() as url:
            place = Path(name)
            model = url if interface == "openai" else f"anthropic+{url.removesuffix('/v1')}"
            budget = {"evaluations": options.candidates}
            tree = {"problem": options.problem, "models": [f"{model}#stand-in"], "budget": budget}
            searched(place, tree, "llm.notes=true")
            with Journal.open(place / "run", read_only=True) as journal:
                found = account.read(journal)
                second = [e.record for e in journal.entries() if isinstance(e.record, Exchange)][1]
        assert found is not None
        for line in sorted(found.operators.values(), key=lambda line: -line.requests):
            print(
                f"| {interface} | {line.name} | {line.requests} | {line.input / line.requests:.0f} "
                f"| {line.output / line.requests:.0f} | {line.cached / line.input:.0%} |"
            )
        print(
            f"| {interface} | the second call | 1 | {second.usage.input} | {second.usage.output} "
            f"| {second.usage.cached / second.usage.input:.0%} |"
        )


ARMS = {
    "neither": (),
    "notes": ("llm.notes=true",),
    "skill cards": ("llm.skills=true",),
    "both": ("llm.notes=true", "llm.skills=true"),
}
MEMORY = Path(__file__).with_name("models_memory.md")
MEMORY_TEXT = """# Do notes and skill cards pay?

Made by `python bench/models.py memory {given}`.

Every arm has the same number of calls to its model, calls for notes included: after {calls} calls the best program so
far on train is taken, and scored on validation. Medians over {repeats} search seeds with 95 % bootstrap intervals;
differences are paired by seed. The cards were learnt in {repeats} earlier searches, the same for all. Without
`--problem` it is a small one, as `evolve new` writes it.

{model}

{table}

{machine}
"""
STAND_IN = (
    "The model is the stand-in server of the tests. It makes children by genetic operators and heeds neither notes\n"
    "nor cards, so this shows what they cost and how wide chance is, and nothing of what they are worth: for that,\n"
    "give `--model`. Both are off unless switched on."
)


@dataclass(frozen=True)
class Reached:
    """What a search had come to after a number of calls. tokens: an answered call, on average."""

    train: float
    validation: float
    programs: int
    tokens: float


def reached(entries: Sequence[Entry], calls: int, evaluator: Evaluator) -> Reached:
    """The best program on train among the seeds and what the first calls gave, and its score on validation."""
    found = [entry.record for entry in entries]
    first = {record.number for record in [r for r in found if isinstance(r, Request)][:calls]}
    assert len(first) == calls, f"the search ended after {len(first)} calls"
    programs: dict[str, Candidate] = {
        record.candidate.id: record.candidate
        for record in found
        if isinstance(record, Proposal) and record.candidate and (not record.model or record.number in first)
    }
    trained = {r.candidate: r for r in found if isinstance(r, Evaluation) and r.split is Split.TRAIN and r.ok}
    best = max((each for each in programs if each in trained), key=lambda each: trained[each].score)
    used = [r.usage.total for r in found if isinstance(r, Exchange) and r.number in first and r.fault is None]
    validation = evaluator.evaluate(programs[best], Split.VALIDATION).score
    return Reached(trained[best].score, validation, len(programs), sum(used) / len(used))


def memory(options: argparse.Namespace) -> None:
    """Whether notes and skill cards pay, at an equal number of calls."""
    found: dict[str, list[Reached]] = {arm: [] for arm in ARMS}
    given = f"--calls {options.calls} --repeats {options.repeats}"
    for option in ("problem", "model"):
        given += f" --{option} {getattr(options, option)}" if getattr(options, option) else ""
    with tempfile.TemporaryDirectory() as name:
        folders.RUNS = Path(name)
        options.problem = options.problem or str(problem_folder(Path(name)))
        remember(options, Path(name), found)
    text = MEMORY_TEXT.format(
        given=given,
        calls=options.calls,
        repeats=options.repeats,
        model=f"The model is {options.model}." if options.model else STAND_IN,
        table="\n".join(memory_table(found)),
        machine=machine(),
    )
    MEMORY.write_text(text, encoding="utf-8")
    print(text)


def remember(options: argparse.Namespace, place: Path, found: dict[str, list[Reached]]) -> None:
    """Make all searches."""
    loaded = problem.load(options.problem)
    with Evaluator(loaded, "rlimits") as evaluator:
        for seed in range(1, options.repeats + 1):  # who the cards are learnt from
            remembered(options, place / f"before-{seed}", 1000 + seed, ARMS["skill cards"])
        cards = skills.load(loaded.digest)
        for seed in range(1, options.repeats + 1):
            for arm, overrides in ARMS.items():
                skills.path(loaded.digest).unlink(missing_ok=True)
                skills.keep(loaded.digest, cards)  # each search begins with the same ones
                entries = remembered(options, place / f"{arm}-{seed}", seed, overrides)
                found[arm].append(reached(entries, options.calls, evaluator))
                print(f"{arm}, seed {seed}: {found[arm][-1]}", file=sys.stderr, flush=True)


def remembered(options: argparse.Namespace, folder: Path, seed: int, overrides: Sequence[str]) -> list[Entry]:
    """The entries of one search, long enough for the calls that are looked at."""
    seeds = len(problem.load(options.problem).seeds)
    # in this process: nothing is timed here, and no interpreter has to be started for each search
    with nullcontext() if options.model else ModelServer(Behaviour(seed=seed)) as server:
        tree = {
            "problem": options.problem,
            "models": [options.model if server is None else f"{server.url}#stand-in"],
            "budget": {"evaluations": options.calls + seeds},
            "seed": seed,
            "workers": 1,
        }
        return searched(folder, tree, "llm.in_flight=4", *overrides)[1]


def memory_table(found: dict[str, list[Reached]]) -> list[str]:
    """A row for each arm."""
    lines = [
        "| arm | best on train | the same on validation | difference to neither | programs | tokens a call |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for arm, runs in found.items():
        gains = [a.validation - b.validation for a, b in zip(runs, found["neither"], strict=True)]
        cells = [interval([each.train for each in runs]), interval([each.validation for each in runs])]
        cells += ["-" if arm == "neither" else interval(gains, "+.5f")]
        cells += [
            interval([each.programs for each in runs], ".0f"),
            interval([e.tokens for e in runs], ".0f"),
        ]
        lines.append(f"| {' | '.join([arm, *cells])} |")
    return lines


def interval(values: Sequence[float], form: str = ".5f") -> str:
    median, low, high = (float(each) for each in bootstrap_median(list(values), 0.95))
    return f"{median:{form}} [{low:{form}}, {high:{form}}]"


def machine() -> str:
    return f"{platform.platform()}, {settings.available_cores()} cores, Python {platform.python_version()}."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for measure in (pipeline, faults, tokens, memory):
        command = commands.add_parser(measure.__name__, help=measure.__doc__)
        command.set_defaults(measure=measure)
        command.add_argument("--candidates", type=int, default=300 if measure is tokens else 2000)
        command.add_argument("--in-flight", type=int, default=64)
        command.add_argument("--latency", type=float, default=1.0)
        command.add_argument("--exchanges", type=int, default=10_000)
        command.add_argument("--problem", default="" if measure is memory else "smtt")
        command.add_argument("--calls", type=int, default=60)
        command.add_argument("--repeats", type=int, default=5)
        command.add_argument("--model", help="as for `evolve run`; the stand-in server if none is named")
    options = parser.parse_args()
    options.measure(options)
    if options.measure is not memory:
        print(f"\n{machine()}")


if __name__ == "__main__":
    main()
