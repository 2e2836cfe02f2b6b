"""The MLflow model of a champion: a thin wrapper that asks the program in the jail, never outside it.

MLflow copies this file into the model and runs it on loading (a model from code: nothing is pickled). It
needs evolve to be importable; the jail is built as strong as the search that found the program demanded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from evolve.errors import EvolveError
from evolve.jail import Dialogue, Hangup, Jail, Level, Limits, Session, encode_arguments

CONTRACT = "contract.json"


class JailedProgram(PythonModel):
    """Answers instances, given as a data frame with a column for each parameter, one instance a row.

    The rows of an interactive problem are the questions of one instance, in order.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the program and its contract; nothing runs yet."""
        folder = Path(context.artifacts["program"])
        self._contract = json.loads((folder / CONTRACT).read_text(encoding="utf-8"))
        names = self._contract["files"]
        self._files = {name: (folder / name).read_text(encoding="utf-8") for name in names}

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[Any]:
        """The decisions of the program, one for each row.

        Raises:
            EvolveError: a parameter is missing, or the program failed on an instance.
            JailError: this machine cannot build the jail.
        """
        contract = self._contract
        arguments = [self._arguments(row) for row in model_input.to_dict("records")]
        # a harness is asked about a batch of instances, here of one
        questions = [[[each]] if contract["harness"] else each for each in arguments]
        if contract["asked"]:
            questions = [[contract["asked"], *each] for each in questions]
        limits = Limits(**{**contract["limits"], "imports": tuple(contract["limits"]["imports"])})
        jail = Jail(limits, minimum=Level(contract["jail"]))
        if contract["judge"]:
            with jail:
                return [self._confer(jail, each) for each in arguments]
        with jail, jail.session(self._files, contract["program"], contract["function"]) as session:
            if contract["interactive"]:
                return self._converse(session, limits, questions)
            frames = [encode_arguments(question) for question in questions]
            return [
                self._decision(answer.value, answer.failure)
                for answer in session.ask(frames, [limits.cpu_s] * len(questions))
            ]

    def _converse(self, session: Session, limits: Limits, questions: list[list[Any]]) -> list[Any]:
        with Dialogue(session, limits.cpu_s, limits.answer_bytes) as dialogue:
            try:
                answers = [dialogue.ask(*question) for question in questions]
            except Hangup:
                answers = []
            dialogue.finish()
        return [self._decision(answer, dialogue.failure) for answer in answers or [None]]

    def _confer(self, jail: Jail, arguments: list[Any]) -> object:
        """The decision of a program that asks the problem's evaluator on its way to it."""
        judge: dict[str, Any] = {"__name__": "judge"}
        exec(compile(self._contract["judge"], "judge", "exec"), judge)  # the problem's own, as in the search
        named = dict(zip(self._contract["parameters"], arguments, strict=True))
        instance, counted = SimpleNamespace(arguments=named, facts={}, group={}, bound=0.0), count(1)
        with (
            jail.session(self._files, self._contract["program"], self._contract["function"]) as session,
            Dialogue(session, jail.limits.cpu_s, jail.limits.answer_bytes, asides=True) as dialogue,
        ):
            try:
                answer = dialogue.confer(
                    [[arguments]], lambda asked: judge["consult"](instance, asked, next(counted))
                )
            except Hangup:
                answer = None
            except judge["Invalid"] as error:
                raise EvolveError(f"the program failed (invalid): {error}") from None
            dialogue.finish()
        return self._decision(answer, dialogue.failure)

    def _arguments(self, instance: Mapping[str, Any]) -> list[Any]:
        parameters: Mapping[str, str] = self._contract["parameters"]
        missing = [name for name in parameters if name not in instance]
        if missing:
            raise EvolveError(f"no column '{missing[0]}'; the program takes: {', '.join(parameters)}")
        return [_argument(instance[name], dtype) for name, dtype in parameters.items()]

    def _decision(self, value: object, failure: Any) -> object:
        if failure is not None:
            raise EvolveError(f"the program failed ({failure.status}): {failure.feedback}")
        if self._contract["harness"]:
            if not (isinstance(value, list) and len(value) == 1):
                raise EvolveError("the program failed: the answer is no list of 1 decision")
            return plain(value[0])
        return plain(value)


def _argument(value: object, dtype: str) -> Any:
    """An argument as the search gave it: an array of a dtype, or a plain value."""
    value = plain(value)
    return np.asarray(value, dtype) if dtype else value


def plain(value: Any) -> Any:
    """Arrays as nested lists, numpy scalars as Python's."""
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [plain(item) for item in value]
    return value


set_model(JailedProgram())
