"""The journal of a run: append-only SQLite in WAL mode. The truth; everything else is derived from it.

Two verbs: append a record, and read the records back in the order in which they were appended.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TextIO

import numpy as np

from evolve.errors import JournalError
from evolve.folders import FILE
from evolve.records import (
    Candidate,
    Evaluation,
    Exchange,
    Fault,
    Intervention,
    Outcome,
    Placement,
    Promotion,
    Prompt,
    Proposal,
    Remedy,
    Request,
    Resumed,
    Split,
    Status,
    Usage,
)

VERSION = 4
DICTIONARY_BYTES = 32_768  # what zlib can look back to

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE proposals (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, number INTEGER NOT NULL, operator TEXT NOT NULL,
    parents TEXT NOT NULL, reason TEXT NOT NULL, candidate TEXT, note TEXT, program BLOB,
    model TEXT NOT NULL, tokens INTEGER NOT NULL, dollars REAL NOT NULL);
CREATE TABLE evaluations (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, candidate TEXT NOT NULL, split TEXT NOT NULL,
    status TEXT NOT NULL, score REAL, objective REAL, instances INTEGER NOT NULL, cpu_s REAL NOT NULL,
    peak_mb REAL NOT NULL, slowest REAL NOT NULL, jail TEXT NOT NULL, decisions TEXT NOT NULL, feedback TEXT NOT NULL,
    objectives BLOB, scores BLOB, descriptors TEXT NOT NULL, cached INTEGER NOT NULL,
    profile TEXT NOT NULL);
CREATE TABLE placements (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, candidate TEXT NOT NULL, outcome TEXT NOT NULL,
    cell TEXT NOT NULL, replaced TEXT NOT NULL);
CREATE TABLE promotions (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, challenger TEXT NOT NULL, champion TEXT NOT NULL,
    promoted INTEGER NOT NULL, difference REAL, low REAL, high REAL, confidence REAL NOT NULL,
    instances INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE TABLE resumes (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, evaluations INTEGER, seconds REAL, tokens INTEGER, dollars REAL);
CREATE TABLE texts (digest BLOB PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, number INTEGER NOT NULL, operator TEXT NOT NULL,
    model TEXT NOT NULL, parents TEXT NOT NULL, system BLOB NOT NULL, user BLOB NOT NULL,
    tokens INTEGER NOT NULL, dollars REAL NOT NULL);
CREATE TABLE exchanges (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, number INTEGER NOT NULL, attempt INTEGER NOT NULL,
    model TEXT NOT NULL, fault TEXT NOT NULL, detail TEXT NOT NULL, reply BLOB NOT NULL, cut INTEGER NOT NULL,
    input INTEGER NOT NULL, output INTEGER NOT NULL, cached INTEGER NOT NULL, written INTEGER NOT NULL,
    reasoning INTEGER NOT NULL, estimated INTEGER NOT NULL, dollars REAL NOT NULL, latency_s REAL NOT NULL,
    final INTEGER NOT NULL);
CREATE INDEX requests_number ON requests (number);
CREATE INDEX exchanges_number ON exchanges (number);
CREATE TABLE interventions (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, remedy TEXT NOT NULL, number INTEGER NOT NULL, place INTEGER NOT NULL,
    members TEXT NOT NULL, races TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX proposals_candidate ON proposals (candidate) WHERE candidate IS NOT NULL;
"""


@dataclass(frozen=True)
class Placed:
    """A candidate that entered the archive."""

    candidate: str
    placement: Placement


Record = Resumed | Request | Exchange | Proposal | Evaluation | Placed | Promotion | Intervention
TABLES = (
    "resumes",
    "requests",
    "exchanges",
    "proposals",
    "evaluations",
    "placements",
    "promotions",
    "interventions",
)


@dataclass(frozen=True)
class Entry:
    """A record with its place in the order of the run.

    at: seconds of running time since the run began (time between a stop and a resume does not count).
    """

    seq: int
    at: float
    record: Record


class Journal:
    """One run's journal. One writer; any number of readers, also from other processes."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        self._dictionary = bytes(self.meta_bytes("dictionary"))
        self._seq = self.last_seq()
        self._lock: TextIO | None = None
        self._texts: dict[bytes, str] = {}  # shared by many requests; there are few

    @classmethod
    def create(cls, folder: Path, meta: Mapping[str, str], dictionary: bytes = b"") -> Journal:
        """Begin a journal in an empty folder.

        Args:
            meta: facts about the run, each a text.
            dictionary: text that programs of this run are likely to repeat; it makes them small.

        Raises:
            JournalError: the folder holds a journal already.
        """
        path = folder / FILE
        if path.exists():
            raise JournalError(f"{path} exists already; `evolve resume {folder}` goes on with it")
        folder.mkdir(parents=True, exist_ok=True)
        # made aside and then renamed: a journal that exists is complete
        aside = path.with_suffix(".new")
        aside.unlink(missing_ok=True)
        with closing(sqlite3.connect(aside)) as database, database:
            database.executescript(_SCHEMA)
            rows = {**meta, "version": str(VERSION), "dictionary": dictionary[-DICTIONARY_BYTES:]}
            database.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
        aside.replace(path)
        return cls(path, _connect(path))

    @classmethod
    def open(cls, folder: Path, read_only: bool = False) -> Journal:
        """Open the journal of a run folder.

        Raises:
            JournalError: there is none, it is damaged, or another version of evolve wrote it.
        """
        path = folder / FILE
        if not path.is_file():
            raise JournalError(f"{folder}: no {FILE} there; give the folder of a run (see `ls runs`)")
        try:
            database = _connect(path, read_only)
            row = database.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{path}: not a journal ({error}); restore the file from a copy") from None
        if row is None or row[0] != str(VERSION):
            found = row[0] if row else "none"
            raise JournalError(f"{path}: journal version {found}; this evolve reads version {VERSION}")
        return cls(path, database)

    def close(self) -> None:
        self._database.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def lock(self) -> None:
        """Claim the run for this process until it ends or closes the journal.

        Raises:
            BlockingIOError: another process has it.
        """
        self._lock = (self.path.parent / ".lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def meta(self, key: str) -> str:
        """A fact about the run; "" if it was never noted."""
        row = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def meta_bytes(self, key: str) -> bytes:
        row = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return bytes(row[0]) if row else b""

    def note(self, key: str, value: str) -> None:
        """Note a fact about the run, replacing what was noted under this key."""
        self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def append(self, record: Record, at: float) -> Entry:
        """Append one record; it has reached the operating system when this returns."""
        self._seq += 1
        head = (self._seq, at)
        match record:
            case Resumed(evaluations, seconds, tokens, dollars):
                self._insert("resumes", (*head, evaluations, seconds, tokens, dollars))
            case Request():
                self._append_request(head, record)
            case Exchange():
                self._append_exchange(head, record)
            case Proposal():
                self._append_proposal(head, record)
            case Evaluation():
                self._append_evaluation(head, record)
            case Placed(candidate, placement):
                row = (*head, candidate, placement.outcome, placement.cell, placement.replaced)
                self._database.execute("INSERT INTO placements VALUES (?, ?, ?, ?, ?, ?)", row)
            case Promotion():
                self._append_promotion(head, record)
            case Intervention():
                self._append_intervention(head, record)
        return Entry(self._seq, at, record)

    def _append_proposal(self, head: tuple[int, float], proposal: Proposal) -> None:
        row: tuple[object, ...] = (
            *head,
            proposal.number,
            proposal.operator,
            json.dumps(proposal.parents),
            proposal.reason,
        )
        candidate = proposal.candidate
        if candidate is None:
            row += (None, None, None)
        else:
            row += (candidate.id, candidate.note, self._pack_files(candidate.files))
        row += (proposal.model, proposal.tokens, proposal.dollars)
        self._insert("proposals", row)

    def _insert(self, table: str, row: tuple[object, ...]) -> None:
        self._database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def _append_request(self, head: tuple[int, float], request: Request) -> None:
        digest = self._keep_text(request.prompt.system)
        parents, user = json.dumps(request.parents), self._pack(request.prompt.user)
        row = (request.number, request.operator, request.model, parents, digest, user)
        self._insert("requests", (*head, *row, request.tokens, request.dollars))

    def _keep_text(self, text: str) -> bytes:
        """Keep a text that many calls share, once; its key."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
        if digest not in self._texts:
            self._database.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (digest, self._pack(text)))
            self._texts[digest] = text
        return digest

    def _text(self, digest: bytes) -> str:
        if digest not in self._texts:
            query = "SELECT content FROM texts WHERE digest = ?"
            self._texts[digest] = self._unpack(self._database.execute(query, (digest,)).fetchone()[0])
        return self._texts[digest]

    def _append_exchange(self, head: tuple[int, float], exchange: Exchange) -> None:
        usage = exchange.usage
        row = (
            *head,
            exchange.number,
            exchange.attempt,
            exchange.model,
            exchange.fault or "",
            exchange.detail,
            self._pack(exchange.reply) if exchange.reply else b"",
            exchange.cut,
            usage.input,
            usage.output,
            usage.cached,
            usage.written,
            usage.reasoning,
            usage.estimated,
            exchange.dollars,
            exchange.latency_s,
            exchange.final,
        )
        self._insert("exchanges", row)

    def _append_evaluation(self, head: tuple[int, float], evaluation: Evaluation) -> None:
        ok = evaluation.ok
        row = (
            *head,
            evaluation.candidate,
            evaluation.split,
            evaluation.status,
            evaluation.score if ok else None,
            evaluation.objective if ok else None,
            evaluation.instances,
            evaluation.cpu_s,
            evaluation.peak_mb,
            evaluation.slowest,
            evaluation.jail,
            evaluation.decisions,
            evaluation.feedback,
            np.asarray(evaluation.objectives, "<f8").tobytes() if ok else None,
            np.asarray(evaluation.scores, "<f8").tobytes() if ok else None,
            json.dumps(dict(evaluation.descriptors)) if evaluation.descriptors else "",
            evaluation.cached,
            evaluation.profile,
        )
        self._insert("evaluations", row)

    def _append_promotion(self, head: tuple[int, float], promotion: Promotion) -> None:
        row = (
            *head,
            promotion.challenger,
            promotion.champion,
            promotion.promoted,
            promotion.difference,
            promotion.low,
            promotion.high,
            promotion.confidence,
            promotion.instances,
            promotion.reason,
        )
        self._insert("promotions", row)

    def _append_intervention(self, head: tuple[int, float], step: Intervention) -> None:
        lists = json.dumps(step.members), json.dumps(step.order)
        row = (*head, step.remedy, step.number, step.place, *lists, step.reason)
        self._database.execute("INSERT INTO interventions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """All entries with seq > `after`, in order, up to the newest one at the time of the call."""
        # entries are committed in their order: up to this one no table lacks any
        span = (after, self.last_seq())
        streams = (
            self._resumes(span),
            self._requests(span),
            self._exchanges(span),
            self._proposals(span),
            self._evaluations(span),
            self._placements(span),
            self._promotions(span),
            self._interventions(span),
        )
        pending = [next(stream, None) for stream in streams]
        while any(entry is not None for entry in pending):
            first = min((i for i, entry in enumerate(pending) if entry), key=lambda i: pending[i].seq)  # type: ignore[union-attr]
            entry = pending[first]
            assert entry is not None
            pending[first] = next(streams[first], None)
            yield entry

    def candidate(self, identity: str) -> Candidate:
        """A candidate by its id, or by the beginning of one if that is unique.

        Raises:
            JournalError: none, or several.
        """
        rows = self._database.execute(
            "SELECT * FROM proposals WHERE candidate >= ? AND candidate < ? ORDER BY seq LIMIT 3",
            (identity, identity + "g"),
        ).fetchall()
        if not rows or not identity:
            raise JournalError(
                f"{self.path}: no candidate '{identity}'; `evolve lineage {self.path.parent}` lists them"
            )
        if len(rows) > 1:
            raise JournalError(
                f"{self.path}: '{identity}' is ambiguous: {', '.join(row['candidate'] for row in rows)}, ..."
            )
        candidate = self._read_proposal(rows[0]).candidate
        assert candidate is not None
        return candidate

    def request(self, number: int) -> Request | None:
        """What a model was asked for a proposal; None if none was."""
        row = self._database.execute("SELECT * FROM requests WHERE number = ?", (number,)).fetchone()
        return self._read_request(row) if row else None

    def reply(self, number: int) -> Exchange | None:
        """The last exchange about a proposal; None if there was none."""
        query = "SELECT * FROM exchanges WHERE number = ? ORDER BY seq DESC LIMIT 1"
        row = self._database.execute(query, (number,)).fetchone()
        return self._read_exchange(row) if row else None

    def _resumes(self, span: tuple[int, int]) -> Iterator[Entry]:
        for row in self._rows("resumes", span):
            values = dict(row)
            seq, at = values.pop("seq"), values.pop("at")
            yield Entry(seq, at, Resumed(**values))

    def _requests(self, span: tuple[int, int]) -> Iterator[Entry]:
        for row in self._rows("requests", span):
            yield Entry(row["seq"], row["at"], self._read_request(row))

    def _read_request(self, row: sqlite3.Row) -> Request:
        return Request(
            row["number"],
            row["operator"],
            row["model"],
            tuple(json.loads(row["parents"])),
            Prompt(self._text(row["system"]), self._unpack(row["user"])),
            row["tokens"],
            row["dollars"],
        )

    def _exchanges(self, span: tuple[int, int]) -> Iterator[Entry]:
        for row in self._rows("exchanges", span):
            yield Entry(row["seq"], row["at"], self._read_exchange(row))

    def _read_exchange(self, row: sqlite3.Row) -> Exchange:
        counts = {name: row[name] for name in ("input", "output", "cached", "written", "reasoning")}
        return Exchange(
            number=row["number"],
            attempt=row["attempt"],
            model=row["model"],
            reply=self._unpack(row["reply"]) if row["reply"] else "",
            fault=Fault(row["fault"]) if row["fault"] else None,
            detail=row["detail"],
            cut=bool(row["cut"]),
            usage=Usage(**counts, estimated=bool(row["estimated"])),
            dollars=row["dollars"],
            latency_s=row["latency_s"],
            final=bool(row["final"]),
        )

    def _proposals(self, span: tuple[int, int]) -> Iterator[Entry]:
        for row in self._rows("proposals", span):
            yield Entry(row["seq"], row["at"], self._read_proposal(row))

    def _read_proposal(self, row: sqlite3.Row) -> Proposal:
        parents = tuple(json.loads(row["parents"]))
        candidate = None
        if row["candidate"] is not None:
            files = json.loads(self._unpack(row["program"]))
            candidate = Candidate(
                row["candidate"], files, parents, row["operator"], row["note"], row["number"]
            )
        cost = (row["model"], row["tokens"], row["dollars"])
        return Proposal(row["number"], row["operator"], parents, candidate, row["reason"], *cost)

    def _evaluations(self, span: tuple[int, int]) -> Iterator[Entry]:
        for row in self._rows("evaluations", span):
            record = Evaluation(
                candidate=row["candidate"],
                split=Split(row["split"]),
                status=Status(row["status"]),
                objectives=_floats(row["objectives"]),
                scores=_floats(row["scores"]),
                instances=row["instances"],
                feedback=row["feedback"],
                cpu_s=row["cpu_s"],
                peak_mb=row["peak_mb"],
                slowest=row["slowest"],
                jail=row["jail"],
                decisions=row["decisions"],
                descriptors=json.loads(row["descriptors"]) if row["descriptors"] else {},
                cached=bool(row["cached"]),
                profile=row["profile"],
            )
            yield Entry(row["seq"], row["at"], record)

    def _placements(self, span: tuple[int, int]) -> Iterator[Entry]:
        for row in self._rows("placements", span):
            placement = Placement(Outcome(row["outcome"]), row["cell"], row["replaced"])
            yield Entry(row["seq"], row["at"], Placed(row["candidate"], placement))

    def _promotions(self, span: tuple[int, int]) -> Iterator[Entry]:
        for row in self._rows("promotions", span):
            values = dict(row)
            seq, at = values.pop("seq"), values.pop("at")
            values["promoted"] = bool(values["promoted"])
            yield Entry(seq, at, Promotion(**values))

    def _interventions(self, span: tuple[int, int]) -> Iterator[Entry]:
        for row in self._rows("interventions", span):
            members, order = tuple(json.loads(row["members"])), tuple(json.loads(row["races"]))
            record = Intervention(
                Remedy(row["remedy"]), row["number"], row["place"], members, order, row["reason"]
            )
            yield Entry(row["seq"], row["at"], record)

    def _rows(self, table: str, span: tuple[int, int]) -> Iterator[sqlite3.Row]:
        where = "WHERE seq > ? AND seq <= ? ORDER BY seq"
        return iter(self._database.execute(f"SELECT * FROM {table} {where}", span))

    def last_seq(self) -> int:
        """The place of the newest entry; 0 while there is none."""
        union = " UNION ALL ".join(f"SELECT max(seq) AS seq FROM {table}" for table in TABLES)
        return int(self._database.execute(f"SELECT coalesce(max(seq), 0) FROM ({union})").fetchone()[0])

    def progress(self) -> tuple[int, float]:
        """Candidates evaluated on train so far, and the running time of the newest evaluation in seconds."""
        query = "SELECT count(*) FILTER (WHERE split = 'train'), coalesce(max(at), 0) FROM evaluations"
        count, at = self._database.execute(query).fetchone()
        return int(count), float(at)

    @cached_property
    def _packer(self) -> zlib._Compress:
        """Primed with the dictionary, to be copied: priming costs more than compressing a program."""
        return zlib.compressobj(zdict=self._dictionary) if self._dictionary else zlib.compressobj()

    def _pack_files(self, files: Mapping[str, str]) -> bytes:
        return self._pack(json.dumps(dict(files)))

    def _pack(self, text: str) -> bytes:
        packer = self._packer.copy()
        # lone surrogates cannot be written otherwise, and come back as they were
        return packer.compress(text.encode("utf-8", "surrogatepass")) + packer.flush()

    def _unpack(self, data: bytes) -> str:
        unpacker = zlib.decompressobj(zdict=self._dictionary) if self._dictionary else zlib.decompressobj()
        return unpacker.decompress(data).decode("utf-8", "surrogatepass")


def _connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    database = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=30
    )
    database.row_factory = sqlite3.Row
    if not read_only:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
    return database


def _floats(data: bytes | None) -> tuple[float, ...]:
    return tuple(np.frombuffer(data, "<f8").tolist()) if data else ()
