"""The work folder of one run: the problem as each system wants it, and the place where evaluations are noted."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import standin
from evolve import problem as problems
from evolve.evaluate import Evaluator
from evolve.problem import Problem
from evolve.records import Split

HERE = Path(__file__).parent


@functools.cache
def load(name: str) -> Problem:
    return problems.load(name)


@functools.cache
def _instances(name: str) -> list[dict[str, Any]]:
    """The training instances with all that scoring needs."""
    with Evaluator(load(name), "rlimits") as evaluator:
        scale = evaluator.scale(Split.TRAIN)
    return [
        {
            "arguments": {key: _plain(value) for key, value in instance.arguments.items()},
            "rest": {
                "facts": {key: _plain(value) for key, value in instance.facts.items()},
                "bound": instance.bound,
                "cpu_s": cpu_s,
                "scale": room,
            },
        }
        for instance, cpu_s, room in zip(scale.instances, scale.cpu_s, scale.scale, strict=True)
    ]


def _plain(value: Any) -> Any:
    return {"int64": value.tolist()} if isinstance(value, np.ndarray) else value


def prepare(place: Path, name: str, seed: str, apart: bool) -> Path:
    """Fill a folder for a run on a problem from one of its seeds; the folder of the problem's copy.

    apart: evaluations run programs in a process of their own (see judge.py).
    """
    problem = load(name)
    (place / "log").mkdir(parents=True)
    (place / "tmp").mkdir()
    task = {
        "entry": problem.spec.entry.function,
        "sign": problem.sign,
        "apart": apart,
        "instances": _instances(name),
    }
    (place / "task.json").write_text(json.dumps(task))
    (place / "statement.md").write_text(problem.statement)
    shutil.copyfile(HERE / "judge.py", place / "evaluator.py")
    shutil.copyfile(problem.folder / problem.spec.evaluator, place / "objective.py")
    source = standin.normal(problem.seeds[seed].files[problem.spec.program])
    (place / "initial.py").write_text(standin.framed(source))
    return _copy(problem, place / "problem")


def _copy(problem: Problem, place: Path) -> Path:
    """The problem folder with its evaluators and seeds, so that an attack on them harms nothing else."""
    folder = place / "problems" / problem.name
    shutil.copytree(problem.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for each in (problem.spec.evaluator, problem.spec.seeds):
        origin = (problem.folder / each).resolve()
        target = (folder / each).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            (shutil.copytree if origin.is_dir() else shutil.copyfile)(origin, target)
    return folder
