"""Where the CPU time of a candidate goes, for those who are to improve it.

A program is run once more in the jail, on one instance of train, under a line tracer (jail/tracer.py). What comes back
is its own process's account, which it could forge: whole numbers are taken from it and nothing else, and they decide
no more than which of the program's own lines are quoted.
"""

from __future__ import annotations

import ast
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from evolve.errors import EvaluatorError, ProgramError
from evolve.jail import Answer, Dialogue, Hangup, Jail, Level, Limits, Session, encode_arguments
from evolve.jail.session import clean
from evolve.problem import Problem
from evolve.program import parse
from evolve.records import Candidate, Evaluation, Instance, Status
from evolve.scoring import Scale, Scoring

LONGEST_S = 0.3  # of CPU, for which a program is watched
ROWS = 2000  # lines that an account may have
LINES = 5  # that are told, and functions
LEAST = 0.02  # share of the time from which a line or a function is told
QUOTED = 90  # characters of a line
TRACER, FRONT = "evolve_tracer", "evolve_front.py"
_TELLING = frozenset({Status.OK, Status.TIMED_OUT})


@dataclass(frozen=True)
class Row:
    """Time spent in a line. seconds: of CPU, as the program's own process says."""

    file: str
    line: int
    seconds: float


class Profiler:
    """Watches programs in a jail of its own, which is started with the first one; for several threads in turns."""

    def __init__(self, problem: Problem, limits: Limits, level: Level, stop: Callable[[], bool]) -> None:
        """
        Args:
            limits, level: of the jail that evaluates.
            stop: once it is true, nobody waits for a profile any more.
        """
        tracer = Path(__file__).parent / "jail" / "tracer.py"
        self._problem = problem
        self._scoring = Scoring(problem)
        self._limits = replace(
            limits, libraries={**limits.libraries, TRACER: tracer.read_text(encoding="utf-8")}
        )
        self._level = level
        self._stop = stop
        self._lock = threading.Lock()

    @cached_property
    def _jail(self) -> Jail:
        return Jail(self._limits, level=self._level)

    def close(self) -> None:
        """End the jail, if one was started."""
        if "_jail" in self.__dict__:
            self._jail.close()

    def profile(self, candidate: Candidate, evaluation: Evaluation, scale: Scale, failed: int) -> str:
        """Where the time of a program goes, in a few lines; "" where that is not known or helps nobody.

        Args:
            evaluation: of the program, on train. One that ran to its end, or that was too slow, is watched.
            scale: of train.
            failed: index of the instance that it was too slow on, if it was.

        Raises:
            EvaluatorError: the simulator failed.
            JailError: the machine did.
        """
        if evaluation.status not in _TELLING:
            return ""
        index = failed if evaluation.status is Status.TIMED_OUT else _largest(scale)
        with self._lock:
            if self._stop():
                return ""
            told = self._watch(candidate, scale, index)
        found = rows(told, candidate.files)
        batch = f"the first {scale.batches[0]} instances" if scale.batches else ""
        return describe(found, candidate.files, batch or scale.instances[index].name) if found else ""

    def _watch(self, candidate: Candidate, scale: Scale, index: int) -> object:
        """What the program's process says of itself; None if it says nothing."""
        limit = scale.cpu_s[index] + 2 * LONGEST_S
        with self._session(candidate) as session:
            if self._problem.spec.entry.interactive:
                return self._converse(session, scale.instances[index], limit)
            # of a harness the first batch, whatever instance it was
            questions = [scale.questions[0 if scale.batches else index], encode_arguments([])]
            limits = [limit + sum(scale.cpu_s[: scale.batches[0]]) if scale.batches else limit, LONGEST_S]
            return _last(session.ask(questions, limits))

    def _session(self, candidate: Candidate) -> Session:
        files, program, entry = self._problem.loaded(candidate.files)
        front = (
            f"from {TRACER} import traced\nfrom {program.removesuffix('.py')} import {entry} as entry\n"
            f"{entry} = traced(entry, {sorted(candidate.files)!r}, {LONGEST_S})\n"
        )
        return self._jail.session({**files, FRONT: front}, FRONT, entry)

    def _converse(self, session: Session, instance: Instance, limit: float) -> object:
        with Dialogue(session, limit, self._problem.spec.limits.answer_bytes, self._stop) as dialogue:
            try:
                self._scoring.simulate(instance, dialogue.ask)
            except (Hangup, self._problem.evaluator.Invalid):
                pass  # a program that is broken off answers None
            except EvaluatorError:
                if not dialogue.over:
                    raise
            try:
                return dialogue.ask()
            except Hangup:
                return None


def _last(answers: Iterator[Answer]) -> object:
    value: object = None
    for answer in answers:
        value = answer.value if answer.failure is None else None
    return value


def _largest(scale: Scale) -> int:
    """The instance with the most data: the one that is most like what a limit is passed on."""
    if not scale.questions or scale.batches:
        return 0
    return max(range(len(scale.questions)), key=lambda index: len(scale.questions[index]))


def rows(told: object, files: Mapping[str, str]) -> list[Row]:
    """An account as far as it is one, most first; [] if it has any other form than the tracer's. It may be hostile."""
    if not isinstance(told, list) or len(told) > ROWS:
        return []
    names = sorted(files)
    lengths = [len(files[name].splitlines()) for name in names]
    found = []
    for row in told:
        if not isinstance(row, list) or len(row) != 3 or any(type(part) is not int for part in row):
            return []
        index, line, nanoseconds = row
        if not (0 <= index < len(names) and 1 <= line <= lengths[index] and 0 <= nanoseconds < 10**12):
            return []
        found.append(Row(names[index], line, nanoseconds / 1e9))
    return sorted(found, key=lambda each: -each.seconds)


def describe(found: Sequence[Row], files: Mapping[str, str], where: str) -> str:
    """The lines and the functions in which most of the time is spent, in words."""
    total = sum(row.seconds for row in found)
    if not total:
        return ""
    functions: Counter[str] = Counter()
    owners = {name: _owners(text) for name, text in files.items()}
    for row in found:
        functions[owners[row.file].get(row.line, "the module")] += row.seconds / total  # type: ignore[assignment]
    said = [f"Where its CPU time goes on {where}, by lines (with what they call in libraries):"]
    for row in found[:LINES]:
        if row.seconds >= LEAST * total:
            place = f"{row.file} line {row.line}" if len(files) > 1 else f"line {row.line}"
            owner = owners[row.file].get(row.line, "the module")
            said.append(
                f"- {row.seconds / total:.0%} {place}, in {owner}: {_quote(files[row.file], row.line)}"
            )
    if len(functions) > 1:
        most = [f"{name} {share:.0%}" for name, share in functions.most_common(LINES) if share >= LEAST]
        said.append(f"By function: {', '.join(most)}")
    return clean("\n".join(said))


def _quote(text: str, line: int) -> str:
    code = text.splitlines()[line - 1].strip()
    return code if len(code) <= QUOTED else f"{code[:QUOTED]}..."


def _owners(text: str) -> dict[int, str]:
    """The innermost function of each line that lies in one."""
    try:
        tree = parse(text)
    except ProgramError:
        return {}
    found: dict[int, str] = {}
    for node in ast.walk(tree):  # outer ones first
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[line] = node.name[:QUOTED]
    return found
