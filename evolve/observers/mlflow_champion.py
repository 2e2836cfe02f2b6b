"""Saves a champion as an MLflow model that asks the program in the jail (see mlflow_model.py)."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType

from evolve.observers import mlflow_model
from evolve.problem import Problem
from evolve.records import Candidate, Split

EXAMPLE_BYTES = 100_000  # a larger instance is not stored as the example
ANY = AnyType()  # type: ignore[no-untyped-call]
REQUIRED = ("mlflow", "msgspec", "numpy", "pandas")


class Champions:
    """Makes models of one problem's champions."""

    def __init__(self, problem: Problem, minimum: str) -> None:
        """
        Args:
            minimum: the weakest jail that a model may run in.

        Raises:
            EvaluatorError: the problem's instances cannot be made, or its simulator does not ask.
        """
        self._problem = problem
        instances = problem.split(Split.TRAIN)
        self._arguments = problem.example(instances[0])
        limits = problem.spec.limits
        judge = (problem.folder / problem.spec.evaluator).read_text(encoding="utf-8")
        cpu_s = max(instance.cpu_s or limits.cpu_s for instance in instances)
        self._contract = {
            "interactive": problem.spec.entry.interactive,
            # a question of a simulator that asks several functions begins with the name of the one that is asked
            "asked": problem.spec.entry.function if problem.spec.entry.also else "",
            "harness": problem.spec.harness is not None,
            "judge": judge if problem.spec.harness and problem.spec.harness.consults else "",
            "parameters": {name: _dtype(value) for name, value in self._arguments.items()},
            "limits": {
                "cpu_s": cpu_s,
                "memory_mb": limits.memory_mb,
                "load_s": limits.load_s,
                "answer_bytes": limits.answer_bytes,
                "imports": limits.imports,
                "libraries": problem.libraries,
            },
            "jail": minimum,
        }

    def save(self, candidate: Candidate, run: str, folder: Path) -> None:
        """Write the model of a candidate, for the artifacts of a run, to a folder that does not exist."""
        columns = Schema([ColSpec(ANY, name) for name in self._arguments])
        with TemporaryDirectory(prefix="evolve-") as place:
            program = Path(place) / "program"
            program.mkdir()
            files, main, function = self._problem.loaded(candidate.files)
            for name, text in files.items():
                (program / name).write_text(text, encoding="utf-8")
            contract = {**self._contract, "program": main, "function": function, "files": list(files)}
            (program / mlflow_model.CONTRACT).write_text(json.dumps(contract, indent=1), encoding="utf-8")
            mlflow.pyfunc.save_model(
                folder,
                mlflow_model=Model("model", run),
                python_model=mlflow_model.__file__,
                artifacts={"program": str(program)},
                # evolve itself is left out: it is no package of an index that MLflow could install from
                pip_requirements=[f"{name}=={version(name)}" for name in REQUIRED],
                signature=ModelSignature(columns, Schema([ColSpec(ANY)])),
                input_example=self._example(),
            )

    def _example(self) -> pd.DataFrame | None:
        arguments = mlflow_model.plain(self._arguments)
        small = len(json.dumps(arguments)) <= EXAMPLE_BYTES
        return pd.DataFrame([arguments]) if small else None


def _dtype(value: Any) -> str:
    return value.dtype.str if isinstance(value, np.ndarray) else ""
