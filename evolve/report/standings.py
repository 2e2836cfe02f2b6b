"""The champion beside every baseline, instance by instance, on each split that may be looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from evolve import problem, settings
from evolve.cache import Cache
from evolve.errors import EvaluatorError, JailError, ProblemError
from evolve.evaluate import Evaluator
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.problem import Problem
from evolve.records import SPLITS, Candidate, Evaluation, Split
from evolve.statistics import Interval, bootstrap_mean, paired_bootstrap
from evolve.yields import SEED

CHAMPION = "champion"
MEASURED = (Split.TRAIN, Split.VALIDATION)  # the holdout is never opened for a report


@dataclass(frozen=True)
class Standing:
    """One program's evaluations by split; a split is missing where it was not evaluated."""

    name: str
    candidate: str
    role: str
    found: dict[Split, Evaluation]

    def ok(self, split: Split) -> Evaluation | None:
        evaluation = self.found.get(split)
        return evaluation if evaluation is not None and evaluation.ok else None


@dataclass(frozen=True)
class Standings:
    """The champion (None if there is none) and the baselines, best first on validation, then on train.

    problem: None if its folder has gone or has changed since; `without` then says why.
    """

    champion: Standing | None
    baselines: tuple[Standing, ...]
    problem: Problem | None
    confidence: float
    resamples: int
    without: str = ""

    @property
    def splits(self) -> list[Split]:
        """Those on which the champion, or without one any baseline, was evaluated."""
        shown = [self.champion] if self.champion else list(self.baselines)
        return [split for split in SPLITS if any(each.ok(split) for each in shown)]

    @property
    def best(self) -> Standing | None:
        """The best baseline on train, of those that work."""
        sound = [each for each in self.baselines if each.ok(Split.TRAIN)]
        return max(sound, key=lambda each: each.found[Split.TRAIN].score, default=None)

    def interval(self, standing: Standing, split: Split) -> Interval | None:
        """The mean score with its bootstrap interval over instances."""
        found = standing.ok(split)
        return (
            bootstrap_mean(found.scores, self.confidence, self.resamples, families=self._families(split))
            if found
            else None
        )

    def lead(self, standing: Standing, split: Split) -> Interval | None:
        """The champion's score minus a baseline's, paired by instance; None where either was not evaluated."""
        if self.champion is None:
            return None
        ours, theirs = self.champion.ok(split), standing.ok(split)
        if ours is None or theirs is None or len(ours.scores) != len(theirs.scores):
            return None
        return paired_bootstrap(
            ours.scores, theirs.scores, self.confidence, self.resamples, families=self._families(split)
        )

    def _families(self, split: Split) -> tuple[str, ...]:
        return self.problem.families(split) if self.problem is not None and split is Split.HOLDOUT else ()


Advance = Callable[[str], None]


@dataclass
class Surveyor:
    """Takes from the journal what it knows, and measures what it lacks on train and validation.

    measure: whether baselines that were never evaluated on a split are run now. cache: of evaluations.
    """

    journal: Journal
    lineage: Lineage
    measure: bool = True
    cache: Cache | None = None
    without: str = field(default="", init=False)

    def survey(self, advance: Advance) -> Standings:
        """The standings.

        Args:
            advance: is told what is measured next.
        """
        chosen = settings.load(self.journal.path.parent / "settings.toml")
        the_problem = self._problem()
        known = self._seeds(the_problem)
        roles = _roles(the_problem)
        found = {name: self._recorded(seed) for name, seed in known.items()}
        if the_problem is not None and self.measure:
            self._measure(the_problem, chosen.jail.minimum, known, found, advance)
        baselines = [Standing(name, known[name].id, roles.get(name, ""), found[name]) for name in known]
        return Standings(
            self._champion(),
            tuple(sorted(baselines, key=_rank)),
            the_problem,
            chosen.promotion.confidence,
            chosen.promotion.resamples,
            self.without,
        )

    def _problem(self) -> Problem | None:
        try:
            found = problem.load(self.journal.meta("folder"), self.journal.meta("data"))
            for split in MEASURED:
                found.split(split)
        except (ProblemError, EvaluatorError) as error:
            self.without = str(error)
            return None
        if found.digest != self.journal.meta("digest"):
            self.without = f"the problem {found.name} has changed since this run"
            return None
        return found

    def _seeds(self, the_problem: Problem | None) -> dict[str, Candidate]:
        """By name: all of the problem, or those that the search began with."""
        if the_problem is not None:
            return dict(the_problem.seeds)
        founders = [node for node in self.lineage.nodes.values() if node.operator == SEED]
        return {node.note or node.id: self.journal.candidate(node.id) for node in founders}

    def _recorded(self, seed: Candidate) -> dict[Split, Evaluation]:
        # looks at further instances show nothing that train does not
        found = {
            split: self.lineage.evaluation(seed.id, split) for split in SPLITS if split is not Split.FURTHER
        }
        return {split: evaluation for split, evaluation in found.items() if evaluation is not None}

    def _measure(
        self,
        the_problem: Problem,
        minimum: str,
        seeds: dict[str, Candidate],
        found: dict[str, dict[Split, Evaluation]],
        advance: Advance,
    ) -> None:
        try:
            with Evaluator(the_problem, minimum, cache=self.cache) as evaluator:
                for name, seed in seeds.items():
                    advance(name)
                    for split in MEASURED:
                        if not _whole(found[name].get(split)):
                            found[name][split] = evaluator.evaluate(seed, split)
        except (EvaluatorError, JailError) as error:
            self.without = f"baselines could not be measured: {error}"

    def _champion(self) -> Standing | None:
        identity = self.lineage.champion
        if not identity:
            return None
        made = self.lineage.node(identity)
        role = f"seed {made.note}" if made.operator == SEED else ""
        return Standing(CHAMPION, identity, role, self._recorded(self.journal.candidate(identity)))


def _whole(evaluation: Evaluation | None) -> bool:
    """Whether a race, or a program that decides alike, did not break it off."""
    return evaluation is not None and str(evaluation.status) not in ("raced-out", "duplicate")


def _roles(the_problem: Problem | None) -> dict[str, str]:
    if the_problem is None:
        return {}
    return {the_problem.spec.score.baseline: "baseline, score 0"}


def _rank(standing: Standing) -> tuple[float, float]:
    validation, train = (standing.ok(split) for split in (Split.VALIDATION, Split.TRAIN))
    worst = float("inf")
    return -validation.score if validation else worst, -train.score if train else worst


def group_keys(the_problem: Problem) -> tuple[str, ...]:
    """The keys of the instance grid: those that the problem reports by, then what else instances are grouped by."""
    declared = the_problem.spec.report.group_by
    return declared or tuple(sorted(the_problem.split(Split.TRAIN)[0].group))


def grid(the_problem: Problem, splits: Sequence[Split]) -> Iterator[tuple[Split, dict[str, list[object]]]]:
    """For each split, the value of every key of the grid on every instance."""
    for split in splits:
        instances = the_problem.split(split)
        yield split, {key: [each.group.get(key) for each in instances] for key in group_keys(the_problem)}
