"""The audit: every check, every spoilt decision, every cheating program, one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from evolve.audit import answers, behaviours, contract, corruptions, pristine
from evolve.audit.carrier import cheating
from evolve.audit.hostile import Assault, Honest, accepted
from evolve.audit.report import Report, Row
from evolve.audit.stage import TOLERANCE, Played, Stage, Taken, problem_files, refusal, spoken_keys
from evolve.audit.traces import Watch, frames, jailed_modules
from evolve.errors import EvaluatorError, JailError
from evolve.jail import Level
from evolve.jail.session import wall_limit
from evolve.problem import Problem
from evolve.records import Candidate, Split

LONG_S = 6.0  # wall; where a sleep until the jail's deadline would take longer, a short one must do
GROUP = 25  # cheats between two looks at honest scores and the problem's files


@dataclass(frozen=True)
class Cheat:
    """kit: the file that holds it. once: it costs seconds, one run is enough. interactive: for such problems only."""

    name: str
    kit: str
    tries: str
    once: bool = False
    interactive: bool = False


def cheats() -> list[Cheat]:
    """All cheating programs, by what they do."""
    return [
        *(Cheat(name, "answers", tries) for name, (tries, _) in answers.TRICKS.items()),
        *(Cheat(name, "corruptions", tries) for name, (tries, _) in corruptions.CORRUPTIONS.items()),
        *(
            Cheat(name, "behaviours", tries, name in behaviours.SLOW, name in behaviours.INTERACTIVE)
            for name, (tries, _) in behaviours.TRICKS.items()
        ),
    ]


def steps() -> int:
    """How often `advance` is called in one audit."""
    return len(contract.CHECKS) + 1 + len(cheats())


@dataclass(frozen=True)
class _Suspect:
    """A program that scored better with decisions that look honest; a fresh process has to say the same."""

    row: int
    taken: Taken


class Programs:
    """Plays the cheating programs on a stage, under watch."""

    def __init__(self, stage: Stage, watch: Watch, advance: Callable[[str], None]) -> None:
        self.stage = stage
        self.watch = watch
        self.advance = advance
        self.played = 0
        self.suspects: list[_Suspect] = []
        self._keys = spoken_keys(stage.problem)

    def rows(self, suite: Sequence[Cheat]) -> list[Row]:
        """A row for each cheat, and one for whatever of the honest side changed meanwhile."""
        rows: list[Row] = []
        for number, cheat in enumerate(suite):
            self.advance(cheat.name)
            rows.append(self._row(len(rows), cheat))
            if number % GROUP == GROUP - 1:
                rows += self._look()
        return self._settle([*rows, *self._look()])

    def _row(self, number: int, cheat: Cheat) -> Row:
        outcomes = []
        for seed, split, mode in self._places(cheat):
            program = cheating(
                self.stage.problem.seeds[seed],
                self.stage.problem.spec,
                cheat.kit,
                cheat.name,
                self._facts(seed, split),
                behaviours.MODULES if cheat.kit == "behaviours" else ("numpy",),
                mode,
            )
            outcome, finding = self._play(number, program, seed, split)
            if finding:
                text = f"{finding} (around '{seed}', {split})"
                return Row("program", cheat.name, cheat.tries, outcome, text, cheat.kit)
            outcomes.append(outcome)
        outcome = outcomes[0] if outcomes else "does not apply"
        return Row("program", cheat.name, cheat.tries, outcome, kit=cheat.kit)

    def _places(self, cheat: Cheat) -> Iterator[tuple[str, Split, str]]:
        """Around which seeds, on which splits, and how: the baseline on the first, the best seed on the last.

        Nowhere if the problem has nothing that the cheat spoils.
        """
        stage = self.stage
        if cheat.interactive and not stage.interactive:
            return
        places = [(stage.carriers[0], stage.splits[0]), (stage.carriers[-1], stage.splits[-1])]
        found = [
            (*place, mode)
            for place, mode in zip(places, self._modes(cheat), strict=True)
            if cheat.kit != "corruptions" or any(_spoils(cheat.name, value) for value in self._honest[mode])
        ]
        yield from list(dict.fromkeys(found))[: 1 if cheat.once else None]

    def _modes(self, cheat: Cheat) -> tuple[str, str]:
        """At which calls; see carrier.py. Behind a harness a program answers what the harness could."""
        if self.stage.problem.spec.harness is None:
            return "always", "once" if self.stage.interactive else "always"
        return "harness", "always" if cheat.kit == "behaviours" else "batch"

    @cached_property
    def _honest(self) -> dict[str, list[Any]]:
        """What a program gives at a call, by the mode: decisions, answers of an interactive problem, or batches."""
        values = [
            taken.value
            for name in self.stage.carriers
            for split in self.stage.splits
            for taken in self.stage.honest[name][split].taken
        ]
        single = values
        if self.stage.interactive:
            single = list({repr(answer): answer for value in values for answer in value}.values())
        return {"always": single, "once": single, "harness": single, "batch": [values]}

    def _facts(self, seed: str, split: Split) -> dict[str, Any]:
        problem = self.stage.problem
        claims = self.stage.claims(seed, split)
        at_once = len(claims) if problem.spec.harness is not None else 1
        sleep = 1.5 * wall_limit(at_once * self.stage.patient.spec.limits.cpu_s)
        return self.watch.facts() | {
            "claims": claims,
            "frames": frames(claims[0]),
            "keys": self._keys,
            "parameters": list(problem.spec.entry.parameters),
            "objective": problem.spec.objective.name,
            "jailed": jailed_modules(),
            "long_s": sleep if sleep <= LONG_S else 0.05,
        }

    def _play(self, number: int, program: Candidate, seed: str, split: Split) -> tuple[str, str]:
        """What came of it, and the finding if there is one."""
        self.played += 1
        try:
            found = self.stage.play(program, split)
        except JailError as error:
            return "the jail broke", f"the jail broke: {error}"
        traces = self.watch.traces()
        if traces:
            return "a trace is left", f"it leaves a trace: {'; '.join(traces)}"
        return self._judge(number, found, self.stage.honest[seed][split])

    def _judge(self, number: int, found: Played, honest: Played) -> tuple[str, str]:
        if found.evaluation is None:
            return "the run stops", f"it stops the run: {found.fault}"
        if self.watch.token in found.evaluation.feedback:
            return "a leak", found.evaluation.feedback.partition(self.watch.token)[2].partition(", in ")[
                0
            ].strip()
        if not found.evaluation.feedback.replace("\n", "").isprintable():
            return "control characters", "its control characters reach the feedback, and with it the terminal"
        return refusal(found.evaluation), self._gained(number, found, honest)

    def _gained(self, number: int, found: Played, honest: Played) -> str:
        """The finding, if a decision that was taken is worth more than the honest one and should not be."""
        assert found.evaluation is not None  # `_judge` looked
        before = {taken.index: taken for taken in honest.taken}
        for taken in found.taken:
            own = before[taken.index]
            reference = Honest(own.split, own.index, own.value, own.objective)
            if finding := accepted(self.stage, reference, taken.value, taken.objective):
                return finding
            if found.evaluation.ok and self.stage.gain(taken.objective, own.objective):
                self.suspects.append(_Suspect(number, taken))
        return ""

    def _look(self) -> list[Row]:
        """Honest scores and the problem's files after some cheats: a row only where something changed."""
        stage, rows = self.stage, []
        for name in stage.carriers:
            for split in stage.splits:
                before, now = stage.honest[name][split], stage.play(stage.problem.seeds[name], split)
                if _objectives(before) != _objectives(now):
                    text = f"the honest seed '{name}' scores differently on {split} after the cheats above"
                    rows.append(Row("program", "an honest program again", "a changed later score", "", text))
        if changed := self.watch.changed_files():
            text = f"files of the problem changed: {', '.join(changed[:3])}"
            rows.append(Row("program", "the problem's files again", "a file that is changed", "", text))
        return rows

    def _settle(self, rows: list[Row]) -> list[Row]:
        """Suspects are scored again, as plain data in a fresh process: a trick of theirs is gone there."""
        asked = [(suspect.taken.split, suspect.taken.index, suspect.taken.value) for suspect in self.suspects]
        objectives = pristine.ask(self.stage.problem, asked)[1] if asked else []
        for suspect, fresh in zip(self.suspects, objectives, strict=True):
            rows[suspect.row] = self._verdict(rows[suspect.row], suspect.taken, fresh)
        return rows

    def _verdict(self, row: Row, taken: Taken, fresh: float | str) -> Row:
        if isinstance(fresh, float) and abs(fresh - taken.objective) <= TOLERANCE * max(1.0, abs(fresh)):
            return replace(row, outcome="no trick: a better valid decision")
        name = self.stage.problem.split(taken.split)[taken.index].name
        text = f"its decision for {name} scored {taken.objective:.9g}; the same as plain data: {fresh}"
        return replace(row, finding=row.finding or text)


def _spoils(name: str, decision: Any) -> bool:
    try:
        corruptions.corrupt(name, decision, 0, np)
    except LookupError:
        return False
    return True


def _objectives(played: Played) -> object:
    """What an honest program is known by."""
    found = played.evaluation
    return played.fault if found is None else (found.status, found.objectives)


def _nothing(name: str) -> None:
    pass


def audit(
    problem: Problem,
    minimum: Level | str = Level.LANDLOCK_SECCOMP,
    splits: Sequence[Split] = (Split.TRAIN, Split.VALIDATION),
    advance: Callable[[str], None] = _nothing,
    suite: Sequence[Cheat] | None = None,
) -> Report:
    """Attack a problem's evaluator with everything in this package.

    Args:
        problem: any; only its contract is used.
        minimum: the weakest jail level to accept. At a level without seccomp programs do leave traces.
        splits: whose instances are used; never the holdout's, except to see that no split shares one.
        advance: told what comes next, `steps()` times.
        suite: the programs to play, all of `cheats()` if it is None.

    Raises:
        JailError: this machine has no jail that is strong enough.
    """
    start = time.monotonic()
    try:
        stage = Stage(problem, minimum, splits)
    except EvaluatorError as error:
        row = Row(
            "contract", "the baseline can be scored", "everything is measured against it", "", str(error)
        )
        return Report(problem.name, "", (row,), 0, 0, time.monotonic() - start)
    with stage, Watch(problem_files(problem), stage.waiting) as watch:
        rows = []
        for name in contract.CHECKS:
            advance(name)
            rows.append(contract.row(stage, name))
        advance("spoilt decisions")
        assault = Assault(stage)
        rows += assault.rows()
        watch.settle()
        programs = Programs(stage, watch, advance)
        rows += programs.rows(cheats() if suite is None else suite)
        level = str(stage.evaluator.jail.level)
    seconds = time.monotonic() - start
    return Report(problem.name, level, tuple(rows), programs.played, assault.asked, seconds)
