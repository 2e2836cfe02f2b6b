"""The default backend, `loky`: threads of this process, each with a warm jail process of its own.

What joblib's loky would add here, a process around each jail, costs time and gives nothing where a candidate is handed
its instances: the jail is a process already, and candidates run nowhere else (`python bench/backends.py` measures
both). Where a simulator talks with the candidate, each of several threads has a process for that (see process.py).
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections import deque
from collections.abc import Sequence
from functools import cached_property

import msgspec

from evolve.backends.base import Host
from evolve.backends.process import EvaluatorProcess, Setup
from evolve.errors import BackendError
from evolve.problem import Problem
from evolve.records import Evaluation, Split
from evolve.search import Task
from evolve.settings import Settings
from evolve.workers import Workers


class LocalWorkers(Workers):
    """See base.Backend."""

    _processes: Sequence[EvaluatorProcess] = ()

    @cached_property
    def _apart(self) -> bool:
        """Whether each thread has a process."""
        return self.count > 1 and self._problem.spec.converses

    def __enter__(self) -> LocalWorkers:
        super().__enter__()
        if self._apart:
            setup = self._setup()
            self._processes = [
                EvaluatorProcess(setup, self._seen, self._cancelled) for _ in range(self.count)
            ]
            self._free = deque(self._processes)
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()
        for process in self._processes:
            process.stop()
        super().__exit__(*error)
        for process in self._processes:
            process.close()

    def cancel(self) -> None:
        super().cancel()
        for process in self._processes:
            process.cancel()

    def _evaluate(self, task: Task) -> Evaluation:
        if not self._apart:
            return super()._evaluate(task)
        if not hasattr(self._local, "process"):
            self._local.process = self._free.popleft()
        process: EvaluatorProcess = self._local.process
        return process.evaluate(task)

    def _setup(self) -> Setup:
        the_problem, first = self._problem, self._evaluators[0]
        return Setup(
            str(the_problem.folder),
            str(the_problem.data.path) if the_problem.data else "",
            the_problem.digest,
            {split: list(first.scale(split).baseline) for split in (Split.TRAIN, Split.VALIDATION)},
            str(self._minimum),
            self._describe,
            self._profiled,
            str(self._cache.path) if self._cache else "",
        )

    def hosts(self) -> Sequence[Host]:
        levels = {str(evaluator.jail.level) for evaluator in self._evaluators[:1]}
        return [Host(platform.node(), "".join(levels), self.count)]

    def remarks(self) -> Sequence[str]:
        return ()


def within_gpus(the_problem: Problem, the_settings: Settings) -> Settings:
    """No more workers than GPUs, where the problem needs one: two evaluations on the same would disturb each other.

    Raises:
        BackendError: the problem needs a GPU, and there is none.
    """
    if not the_problem.spec.needs:
        return the_settings
    found = gpus()
    if not found:
        raise BackendError(
            f"{the_problem.name} needs a GPU, and this machine has none that nvidia-smi lists; "
            f"use a cluster that has: --dask ADDRESS or --ray ADDRESS (see docs/scaling.md)"
        )
    return msgspec.structs.replace(the_settings, workers=min(the_settings.workers, found))


def gpus() -> int:
    """GPUs of this machine, as nvidia-smi lists them."""
    if shutil.which("nvidia-smi") is None:
        return 0
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.count("GPU ") if done.returncode == 0 else 0
