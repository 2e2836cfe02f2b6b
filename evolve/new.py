"""Writes a complete small problem folder to start from."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from evolve.errors import UsageError

TEMPLATES = Path(__file__).parent / "templates" / "problem"


def create(directory: Path) -> list[Path]:
    """Write a problem folder that runs as it is: sequencing jobs by weighted completion time.

    Args:
        directory: created if it does not exist; the problem is named after it.

    Returns:
        The files written, in alphabetical order.

    Raises:
        UsageError: the directory is not empty, or cannot be written.
    """
    names = {"name": problem_name(directory), "where": directory.as_posix()}
    sources = [path for path in sorted(TEMPLATES.rglob("*")) if path.suffix in {".md", ".py", ".toml"}]
    try:
        if directory.exists() and any(directory.iterdir()):
            raise UsageError(f"{directory}: not empty; name a directory that does not exist yet")
        return [_write(source, directory / source.relative_to(TEMPLATES), names) for source in sources]
    except NotADirectoryError:
        raise UsageError(f"{directory}: a file of that name is in the way; name another directory") from None
    except OSError as error:
        raise UsageError(f"{directory}: cannot be written: {error.strerror}") from None


def problem_name(directory: Path) -> str:
    """A problem's name made from its directory's: letters, digits and _, a letter first."""
    words = re.findall(r"[a-z0-9]+", directory.resolve().name.lower())
    name = "_".join(words)
    return name if name[:1].isalpha() else f"problem_{name}".rstrip("_")


def _write(source: Path, target: Path, names: dict[str, str]) -> Path:
    text = source.read_text(encoding="utf-8")
    if source.suffix != ".py":
        text = Template(text).substitute(names)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target
