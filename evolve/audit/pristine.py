"""Scores decisions in a fresh process, where nothing ran before: what a decision is worth as plain data."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from evolve import problem as problems
from evolve.audit.episodes import worth
from evolve.errors import EvaluatorError
from evolve.jail import Hangup, encode_arguments, wire
from evolve.problem import Problem
from evolve.records import Instance, Split
from evolve.scoring import Scoring

TIMEOUT_S = 120.0
Question = tuple[Split, int, Any]
"""A split, the position of an instance in it, and a decision for it (or an episode, see episodes.py)."""


def digest(instances: Sequence[Instance]) -> str:
    """Hash of what the instances of a split hold: names, arguments, bounds, limits; facts where all is in them.

    Raises:
        WireError: an argument cannot cross the jail's wall.
    """
    found = hashlib.sha256()
    for instance in instances:
        found.update(f"{instance.name} {instance.bound!r} {instance.cpu_s!r}\0".encode())
        found.update(seen(instance))
    return found.hexdigest()


def seen(instance: Instance) -> bytes:
    """What makes an instance another one: its arguments, or in an interactive problem, which has none, its facts.

    Raises:
        WireError: an argument cannot cross the jail's wall.
    """
    arguments = list(instance.arguments.values())
    return encode_arguments(arguments) if arguments else problems.content(instance)


def ask(problem: Problem, questions: Sequence[Question]) -> tuple[dict[str, str], list[float | str]]:
    """Loads the problem in a new process and scores the decisions there.

    Returns:
        The digest of every split by its name; and for each question the objective, or why there is none.

    Raises:
        EvaluatorError: the problem fails there, or takes more than two minutes.
    """
    frame = encode_arguments([[str(split), index, decision] for split, index, decision in questions])
    command = [sys.executable, "-m", "evolve.audit.pristine", str(problem.folder)]
    environment = os.environ | {"PYTHONHASHSEED": "12345"}  # nothing may depend on the order of a set
    try:
        done = subprocess.run(
            command, input=frame, capture_output=True, check=False, env=environment, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise EvaluatorError(f"{problem.folder}: no answer in a fresh process in {TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise EvaluatorError(f"{problem.folder}: it fails in a fresh process: {last}")
    reply = json.loads(done.stdout.rpartition(b"\n")[2])
    return reply["digests"], reply["objectives"]


def _objective(scoring: Scoring, instance: Instance, decision: Any) -> float | str:
    try:
        return worth(scoring, instance, decision)[1]
    except scoring.problem.evaluator.Invalid as error:
        return str(error)
    except Hangup:
        return "more questions are asked than before"


def main(folder: str) -> None:
    """Answers what stands on stdin, on the last line of stdout."""
    problem = problems.load(folder)
    scoring = Scoring(problem)
    data = sys.stdin.buffer.read()[wire.HEADER.size :]
    _, questions = wire.decode(data, structure_limit=len(data))
    digests = {str(split): digest(problem.split(split)) for split in problem.splits}
    objectives = [
        _objective(scoring, problem.split(Split(split))[index], decision)
        for split, index, decision in questions
    ]
    print("\n" + json.dumps({"digests": digests, "objectives": objectives}), end="")


if __name__ == "__main__":
    main(sys.argv[1])
