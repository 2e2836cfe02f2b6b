"""Where candidates are evaluated: base.py says what a backend is, local.py is the default, crew.py conducts a cluster
through on_dask.py or on_ray.py, station.py is the worker's side of that."""

from __future__ import annotations

import importlib.util
import os
from functools import partial

from evolve.backends.base import Backend, Host
from evolve.cache import Cache
from evolve.errors import UsageError
from evolve.problem import Problem
from evolve.settings import BackendSettings, Settings
from evolve.trial import Seen

__all__ = ["Backend", "Host", "check", "make_backend"]

MODULES = {"dask": "distributed", "ray": "ray"}  # what an engine needs to be installed


def check(chosen: BackendSettings) -> None:
    """Whether what a backend needs is installed.

    Raises:
        UsageError: it is not; with the command that installs it.
    """
    module = MODULES.get(chosen.kind)
    if module and importlib.util.find_spec(module) is None:
        raise UsageError(
            f"--backend {chosen.kind}: '{module}' is not installed; pip install 'evolve[{chosen.kind}]', "
            f"on the hosts of the workers, too"
        )


def make_backend(
    the_problem: Problem,
    the_settings: Settings,
    seen: Seen,
    cache: Cache | None = None,
    profiled: bool = False,
) -> Backend:
    """The backend that the settings name; to be entered.

    Args:
        cache: evaluations of earlier runs. Workers of a cluster have none.
        profiled: somebody wants to read where a program's CPU time goes.

    Raises:
        UsageError: what it needs is not installed.
        BackendError: the problem needs a GPU, and there is none.
    """
    chosen = the_settings.backend
    check(chosen)
    if chosen.kind == "loky":
        from evolve.backends.local import LocalWorkers, within_gpus

        return LocalWorkers(the_problem, within_gpus(the_problem, the_settings), seen, cache, profiled)
    from evolve.backends.crew import Crew

    needs = "gpu" in the_problem.spec.needs
    if chosen.kind == "dask":
        from evolve.backends.on_dask import DaskEngine

        connect = partial(DaskEngine, chosen.address, the_settings.workers, needs)
        return Crew(the_problem, the_settings, seen, connect, profiled)
    if not chosen.address:
        # read when Ray is imported: a cluster of this machine alone is then on loopback alone
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    from evolve.backends.on_ray import RayEngine

    connect_ray = partial(RayEngine, chosen.address, the_settings.workers, needs)
    return Crew(the_problem, the_settings, seen, connect_ray, profiled)
