"""The state of a search, as a fold over its journal.

A live run and a resumed one feed the same records through the same methods, so they end in the same state.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from evolve.archives import make_archive
from evolve.archives.population import Axis
from evolve.budget import Budget
from evolve.credit import Credits
from evolve.errors import EvolveError
from evolve.gate import Gate
from evolve.journal import Placed
from evolve.proposers.base import SIMPLIFICATION, TUNING, ModelProposer, Proposer
from evolve.racing import telling_order
from evolve.records import (
    MIGRANT,
    Candidate,
    Evaluation,
    Exchange,
    Intervention,
    Member,
    Outcome,
    Placement,
    Promotion,
    Proposal,
    Remedy,
    Repeats,
    Request,
    Resumed,
    Sample,
    Split,
    Status,
)
from evolve.settings import BudgetSettings, Settings
from evolve.stagnation import Stagnation, sharpened
from evolve.statistics import paired_bootstrap
from evolve.trial import Race, Seen

DUPLICATE = "the program was proposed before"
LATE = 0.8  # share of the budget after which the best so far is validated even if validation had its share
VALIDATION_STAGES = (40, 100)


@dataclass(frozen=True)
class Task:
    """An evaluation to be done."""

    candidate: Candidate
    split: Split
    race: Race | None


@dataclass(frozen=True)
class Impossible:
    """A candidate with a score beyond the bound: a defect of the problem. index: of the instance in its split."""

    candidate: str
    split: Split
    index: int
    feedback: str


class Search:
    """Who may breed, who is champion, what is under way. It neither evaluates nor stores.

    axes: of the archive's grid, where it has one.
    order: in which races take the instances of train, once the seeds are known; () = as they are. A resumed run
        is given the one that it began with.
    reorder: whether races may take the instances in another order than the problem's.
    further: whether the problem makes further instances like those of train.
    """

    def __init__(
        self,
        settings: Settings,
        founders: Sequence[Candidate],
        proposer: Proposer | ModelProposer,
        axes: Sequence[Axis] = (),
        order: tuple[int, ...] = (),
        reorder: bool = True,
        further: bool = False,
    ) -> None:
        self.settings = settings
        self.order = order
        self._reorder = reorder and settings.racing.order == "telling"
        self.archive = make_archive(settings.archive, axes)
        self.budget = Budget(settings.budget)
        self.seen = Seen()
        self.stagnation = Stagnation(settings.stagnation)
        self.gate = Gate(settings.racing.confidence) if further else None
        self.interventions: Counter[Remedy] = Counter()
        self.credits = Credits(proposer.arms, settings.bandit)
        self.statuses: Counter[Status] = Counter()
        self.reasons: Counter[str] = Counter()
        self.proposals = 0
        self.champion: Member | None = None
        self.champion_validation: Evaluation | None = None
        self.founders: dict[str, Member] = {}
        self.impossible: list[Impossible] = []
        self.cached = 0
        self.migrants = 0  # taken in from other runs
        self.settled = 0  # of these, the ones that entered the archive
        self.open: dict[int, Request] = {}  # asked of models, not yet a proposal
        self.unread: dict[int, Exchange] = {}  # of these, the ones with an answer
        self.asker = proposer if isinstance(proposer, ModelProposer) else None
        self._proposer = None if isinstance(proposer, ModelProposer) else proposer
        # two seeds may be the same program
        self._to_found = list({candidate.id: candidate for candidate in founders}.values())
        self._awaited = {candidate.id for candidate in founders}
        self._known: set[str] = set()
        self._ordered = 0  # proposals made when the order of races was last changed
        self._tuned: Counter[str] = Counter()  # trials of tuning, by parent
        self._pending: dict[tuple[str, Split], Task] = {}
        self._judged: set[str] = set()  # candidates of the pending ones on validation
        self._begun: list[Task] = []
        self._challengers: dict[str, Member] = {}
        self._validated: set[str] = set()
        self._decided: Counter[Split] = Counter()
        self._founded = False
        self._forced = False
        self._closed = False
        self._unsought = False  # members came in since the last one worth a validation was sought in vain

    # ---- proposing

    @property
    def founding(self) -> bool:
        """Whether seeds are still to be handed out."""
        return bool(self._to_found)

    @property
    def ready(self) -> bool:
        """Whether a proposal can be made now."""
        return self.founding or self._founded

    def propose(self) -> Proposal:
        """The next proposal: a seed while there are any, then what the proposer makes of the archive."""
        number = self.proposals + 1
        if self._to_found:
            seed = self._to_found[0]
            return Proposal(number, "seed", (), replace(seed, number=number))
        rng = random.Random(f"{self.settings.seed}/{number}")
        assert self._proposer is not None, "models are asked: see `ask`"
        sample = self._sample(number, rng)
        proposal = self._proposer.propose(sample, number, rng)
        return self._numbered(proposal)

    def sampled(self, ahead: int) -> tuple[int, Sample]:
        """What a proposal is to be made of when `ahead` others will come before it: its number, and its sample."""
        number = self.proposals + 1 + ahead
        return number, self._sample(number, random.Random(f"{self.settings.seed}/{number}"))

    def made(self, proposal: Proposal) -> Proposal:
        """The next proposal: one that was made of what `sampled` gave."""
        return self._numbered(replace(proposal, number=self.proposals + 1))

    def knows(self, identity: str) -> bool:
        """Whether a program was proposed before."""
        return identity in self._known

    def admit(self, candidate: Candidate) -> Proposal:
        """The next proposal: a program of another run."""
        return self._numbered(Proposal(self.proposals + 1, MIGRANT, candidate.parents, candidate))

    def _numbered(self, proposal: Proposal) -> Proposal:
        candidate = proposal.candidate
        if candidate is None:
            return proposal
        if candidate.id in self._known:
            return replace(proposal, candidate=None, reason=DUPLICATE)
        return replace(proposal, candidate=replace(candidate, number=proposal.number))

    def _sample(self, number: int, rng: random.Random) -> Sample:
        sample = self.archive.sample(number, rng)
        members = (sample.parent, *sample.inspirations)
        tuned = {member.candidate.id: self._tuned[member.candidate.id] for member in members}
        return replace(sample, shares=self.credits.shares(), width=self.stagnation.width, tuned=tuned)

    def remedy(self) -> Intervention | None:
        """What is to be done before the next proposal, for the journal and then for `intervened`; None if nothing.

        It changes nothing; asked again afterwards, it gives the next one.
        """
        if not self._founded:
            return None
        step = self.archive.remedy(self.proposals)
        answers = (self._answer(remedy) for remedy in self.stagnation.due)
        return step or next((answer for answer in answers if answer is not None), None)

    def _answer(self, remedy: Remedy) -> Intervention | None:
        """An answer to stagnation; None if it would mean nothing here."""
        reason, stages = self.stagnation.reason, self.settings.racing.stages
        if remedy is Remedy.MIGRATE:
            step = self.archive.spread(self.proposals)
            return replace(step, reason=reason) if step else None
        if remedy is Remedy.WIDEN:
            return Intervention(remedy, self.proposals, reason=reason)
        judges = self.gate.judges(self.archive.members()) if self.gate else []
        reorders = self._reorder and stages
        if not reorders and not judges:
            return None
        return Intervention(
            remedy,
            self.proposals,
            members=tuple(judge.candidate.id for judge in judges),
            order=sharpened(self.archive.members(), max(stages)) if reorders else (),
            reason=reason if self.gate else f"{reason}; the problem makes no further instances",
        )

    def intervened(self, step: Intervention) -> None:
        """Carry out what `remedy` named, or what the journal says."""
        self.interventions[step.remedy] += 1
        self.stagnation.apply(step)
        if step.remedy is not Remedy.SHARPEN:  # whose members go nowhere
            self.archive.apply(step)
        self._unsought = True
        if step.order:
            self._ordered = step.number
            self.order = step.order
        if self.gate and step.remedy is Remedy.SHARPEN:
            members = {member.candidate.id: member for member in self.archive.members()}
            for judge in self.gate.ask([members[each] for each in step.members]):
                self._begin(Task(judge.candidate, Split.FURTHER, None))

    def proposed(self, proposal: Proposal) -> None:
        """Take note of a proposal; if it has a candidate, its evaluation is begun."""
        if self.open.pop(proposal.number, None):
            self.unread.pop(proposal.number, None)
            self.budget.end_call()
        else:
            self._advance(proposal.number)
        if self.asker:
            self.asker.proposed(proposal)
        candidate = proposal.candidate
        if proposal.operator == TUNING:
            self._tuned[proposal.parents[0]] += 1
        if self._to_found:
            self._to_found.pop(0)
        if candidate is None:
            self.reasons[proposal.reason] += 1
            return
        self._known.add(candidate.id)
        self.migrants += candidate.operator == MIGRANT
        self.budget.started += 1
        self.credits.begun(candidate)
        self._begin(Task(candidate, Split.TRAIN, self._race(candidate)))

    def _advance(self, number: int) -> None:
        self.proposals = number
        self.archive.advance(number)

    def resumed(self, record: Resumed) -> None:
        """The run goes on after a stop, with another budget maybe."""
        self.budget.limits = BudgetSettings(**asdict(record))
        if self.asker:
            self.asker.resumed()

    # ---- asking models: a proposal is begun with a request, and finished with the last exchange about it

    def ask(self, at: float) -> Request | None:
        """Begin the next proposal; None if no model can be asked now.

        Args:
            at: running time of the search in seconds.
        """
        assert self.asker is not None, "no models are asked: see `propose`"
        number = self.proposals + 1
        rng = random.Random(f"{self.settings.seed}/{number}")
        return self.asker.ask(self._sample(number, rng), number, rng, at, self.budget.affords)

    def asked(self, request: Request) -> None:
        """Take note of a request."""
        assert self.asker is not None
        self._advance(request.number)
        self.open[request.number] = request
        self.budget.begin_call(request)
        self.asker.asked(request)

    def exchanged(self, exchange: Exchange, at: float) -> None:
        """Take note of an exchange with a model."""
        assert self.asker is not None
        self.budget.exchanged(exchange)
        self.asker.exchanged(exchange, at)
        if exchange.final:
            self.unread[exchange.number] = exchange

    def finish(self, exchange: Exchange) -> Proposal:
        """What a request has become with its last exchange."""
        assert self.asker is not None
        return self._numbered(self.asker.read(self.open[exchange.number], exchange))

    @property
    def unanswered(self) -> list[Request]:
        """Requests that are still to be answered, in order."""
        return [request for number, request in self.open.items() if number not in self.unread]

    def _race(self, candidate: Candidate) -> Race | None:
        racing = self.settings.racing
        if not self._founded:
            return None
        elder = self._elder(candidate)
        if elder is not None:  # it is to decide as its elder does, so it is a duplicate if all goes well
            # after a change of the order, what an earlier digest was made of is no more known
            like = elder.evaluation.decisions if elder.candidate.number > self._ordered else ""
            theirs = elder.evaluation.scores
            return Race(racing.stages, theirs, racing.confidence, 0, self.order, like, elder.candidate)
        if not racing.stages:
            return None
        bar = self.archive.bar(candidate.number) if racing.enabled else None
        scores = bar.evaluation.scores if bar else None
        return Race(racing.stages, scores, racing.confidence, len(self.seen), self.order)

    def _elder(self, candidate: Candidate) -> Member | None:
        """The member that a simplification is to replace; None for any other candidate."""
        if candidate.operator != SIMPLIFICATION:
            return None
        members = (member for member in self.archive.members() if member.candidate.id in candidate.parents)
        return next(members, None)

    def _begin(self, task: Task) -> None:
        self._pending[task.candidate.id, task.split] = task
        if task.split is Split.VALIDATION:
            self._judged.add(task.candidate.id)
        self._begun.append(task)

    def take_begun(self) -> list[Task]:
        """The tasks begun since the last call, to be handed out."""
        begun, self._begun = self._begun, []
        return begun

    @property
    def pending(self) -> list[Task]:
        """What was begun and has no evaluation yet, in order."""
        return list(self._pending.values())

    @property
    def evaluations(self) -> int:
        """Candidates evaluated on train so far."""
        return sum(self.statuses.values())

    @property
    def repeats(self) -> Repeats:
        return Repeats(self.reasons[DUPLICATE], self.statuses[Status.DUPLICATE], self.cached)

    # ---- taking results

    def evaluated(self, evaluation: Evaluation, at: float) -> Iterator[Placed | Promotion]:
        """Take an evaluation; yields what follows from it, for the journal.

        Args:
            at: running time of the search in seconds.
        """
        if evaluation.split is Split.VALIDATION:
            self._judged.discard(evaluation.candidate)
            self._recall(evaluation.candidate)
        task = self._pending.pop((evaluation.candidate, evaluation.split), None)
        self._decided[evaluation.split] += evaluation.instances
        self.cached += evaluation.cached
        if evaluation.status is Status.IMPOSSIBLE:
            order = (task.race.order if task and task.race else ()) or range(evaluation.instances + 1)
            index = order[evaluation.instances]
            self.impossible.append(
                Impossible(evaluation.candidate, evaluation.split, index, evaluation.feedback)
            )
        if evaluation.split is Split.VALIDATION:
            yield self._judge(evaluation)
        elif evaluation.split is Split.FURTHER:
            yield from self._beyond(evaluation)
        elif task is not None:
            yield from self._place(Member(task.candidate, evaluation))
        self._consider_validation(at)

    def _place(self, member: Member) -> Iterator[Placed]:
        evaluation, candidate = member.evaluation, member.candidate
        self.statuses[evaluation.status] += 1
        if evaluation.decisions:
            self.seen.add(evaluation.decisions)
        if candidate.id in self._awaited:
            yield from self._take_founder(member)
            if self.asker:
                self.asker.evaluated(candidate, evaluation, evaluation.ok)
            return
        if self.gate and self.gate.holds(member, self.archive.best):
            self.gate.wait(member)
            self._begin(Task(candidate, Split.FURTHER, None))
            return
        yield from self._admit(member, self._offer(member))

    def _beyond(self, evaluation: Evaluation) -> Iterator[Placed]:
        """Take an evaluation on further instances: of a judge, or of a member that waits before the gate."""
        assert self.gate is not None
        member = self.gate.took(evaluation)
        if member is not None:
            passed = self.gate.passes(member, self.archive.best)
            yield from self._admit(member, self._offer(member) if passed else Placement(Outcome.REJECTED))

    def _admit(self, member: Member, placement: Placement) -> Iterator[Placed]:
        evaluation, candidate = member.evaluation, member.candidate
        placed = placement.outcome is not Outcome.REJECTED
        self.credits.ended(candidate, evaluation, placed)
        if self.asker:
            self.asker.evaluated(candidate, evaluation, placed)
        if self.archive.best is not None:
            self.stagnation.saw(self.archive.best.score)
        if placed:
            self._unsought = True
            self.settled += candidate.operator == MIGRANT
            yield Placed(candidate.id, placement)

    def _offer(self, member: Member) -> Placement:
        """To the archive. A simplification has its elder's scores on every instance, or it is dropped."""
        if member.candidate.operator != SIMPLIFICATION:
            return self.archive.add(member)
        elder = self._elder(member.candidate)
        if elder is None or not member.evaluation.ok or member.evaluation.scores != elder.evaluation.scores:
            return Placement(Outcome.REJECTED)
        return self.archive.supersede(elder.candidate.id, member)

    def _take_founder(self, member: Member) -> Iterator[Placed]:
        self._awaited.discard(member.candidate.id)
        self.founders[member.candidate.note] = member
        if self._awaited or self._to_found:
            return
        sound = [founder for founder in self.founders.values() if founder.evaluation.ok]
        if not sound:
            faults = "; ".join(
                f"{name}: {founder.evaluation.feedback}" for name, founder in self.founders.items()
            )
            raise EvolveError(f"no seed can be evaluated, so there is nothing to start from: {faults}")
        sound.sort(key=lambda founder: founder.candidate.number)
        self.archive.found(sound)
        self._founded = self._unsought = True
        if not self.order and self._reorder:
            scores = [founder.evaluation.scores for founder in sound]
            self.order = telling_order(scores, max(self.settings.racing.stages, default=0))
        for founder in sound:
            self.credits.ended(founder.candidate, founder.evaluation, True)
            yield Placed(founder.candidate.id, Placement(Outcome.NEW, "founder"))

    # ---- promotion

    def _consider_validation(self, at: float) -> None:
        if self.validating or not self._founded:
            return
        late = self.budget.spent(at) >= LATE and not self._forced
        if self.champion is None or late or self._validation_has_room():
            challenger = self._next_challenger()
            if challenger is not None:
                self._forced |= late
                self._validate(challenger)

    def close(self) -> None:
        """At the end of the budget: begin the validation that the best so far still lacks, if any."""
        challenger = None if self.validating else self._next_challenger()
        if challenger is not None and not self._closed:
            self._closed = True
            self._validate(challenger)

    def _next_challenger(self) -> Member | None:
        """The best member on train that was never validated, if it is better there than the champion."""
        if not self._unsought:
            return None
        best: Member | None = None
        for (
            member
        ) in self.archive.members():  # the first of the best: this runs whenever the archive has changed
            if (best is None or member.score > best.score) and member.candidate.id not in self._validated:
                best = member
        if best is None or (self.champion is not None and best.score <= self.champion.score):
            self._unsought = False
            return None
        return best

    def _recall(self, identity: str) -> None:
        """Make sure that a validated candidate is known, also where another budget began its validation."""
        self._validated.add(identity)
        if identity not in self._challengers:
            members = {member.candidate.id: member for member in self.archive.members()}
            self._challengers[identity] = members[identity]

    @property
    def validating(self) -> bool:
        return bool(self._judged)

    def _validation_has_room(self) -> bool:
        allowed = self.settings.promotion.share * self._decided[Split.TRAIN]
        return self._decided[Split.VALIDATION] <= allowed

    def _validate(self, challenger: Member) -> None:
        race = None
        if self.champion_validation is not None and self.settings.racing.enabled:
            race = Race(
                VALIDATION_STAGES, self.champion_validation.scores, self.settings.racing.confidence, 0
            )
        self._challengers[challenger.candidate.id] = challenger
        self._validated.add(challenger.candidate.id)
        self._begin(Task(challenger.candidate, Split.VALIDATION, race))

    def _judge(self, evaluation: Evaluation) -> Promotion:
        promotion = self._verdict(evaluation)
        if promotion.promoted:
            self.champion = self._challengers[evaluation.candidate]
            self.champion_validation = evaluation
        elif not evaluation.ok and self.champion is not None:
            # the verdict goes back: what fails or is clearly worse on unseen instances has no more children
            self.archive.discard(evaluation.candidate)
        return promotion

    def _verdict(self, evaluation: Evaluation) -> Promotion:
        settings, champion = self.settings.promotion, self.champion_validation
        holder = champion.candidate if champion else ""
        undecided = Promotion(
            evaluation.candidate, holder, False, 0.0, 0.0, 0.0, settings.confidence, evaluation.instances
        )
        if not evaluation.ok:
            return replace(undecided, reason=f"{evaluation.status}: {evaluation.feedback}")
        if evaluation.slowest > settings.headroom:
            share = f"{evaluation.slowest:.0%} of an instance's CPU limit"
            return replace(
                undecided, reason=f"too slow: it took {share}; promotion.headroom is {settings.headroom:.0%}"
            )
        if champion is None:
            return replace(undecided, promoted=True, reason="first champion")
        interval = paired_bootstrap(
            evaluation.scores, champion.scores, settings.confidence, settings.resamples, self.settings.seed
        )
        promoted = interval.low > 0
        verdict = "better" if promoted else "not shown to be better"
        return Promotion(
            evaluation.candidate,
            holder,
            promoted,
            interval.mean,
            interval.low,
            interval.high,
            settings.confidence,
            evaluation.instances,
            f"{verdict} on validation",
        )
