"""What this machine offers: the jail's level and how it stands its own attacks, versions, stores, keys by name."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evolve import __version__
from evolve.backends import MODULES
from evolve.jail.attacks import AttackResult, breaches, layer, self_attack
from evolve.jail.level import Level
from evolve.jail.probe import machine
from evolve.models import keys
from evolve.models.checkup import check
from evolve.settings import JailSettings, available_cores

KEYS = tuple(keys.VARIABLES.values())
PACKAGES = ("anthropic", "click", "joblib", "mlflow", "msgspec", "numpy", "openai", "pandas", "rich")
MISSING = "missing"


def examine(models: Sequence[str] | None = None) -> dict[str, Any]:
    """Facts for `evolve doctor --json`; `findings` is empty where all is well. Keys are named, never shown.

    Args:
        models: to be asked one cheap question each; () = the default model of each key; None = no call is made.
    """
    found = machine()
    attacks = self_attack(found.level) if found.level else []
    minimum = JailSettings().minimum
    findings = _attack_findings(found.level, attacks)
    if found.level is None or found.level < minimum:
        findings.append(f"the jail's level is below the default minimum '{minimum}'")
    asked = None if models is None else check(models)
    findings += [f"model {each.model}: {each.fault}" for each in asked or () if each.fault]
    return {
        "jail": str(found.level) if found.level else None,
        "missing": list(found.missing),
        "attacks": [asdict(attack) for attack in attacks],
        "versions": {
            "evolve": __version__,
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        }
        | {name: _version(name) for name in PACKAGES},
        "backends": {name: _version(module) for name, module in MODULES.items()},
        "cores": available_cores(),
        "gpu": shutil.which("nvidia-smi") is not None,
        "keys": {name: bool(keys.find(name)) for name in KEYS},
        "models": None if asked is None else [asdict(each) for each in asked],
        "mlflow": os.environ.get("MLFLOW_TRACKING_URI") or "SQLite file in ./runs",
        "findings": findings,
    }


def _attack_findings(level: Level | None, attacks: Sequence[AttackResult]) -> list[str]:
    """One for each attack that this level should stop; a weaker level is known to be open, and says so once."""
    through = sum(not attack.stopped for attack in attacks)
    if level is None or not through:
        return []
    if not level.filters:
        return [f"{through} of {len(attacks)} attacks get through the jail at level '{level}'"]
    return [f"attack '{attack.name}' got through: {attack.by}" for attack in breaches(level, attacks)]


def print_examination(facts: dict[str, Any], console: Console) -> None:
    """The facts as tables."""
    table = Table(title="jail: attacks on itself", title_justify="left", header_style="bold")
    for column in ("attack", "", "stopped by"):
        table.add_column(column)
    for theme, attacks in groupby(facts["attacks"], key=lambda attack: attack["theme"]):
        table.add_section()
        table.add_row(Text(theme, style="bold"))
        for attack in attacks:
            mark = Text("stopped", "green") if attack["stopped"] else Text("GOT THROUGH", "bold red")
            by = layer(Level(facts["jail"]), attack["by"]) if attack["stopped"] else attack["by"]
            table.add_row(attack["name"], mark, Text(by[:50]))
    console.print(table)
    stopped = sum(attack["stopped"] for attack in facts["attacks"])
    console.print(
        f"jail level: [bold]{facts['jail']}[/], {stopped} of {len(facts['attacks'])} attacks stopped"
    )
    for missing in facts["missing"]:
        console.print(Text(f"  for a stronger level: {missing}"))
    console.print(
        "versions: " + ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    )
    for name, version in facts["backends"].items():
        there = f"{version}: evolve run PROBLEM --backend {name}, or --{name} ADDRESS"
        lacking = f"not installed; clusters are not needed (pip install 'evolve[{name}]')"
        console.print(Text(f"backend {name}: {lacking if version == MISSING else there}"), soft_wrap=True)
    console.print(f"cores: {facts['cores']}   GPU: {'yes' if facts['gpu'] else 'none found; not needed'}")
    keys = ", ".join(f"{name} {'is set' if there else 'is not set'}" for name, there in facts["keys"].items())
    console.print(f"keys: {keys} (the genetic proposer needs none)")
    if facts["models"] is not None:
        _print_models(facts["models"], console)
    console.print(f"MLflow store: {facts['mlflow']}")
    for finding in facts["findings"]:
        console.print(Text(f"finding: {finding}", style="bold red"))


def _print_models(checked: Sequence[dict[str, Any]], console: Console) -> None:
    if not checked:
        console.print("models: none to ask; give a key, or --model")
    for each in checked:
        price = "price unknown" if each["dollars"] is None else f"${each['dollars']:.6f}"
        how = f"{each['latency_s']:.1f} s, {each['tokens']} tokens, {price}"
        console.print(Text(f"model {each['model']}: {each['fault'] or how}"), soft_wrap=True)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return MISSING
