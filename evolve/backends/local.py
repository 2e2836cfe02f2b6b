"""The default backend, `loky`: threads of this process, each with a warm jail process of its own.

What joblib's loky would add here, a process around each jail, costs time and gives nothing: the jail is a process
already, and candidates run nowhere else. `python bench/backends.py` measures both.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Sequence

import msgspec

from evolve.backends.base import Host
from evolve.errors import BackendError
from evolve.problem import Problem
from evolve.settings import Settings
from evolve.workers import Workers


class LocalWorkers(Workers):
    """See base.Backend."""

    def __enter__(self) -> LocalWorkers:
        super().__enter__()
        return self

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
