"""A run's candidates in the terminal: one candidate, its ancestry, its diff. First as facts, then printed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from evolve import problem, settings
from evolve.effects import COST_UNITS, operator_facts, operator_table, operators, sources_of_gain
from evolve.errors import EvaluatorError, JournalError, ProblemError, UsageError
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.program import unified_diff
from evolve.publish.review import kept
from evolve.records import SPLITS, Candidate, Repeats
from evolve.run import SETTINGS_FILE
from evolve.search import DUPLICATE
from evolve.table import figures, groups, repeats_text


def candidate_facts(journal: Journal, identity: str | None) -> dict[str, Any]:
    """What is known about a candidate; the champion's if `identity` is None."""
    with Lineage(journal) as lineage:
        candidate = journal.candidate(_chosen(lineage, identity))
        evaluations = {}
        for split in SPLITS:
            found = lineage.evaluation(candidate.id, split)
            if found is not None:
                evaluations[str(split)] = {
                    **figures(found),
                    "feedback": found.feedback,
                    "jail": found.jail,
                    "cached": found.cached,
                }
        repeats = lineage.repeats(DUPLICATE)
        bandit = settings.load(journal.path.parent / SETTINGS_FILE).bandit
        return {
            "id": candidate.id,
            "number": candidate.number,
            "parents": list(candidate.parents),
            "children": lineage.children.get(candidate.id, 0),
            "operator": candidate.operator,
            "note": candidate.note,
            "champion": candidate.id == lineage.champion,
            "seed": lineage.line(candidate.id)[0].note,
            "steps": len(lineage.line(candidate.id)) - 1,
            "evaluations": evaluations,
            "gains": _gains(lineage, candidate),
            "groups": _groups(journal, lineage, candidate),
            "verdict": _verdict(lineage, candidate),
            "review": _review(journal, candidate),
            "run": {
                "candidates": len(lineage.nodes),
                "duplicates": {"source": repeats.source, "decisions": repeats.decisions},
                "cache_hits": repeats.cache,
                "interventions": {str(remedy): count for remedy, count in lineage.interventions.items()},
                "operators": operator_facts(operators(journal, bandit)),
                "cost": COST_UNITS[bandit.cost],
            },
            "files": dict(candidate.files),
        }


def _gains(lineage: Lineage, candidate: Candidate) -> dict[str, float]:
    """By split, the score minus the first parent's, where both have one."""
    if not candidate.parents or candidate.parents[0] not in lineage.nodes:
        return {}
    pairs = {
        split: [lineage.verdict(each, split) for each in (candidate.id, candidate.parents[0])]
        for split in SPLITS
    }
    return {
        str(split): ours.score - theirs.score
        for split, (ours, theirs) in pairs.items()
        if ours and theirs and ours.score == ours.score and theirs.score == theirs.score
    }


def _groups(
    journal: Journal, lineage: Lineage, candidate: Candidate
) -> dict[str, dict[str, dict[str, float]]]:
    """By split, mean objective and score by group; none if the problem has gone or changed since the run."""
    try:
        the_problem = problem.load(journal.meta("folder"), journal.meta("data"))
        if the_problem.digest != journal.meta("digest"):
            return {}
        found = {split: lineage.evaluation(candidate.id, split) for split in SPLITS}
        return {str(split): groups(the_problem, each) for split, each in found.items() if each and each.ok}
    except (ProblemError, EvaluatorError):
        return {}


def _verdict(lineage: Lineage, candidate: Candidate) -> dict[str, Any] | None:
    """The last verdict of the promotion test on a candidate."""
    found = [each for each in lineage.promotions if each.challenger == candidate.id]
    return asdict(found[-1]) if found else None


def _review(journal: Journal, candidate: Candidate) -> dict[str, str] | None:
    """What a reviewer has said, as far as it is kept with the run."""
    found = kept(journal.path.parent).get(candidate.id)
    return {"verdict": found.verdict, "reason": found.reason} if found else None


def print_candidate(facts: dict[str, Any], console: Console) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row(
        "candidate", Text(facts["id"] + ("  (champion)" if facts["champion"] else ""), style="bold")
    )
    table.add_row("made by", Text(f"{facts['operator']}: {facts['note']}"))
    if facts["steps"]:
        table.add_row("lineage", f"{facts['steps']} step{'s' * (facts['steps'] > 1)} from {facts['seed']}")
    table.add_row("parents", ", ".join(facts["parents"]) or "-")
    table.add_row("children", str(facts["children"]))
    for split, found in facts["evaluations"].items():
        if found["score"] is None:
            shown = found["status"]
        else:
            shown = f"score {found['score']:.6f}, objective {found['raw']:.6g}, {found['cpu_s']:.2f} s CPU"
            shown += ", from the cache" * found["cached"]
        table.add_row(split, shown)
        gain = facts["gains"].get(split)
        if gain is not None:
            table.add_row(
                "", Text(f"{gain:+.6f} against its first parent", style="green" if gain > 0 else "")
            )
        for label, values in facts["groups"].get(split, {}).items():
            table.add_row("", Text(f"{label}: {values['raw']:.6g}, score {values['score']:.5f}", style="dim"))
        table.add_row("", Text(found["feedback"], style="dim"))
    for name in ("verdict", "review"):
        if facts[name]:
            table.add_row(name, Text(_told(name, facts[name])))
    run = facts["run"]
    repeats = Repeats(run["duplicates"]["source"], run["duplicates"]["decisions"], run["cache_hits"])
    table.add_row("its run", f"{run['candidates']} candidates; not run: {repeats_text(repeats)}")
    if run["interventions"]:
        steps = ", ".join(f"{count} {name}" for name, count in run["interventions"].items())
        table.add_row("", f"where it was stuck: {steps}")
    console.print(table)
    if run["operators"]:
        console.print(operator_table(run["operators"], run["cost"]))
    for name, text in facts["files"].items():
        console.rule(name)
        console.print(Syntax(text, "python", background_color="default", word_wrap=True))


def _told(name: str, found: dict[str, Any]) -> str:
    if name == "review":
        return f"{found['verdict']}{': ' * bool(found['reason'])}{found['reason']}"
    head = f"{'promoted' if found['promoted'] else 'not promoted'}: {found['reason']}"
    if not found["champion"] or not found["high"]:
        return head
    return f"{head}; {found['difference']:+.5f} [{found['low']:+.5f}, {found['high']:+.5f}] to {found['champion']}"


def lineage_facts(journal: Journal, identity: str | None) -> dict[str, Any]:
    """The steps from the seed to a candidate, along first parents; the champion's if `identity` is None."""
    with Lineage(journal) as lineage:
        steps = []
        for node in lineage.line(_chosen(lineage, identity)):
            scores = {}
            for split in SPLITS:
                verdict = lineage.verdict(node.id, split)
                if verdict is not None:
                    ok = verdict.score == verdict.score
                    scores[str(split)] = {
                        "status": str(verdict.status),
                        "score": verdict.score if ok else None,
                        "raw": verdict.objective if ok else None,
                    }
            steps.append(
                {
                    "id": node.id,
                    "number": node.number,
                    "parents": list(node.parents),
                    "operator": node.operator,
                    "note": node.note,
                    "scores": scores,
                }
            )
        gained = sources_of_gain(lineage, _chosen(lineage, identity))
        return {"run": str(journal.path.parent), "steps": steps, "gained": gained}


def print_lineage(journal: Journal, identity: str | None, console: Console) -> None:
    """The run at a glance, then the steps from the seed to the candidate."""
    with Lineage(journal) as lineage:
        chosen = _chosen(lineage, identity)
        if identity is None:
            console.print(lineage.tree())
        console.print(lineage.tree(chosen))
        gained = sources_of_gain(lineage, chosen)
        parts = ", ".join(f"{gain:+.5f} by {source}" for source, gain in gained.items())
        console.print(
            f"Score gained on train over the first of these: {parts}", highlight=False, soft_wrap=True
        )


def diff_facts(journal: Journal, ours: str | None, against: str | None) -> dict[str, Any]:
    """The diff from a candidate's first parent (or from `against`) to it.

    Raises:
        UsageError: it has no parent, and nothing else was named.
    """
    with Lineage(journal) as lineage:
        new = journal.candidate(_chosen(lineage, ours))
    base = against or (new.parents[0] if new.parents else None)
    if base is None:
        raise UsageError(
            f"{new.id} ({new.operator}) has no parent in this run; name a second candidate to compare it with"
        )
    old = journal.candidate(base)
    return {
        "from": old.id,
        "to": new.id,
        "note": f"{new.operator}: {new.note}",
        "diff": unified_diff(old.files, new.files),
    }


def print_diff(facts: dict[str, Any], console: Console) -> None:
    console.print(Text(f"{facts['from']} -> {facts['to']}   {facts['note']}", style="bold"))
    if not facts["diff"]:
        console.print("the programs are the same, to the letter")
        return
    console.print(Syntax(facts["diff"], "diff", background_color="default", word_wrap=True))


def _chosen(lineage: Lineage, identity: str | None) -> str:
    if identity is not None:
        return lineage.resolve(identity)
    if not lineage.champion:
        raise JournalError("this run has no champion (yet); name a candidate by the beginning of its id")
    return lineage.champion
