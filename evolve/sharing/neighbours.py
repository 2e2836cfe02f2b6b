"""Giving and taking while a search goes on: a thread of its own reads and writes, the search never waits for it."""

from __future__ import annotations

import bisect
import hashlib
import os
import platform
import queue
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from evolve.errors import ProgramError, UsageError
from evolve.jail.session import clean
from evolve.journal import Journal
from evolve.problem import Problem
from evolve.records import Candidate
from evolve.settings import ShareSettings
from evolve.sharing import offers
from evolve.sharing.gate import Gate
from evolve.sharing.offers import Offer, Origin, Program, UnusableOffer

REMARKS = 20  # after which no more is said of what lies in the folder
NAME_NOTE = "share"  # in the journal: under which name the run lays out its offers
INBOX = "inbox"  # in the run's folder: where offers from a store are put
LEAVE_S = 3.0  # at the end, for the last offer to be written
LOOK_BYTES = 4 * offers.OFFER_BYTES  # that a look reads at most
LOOK_FILES = 1000  # that a look asks the file system about at most

Stamp = tuple[int, int, int]


def prepare(folder: str) -> None:
    """Make sure that a folder can be shared through.

    Raises:
        UsageError: it cannot be made, read or written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--share {folder}: the folder cannot be made ({error}); name another one") from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(f"--share {folder}: the folder cannot be read and written; name another one")


def join(
    share: ShareSettings, problem: Problem, journal: Journal, knows: Callable[[str], bool]
) -> Neighbours:
    """A run among those that it shares candidates with.

    Args:
        knows: whether the run has a candidate of this id.
    """
    if not journal.meta(NAME_NOTE):
        journal.note(NAME_NOTE, secrets.token_hex(8))
    run = journal.path.parent
    folder = Path(share.folder) if share.folder else None
    inbox = [run / INBOX] if share.mlflow else []
    return Neighbours(
        [*([folder] if folder else []), *inbox],
        folder,
        journal.meta(NAME_NOTE),
        Origin(
            offers.word(run.resolve().name),
            offers.word(platform.node()),
            offers.word(problem.name),
            problem.digest,
        ),
        Gate(problem),
        share.count,
        knows,
    )


@dataclass
class _Look:
    """What a look may still do. programs: that go through the gate."""

    programs: int
    bytes: int = LOOK_BYTES
    files: int = LOOK_FILES

    @property
    def over(self) -> bool:
        return min(self.programs, self.bytes, self.files) <= 0


class Neighbours:
    """The other runs, as far as their offers lie in some folders.

    A look reads what has changed, one program of each neighbour at most and `count` in all, beginning where the last
    look ended; so nobody can keep the others from being heard, and a look does only so much. What arrives has
    passed the gate and no more: the search evaluates it like a program of its own.

    remarks: what the user should know, each once.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        gives_to: Path | None,
        name: str,
        origin: Origin,
        gate: Gate,
        count: int,
        knows: Callable[[str], bool],
    ) -> None:
        """
        Args:
            folders: where offers of others may lie. gives_to: where this run's are laid out; None = nowhere.
            name: of this run's offer; no other run has it.
            count: programs that one look brings at most.
            knows: whether this run has a candidate of this id.
        """
        self.remarks: list[str] = []
        self._folders = folders
        self._gives_to = gives_to
        self._name = name
        self._origin = origin
        self._gate = gate
        self._count = count
        self._knows = knows
        self._given: tuple[Program, ...] | None = None
        self._arrived: deque[Candidate] = deque()
        self._finished: dict[str, Stamp] = {}  # files that have nothing new, by what they looked like then
        self._passed: set[bytes] = set()  # digests of programs that were taken in or refused
        self._said: set[str] = set()
        self._last = ""  # file looked at
        self._orders: queue.SimpleQueue[tuple[Program, ...] | None] = queue.SimpleQueue()
        self._leaving = False
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._work, name="neighbours", daemon=True)
        self._thread.start()

    # ---- the search's side

    @property
    def idle(self) -> bool:
        """Whether the last look has ended."""
        return self._idle.is_set()

    def look(self, programs: tuple[Program, ...]) -> None:
        """Begin to lay out what this run has to give, and to look at the others; nothing if a look is under way."""
        if self.idle:
            self._idle.clear()
            self._orders.put(programs)

    def arrived(self) -> Iterator[Candidate]:
        """What has come since the last call."""
        while self._arrived:
            yield self._arrived.popleft()

    def leave(self, programs: tuple[Program, ...]) -> None:
        """Lay out the last offer and look no more. A folder that hangs is not waited for."""
        self._leaving = True
        self._orders.put(programs)
        self._orders.put(None)
        self._thread.join(LEAVE_S)

    # ---- the thread's side

    def _work(self) -> None:
        while (programs := self._orders.get()) is not None:
            try:
                self._give(programs)
                if not self._leaving:
                    self._take()
            except (
                Exception
            ) as error:  # whatever lies in the folder: it is passed over, and the next look goes on
                self._say(
                    type(error).__name__, f"{self._last} is passed over: {type(error).__name__}: {error}"
                )
            finally:
                self._idle.set()

    def _give(self, programs: tuple[Program, ...]) -> None:
        if self._gives_to is None or programs == self._given:
            return
        try:
            self._gives_to.mkdir(parents=True, exist_ok=True)
            offers.write(self._gives_to, self._name, Offer(self._origin, programs))
            self._given = programs
        except OSError as error:
            self._say("give", f"nothing can be laid out for other runs, the search goes on alone ({error})")

    def _take(self) -> None:
        look = _Look(self._count - len(self._arrived))
        for path in self._round():
            if look.over:
                return
            self._last = path
            look.files -= 1
            candidate = self._newcomer(Path(path), look)
            if candidate is not None:
                self._arrived.append(candidate)

    def _round(self) -> list[str]:
        """Paths of all offers of others, those after the last one looked at first."""
        found: list[str] = []
        for folder in self._folders:
            try:
                found += [f"{folder}{os.sep}{name}" for name in offers.names(folder, self._name)]
            except FileNotFoundError:
                continue  # nobody has laid out anything yet, or it has gone and may come back
            except OSError as error:
                self._say(
                    str(folder), f"what other runs offer cannot be read, the search goes on alone ({error})"
                )
        gone = self._finished.keys() - set(found)
        for path in gone:
            del self._finished[path]
        found.sort()
        turn = bisect.bisect_right(found, self._last)
        return found[turn:] + found[:turn]

    def _newcomer(self, path: Path, look: _Look) -> Candidate | None:
        """The first program of an offer that is new to this run; None if there is none, or it is refused."""
        try:
            status = path.lstat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._finished.get(str(path)) == stamp:
                return None
            look.bytes -= min(status.st_size, offers.OFFER_BYTES)
            offer = offers.read(path)
        except UnusableOffer as error:
            self._finished[str(path)] = stamp
            self._say(path.name, f"{path} is passed over: {error}")
            return None
        except OSError:
            return None  # it has gone, or is out of reach for now
        program = self._first_new(offer)
        if program is None:
            self._finished[str(path)] = stamp
            return None
        look.programs -= 1
        try:
            return self._gate.admit(program, offer.origin)
        except ProgramError as error:
            self._say(path.name, f"a program of {offer.origin.name} is refused: {error}")
            return None

    def _first_new(self, offer: Offer) -> Program | None:
        origin, own = offer.origin, self._origin
        if origin.digest != own.digest:
            self._say(
                f"{origin.name} {origin.digest}",
                f"nothing is taken from {origin.name}: it searches {origin.problem} ({origin.digest}), this run "
                f"{own.problem} ({own.digest}); runs share where instances, evaluator and limits are the same",
            )
            return None
        for program in offer.programs[: offers.OFFERED]:
            mark = hashlib.sha256(msgspec.msgpack.encode(program.files)).digest()
            if mark not in self._passed and not self._knows(program.id):
                self._passed.add(mark)
                return program
        return None

    def _say(self, key: str, text: str) -> None:
        if key in self._said or len(self.remarks) > REMARKS:
            return
        self._said.add(key)
        last = len(self.remarks) == REMARKS
        self.remarks.append("more is passed over, and no more said of it" if last else clean(text))
