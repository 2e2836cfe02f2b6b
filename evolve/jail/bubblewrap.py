"""The bubblewrap command line: namespaces of its own, and a file system that holds Python alone."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/etc/ld.so.cache")


def installed() -> str | None:
    """Path of the program, if it is here."""
    return shutil.which("bwrap")


def _hide_project(folders: Sequence[str]) -> list[str]:
    """Covers the project where it is installed beside numpy, with its problems and their instances."""
    hidden = [os.path.join(folder, "evolve") for folder in folders]
    return [word for path in hidden if os.path.isdir(path) for word in ("--tmpfs", path)]


def command(site_folders: Sequence[str], jail_folder: str) -> list[str]:
    """The words before the program to run. No --die-with-parent: see Zygote._spawn.

    Raises:
        FileNotFoundError: bubblewrap is not installed.
    """
    program = installed()
    if program is None:
        raise FileNotFoundError("bubblewrap is not installed")
    prefix = sys.base_prefix
    roots = [path for path in _SYSTEM if os.path.exists(path)]
    if prefix != "/usr":
        roots.append(prefix)
    roots.append(os.path.dirname(os.path.realpath(sys.executable)))
    binds = [word for path in (*roots, *site_folders) for word in ("--ro-bind", path, path)]
    return [
        program,
        *("--unshare-all", "--new-session", "--cap-drop", "ALL", "--chdir", "/", "--hostname", "jail"),
        *binds,
        *_hide_project([*site_folders, os.path.join(os.path.dirname(os.__file__), "site-packages")]),
        *("--ro-bind", jail_folder, jail_folder),
        *("--dev", "/dev", "--remount-ro", "/dev", "--proc", "/proc", "--remount-ro", "/"),
        "--",
    ]
