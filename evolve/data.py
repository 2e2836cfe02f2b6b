"""Real data in place of a problem's generator: the file or folder that --data names, and a digest of its content."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evolve.errors import ProblemError, UsageError

_GZIP = b"\x1f\x8b"  # what its files begin with
MOST_BYTES = 2**28  # of a text, unpacked: what a reader holds in memory several times over


@dataclass(frozen=True)
class Data:
    """Where instances come from. path: absolute. digest: of all that is there, so that a change of it shows."""

    path: Path
    digest: str


def read(name: str | Path) -> Data:
    """The data at a path; of a folder all files below it, those with a name that begins with a dot left out.

    Raises:
        UsageError: nothing is there, or it cannot be read.
    """
    path = Path(name).resolve()
    if not path.exists():
        raise UsageError(f"--data {name}: no such file or folder")
    if not path.is_file() and not path.is_dir():
        raise UsageError(f"--data {name}: neither a file nor a folder")
    files = list(_files(path))
    if not files:
        raise UsageError(f"--data {name}: the folder holds no file")
    digest = hashlib.sha256()
    try:
        for file in files:
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").digest()
            digest.update(file.relative_to(path).as_posix().encode() + b"\0" + content)
    except OSError as error:
        raise UsageError(f"--data {name}: {error.filename} cannot be read: {error.strerror}") from None
    return Data(path, digest.hexdigest()[:16])


def text(path: Path) -> str:
    """The text of a file of data, unpacked where gzip has compressed it; for the readers of problems.

    Raises:
        ProblemError: naming the file, which is a folder, empty, broken, too large, or no text.
    """
    try:
        with path.open("rb") as opened:
            packed = opened.read(len(_GZIP)) == _GZIP
            opened.seek(0)
            # bounded before it is read: a few bytes of gzip may stand for any amount of text
            content = (gzip.GzipFile(fileobj=opened) if packed else opened).read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ProblemError(f"{path}: more than {MOST_BYTES >> 20} MB of text; cut it into parts")
        found = content.decode("utf-8-sig")
    except IsADirectoryError:
        raise ProblemError(f"{path}: a folder; name one file in it") from None
    except UnicodeDecodeError as error:
        raise ProblemError(f"{path}: no text ({error.reason} at byte {error.start})") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ProblemError(f"{path}: cannot be read: {error}") from None
    if not found.strip():
        raise ProblemError(f"{path}: the file is empty")
    return found


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for below in sorted(path.rglob("*")):
        if below.is_file() and not any(part.startswith(".") for part in below.relative_to(path).parts):
            yield below
