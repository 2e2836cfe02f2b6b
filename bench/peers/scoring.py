"""Scores afterwards, the same for all: evolve's trusted evaluator on validation and on fresh instances."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.peers import stage, standin
from bench.peers.fresh import fresh
from evolve import program as programs
from evolve.evaluate import Evaluator
from evolve.records import Split


class Scores:
    """Remembers what it has scored, in a file."""

    def __init__(self, name: str, path: Path) -> None:
        self._name, self._path = name, path
        self._known: dict[str, list[float]] = json.loads(path.read_text()) if path.exists() else {}
        self._stack = ExitStack()
        self._evaluators: list[Evaluator] = []

    def __enter__(self) -> Scores:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._known))

    def of(self, source: str) -> tuple[float, float]:
        """Normalised scores on validation and on fresh instances; nan where the program fails there."""
        key = f"{self._name}/{standin.identity(source)}"
        if key not in self._known:
            problem = stage.load(self._name)
            if not self._evaluators:
                for each in (problem, fresh(problem)):
                    self._evaluators.append(self._stack.enter_context(Evaluator(each, "rlimits")))
            candidate = programs.make_candidate({problem.spec.program: source})
            found = [each.evaluate(candidate, Split.VALIDATION) for each in self._evaluators]
            self._known[key] = [each.score if each.ok else math.nan for each in found]
        validation, unseen = self._known[key]
        return validation, unseen

    def add(self, outcome: dict[str, Any]) -> None:
        """Put both scores beside each best program of an outcome."""
        for best in outcome["best"]:
            best["validation"], best["fresh"] = self.of(best["source"])
