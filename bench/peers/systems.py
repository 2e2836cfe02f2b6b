"""The systems that are compared, what is installed for each, and its arms: default settings, then its best."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evolve

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = ROOT / "runs" / "peers"  # runs/ is ignored by git
EVOLVE = "evolve"


@dataclass(frozen=True)
class System:
    """requirements: what pip installs, the system's own package first; none for evolve itself."""

    name: str
    requirements: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python" if self.requirements else Path(sys.executable)

    @property
    def folder(self) -> Path:
        return CACHE / "environments" / self.name

    @property
    def driver(self) -> Path:
        return HERE / "drivers" / f"drive_{self.name}.py"

    @property
    def installed(self) -> bool:
        return self.python.exists() and (not self.requirements or (self.folder / "installed").exists())

    @property
    def package(self) -> str:
        return self.requirements[0].partition("=")[0] if self.requirements else EVOLVE

    def version(self) -> str:
        if not self.requirements:
            return evolve.__version__
        code = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        shown = subprocess.run([self.python, "-c", code], capture_output=True, text=True)
        return shown.stdout.strip() or "?"


SYSTEMS = {
    system.name: system
    for system in (
        System(EVOLVE),
        System("openevolve", ("openevolve",)),
        System("shinkaevolve", ("shinka-evolve",)),
        System("skydiscover", ("skydiscover",)),
        System("gepa", ("gepa", "litellm<1.92", "numpy")),
    )
}
ABSENT = {
    "LEVI": "not in the package index (the package `levi` there is another project's); its README installs it "
    "from a clone"
}


@dataclass(frozen=True)
class Arm:
    """A system with settings. apart: its evaluator runs programs in a process of their own (judge.py).

    settings: for its driver. wide: more of them where the model is slow, for as many calls at a time as it can.
    note: what the settings are, for the table.
    """

    name: str
    system: System
    note: str
    settings: dict[str, Any] = field(default_factory=dict)
    wide: dict[str, Any] = field(default_factory=dict)
    apart: bool = False


_WIDE = 64  # asked for where a system can
ARMS = {
    arm.name: arm
    for arm in (
        Arm("evolve", SYSTEMS[EVOLVE], "default settings"),
        Arm(
            "evolve, best",
            SYSTEMS[EVOLVE],
            f"`--no-mlflow`; wide: `llm.in_flight={_WIDE}`, `llm.paced=false`",
            {"mlflow": False},
            {"in_flight": _WIDE, "set": ["llm.paced=false"]},
        ),
        Arm(
            "best-of-n",
            SYSTEMS[EVOLVE],
            "the control: every call is about the first program; evolve with `--archive best-of-n`",
            {"archive": "best-of-n", "mlflow": False},
        ),
        Arm("openevolve", SYSTEMS["openevolve"], "default settings"),
        Arm(
            "openevolve, best",
            SYSTEMS["openevolve"],
            f"`checkpoint_interval: 10`, no cascade; wide: `evaluator.parallel_evaluations: {_WIDE}` (a process each)",
            {"cascade": False, "checkpoint_interval": 10},
            {"parallel": _WIDE},
            apart=True,
        ),
        Arm(
            "shinkaevolve",
            SYSTEMS["shinkaevolve"],
            "default settings, without the embedding model (there is no endpoint for one)",
        ),
        Arm(
            "shinkaevolve, best",
            SYSTEMS["shinkaevolve"],
            "an evaluation script that does not import shinka, no meta-recommendations; wide: "
            f"`max_proposal_jobs={_WIDE}` with fixed oversubscription",
            {"light": True},
            {"proposals": _WIDE},
            apart=True,
        ),
        Arm("skydiscover", SYSTEMS["skydiscover"], "default settings (`topk`)"),
        Arm(
            "skydiscover, best",
            SYSTEMS["skydiscover"],
            "`--search adaevolve`, `checkpoint_interval: 1`; one call at a time is all that it does",
            {"search": "adaevolve", "checkpoint_interval": 1},
            apart=True,
        ),
        Arm("gepa", SYSTEMS["gepa"], "`optimize_anything`, single task, default settings"),
        Arm(
            "gepa, best",
            SYSTEMS["gepa"],
            "`cache_evaluation`; wide: `IndependentSampling(10)`, as its client asks ten at a time at most",
            {"cache": True},
            {"parallel": 10},
            apart=True,
        ),
    )
}


def install(system: System) -> str:
    """Make the environment of a system anew; "" or why it could not be installed."""
    if not system.requirements:
        return ""
    venv.create(system.folder, clear=True, with_pip=True)
    command = [str(system.python), "-m", "pip", "install", "--quiet", *system.requirements]
    done = subprocess.run(["nice", "-n", "15", *command], capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    (system.folder / "installed").write_text(json.dumps({"requirements": system.requirements}))
    return ""


def environment(place: Path) -> dict[str, str]:
    """What a driver sees of this process's environment, and a key that is worth nothing."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    keys = {"OPENAI_API_KEY": "none", "EVOLVE_MODEL_KEY": "none", "LOCAL_OPENAI_API_KEY": "none"}
    return {**kept, **quiet, **keys, "TMPDIR": str(place / "tmp"), "MLFLOW_DISABLE_TELEMETRY": "true"}
