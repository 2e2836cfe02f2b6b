"""The records of a run: frozen, typed, and the same in memory, in the journal and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Value = None | bool | int | float | str | list[Any] | dict[str, Any] | Array
"""What crosses the jail's wall, in either direction."""

SEPARATOR = " + "  # between the operators that made a candidate one after the other
MIGRANT = "migrant"  # the operator of a program that came from another run


class Status(StrEnum):
    """How an evaluation ended. Only OK has a score."""

    OK = "ok"
    INVALID = "invalid"  # a decision breaks a rule of the problem
    CRASHED = "crashed"  # the program raised, or died
    TIMED_OUT = "timed-out"  # an instance passed its CPU or wall limit
    OUT_OF_MEMORY = "out-of-memory"
    FORBIDDEN = "forbidden"  # the program tried what the jail refuses
    IMPOSSIBLE = "impossible"  # a score beyond the bound
    EVALUATOR_FAILED = "evaluator-failed"  # our fault, never charged to the candidate
    RACED_OUT = "raced-out"  # stopped early: already worse than what it had to beat
    DUPLICATE = "duplicate"  # decides exactly as a candidate that was evaluated before


class Split(StrEnum):
    """Who may see an instance: train (proposers), validation (promotion), holdout (publishing, once).

    Further ones, where a problem makes them, are like those of train; a search that stagnates looks at them.
    """

    TRAIN = "train"
    VALIDATION = "validation"
    HOLDOUT = "holdout"
    FURTHER = "further"


SPLITS = (Split.TRAIN, Split.VALIDATION, Split.HOLDOUT)  # of every problem


@dataclass(frozen=True)
class Instance:
    """One input of a problem.

    arguments: what the entry point is called with, by parameter name, in order; empty in an interactive
        problem, whose simulator asks.
    bound: an objective, in the objective's unit, that no decision can beat.
    group: where it lies in the problem's instance grid, e.g. {"n": 100, "RDD": 0.2, "TF": 0.6}.
    facts: for the trusted side only, e.g. the optimum, or all that a simulator plays.
    cpu_s: CPU seconds a decision (in an interactive problem: all of them) may take; None means the
        problem's limit.
    family: of the holdout: instances of the same family share what was drawn at random, as when the same requests
        come with good and with bad predictions. Intervals count a family once. "": it has no relatives.
    """

    name: str
    arguments: Mapping[str, Value]
    bound: float
    group: Mapping[str, str | int | float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    cpu_s: float | None = None
    family: str = ""


@dataclass(frozen=True)
class Candidate:
    """One program: a mapping of file name to text. `id` is the hash of its normalised source.

    note: what the operator did, in a few words; a seed's name for a seed.
    number: the running number of the proposal that made it; 0 outside a run.
    """

    id: str
    files: Mapping[str, str]
    parents: tuple[str, ...] = ()
    operator: str = "seed"
    note: str = ""
    number: int = 0


@dataclass(frozen=True)
class Proposal:
    """One attempt to make a candidate: a program, or the reason there is none.

    model, tokens, dollars: who was asked and what all exchanges about it took; "" and 0 without a model. The
        prompt and the reply are in the `Request` and the last `Exchange` of the same number.
    """

    number: int
    operator: str
    parents: tuple[str, ...]
    candidate: Candidate | None
    reason: str = ""
    model: str = ""
    tokens: int = 0
    dollars: float = 0.0


@dataclass(frozen=True)
class Prompt:
    """What a model is asked. system: the same for all calls of a run, so that providers can cache it."""

    system: str
    user: str


@dataclass(frozen=True)
class Request:
    """A proposal that was begun: a model is being asked.

    parents: of the program that may come back; the first is the one that its edits apply to.
    tokens, dollars: what the call may take at most; set aside in the budget until it is answered.
    """

    number: int
    operator: str
    model: str
    parents: tuple[str, ...]
    prompt: Prompt
    tokens: int = 0
    dollars: float = 0.0


class Fault(StrEnum):
    """Why an exchange with a model gave no usable reply."""

    RATE_LIMITED = "rate-limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server-error"
    TIMED_OUT = "timed-out"
    UNREACHABLE = "unreachable"  # no connection, or it broke before anything came
    CUT_STREAM = "cut-stream"
    MALFORMED = "malformed"  # not the JSON that the interface promises
    EMPTY = "empty"
    REFUSED = "refused"
    FILTERED = "filtered"  # by the provider's content filter
    TOO_LONG = "too-long"  # the prompt, for the model's context
    BAD_REQUEST = "bad-request"
    UNKNOWN_MODEL = "unknown-model"
    NO_CREDIT = "no-credit"
    WRONG_KEY = "wrong-key"
    USED_UP = "used-up"  # all replies of the run that is replayed were given


@dataclass(frozen=True)
class Usage:
    """Tokens of an exchange, as the provider reports them.

    input: all of the prompt; of these `cached` were read from the provider's cache and `written` to it.
    output: all that was generated; of these `reasoning` are not in the reply.
    estimated: the provider reported nothing; counted from the texts' lengths.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0
    reasoning: int = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        return self.input + self.output


@dataclass(frozen=True)
class Exchange:
    """One call to a model: a reply, or a fault.

    attempt: counts the calls of one request, from 1. final: no further attempt follows.
    cut: the reply reached the limit of its length.
    """

    number: int
    attempt: int
    model: str
    reply: str = ""
    fault: Fault | None = None
    detail: str = ""
    cut: bool = False
    usage: Usage = Usage()
    dollars: float = 0.0
    latency_s: float = 0.0
    final: bool = True


@dataclass(frozen=True)
class Evaluation:
    """What the trusted side found out about a candidate on one split.

    objectives, scores: one per instance, in the split's order; raw in the objective's unit, and
        normalised (0 = baseline, 1 = bound). Empty unless the status is OK.
    score: mean of scores; nan unless OK.
    instances: how many instances were decided before the evaluation ended.
    slowest: the largest share of its CPU limit that any instance took.
    decisions: digest of the decisions on the first instances; "" if it did not come so far.
    cached: taken from the cache of evaluations, not run; cpu_s, peak_mb and slowest are those of the run then.
    descriptors: how the program behaves and what it is like, by name, for archives that ask; empty unless OK.
    profile: where its CPU time goes, in words, by its own process's account; "" unless somebody is to read it.
    """

    candidate: str
    split: Split
    status: Status
    objectives: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    instances: int = 0
    feedback: str = ""
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    slowest: float = 0.0
    jail: str = ""
    decisions: str = ""
    cached: bool = False
    descriptors: Mapping[str, float] = field(default_factory=dict)
    profile: str = ""

    @property
    def ok(self) -> bool:
        return self.status is Status.OK

    @cached_property
    def score(self) -> float:
        return _mean(self.scores) if self.scores else float("nan")

    @cached_property
    def objective(self) -> float:
        return _mean(self.objectives) if self.objectives else float("nan")

    @cached_property
    def worst_decile(self) -> float:
        """Mean normalised score over the worst tenth of the instances (at least one)."""
        if not self.scores:
            return float("nan")
        ordered = np.sort(np.asarray(self.scores))
        return float(ordered[: max(1, len(ordered) // 10)].mean())


def _mean(values: tuple[float, ...]) -> float:
    """What np.mean gives, without its detours: a loop asks for it twice an evaluation."""
    return float(np.add.reduce(np.asarray(values, np.float64)) / len(values))


@dataclass(frozen=True)
class Member:
    """An archived candidate with its evaluation on train."""

    candidate: Candidate
    evaluation: Evaluation

    @property
    def score(self) -> float:
        return self.evaluation.score


@dataclass(frozen=True)
class Sample:
    """What a proposer is offered: a parent, and others to learn from (best first).

    shares: chances of the proposer's arms, as weights; empty = by their prior.
    width: how many times as many changes in sequence as usual.
    tuned: how often the numbers of the parent, and of the others, were tuned so far, by id; 0 if not named.
    """

    parent: Member
    inspirations: tuple[Member, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    width: int = 1
    tuned: Mapping[str, int] = field(default_factory=dict)


class Outcome(StrEnum):
    REJECTED = "rejected"
    NEW = "new"
    IMPROVED = "improved"


@dataclass(frozen=True)
class Placement:
    """An archive's answer to `add`. `cell` names where; `replaced` the candidate that had to go."""

    outcome: Outcome
    cell: str = ""
    replaced: str = ""


@dataclass(frozen=True)
class Promotion:
    """The verdict of the paired test on validation between a challenger and the champion.

    difference, low, high: mean paired difference of normalised scores (challenger minus champion)
        with its bootstrap interval at `confidence`. promoted: whether `low` > 0.
    champion: the id beaten or not; "" for the first champion, which needs no test.
    """

    challenger: str
    champion: str
    promoted: bool
    difference: float
    low: float
    high: float
    confidence: float
    instances: int
    reason: str = ""


class Remedy(StrEnum):
    """What a search does where it is stuck (see stagnation.py), or now and then to mix its islands."""

    RESET = "reset"  # an island, or a hill climber, starts anew
    MIGRATE = "migrate"  # members move to other islands
    WIDEN = "widen"  # children are made by more operators in sequence
    SHARPEN = "sharpen"  # races begin with the instances on which the best members differ most


@dataclass(frozen=True)
class Intervention:
    """A step of the search itself, between two proposals.

    number: proposals made before it.
    place: the island concerned; -1 = the whole archive.
    members: RESET: who lives there now. MIGRATE: who moves in. SHARPEN: whose differences on further instances make
        the gate from now on.
    order: SHARPEN: in which races take the instances of train from now on.
    """

    remedy: Remedy
    number: int
    place: int = -1
    members: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Resumed:
    """The run goes on after a stop, with this budget (see settings.BudgetSettings). Models are tried anew."""

    evaluations: int | None = None
    seconds: float | None = None
    tokens: int | None = None
    dollars: float | None = None


@dataclass(frozen=True)
class Repeats:
    """What did not have to be run.

    source: proposals of a program that was proposed before. decisions: candidates that decide as a known one.
    cache: evaluations known from an earlier run.
    """

    source: int
    decisions: int
    cache: int
