"""The table (bench/peers.md) and the plot (bench/peers.png) of all outcomes in the cache."""

from __future__ import annotations

import json
import math
import os
import platform
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

from bench.peers import hostile
from bench.peers.figures import WINDOWS
from bench.peers.scoring import Scores
from bench.peers.systems import ABSENT, ARMS, CACHE, SYSTEMS
from evolve import settings

BENCH = Path(__file__).parents[1]
Outcome = dict[str, Any]
KINDS = ("search", "latency", "faults", "kill")


def outcomes() -> list[Outcome]:
    """What was run, as the cache has it; of each arm and kind only what had the same number of calls as its newest."""
    paths = sorted((CACHE / "work").glob("*/outcome.json"), key=lambda path: path.stat().st_mtime)
    found = [json.loads(path.read_text()) for path in paths]
    newest = {(outcome["kind"], outcome["arm"]): outcome["asked"] for outcome in found}
    return [outcome for outcome in found if outcome["asked"] == newest[outcome["kind"], outcome["arm"]]]


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Median and, of several, the least and the largest."""
    sound = sorted(value for value in values if not math.isnan(value))
    if not sound:
        return "-"
    text = f"{median(sound):.{digits}f}"
    return text if len(sound) == 1 else f"{text} [{sound[0]:.{digits}f}, {sound[-1]:.{digits}f}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def by_arm(found: Sequence[Outcome], kind: str) -> dict[str, list[Outcome]]:
    grouped: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in found:
        if outcome["kind"] == kind:
            grouped[outcome["arm"]].append(outcome)
    return {name: grouped[name] for name in ARMS if name in grouped}


def scores_table(found: Mapping[str, Sequence[Outcome]]) -> str:
    limits = sorted({best["calls"] for runs in found.values() for run in runs for best in run["best"]})
    head = ["", "repeats", *(f"fresh, {limit} calls" for limit in limits), f"validation, {max(limits)} calls"]
    rows = []
    for name, runs in found.items():
        at = {limit: [b for run in runs for b in run["best"] if b["calls"] == limit] for limit in limits}
        cells = [spread([best["fresh"] for best in at[limit]]) for limit in limits]
        validation = spread([best["validation"] for best in at[limits[-1]]])
        rows.append([name, str(len(runs)), *cells, validation])
    return table(head, rows)


def cost_table(found: Mapping[str, Sequence[Outcome]]) -> str:
    labels = [f"{first}-{last}" for first, last in WINDOWS]
    head = ["", *(f"own CPU, ms a candidate, calls {label}" for label in labels)]
    head += [
        "of it to start evaluations",
        "peak memory, MB",
        "files",
        "MB written",
        "programs evaluated of calls",
    ]
    rows = []
    for name, runs in found.items():
        own = [[run["windows"][label][0] for run in runs if label in run["windows"]] for label in labels]
        starts = [run["windows"][labels[0]][1] for run in runs if labels[0] in run["windows"]]
        rows.append(
            [
                name,
                *(spread(values, 1) for values in own),
                spread(starts, 0),
                spread([run["peak_tree_mb"] for run in runs], 0),
                spread([run["files"] for run in runs], 0),
                spread([run["bytes"] / 1e6 for run in runs], 1),
                f"{median(run['evaluated'] for run in runs):.0f} of {median(run['calls'] for run in runs):.0f}",
            ]
        )
    return table(head, rows)


def wall_table(search: Mapping[str, Sequence[Outcome]], latency: Mapping[str, Sequence[Outcome]]) -> str:
    def a_call(runs: Sequence[Outcome]) -> str:
        return spread(
            [run["calls_wall_s"] / min(run["calls"], run["asked"]) for run in runs if run["calls"]], 3
        )

    head = ["", "s a call, latency 0", "s a call, latency 1 s", "calls in flight on average, latency 1 s"]
    rows = [
        [name, a_call(search.get(name, ())), a_call(runs), spread([run["in_flight"] for run in runs], 1)]
        for name, runs in latency.items()
    ]
    return table(head, rows)


def faults_table(found: Mapping[str, Sequence[Outcome]]) -> str:
    rows = []
    for name, runs in found.items():
        told = {run["attack"]: run for run in runs}
        rows.append([name, *(_told(told.get(attack)) for attack in hostile.NAMES)])
    return table(["", *hostile.NAMES], rows)


def _told(run: Outcome | None) -> str:
    if run is None or not run["answered"]:
        return "-"
    return f"contained ({run['status']})" if run["outcome"] == "contained" else f"**{run['outcome']}**"


def kill_table(found: Mapping[str, Sequence[Outcome]]) -> str:
    rows = []
    for name, runs in found.items():
        killed = [run["kill"] for run in runs]
        went = (
            "yes" if all(each["ended"] == "by itself" and not each["code"] for each in killed) else "**no**"
        )
        lost = ", ".join(f"{each['lost']} of {each['evaluated']}" for each in killed)
        rows.append([name, lost, went])
    return table(["", "evaluated programs lost", "resumed and ended by itself"], rows)


def plot(found: Mapping[str, Sequence[Outcome]], path: Path) -> None:
    """Fresh score by number of calls; the median over the repeats."""
    figure, axes = plt.subplots(figsize=(9, 5))
    for name, runs in found.items():
        limits = sorted({best["calls"] for run in runs for best in run["best"]})
        values = [
            median(best["fresh"] for run in runs for best in run["best"] if best["calls"] == limit)
            for limit in limits
        ]
        style = {"linewidth": 2.5} if name.startswith("evolve") else {"linestyle": "--"}
        axes.plot(limits, values, marker="o", label=name, **style)
    axes.set_xlabel("model calls")
    axes.set_ylabel("normalised score on fresh instances (0 = EDD, 1 = optimum)")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


INTRODUCTION = """# evolve beside other systems

Made by `python -m bench.peers` (the last command: `{command}`) on {day};
{machine}. Every system asks the same stand-in model server over HTTP: the k-th request
about a program is answered with the same child of it, made by genetic operators, whoever asks, in the form that was
asked for; other programs and scores in a prompt change nothing. So this compares who chooses better what to vary, and
what that costs; it says nothing about prompts. All begin with the earliest due date (EDD) on single-machine total
tardiness and evaluate on the same 60 training instances by the same code and limits.

"Fresh" are 125 instances of the problem's generator from seeds that no split has (not the shipped holdout, which stays
sealed). evolve's champion is promoted on the validation instances, which the others never see, so only "fresh" compares
fairly. Scores afterwards are evolve's trusted evaluator's. Cells: median [least, largest] over the repeats.{few}
A cell with a dash, and an arm without a row, was not measured.

"""
FEW = 5  # repeats, below which the order of the arms can be chance
SECTIONS: Mapping[str, str] = {
    "Best score by number of model calls": (
        "1 = optimum, 0 = EDD. evolve: its champion; the others: the program that they have scored best on train. "
        "`best-of-n` is the control, which evolves nothing.\n"
    ),
    "What the framework takes": (
        "Own CPU: user and system time of the whole tree of processes, less that of the evaluations (for evolve less "
        "only what candidates took in the jail: its checks, scoring and promotion count as its own), model latency 0. "
        "Starting an interpreter for each evaluation is the system's own where it starts it.\n"
    ),
    "Wall time": "At 1 s latency with the settings called wide, for as many calls at a time as a system can.\n",
    "Hostile programs": (
        "One reply is a hostile program, all others are honest. With default settings programs are loaded into the "
        "process that evaluates, as the systems' examples do; the arms called best have an evaluator that runs them in "
        "a process of its own with limits, which the user has to write. In brackets the status that the program got. "
        "Evaluation's time limit was {limit} s where a system has one; a process got {memory} GB at most, so that the "
        "machine survives. Calls count from 1; the hostile reply is the fifth.\n"
    ),
    "SIGKILL in the middle, then resume": (
        "The whole tree of processes is killed after {killed} answers, then the run is resumed as the system documents "
        "it. Lost: evaluated before, unknown to the resumed run (for gepa by its count of "
        "evaluations, as it keeps accepted programs only).\n"
    ),
}


def text(found: Sequence[Outcome], command: str, memory_gb: int, limit_s: int) -> str:
    kinds = {kind: by_arm(found, kind) for kind in KINDS}
    cores = settings.available_cores()
    machine = (
        f"{platform.system()} {platform.machine()}, {cores} cores, Python {platform.python_version()}; load average of "
        f"the last 15 minutes {os.getloadavg()[2]:.0f}"
    )
    repeats = min((len(runs) for runs in kinds["search"].values()), default=0)
    few = f" With fewer than {FEW} of each, the order can be chance." if repeats < FEW else ""
    parts = [INTRODUCTION.format(command=command, day=date.today(), machine=machine, few=few), _arms()]
    made: Sequence[tuple[str, Callable[[], str], bool]] = (
        ("Best score by number of model calls", lambda: scores_table(kinds["search"]), bool(kinds["search"])),
        ("What the framework takes", lambda: cost_table(kinds["search"]), bool(kinds["search"])),
        ("Wall time", lambda: wall_table(kinds["search"], kinds["latency"]), bool(kinds["latency"])),
        ("Hostile programs", lambda: faults_table(kinds["faults"]), bool(kinds["faults"])),
        ("SIGKILL in the middle, then resume", lambda: kill_table(kinds["kill"]), bool(kinds["kill"])),
    )
    for title, make, there in made:
        if there:
            about = SECTIONS[title].format(memory=memory_gb, limit=limit_s, killed=_killed(found))
            picture = "\n![Score by calls](peers.png)\n" if make is made[0][1] else ""
            parts.append(f"## {title}\n\n{about}\n{make()}{picture}\n")
    return "".join(parts) + _remarks()


def _killed(found: Sequence[Outcome]) -> str:
    return " or ".join(sorted({str(run["asked"] // 2) for run in found if run["kind"] == "kill"}))


def _arms() -> str:
    rows = []
    for arm in ARMS.values():
        system = arm.system
        if system.installed:
            rows.append([arm.name, system.package, system.version(), arm.note])
    absent = "".join(f"\n{name} is missing: {why}.\n" for name, why in ABSENT.items())
    missing = [system.name for system in SYSTEMS.values() if not system.installed]
    absent += f"\nNot installed here: {', '.join(missing)}.\n" if missing else ""
    return table(["arm", "package", "version", "settings"], rows) + absent + "\n"


def _remarks() -> str:
    """What a person has to say about the figures, kept beside them."""
    path = Path(__file__).with_name("remarks.md")
    return path.read_text() if path.exists() else ""


def write(command: str, memory_gb: int, limit_s: int) -> Path:
    """Score what is not scored yet, then write table and plot."""
    found = outcomes()
    with Scores("smtt", CACHE / "scores.json") as scores:
        for outcome in found:
            if outcome["kind"] == "search":
                scores.add(outcome)
    if search := by_arm(found, "search"):
        plot(search, BENCH / "peers.png")
    path = BENCH / "peers.md"
    path.write_text(text(found, command, memory_gb, limit_s))
    return path
