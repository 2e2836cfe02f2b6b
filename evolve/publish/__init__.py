"""Publishes a candidate as a pip-installable package that carries its proof."""

from __future__ import annotations

import json
import keyword
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from evolve import problem, settings
from evolve.errors import JournalError, ProgramError, PublishError, UsageError
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.problem import Problem
from evolve.publish import package, proof, sample, source, words
from evolve.publish.holdout import Holdout, Rival
from evolve.publish.proof import Case, Registered
from evolve.publish.review import Review
from evolve.records import Candidate, Split, Status
from evolve.run import SETTINGS_FILE

TAKEN = {"evolve", "evaluator", "numpy", "tests", "test_proof"}


@dataclass(frozen=True)
class Published:
    """A package that was written. proof: what its PROOF.json says."""

    folder: Path
    module: str
    candidate: str
    proof: Mapping[str, Any]

    def facts(self) -> dict[str, object]:
        """For --json."""
        holdout = self.proof["holdout"]
        return {
            "package": str(self.folder),
            "module": self.module,
            "entry": self.proof["entry"]["function"],
            "candidate": self.candidate,
            "score": holdout["score"],
            "score_interval": holdout["score_interval"],
            "raw": holdout["objective"],
            "unit": self.proof["problem"]["objective"]["unit"],
            "instances": holdout["instances"],
            "rivals": {rival["name"]: rival["difference"] for rival in self.proof["rivals"]},
            "holdout_openings": len(holdout["openings"]),
            "holdout_openings_elsewhere": holdout["elsewhere"],
        }

    def print(self, console: Console) -> None:
        """The claim, the comparisons, and what to type next."""
        console.print(Text(words.measured(self.proof)))
        for rival in self.proof["rivals"]:
            console.print(Text(f"{words.comparison(rival, self.proof)}."))
        times = len(self.proof["holdout"]["openings"])
        style = "" if times == 1 else "bold yellow"
        console.print(Text(f"The holdout was opened {times} time{'s' if times != 1 else ''}.", style=style))
        if elsewhere := self.proof["holdout"]["elsewhere"]:
            text = f"Outside this run the same instances were opened {elsewhere} times; the proof says so."
            console.print(Text(text, style="bold yellow"))
        function = self.proof["entry"]["function"]
        console.print(Text(f"\nNext:\n  pip install {self.folder}"), soft_wrap=True)
        console.print(
            Text(f'  python -c "from {self.module} import {function}; help({function})"'), soft_wrap=True
        )


def publish(
    folder: Path,
    identity: str | None,
    destination: Path,
    name: str | None = None,
    again: bool = False,
    review: Review | None = None,
    registry: Callable[[str], Registered | None] | None = None,
) -> Published:
    """Write a package from a run's champion, or from another candidate of it.

    Opens the holdout if this candidate was never measured on it.

    Args:
        folder: of the run.
        identity: the candidate's id or its first digits; None means the champion.
        destination: the package's folder; new or empty.
        name: of the module; by default the problem's name and `_heuristic`.
        again: open the holdout although it was opened for another candidate; the proof counts it.
        review: what a reviewer said about this candidate, for the proof.
        registry: knows the candidate's version in a model registry, which becomes the package's.

    Raises:
        UsageError: destination or name cannot be used.
        JournalError: there is no such run or candidate, or it is being searched right now.
        PublishError: the candidate cannot be published; the text says why.
        EvaluatorError, JailError: the holdout cannot be measured.
    """
    with _claimed(folder) as journal, Lineage(journal) as lineage:
        case = _case(folder, journal, lineage, identity, name)
        known = registry(case.candidate.id) if registry else None
        case = replace(case, review=review, registered=known)
        case.problem.check_disjoint()
        package.check_evaluator(case)
        chosen = sample.choose(case.instances, case.problem.evaluator)
        with package.staging(destination) as staged:
            holdout = Holdout(journal, lineage, case.problem, case.settings.jail.minimum)
            measured = holdout.measure(case.candidate, _rivals(case), again)
            written = package.write(staged, case, measured, proof.facts(case, measured), chosen)
    return Published(destination, case.module, case.candidate.id, written)


def _claimed(folder: Path) -> Journal:
    journal = Journal.open(folder)
    try:
        journal.lock()
    except BlockingIOError:
        journal.close()
        raise JournalError(f"{folder}: a search is going on there; publish when it has ended") from None
    return journal


def _case(folder: Path, journal: Journal, lineage: Lineage, identity: str | None, name: str | None) -> Case:
    the_problem = problem.load(journal.meta("folder"), journal.meta("data"))
    if the_problem.digest != journal.meta("digest"):
        raise PublishError(
            f"{folder}: the problem {the_problem.folder} has changed since this run (instances, data, evaluator "
            f"or limits); its scores prove nothing now: search again"
        )
    the_settings = settings.load(folder / SETTINGS_FILE)
    founders = [seed.id for seed in problem.select_seeds(the_problem, the_settings.seeds).values()]
    if founders != json.loads(journal.meta("founders")):
        raise PublishError(
            f"{folder}: the seeds of {the_problem.name} have changed since this run, and with them what "
            f"a score of 0 means: search again"
        )
    candidate = _candidate(folder, journal, lineage, identity)
    _check_program(candidate, the_problem)
    module = _module_name(name or f"{the_problem.name}_heuristic")
    return Case(the_problem, the_settings, journal, lineage, candidate, module)


def _candidate(folder: Path, journal: Journal, lineage: Lineage, identity: str | None) -> Candidate:
    if identity is None and not lineage.champion:
        raise PublishError(
            f"{folder}: no candidate has passed promotion yet; search on with `evolve resume {folder}`, "
            f"or name a candidate"
        )
    candidate = journal.candidate(identity or lineage.champion)
    verdict = lineage.verdict(candidate.id, Split.TRAIN)
    if verdict is None or verdict.status is not Status.OK:
        found = verdict.status if verdict else "never evaluated"
        raise PublishError(
            f"candidate {candidate.id}: {found} on train; only one that works can be published"
        )
    return candidate


def _check_program(candidate: Candidate, the_problem: Problem) -> None:
    main = the_problem.spec.program
    if taken := {"heuristic.py", "__init__.py"} & (candidate.files.keys() - {main}):
        raise PublishError(
            f"candidate {candidate.id} has a file {taken.pop()}, which is the package's own; rename it in the problem"
        )
    try:
        source.foreign(candidate.files)
    except ProgramError as error:
        raise PublishError(f"candidate {candidate.id}: {error}; it cannot stand alone") from None


def _module_name(name: str) -> str:
    usable = name.isidentifier() and name.isascii() and not keyword.iskeyword(name)
    if not usable or name.startswith("_") or name.endswith("_"):
        raise UsageError(f"--name {name}: no name for a module; letters, digits and _, a letter first")
    if name in TAKEN | sys.stdlib_module_names:
        raise UsageError(f"--name {name}: this module exists already; choose another name")
    return name


def _rivals(case: Case) -> list[Rival]:
    """The baseline, the problem's key seeds and the run's best seed, each once, without the candidate."""
    roles: dict[str, list[str]] = {case.problem.spec.score.baseline: ["baseline"]}
    for name in case.problem.spec.report.key_seeds:
        roles.setdefault(name, []).append("known heuristic")
    best = _best_seed(case)
    if best in case.problem.seeds:
        roles.setdefault(best, []).append("best seed of the search")
    seeds = case.problem.seeds
    return [
        Rival(name, ", ".join(role), seeds[name])
        for name, role in roles.items()
        if seeds[name].id != case.candidate.id
    ]


def _best_seed(case: Case) -> str:
    """The seed with the best score on train, of those that the search began with; "" if none works."""
    scores = {}
    for node in case.lineage.nodes.values():
        verdict = case.lineage.verdict(node.id, Split.TRAIN)
        if node.operator == "seed" and verdict and verdict.status is Status.OK:
            scores[node.note] = verdict.score
    return max(scores, key=lambda name: scores[name], default="")
