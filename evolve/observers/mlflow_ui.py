"""Opens the MLflow UI on the runs' store."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from evolve.errors import UsageError
from evolve.observers.mlflow import HOST, PORT, environment


def ui_command(store: str, port: int = PORT) -> list[str]:
    """The command that serves the MLflow UI of an SQLite store on this machine alone.

    Raises:
        UsageError: there is no store yet, or it is no SQLite file.
    """
    if not store.startswith("sqlite:///"):
        raise UsageError(f"the MLflow store {store} is no SQLite file; open it with its own server")
    file = Path(store.removeprefix("sqlite:///"))
    if not file.is_file():
        raise UsageError(f"{file}: no MLflow store yet; `evolve run PROBLEM` fills one")
    root = str(file.absolute().parent / "mlartifacts")
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    return [*command, "--backend-store-uri", store, "--artifacts-destination", root]


def open_ui(store: str, port: int = PORT) -> NoReturn:
    """Serve the MLflow UI until Ctrl-C. This process becomes the server, so that none is left behind.

    Raises:
        UsageError: see `ui_command`.
    """
    command = ui_command(store, port)
    sys.stdout.flush()
    os.execve(command[0], command, environment())
