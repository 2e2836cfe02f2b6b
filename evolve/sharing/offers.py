"""What runs lay out for each other: one small file a run, replaced as a whole whenever something in it changes.

A file and no journal: an SQLite file in WAL mode must not be opened from another host, and a foreign database is much
to trust. It holds programs and no scores, since nobody believes the scores of others. Reading one takes nothing for
granted: whoever can write into the folder may have put anything there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Annotated

import msgspec

from evolve.records import MIGRANT, Member
from evolve.yields import SEED

FORMAT = 1
SUFFIX = ".json"
OFFERED = 8  # programs in a file
SOURCE_CHARACTERS = 40_000  # of one file of a program
OFFER_BYTES = 4_000_000
ENTRIES = 10_000  # of a folder that are looked at

_FILE = re.compile(
    r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}\.json", re.ASCII
)  # other names may be printed by nobody

Word = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.-]{1,100}\Z")]
Identity = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{1,64}\Z")]


class UnusableOffer(Exception):  # noqa: N818 - it ends where it is read, and no user meets it
    """A file that is no offer; the text says why."""


class Program(msgspec.Struct, frozen=True):
    """id, number: the candidate in its own run. files: those that a search may change, by name."""

    id: Identity
    number: Annotated[int, msgspec.Meta(ge=0, le=10**12)]
    files: dict[str, str]


class Origin(msgspec.Struct, frozen=True):
    """Whose programs they are. digest: of the problem, and so of all that scores depend on: limits, instances,
    evaluator."""

    run: Word
    host: Word
    problem: Word
    digest: Word

    @property
    def name(self) -> str:
        return f"{self.run} on {self.host}"


class Offer(msgspec.Struct, frozen=True):
    """What a run has to give, the best first."""

    origin: Origin
    programs: tuple[Program, ...]
    format: int = FORMAT


def word(text: str) -> str:
    """A name as an offer can hold it."""
    kept = "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "_" for each in text)
    return kept[:100] or "_"


def best_of(
    champion: Member | None, members: Iterable[Member], changing: Iterable[str]
) -> tuple[Program, ...]:
    """The champion and the best members on train, of those that came about in this run.

    Args:
        changing: names of the files that a search may change.
    """
    ranked = sorted(members, key=lambda member: (-member.score, member.candidate.number))
    first = [champion] if champion else []
    found = {member.candidate.id: member.candidate for member in (*first, *ranked)}
    names = tuple(changing)
    own = (each for each in found.values() if each.operator not in (SEED, MIGRANT))
    small = (each for each in own if all(len(each.files[name]) <= SOURCE_CHARACTERS for name in names))
    return tuple(
        Program(each.id, each.number, {name: each.files[name] for name in names})
        for each in islice(small, OFFERED)
    )


def write(folder: Path, name: str, offer: Offer) -> None:
    """Lay out an offer under a name of its own, wholly or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    aside = folder / f".{name}.tmp"
    aside.unlink(missing_ok=True)
    # a new file or none: somebody may have put a link there
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.encode(offer))
    aside.replace(folder / f"{name}{SUFFIX}")


def names(folder: Path, own: str) -> list[str]:
    """The offers of others in a folder, of its first `ENTRIES` entries.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        return [
            entry.name
            for entry in islice(entries, ENTRIES)
            if _FILE.fullmatch(entry.name) and entry.name != f"{own}{SUFFIX}"
        ]


def read(path: Path) -> Offer:
    """The offer in a file; never waits for a writer, and never reads more than an offer may be.

    Raises:
        UnusableOffer: it is none.
        OSError: it has gone, or cannot be read.
    """
    data = read_bytes(path, OFFER_BYTES)
    try:
        offer = msgspec.json.decode(data, type=Offer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableOffer(f"no offer ({str(error)[:200]})") from None
    if offer.format != FORMAT:
        raise UnusableOffer(f"an offer of format {offer.format}; this evolve reads format {FORMAT}")
    return offer


def read_bytes(path: Path, limit: int) -> bytes:
    """What a regular file of at most `limit` bytes holds.

    Raises:
        UnusableOffer: it is something else: a pipe, a device, a link, or larger.
        OSError: it has gone, or cannot be read.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise UnusableOffer("no regular file")
    # it may have been exchanged since: a link is not followed, and a pipe not waited for
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UnusableOffer("no regular file")
        data = file.read(limit + 1) if status.st_size <= limit else b""
    if status.st_size > limit or len(data) > limit:
        raise UnusableOffer(f"more than {limit} bytes")
    return data
