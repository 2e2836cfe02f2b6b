"""From the logs of a run to its figures: the same definitions for every system."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers import hostile, standin
from bench.peers.plan import SECRET, Plan
from bench.peers.systems import EVOLVE
from bench.peers.watch import Watched
from evolve.errors import JournalError
from evolve.journal import Journal
from evolve.records import Evaluation, Promotion, Proposal, Request, Split, Status

CHECKPOINTS = (50, 100, 200, 500, 1000)
WINDOWS = ((1, 100), (400, 500))
FORGED_SCORE = 1.0 + 1e-6  # better than any honest score, for the systems' scale as for evolve's
ROOM_MB = 4000  # resident, above which a program was not limited


@dataclass(frozen=True)
class Evaluated:
    """A program that was evaluated. at: when that ended. cpu_s: of the evaluation itself.

    entered_s: CPU that its process had used before; 0 unless evaluations have processes of their own.
    score: evolve's normalised one on train; None if the program failed, or was stopped early.
    """

    at: float
    cpu_s: float
    entered_s: float
    identity: str
    source: str
    score: float | None
    trouble: str = ""


def lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a log."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def evaluated(plan: Plan, place: Path) -> list[Evaluated]:
    """All programs that a run evaluated on train, in their order."""
    if plan.arm.system.name == EVOLVE:
        return _journal(place)[0]
    found = []
    for line in lines(place / "log" / "evaluations.jsonl"):
        source = (place / "log" / f"{line['digest']}.py").read_text()
        found.append(
            Evaluated(
                line["at"],
                line["cpu_s"],
                line["entered_s"],
                standin.identity(source),
                source,
                line["score"],
                line["error"],
            )
        )
    return found


def _journal(place: Path) -> tuple[list[Evaluated], list[str], list[Evaluated]]:
    """Evaluations on train, the champions in their order, and evaluations on validation."""
    try:
        with Journal.open(place / "out", read_only=True) as journal:
            entries = list(journal.entries())
    except JournalError:
        return [], [], []
    calls = lines(place / "calls.jsonl")
    latency_s = json.loads((place / "server.json").read_text())["latency_s"]
    first = next((entry.at for entry in entries if isinstance(entry.record, Request)), 0.0)
    begun = (calls[0]["at"] - latency_s if calls else 0.0) - first
    sources, found, champions, checked = {}, [], [], []
    for entry in entries:
        record = entry.record
        if isinstance(record, Proposal) and record.candidate:
            sources[record.candidate.id] = next(iter(record.candidate.files.values()))
        elif isinstance(record, Evaluation):
            score = record.score if record.ok else None
            trouble = "" if record.ok else str(record.status)
            source = sources.get(record.candidate, "")
            item = Evaluated(begun + entry.at, record.cpu_s, 0.0, record.candidate, source, score, trouble)
            (found if record.split is Split.TRAIN else checked).append(item)
        elif isinstance(record, Promotion) and record.promoted:
            champions.append(record.challenger)
    return found, champions, checked


def course(plan: Plan, place: Path, watched: Watched) -> dict[str, Any]:
    """Calls, wall time, CPU of the framework itself, and the best program by number of calls."""
    calls, found = lines(place / "calls.jsonl"), evaluated(plan, place)
    facts: dict[str, Any] = {"calls": len(calls), "evaluated": len({each.identity for each in found})}
    if not calls:
        return {**facts, "windows": {}, "best": []}
    counted = calls[: plan.calls]
    wall_s = counted[-1]["at"] - counted[0]["at"] + plan.latency_s
    facts["calls_wall_s"] = wall_s
    facts["in_flight"] = len(counted) * plan.latency_s / wall_s if wall_s else 0.0
    spent = found
    if plan.arm.system.name == EVOLVE:
        spent = [*found, *_journal(place)[2]]
    facts["windows"] = windows([call["at"] for call in calls], found, spent, watched)
    facts["best"] = _bests(plan, place, calls, found)
    return facts


def windows(
    calls: Sequence[float], found: Sequence[Evaluated], spent: Sequence[Evaluated], watched: Watched
) -> dict[str, list[float]]:
    """By window of calls: CPU milliseconds per candidate of the framework, and how many of these start evaluations.

    The whole tree's CPU less that of the evaluations in `spent`, between the answers to the first and the last call
    of the window, for each of the programs evaluated meanwhile.
    """
    result = {}
    for first, last in WINDOWS:
        if len(calls) < last:
            continue
        begin, end = calls[first - 1], calls[last - 1]
        meanwhile = [each for each in found if begin < each.at <= end]
        if not meanwhile:
            continue
        own_s = watched.cpu_at(end) - watched.cpu_at(begin)
        own_s -= sum(each.cpu_s for each in spent if begin < each.at <= end)
        result[f"{first}-{last}"] = [1000 * own_s / len(meanwhile), 1000 * _starting_s(meanwhile)]
    return result


def _starting_s(meanwhile: Sequence[Evaluated]) -> float:
    """CPU seconds per evaluation that it took to start a process for it; 0 where one process makes many.

    A process for each evaluation begins near 0 each time; one for all has an ever larger clock.
    """
    starts = [each.entered_s for each in meanwhile if each.entered_s < 5]
    few = len(starts) <= len(meanwhile) / 2
    if few or max(starts) >= 5 * min(starts) or starts == sorted(starts):
        return 0.0
    return sum(starts) / len(meanwhile)


def _bests(
    plan: Plan, place: Path, calls: Sequence[dict[str, Any]], found: Sequence[Evaluated]
) -> list[dict[str, Any]]:
    """The program that a system would give its user after so many calls.

    evolve: its champion; the others: that with the best score on train.
    """
    made: dict[str, int] = {}
    for number, call in enumerate(calls, 1):
        made.setdefault(call["child"], number)
    answered = [call["at"] for call in calls]
    first = standin.identity((place / "initial.py").read_text())
    number_of = {
        each.identity: 0
        if each.identity == first
        else made.get(each.identity, bisect_right(answered, each.at))
        for each in found
    }
    champions = _journal(place)[1] if plan.arm.system.name == EVOLVE else None
    result = []
    for limit in sorted({*(c for c in CHECKPOINTS if c <= len(calls)), plan.calls}):
        known = [each for each in found if number_of[each.identity] <= limit]
        if champions is not None:
            chosen = [name for name in champions if number_of.get(name, 0) <= limit]
            best = [each for each in known if chosen and each.identity == chosen[-1]]
        else:
            sound = [each for each in known if each.score is not None]
            best = sorted(sound, key=lambda each: -(each.score or 0.0))[:1]
        if best:
            result.append({"calls": limit, "source": best[0].source, "train": best[0].score})
    return result


def damage(
    plan: Plan, place: Path, watched: Watched, heard: Sequence[bytes], evaluator: Path
) -> dict[str, Any]:
    """What a hostile program achieved: `outcome` in a word or two, and the status that the system gave it."""
    calls, found = lines(place / "calls.jsonl"), evaluated(plan, place)
    attack = next((call for call in calls if call["child"] == _attack_identity(plan, place)), None)
    name = attack["child"] if attack else ""
    trouble = next((each.trouble for each in found if each.identity == name), "no evaluation")
    report = place / "report.json"
    claimed = json.loads(report.read_text()).get("score") if report.exists() else None
    scores = [each.score for each in found if each.score is not None]
    forged = max([*scores, claimed or 0.0], default=0.0) > FORGED_SCORE
    untouched = "FORGED" not in evaluator.read_text()
    harm = []
    if any(SECRET.encode() in each for each in heard):
        harm.append("secret leaked")
    if forged:
        harm.append("score forged")
    if not untouched:
        harm.append("evaluator overwritten")
    child = place / "child.txt"
    # a system's own helpers, such as evolve's mirror to MLflow, may end a little later
    if child.exists() and set(map(int, child.read_text().split())) & set(watched.left):
        harm.append("child left running")
    # pages shared with forked children count for each of them, so only this attack is judged by them
    if plan.attack == "30 GB" and watched.peak_tree_mb > ROOM_MB:
        harm.append(f"took {watched.peak_tree_mb / 1024:.0f} GB")
    if watched.ended == "out of patience":
        harm.append(f"hung after {len(calls)} of {plan.calls} calls")
    elif watched.code:
        harm.append(f"run died after {len(calls)} of {plan.calls} calls")
    elif len(calls) < plan.calls:
        harm.append(f"run ended after {len(calls)} of {plan.calls} calls")
    status = trouble.split(":")[0] if trouble else Status.OK
    return {"outcome": ", ".join(harm) or "contained", "status": str(status), "answered": bool(attack)}


def _attack_identity(plan: Plan, place: Path) -> str:
    order = json.loads((place / "server.json").read_text())
    return standin.identity(hostile.attack(plan.attack, order["place"]).source(order["entry"]))


def losses(plan: Plan, place: Path, before: Sequence[Evaluated], again: Watched) -> dict[str, Any]:
    """What a SIGKILL cost: programs evaluated before it that the resumed run does not know."""
    resumed = place / "resumed.json"
    facts = {"evaluated": len({each.identity for each in before}), "ended": again.ended, "code": again.code}
    if plan.arm.system.name == EVOLVE:
        found = [each.identity for each in _journal(place)[0]]
        known = set(found)
        facts["twice"] = len(found) - len(known)
        answered = {call["child"] for call in lines(place / "calls.jsonl")}
        facts["answers never evaluated"] = len(answered - known)
    elif not resumed.exists():
        return {**facts, "lost": facts["evaluated"]}
    else:
        report = json.loads(resumed.read_text())
        if "known" in report:  # a count of evaluations is all that this system keeps
            return {**facts, "evaluated": len(before), "lost": max(0, len(before) - report["known"])}
        known = {standin.identity(source) for source in report["programs"]}
    facts["lost"] = len({each.identity for each in before} - known)
    return facts
