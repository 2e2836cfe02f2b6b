"""Keys of providers: from the environment, or from a `.env` that git ignores. Never stored, never shown."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from evolve.errors import ModelError

FILE = Path(".env")
VARIABLES = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


def find(variable: str) -> str:
    """A key by the name of its variable; "" if there is none. The environment goes before the file.

    Raises:
        ModelError: the file `.env` would be committed, or the value cannot be a key.
    """
    key = (os.environ.get(variable) or _from_file(variable)).strip()
    if not (key.isascii() and key.isprintable()):  # a client would quote it, in an error about its header
        raise ModelError(
            f"{variable} holds characters that no key has, line ends or letters beyond ASCII; set it anew"
        )
    return key


def _from_file(variable: str) -> str:
    if not FILE.is_file():
        return ""
    from dotenv import dotenv_values

    value = dotenv_values(FILE).get(variable)
    if value and _tracked():
        raise ModelError(
            f"{FILE} holds {variable}, and git does not ignore it: add the line `.env` to .gitignore first"
        )
    return value or ""


def _tracked() -> bool:
    """Whether git would commit the file. Without git, or outside of a repository, nothing is committed."""
    try:
        done = subprocess.run(
            ["git", "check-ignore", "--quiet", str(FILE)], capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 1  # 0 = ignored, 128 = no repository
