"""From settings and a problem to a search with its proposer."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from evolve import problem
from evolve.archives.population import Axis
from evolve.errors import UsageError
from evolve.journal import Journal
from evolve.models import cast as models
from evolve.models.panel import Panel
from evolve.problem import Problem
from evolve.proposers.base import ModelProposer, Proposer
from evolve.proposers.briefing import Briefing, target
from evolve.proposers.genetic import GeneticProposer
from evolve.proposers.llm import Contract, LlmProposer
from evolve.records import Candidate, Split
from evolve.search import Search
from evolve.settings import BudgetSettings, Settings

BUDGET_NOTE = "budget"  # in the journal: what the run began with; the settings have the latest
SKILLS_NOTE = "skills"  # in the journal: what earlier runs have taught, as it was when the run began
PROPOSERS = ("genetic", "llm", "replay", "manual")


def axes(the_problem: Problem) -> list[Axis]:
    """The descriptors that the problem declares, as sides of a grid."""
    return [Axis(**msgspec.structs.asdict(each)) for each in the_problem.spec.descriptors]


def make_search(
    the_settings: Settings, the_problem: Problem, journal: Journal, order: tuple[int, ...] = ()
) -> Search:
    """The state of a search at its beginning.

    Args:
        journal: where the run's candidates are found.
        order: of the races, where it is known already.
    """
    founders = list(problem.select_seeds(the_problem, the_settings.seeds).values())
    proposer = make_proposer(the_settings, the_problem, founders, journal)
    # the instances of a harness come in batches, as they are
    reorder = the_problem.spec.harness is None
    search = Search(
        the_settings,
        founders,
        proposer,
        axes(the_problem),
        order,
        reorder,
        Split.FURTHER in the_problem.splits,
    )
    search.budget.limits = msgspec.json.decode(journal.meta(BUDGET_NOTE) or "{}", type=BudgetSettings)
    return search


def make_proposer(
    the_settings: Settings,
    the_problem: Problem,
    founders: Sequence[Candidate],
    journal: Journal | None = None,
) -> Proposer | ModelProposer:
    """The proposer that the settings name.

    Args:
        journal: where the run's candidates are; None = the proposer is only made to see that it can be.

    Raises:
        UsageError: there is none of that name.
        ModelError: a model cannot be asked: its name, its key or its price is missing.
    """
    spec = the_problem.spec
    match the_settings.proposer:
        case "genetic":
            return GeneticProposer(
                spec.entry.function,
                spec.program,
                spec.limits.imports,
                founders,
                the_settings.genetic,
                spec.changing,
                spec.entry.optional,
            )
        case "llm" | "replay" | "manual":
            known = json.loads(journal.meta(SKILLS_NOTE) or "[]") if journal else []
            return LlmProposer(
                Contract(
                    spec.entry.function if target(the_problem) == spec.program else "", target(the_problem)
                ),
                Panel(models.seats(the_settings), the_settings.llm.patience_s),
                Briefing(the_problem, the_settings.llm.prompt_tokens, founders, known),
                the_settings.llm,
                journal.candidate if journal else _nobody,
                the_settings.archive.islands if "islands" in the_settings.archive.kind else 1,
            )
    raise UsageError(
        f"--proposer {the_settings.proposer}: there is no such proposer; there are: {', '.join(PROPOSERS)}"
    )


def _nobody(identity: str) -> Candidate:
    raise LookupError(identity)
