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

from evolve import problem, report, settings
from evolve.errors import EvaluatorError, EvolveError, ProblemError
from evolve.folders import run_key
from evolve.htmldiff import html_diff
from evolve.journal import Entry, Journal, Placed
from evolve.observers.mlflow import view_key
from evolve.observers.mlflow_curves import Measured, Tally, metric
from evolve.observers.mlflow_family import Family, escaped, name_of, verdict
from evolve.observers.mlflow_registry import Registry, Seeds
from evolve.observers.mlflow_store import (
    CANDIDATE,
    CHALLENGER,
    CHAMPION,
    CHILDREN,
    JUDGED,
    NOTE,
    PARENT,
    REASON,
    REVIEW,
    Nested,
    Point,
    Store,
)
from evolve.observers.mlflow_traces import Traces, asked
from evolve.publish.review import Review, keep
from evolve.records import Candidate, Evaluation, Exchange, Instance, Outcome, Placement, Promotion, Split
from evolve.report.programs import joined
from evolve.yields import SEED, Yields

CHUNK = 500  # entries read at a time: a reader that stays inside the journal keeps its log growing
SEQ = "evolve.seq"
_NO_NAME = re.compile(r"[^\w\-. ]+")  # what a param's name may not have; models' names are part of some
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
        self._started = started
        self._key = run_key(folder, started, self.journal.meta("digest"))
        self._params: dict[str, str] = {}
        self._trusted = 0  # the parent's curves are written up to here
        self.parent = self._open_parent()
        self._nested = self.store.nested(self.parent)
        self._reviews = self._keep_reviews()
        self._family = Family(self.store.experiment)
        self._registry = Registry(self.store, self.journal, self._key, self._settings.jail.minimum)
        self._traces = Traces(store_uri, self.store.experiment, self.parent, self._key)
        self._instances = self._grid()
        self._tally = Tally()
        self._yields = Yields()
        self._seeds = Seeds()
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
            self._parent = self.store.create(self._key, name, self._started_ms, self._tags())
            parent = self._parent.run
        else:
            self._parent = Nested.of(found)
            parent = self._parent.run
            self._params = dict(found.data.params)
            self._trusted = int(found.data.tags.get(SEQ, "0"))
            self.store.resume(parent)
        self._log_params(parent, self._facts())
        self.store.share_view(view_key(parent), parent, COLUMNS[0], COLUMNS)
        return parent

    def _keep_reviews(self) -> dict[str, Review]:
        """Reviews that the store has are kept with the run; those kept are given to a store without them."""
        found = [
            Review(identity, nested.review[0].strip().lower(), nested.review[1], self.store.uri)
            for identity, nested in self._nested.items()
            if nested.review[0]
        ]
        return keep(self.folder, found)

    def _grid(self) -> dict[Split, tuple[Instance, ...]]:
        """The instances, for the scores of groups; none if the problem has gone or changed since."""
        try:
            found = problem.load(self.journal.meta("folder"), self.journal.meta("data"))
            if found.digest != self.journal.meta("digest"):
                return {}
            return {split: found.split(split) for split in (Split.TRAIN, Split.VALIDATION)}
        except (ProblemError, EvaluatorError):
            return {}

    def _tags(self) -> dict[str, str]:
        folder = self.journal.meta("folder")
        note = f"Search on `{self._problem}` by the proposer `{self._settings.proposer}`."
        champion = f"Champions are versions of the model `evolve-{self._problem}`."
        nested = "Nested runs are the candidates that entered the archive."
        return {
            "problem": self._problem,
            "folder": str(self.folder.resolve()),
            "problem.folder": folder,
            NOTE: f"{note} {champion} {nested}",
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
        for identity, children in self._family.grown(self._nested):
            nested = self._nested[identity]
            text = self._family.describe(identity, self._nested)
            self.store.log(nested.run, tags={NOTE: text, CHILDREN: str(children)})
            self._nested[identity] = replace(nested, children=children)
        if self.seq > self._trusted:
            self.store.log(self.parent, self._points, tags={SEQ: str(self.seq)})
            self._trusted = self.seq
        self._points.clear()
        self._report(self)

    def finish(self, ended: str) -> None:
        """Close the parent run. ended: why the search ended; "" if it was killed."""
        self._traces.settle()
        self._draw({**self._tally.values(), **self._yielded()}, self._counted_at)
        marks = {"stopped": ended or "killed", **self._challenge()}
        self.store.log(self.parent, self._points, tags={**marks, **self._write_report()})
        self._points.clear()
        self.store.end(self.parent, self._ms(self._last_at), "FINISHED" if ended else "KILLED")
        self.store.analyse()

    def _yielded(self) -> dict[str, float]:
        """What the operators' proposals came to, as shares of the proposals."""
        shares = {
            f"yield.{name}/{operator}": made.share(name)
            for operator, made in self._yields
            for name in ("archived", "bests")
        }
        return {metric(name): share for name, share in shares.items()}

    def _write_report(self) -> dict[str, str]:
        """The report of the run as an artifact of the parent run, and a description that leads to it."""
        with TemporaryDirectory(prefix="evolve-") as folder:
            try:
                made = report.write(self.folder, Path(folder) / report.FILE, measure=False)
            except EvolveError as error:  # the run without its report is better than no run
                return {"report": f"none: {error}"}
            self.store.write(self._parent, {report.FILE: made.file.read_text(encoding="utf-8")})
        champion = self._seeds.champion
        led = f" Champion: {self._family.link(champion, self._nested)}." if champion in self._nested else ""
        text = f"{escaped(made.claim)}{led}\n\nThe artifact `{report.FILE}` shows the whole search; nested runs are the"
        return {NOTE: f"{text} candidates that entered the archive.", "claim": made.claim}

    def _challenge(self) -> dict[str, str]:
        """The best candidate that was not shown to be better than the champion gets the alias `challenger`."""
        challenger = self._seeds.challenger
        if challenger not in self._nested or challenger == self._seeds.champion:
            return {}
        fault = self._registry.point(
            CHALLENGER,
            self.journal.candidate(challenger),
            self._nested[challenger],
            self._validation[challenger].score,
        )
        return {"challenger": challenger, **({"challenger.model": f"none: {fault}"} if fault else {})}

    def _ms(self, at: float) -> int:
        return self._started_ms + round(at * 1000)

    def _take(self, entry: Entry) -> None:
        self._yields.take(entry.record)
        self._seeds.take(entry.record)
        match entry.record:
            case Exchange():
                self._tally.spent(entry.record.usage.total, entry.record.dollars)
                self._traces.take(self.journal.request(entry.record.number), entry.record, self._ms(entry.at))
            case Evaluation():
                self._evaluated(entry.record, entry.at, entry.seq)
            case Placed(candidate, placement):
                self._tally.placed(candidate, placement)
                self._entered(candidate, placement, entry.at)
            case Promotion():
                self._judged(entry.record, entry.at)
                if entry.seq > self._trusted and entry.record.promoted:
                    self._draw(self._tally.champion_values(), entry.at)

    def _evaluated(self, evaluation: Evaluation, at: float, seq: int) -> None:
        if evaluation.jail and "jail.level" not in self._params:
            self._log_params(self.parent, {"jail.level": evaluation.jail})
        measured = Measured.of(evaluation, self._instances.get(evaluation.split, ()))
        if evaluation.split is Split.VALIDATION:
            self._validation[evaluation.candidate] = measured
            return
        if (
            evaluation.split is Split.FURTHER
        ):  # a look at more instances like train's: its figures stay train's
            return
        if evaluation.split is Split.HOLDOUT:  # opened by publishing: no step of the search
            if evaluation.ok and evaluation.candidate in self._nested:
                points = _points(measured.means(), self._ms(at), 0)
                self.store.log(self._nested[evaluation.candidate].run, list(points))
            return
        if evaluation.ok:
            self._train[evaluation.candidate] = measured
        if self._tally.evaluated(evaluation, measured, at) and seq > self._trusted:
            self._draw(self._tally.values(), at)
        self._counted_at = at

    def _draw(self, values: dict[str, float], at: float) -> None:
        self._points += _points(values, self._ms(at), self._tally.evaluations)

    # ---- nested runs

    def _is_done(self, candidate: str) -> bool:
        return candidate in self._nested and self._nested[candidate].done

    def _entered(self, identity: str, placement: Placement, at: float) -> None:
        candidate = self.journal.candidate(identity)
        self._family.born(candidate, name_of(candidate))
        if not self._is_done(identity):
            self._write_candidate(candidate, placement, at)

    def _write_candidate(self, candidate: Candidate, placement: Placement, at: float) -> None:
        """One nested run. Its end is written last: a run without one was cut short, and is written again."""
        identity = candidate.id
        train = self._train.get(identity)
        run = self._nested.get(identity) or self._open(candidate, placement, train, at)
        values = {"number": float(candidate.number)}
        if train:
            values |= {**train.values(), "cpu_s": train.cpu_s, "peak_mb": train.peak_mb}
        self.store.log(run.run, list(_points(values, self._ms(at), 0)))
        texts = {"feedback.txt": train.text if train else "", **self._diffs(candidate, train)}
        self.store.write(run, {**candidate.files, **texts, **asked(self.journal, candidate)})
        self.store.end(run.run, self._ms(at))
        self._nested[identity] = replace(run, done=True)

    def _open(self, candidate: Candidate, placement: Placement, train: Measured | None, at: float) -> Nested:
        # its duration in the UI is the CPU time of its evaluation
        began = self._ms(at - train.cpu_s if train else at)
        return self.store.create(self._key, name_of(candidate), began, self._marks(candidate, placement))

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
            NOTE: self._family.describe(candidate.id, self._nested),
            **self._review(candidate.id),
        }

    def _review(self, identity: str) -> dict[str, str]:
        review = self._reviews.get(identity)
        return {REVIEW: review.verdict, REASON: review.reason} if review else {}

    def _diffs(self, candidate: Candidate, train: Measured | None) -> dict[str, str]:
        """To its first parent; and to the seed that was best when it was made, unless it is a seed itself."""
        old = self.journal.candidate(candidate.parents[0]) if candidate.parents else None
        facts = [("id", candidate.id), ("operator", f"{candidate.operator}: {candidate.note}")]
        facts += [("parent", parent) for parent in candidate.parents]
        if train:
            facts.append(("on train", f"score {train.score:.6g}, objective {train.objective:.6g}"))
        name, new = name_of(candidate), joined(candidate.files)
        found = {"diff.html": html_diff(joined(old.files) if old else "", new, name, facts)}
        if candidate.operator != SEED and self._seeds.best:
            seed = self.journal.candidate(self._seeds.best)
            compared = [("id", candidate.id), ("compared with", f"the best seed, {seed.note}")]
            found["diff_to_best_seed.html"] = html_diff(joined(seed.files), new, name, compared)
        return found

    # ---- champions

    def _judged(self, promotion: Promotion, at: float) -> None:
        """The verdict of a promotion, on the challenger's nested run; a champion becomes a model as well."""
        identity, validation = promotion.challenger, self._validation.get(promotion.challenger)
        if promotion.promoted:
            self._tally.champion = validation
        self._entered(identity, Placement(Outcome.NEW), at)
        nested = self._nested[identity]
        if nested.judged:
            return
        train = self._train.get(identity)
        texts = [measured.text for measured in (train, validation) if measured]
        self.store.write(nested, {"feedback.txt": "\n".join([*texts, verdict(promotion)])})
        if promotion.promoted:
            self._crown(identity, nested)
        points = list(_points(validation.values(), self._ms(at), 0)) if validation else []
        marks = {"champion": str(promotion.promoted).lower(), "verdict": verdict(promotion), JUDGED: "true"}
        self.store.log(nested.run, points, tags=marks)
        self._nested[identity] = replace(nested, judged=True)

    def _crown(self, identity: str, nested: Nested) -> None:
        validation = self._validation.get(identity)
        score = validation.score if validation else math.nan
        fault = self._registry.point(CHAMPION, self.journal.candidate(identity), nested, score)
        if fault:
            self.store.log(nested.run, tags={"model": f"none: {fault}"})
        self.store.log(self.parent, tags={"champion": identity})


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
