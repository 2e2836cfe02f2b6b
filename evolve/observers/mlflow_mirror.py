"""Fills an MLflow store from a run's journal. What is there already is found and left alone, so a mirror can
be stopped at any moment and begun again, and can be rebuilt at any time."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from evolve import problem, settings
from evolve.errors import EvaluatorError, ProblemError
from evolve.htmldiff import html_diff
from evolve.journal import Entry, Journal, Placed
from evolve.observers.mlflow import view_key
from evolve.observers.mlflow_champion import Champions
from evolve.observers.mlflow_curves import Measured, Tally
from evolve.observers.mlflow_store import CANDIDATE, JUDGED, PARENT, RUN, Nested, Point, Store
from evolve.records import Candidate, Evaluation, Outcome, Placement, Promotion, Split

CHUNK = 500  # entries read at a time: a reader that stays inside the journal keeps its log growing
SEQ = "evolve.seq"
_NO_NAME = re.compile(r"[^\w\-./: ]")  # what a param's name may not have; models' names are part of some
COLUMNS = (
    "metrics.`score.train`",
    "metrics.`score.validation`",
    "metrics.`objective.validation`",
    "tags.`champion`",
    "tags.`operator`",
    "tags.`note`",
)


class Mirror:
    """Follows one journal into one store.

    Raises:
        JournalError, SettingsError: the folder is no run.
        what Store raises: the store cannot be reached.
    """

    def __init__(self, folder: Path, store_uri: str, report: Callable[[Mirror], None]) -> None:
        self.folder = folder
        self.journal = Journal.open(folder, read_only=True)
        self.seq = 0  # of the last entry that was mirrored
        self._settings = settings.load(folder / "settings.toml")
        self._report = report
        self._problem = self.journal.meta("problem")
        self.store = Store(store_uri, self._problem)
        started = self.journal.meta("started")
        self._started_ms = round(datetime.strptime(started, "%Y-%m-%dT%H:%M:%S%z").timestamp() * 1000)
        self._key = f"{folder.resolve().name} {started} {self.journal.meta('digest')}".replace("'", "")
        self._params: dict[str, str] = {}
        self._trusted = 0  # the parent's curves are written up to here
        self.parent = self._open_parent()
        self._nested = self.store.nested(self.parent)
        self._model = f"evolve-{self._problem}"
        self._versions: dict[str, str] | None = None
        self._champions: Champions | None = None
        self._tally = Tally()
        self._points: list[Point] = []
        self._train: dict[str, Measured] = {}
        self._validation: dict[str, Measured] = {}
        self._last_at = 0.0
        self._counted_at = 0.0  # when the last evaluation on train was done

    # ---- the parent run

    def _open_parent(self) -> str:
        found = self.store.parent(self._key)
        if found is None:
            name = self.folder.resolve().name
            parent = self.store.create(self._key, name, self._started_ms, self._tags()).run
        else:
            parent = str(found.info.run_id)
            self._params = dict(found.data.params)
            self._trusted = int(found.data.tags.get(SEQ, "0"))
            self.store.resume(parent)
        self._log_params(parent, self._facts())
        self.store.share_view(view_key(parent), parent, COLUMNS[0], COLUMNS)
        return parent

    def _tags(self) -> dict[str, str]:
        folder = self.journal.meta("folder")
        note = f"Search on `{self._problem}` by the proposer `{self._settings.proposer}`."
        champion = f"Champions are versions of the model `evolve-{self._problem}`."
        nested = "Nested runs are the candidates that entered the archive."
        return {
            "problem": self._problem,
            "folder": str(self.folder.resolve()),
            "problem.folder": folder,
            "mlflow.note.content": f"{note} {champion} {nested}",
        }

    def _facts(self) -> dict[str, str]:
        versions: dict[str, str] = json.loads(self.journal.meta("versions") or "{}")
        return {
            **{_NO_NAME.sub("_", name): value for name, value in _flat(msgspec.to_builtins(self._settings))},
            "problem.digest": self.journal.meta("digest"),
            **{f"version.{name}": number for name, number in versions.items()},
        }

    def _log_params(self, parent: str, facts: dict[str, str]) -> None:
        """A param cannot change; what a resumed run was given anew goes into tags."""
        new = {name: value for name, value in facts.items() if name not in self._params}
        changed = {f"resumed.{k}": v for k, v in facts.items() if self._params.get(k, v) != v}
        self._params |= new
        self.store.log(parent, params=new, tags=changed)

    # ---- following

    def catch_up(self) -> None:
        """Mirror all that the journal holds now."""
        while entries := self._read():
            for entry in entries:
                self._take(entry)
                self.seq, self._last_at = entry.seq, entry.at
                self._report(self)
            self._flush()

    def _read(self) -> list[Entry]:
        """The next entries, without a gap; none if there are no more.

        The tables are read one after the other, so an entry may be seen without one that was appended before
        it to another table. Reading again finds that one; a gap that is still there then is a real one.
        """
        for _ in range(2):
            entries = list(islice(self.journal.entries(self.seq), CHUNK))
            whole = [
                entry for entry, seq in zip(entries, count(self.seq + 1), strict=False) if entry.seq == seq
            ]
            if whole or not entries:
                return whole
        return entries[:1]

    def _flush(self) -> None:
        if self.seq > self._trusted:
            self.store.log(self.parent, self._points, tags={SEQ: str(self.seq)})
            self._trusted = self.seq
        self._points.clear()
        self._report(self)

    def finish(self, ended: str) -> None:
        """Close the parent run. ended: why the search ended; "" if it was killed."""
        self._draw(self._tally.values(), self._counted_at)
        self.store.log(self.parent, self._points, tags={"stopped": ended or "killed"})
        self.store.end(self.parent, self._ms(self._last_at), "FINISHED" if ended else "KILLED")
        self.store.analyse()

    def _ms(self, at: float) -> int:
        return self._started_ms + round(at * 1000)

    def _take(self, entry: Entry) -> None:
        match entry.record:
            case Evaluation():
                self._evaluated(entry.record, entry.at, entry.seq)
            case Placed(candidate, placement):
                self._tally.placed(candidate, placement)
                if not self._is_done(candidate):
                    self._write_candidate(candidate, placement, entry.at)
            case Promotion():
                self._judged(entry.record, entry.at)
                if entry.seq > self._trusted and entry.record.promoted:
                    self._draw(self._tally.champion_values(), entry.at)

    def _evaluated(self, evaluation: Evaluation, at: float, seq: int) -> None:
        if evaluation.jail and "jail.level" not in self._params:
            self._log_params(self.parent, {"jail.level": evaluation.jail})
        measured = Measured.of(evaluation)
        if evaluation.split is Split.VALIDATION:
            self._validation[evaluation.candidate] = measured
            return
        if evaluation.ok:
            self._train[evaluation.candidate] = measured
        if self._tally.evaluated(evaluation, measured, at) and seq > self._trusted:
            self._draw(self._tally.values(), at)
        self._counted_at = at

    def _draw(self, values: dict[str, float], at: float) -> None:
        self._points += _points(values, self._ms(at), self._tally.evaluations)

    # ---- nested runs

    def _asked(self, candidate: Candidate) -> dict[str, str]:
        """The prompt and the reply that a candidate came from; none where no model was asked."""
        request, reply = self.journal.request(candidate.number), self.journal.reply(candidate.number)
        if request is None or reply is None:
            return {}
        return {"prompt.md": f"{request.prompt.system}\n\n{request.prompt.user}", "reply.md": reply.reply}

    def _is_done(self, candidate: str) -> bool:
        return candidate in self._nested and self._nested[candidate].done

    def _write_candidate(self, identity: str, placement: Placement, at: float) -> None:
        """One nested run. Its end is written last: a run without one was cut short, and is written again."""
        candidate = self.journal.candidate(identity)
        train = self._train.get(identity)
        run = self._nested.get(identity) or self._open(candidate, placement, train, at)
        values = {"number": float(candidate.number)}
        if train:
            values |= {**train.values(), "cpu_s": train.cpu_s, "peak_mb": train.peak_mb}
        self.store.log(run.run, list(_points(values, self._ms(at), 0)))
        texts = {"diff.html": self._diff(candidate, train), "feedback.txt": train.text if train else ""}
        self.store.write(run, {**candidate.files, **texts, **self._asked(candidate)})
        self.store.end(run.run, self._ms(at))
        self._nested[identity] = replace(run, done=True)

    def _open(self, candidate: Candidate, placement: Placement, train: Measured | None, at: float) -> Nested:
        # its duration in the UI is the CPU time of its evaluation
        began = self._ms(at - train.cpu_s if train else at)
        return self.store.create(self._key, _name(candidate), began, self._marks(candidate, placement))

    def _marks(self, candidate: Candidate, placement: Placement) -> dict[str, str]:
        request = self.journal.request(candidate.number)
        return {
            **({"model": request.model} if request else {}),
            PARENT: self.parent,
            CANDIDATE: candidate.id,
            "parents": " ".join(candidate.parents),
            "operator": candidate.operator,
            "note": candidate.note,
            "outcome": placement.outcome,
            "cell": placement.cell,
            "champion": "false",
        }

    def _diff(self, candidate: Candidate, train: Measured | None) -> str:
        old = self.journal.candidate(candidate.parents[0]) if candidate.parents else None
        facts = [("id", candidate.id), ("operator", f"{candidate.operator}: {candidate.note}")]
        facts += [("parent", parent) for parent in candidate.parents]
        if train:
            facts.append(("on train", f"score {train.score:.6g}, objective {train.objective:.6g}"))
        return html_diff(_joined(old) if old else "", _joined(candidate), _name(candidate), facts)

    # ---- champions

    def _judged(self, promotion: Promotion, at: float) -> None:
        """The verdict of a promotion, on the challenger's nested run; a champion becomes a model as well."""
        identity, validation = promotion.challenger, self._validation.get(promotion.challenger)
        if promotion.promoted:
            self._tally.champion = validation
        if not self._is_done(identity):
            self._write_candidate(identity, Placement(Outcome.NEW), at)
        nested = self._nested[identity]
        if nested.judged:
            return
        train = self._train.get(identity)
        texts = [measured.text for measured in (train, validation) if measured]
        self.store.write(nested, {"feedback.txt": "\n".join([*texts, _verdict(promotion)])})
        if promotion.promoted:
            self._crown(identity, nested)
        points = list(_points(validation.values(), self._ms(at), 0)) if validation else []
        marks = {"champion": str(promotion.promoted).lower(), "verdict": _verdict(promotion), JUDGED: "true"}
        self.store.log(nested.run, points, tags=marks)
        self._nested[identity] = replace(nested, judged=True)

    def _crown(self, identity: str, nested: Nested) -> None:
        try:
            self._publish(identity, nested)
        except (
            ProblemError,
            EvaluatorError,
        ) as error:  # the folder has gone or changed; the rest can be mirrored
            self.store.log(nested.run, tags={"model": f"none: {error}"})
        self.store.log(self.parent, tags={"champion": identity})

    def _publish(self, identity: str, nested: Nested) -> None:
        """The champion as the newest version of the registered model."""
        if self._versions is None:
            self._versions = self.store.versions(self._model, self._key)
        if identity not in self._versions:
            candidate = self.journal.candidate(identity)
            with TemporaryDirectory(prefix="evolve-") as folder:
                model = Path(folder) / "model"
                self._maker().save(candidate, nested.run, model)
                tags = {CANDIDATE: identity, RUN: self._key, "folder": str(self.folder.resolve())}
                text = f"{_name(candidate)} ({identity})"
                self._versions[identity] = self.store.register(self._model, nested, model, tags, text)
        self.store.crown(self._model, self._versions[identity])

    def _maker(self) -> Champions:
        if self._champions is None:
            found = problem.load(self.journal.meta("folder"))
            self._champions = Champions(found, self._settings.jail.minimum)
        return self._champions


def _flat(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")
        elif isinstance(value, (list, tuple)):
            yield f"{path}{key}", ", ".join(map(str, value)) or "(none)"
        else:
            yield f"{path}{key}", str(value) or "(none)"


def _points(values: dict[str, float], time: int, step: int) -> Iterable[Point]:
    return ((name, value, time, step) for name, value in values.items() if math.isfinite(value))


def _name(candidate: Candidate) -> str:
    text = " ".join(f"{candidate.operator} {candidate.note}".split())
    return f"#{candidate.number} {text}"[:80].rstrip()


def _joined(candidate: Candidate) -> str:
    if len(candidate.files) == 1:
        return next(iter(candidate.files.values()))
    return "\n".join(f"# ---- {name}\n{text}" for name, text in sorted(candidate.files.items()))


def _verdict(promotion: Promotion) -> str:
    head = f"{'promoted' if promotion.promoted else 'not promoted'}: {promotion.reason}"
    if not promotion.champion or not promotion.high:
        return head
    return (
        f"{head}; difference {promotion.difference:+.6g} "
        f"[{promotion.low:+.6g}, {promotion.high:+.6g}] at {promotion.confidence:.0%} to {promotion.champion}"
    )
