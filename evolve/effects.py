"""What each operator of a run has yielded, read from its journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from evolve.bandit import ArmReport
from evolve.credit import Credits
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.proposers.base import TUNING
from evolve.records import SEPARATOR, Split, Status
from evolve.settings import BanditSettings

ARMS_NOTE = "arms"  # in the journal: the proposer's arms with their prior weights
SHOWN = 8
CONSTANTS = {TUNING, "tweak constant"}  # operators that change a number and nothing else
COST_UNITS = {"instances": "instance", "cpu": "CPU second"}


def operators(journal: Journal, settings: BanditSettings) -> list[ArmReport]:
    """The operators with what they were tried for, the likeliest first; none in a run that did not learn of them."""
    arms = json.loads(journal.meta(ARMS_NOTE) or "{}")
    credits_ = Credits(arms, settings)
    with Lineage(journal) as lineage:
        for trial in lineage.trials():
            cost = trial.cpu_s if settings.cost == "cpu" else float(max(1, trial.instances))
            score = trial.score if trial.placed else None
            credits_.tell(trial.candidate, trial.operator, trial.parents, score, cost)
    return credits_.bandit.table()


def operator_facts(rows: Sequence[ArmReport]) -> list[dict[str, Any]]:
    """For --json. rate: gain per cost, None without a cost."""
    return [
        {
            "operator": row.name,
            "tries": row.tries,
            "gain": row.gain,
            "cost": row.cost,
            "rate": row.rate if row.cost else None,
            "share": row.share,
        }
        for row in rows
    ]


def operator_table(facts: Sequence[dict[str, Any]], cost: str, shown: int = SHOWN) -> Table:
    """The likeliest operators, with their yields as multiples of the mean.

    Args:
        cost: the unit of costs, for the heading.
    """
    gains, costs = sum(fact["gain"] for fact in facts), sum(fact["cost"] for fact in facts)
    mean = gains / costs if gains and costs else 0.0
    table = Table(
        box=None,
        padding=(0, 2),
        header_style="dim",
        title_justify="left",
        title=f"Operators, yield per {cost}",
    )
    for column in ("", "tries", "gain", "yield / mean", "chance now"):
        table.add_column(column, justify="left" if not column else "right")
    tried = sorted(facts, key=lambda fact: not fact["tries"])  # one that never applied says nothing
    for fact in tried[:shown]:
        relative = f"{fact['rate'] / mean:.2f}" if fact["rate"] is not None and mean else "-"
        table.add_row(
            fact["operator"], str(fact["tries"]), f"{fact['gain']:.0f}", relative, f"{fact['share']:.1%}"
        )
    rest = tried[shown:]
    if rest:
        spent, gained = sum(fact["cost"] for fact in rest), sum(fact["gain"] for fact in rest)
        relative = f"{gained / spent / mean:.2f}" if spent and mean else "-"
        tries, share = sum(fact["tries"] for fact in rest), sum(fact["share"] for fact in rest)
        table.add_row(f"{len(rest)} more", str(tries), f"{gained:.0f}", relative, f"{share:.1%}", style="dim")
    return table


def sources_of_gain(lineage: Lineage, identity: str) -> dict[str, float]:
    """What a candidate gained on train over the seed that it descends from, by what made the steps.

    constants: steps that changed numbers alone. mixed: a number and the structure in one step. Steps down count
    against their kind; a step from or to a program without a score is passed over, so the parts add up to the
    whole only where all have one.
    """
    found = dict.fromkeys(("structure", "constants", "mixed"), 0.0)
    score: float | None = None
    for node in lineage.line(identity):
        verdict = lineage.verdict(node.id, Split.TRAIN)
        if verdict is None or verdict.status is not Status.OK:
            continue
        if score is not None:
            found[_kind(node.operator)] += verdict.score - score
        score = verdict.score
    return found


def _kind(operator: str) -> str:
    parts = set(operator.split(SEPARATOR))
    if parts <= CONSTANTS:
        return "constants"
    return "mixed" if parts & CONSTANTS else "structure"
