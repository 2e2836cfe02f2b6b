"""Evaluation: the jail decides, the trusted side checks and scores."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from evolve.cache import Cache, Shelf, Shelves
from evolve.errors import EvaluatorError
from evolve.jail import Jail, Level, Limits, Session, encode_arguments
from evolve.problem import Problem
from evolve.profiling import Profiler
from evolve.records import Candidate, Evaluation, Instance, Split, Status
from evolve.scoring import Scale, Scoring, group_indices
from evolve.spec import SIZE
from evolve.trial import DESCRIBED, Consultations, Episodes, Race, Seen, Shown, Trial, Watch, digested


class Evaluator:
    """Evaluates candidates of one problem in its own jail; one per worker thread."""

    def __init__(
        self,
        problem: Problem,
        minimum: Level | str,
        seen: Seen | None = None,
        cancelled: threading.Event | None = None,
        cache: Cache | None = None,
        describe: bool = False,
        settled: bool = False,
        profiled: bool = False,
    ) -> None:
        """
        Args:
            describe: give evaluations on train the descriptors that the problem declares.
            settled: as a jail's; for workers that have all cores.
            profiled: say of evaluations on train where the CPU time goes.
        """
        limits = problem.spec.limits
        self.problem = problem
        self.scoring = Scoring(problem)
        self._watch = Watch(Seen() if seen is None else seen, cancelled or threading.Event(), describe)
        self._limits = Limits(
            cpu_s=limits.cpu_s,
            memory_mb=limits.memory_mb,
            load_s=limits.load_s,
            answer_bytes=limits.answer_bytes,
            imports=limits.imports,
            libraries=problem.libraries,
        )
        self._minimum = Level(minimum)
        self._settled = settled
        self._scales: dict[Split, Scale] = {}
        self._cache = cache
        self._profiled = profiled

    def use(self, seen: Seen) -> None:
        """From now on, know these decisions; for workers that several searches share."""
        self._watch = replace(self._watch, seen=seen)

    @cached_property
    def jail(self) -> Jail:
        return Jail(self._limits, minimum=self._minimum, settled=self._settled)

    @cached_property
    def _profiler(self) -> Profiler:
        return Profiler(self.problem, self._limits, self.jail.level, self._watch.cancelled.is_set)

    @cached_property
    def _shelves(self) -> Shelves | None:
        return Shelves(self._cache, self.problem, self.jail.level) if self._cache else None

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the jails that were started."""
        for name in ("jail", "_profiler"):
            if name in self.__dict__:
                self.__dict__[name].close()

    def scale(self, split: Split) -> Scale:
        """The split, ready for scoring. The baseline is run in the jail on first use.

        Raises:
            EvaluatorError: the baseline seed fails on an instance.
        """
        if split not in self._scales:
            self._scales[split] = self._prepare(split)
        return self._scales[split]

    def share_scales(self, other: Evaluator) -> None:
        """Take over what another evaluator of the same problem has prepared."""
        self._scales = other._scales
        if self._profiled:
            self._profiler = other._profiler

    def adopt(self, split: Split, baseline: Sequence[float]) -> None:
        """Prepare a split with objectives of the baseline that another evaluator has measured."""
        self._scales[split] = self._prepare(split, tuple(baseline))

    def _prepare(self, split: Split, baseline: tuple[float, ...] = ()) -> Scale:
        spec, instances = self.problem.spec, self.problem.split(split)
        share = spec.limits.train_share if split in (Split.TRAIN, Split.FURTHER) else 1.0
        raw = Scale(
            split,
            instances,
            (),
            tuple(share * (instance.cpu_s or spec.limits.cpu_s) for instance in instances),
            group_indices(self.problem, instances),
            (),
            (1.0,) * len(instances),
        )
        raw = replace(raw, **self._questions(instances))
        if self._watch.describe and split is Split.TRAIN:
            raw = replace(raw, references=self._references(raw))
        baseline = baseline or self._baseline(raw)
        room = [
            self.problem.sign * (objective - instance.bound)
            for objective, instance in zip(baseline, instances, strict=True)
        ]
        if spec.score.scale == "split":
            room = [float(np.mean(room))] * len(room)
        scale = tuple(max(distance, spec.score.floor) for distance in room)
        return replace(raw, baseline=baseline, scale=scale)

    def _baseline(self, scale: Scale) -> tuple[float, ...]:
        name = self.problem.spec.score.baseline
        trial = self._run(self.problem.seeds[name], scale)
        if not trial.ok:
            raise EvaluatorError(f"the baseline seed '{name}' fails on {scale.split}: {trial.feedback}")
        return trial.objectives

    def _questions(self, instances: Sequence[Instance]) -> dict[str, Any]:
        harness = self.problem.spec.harness
        arguments = [list(instance.arguments.values()) for instance in instances]
        if harness is not None and harness.consults:
            return {}  # each is asked when its turn comes
        if harness is None:
            return {"questions": tuple(map(encode_arguments, arguments))}
        batches = [arguments[i : i + harness.batch] for i in range(0, len(arguments), harness.batch)]
        questions = tuple(encode_arguments([batch]) for batch in batches)
        return {"questions": questions, "batches": tuple(map(len, batches))}

    def _references(self, scale: Scale) -> dict[str, list[Any]]:
        """The decisions on the first instances of each seed that a descriptor names."""
        names = [each.name for each in self.problem.spec.descriptors if each.name != SIZE]
        return {name: self._decisions(name, scale) for name in names}

    def _decisions(self, seed: str, scale: Scale) -> list[Any]:
        found = []
        with self.session(self.problem.seeds[seed]) as session:
            first = range(min(DESCRIBED, len(scale.instances)))
            answers = scale.ask_batches(session) if scale.batches else scale.ask(session, first)
            for instance, answer in zip(scale.instances[:DESCRIBED], answers, strict=False):
                if answer.failure is not None:
                    text = f"{instance.name}: {answer.failure.feedback}"
                    raise EvaluatorError(f"the seed '{seed}', which a descriptor names, fails on {text}")
                found.append(self.problem.evaluator.check(instance, answer.value))
        return found

    def session(self, candidate: Candidate) -> Session:
        """The candidate in a process of its own, behind the problem's harness if it has one."""
        return self.jail.session(*self.problem.loaded(candidate.files))

    def evaluate(self, candidate: Candidate, split: Split, race: Race | None = None) -> Evaluation:
        """Run a candidate on a split and score its decisions.

        A failed instance fails the candidate; later instances are not run. What the cache has is not run at all.

        Raises:
            EvaluatorError: the evaluator failed, so nobody can be scored.
            CancelledEvaluation: the run is stopping.
        """
        scale = self.scale(split)
        evaluation, trial = self._evaluate(candidate, scale, race)
        if not self._profiled or split is not Split.TRAIN:
            return evaluation
        failed = trial.order[min(evaluation.instances, len(trial.order) - 1)]
        return replace(evaluation, profile=self._profiler.profile(candidate, evaluation, scale, failed))

    def _evaluate(self, candidate: Candidate, scale: Scale, race: Race | None) -> tuple[Evaluation, Trial]:
        trial = Trial(self.scoring, scale, candidate, race, self._watch)
        shelf = self._shelf(candidate, scale, race)
        known = shelf.find(candidate) if shelf else None
        if known is not None:
            return trial.repeat(known, str(self.jail.level)), trial
        evaluation = self._play(trial)
        if race is not None and race.elder is not None and evaluation.ok:
            evaluation = self._compared(evaluation, trial, race)
        if shelf is not None:
            shelf.keep(candidate, evaluation, trial.objectives)
        return evaluation, trial

    def _compared(self, evaluation: Evaluation, trial: Trial, race: Race) -> Evaluation:
        """What becomes of an evaluation beside the elder's decisions, for which the elder is run again.

        Equal scores do not say that the decisions are equal; and to keep those of every program, for the few that
        will be simplified, would cost each evaluation something.
        """
        assert race.elder is not None
        if evaluation.scores != race.bar:
            return evaluation  # it will not replace its elder anyway
        alone = replace(race, bar=None, horizon=0, like="")
        elder = Trial(self.scoring, trial.scale, race.elder, alone, self._watch)
        known = self._play(elder)
        where = trial.otherwise(elder) if known.ok else "an instance that its parent fails on by now"
        cpu_s = evaluation.cpu_s + known.cpu_s
        if not where:
            return replace(evaluation, cpu_s=cpu_s)
        text = f"decides otherwise than its parent, with the same scores, on {where}"
        return trial.evaluation(Status.RACED_OUT, text, cpu_s, evaluation.peak_mb, evaluation.jail)

    def _shelf(self, candidate: Candidate, scale: Scale, race: Race | None) -> Shelf | None:
        if self._shelves is None or (race is not None and race.elder is not None):
            return None  # decisions that are to be compared are not kept
        order, described = race.order if race else (), self._watch.describe and scale.split is Split.TRAIN
        return self._shelves.shelf(candidate, scale.split, order, digested(race, scale.split), described)

    def _run(self, candidate: Candidate, scale: Scale) -> Evaluation:
        return self._play(Trial(self.scoring, scale, candidate, None, self._watch))

    def _play(self, trial: Trial) -> Evaluation:
        if self.problem.spec.converses:
            played = Consultations if self.problem.spec.harness else Episodes
            episodes = played(trial, self.jail, self._watch.cancelled.is_set)
            status, feedback = trial.run(episodes.stage)
            cpu_s, peak_mb = episodes.cpu_s, episodes.peak_mb
        else:
            with self.session(trial.candidate) as session:
                status, feedback = trial.run(Shown(trial, session).stage)
                usage = session.close()
            cpu_s, peak_mb = usage.cpu_s, usage.peak_mb
        return trial.evaluation(status, feedback, cpu_s, peak_mb, str(self.jail.level))
