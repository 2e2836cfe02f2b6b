"""Runs evolve as its user would; becomes its command line."""

import json
import os
import sys
from pathlib import Path

order = json.loads(Path(sys.argv[1]).read_text())
settings, place = order["settings"], Path(order["place"])
command = [sys.executable, "-m", "evolve.cli"]
if order["resume"]:
    command += ["resume", str(place / "out"), "--evaluations", str(order["calls"] + 1)]
else:
    command += [
        "run",
        order["problem"],
        "--model",
        f"{order['url']}#stand-in",
        "--seeds",
        order["seed_program"],
    ]
    command += ["--evaluations", str(order["calls"] + 1), "--seed", str(order["seed"]), "--no-cache"]
    command += ["--out", str(place / "out"), "--set", f"mlflow.store=sqlite:///{place}/mlflow.db"]
    if "in_flight" in settings:
        command += ["--set", f"llm.in_flight={settings['in_flight']}"]
    for override in settings.get("set", ()):
        command += ["--set", override]
    if "archive" in settings:
        command += ["--archive", settings["archive"]]
    if not settings.get("mlflow", True):
        command += ["--no-mlflow"]
os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": order["root"]})
