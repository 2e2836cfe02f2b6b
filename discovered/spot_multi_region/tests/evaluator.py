"""Trusted simulator of a job with a deadline on spot and on-demand instances, in one or in several regions.

After Wu et al., "Can't Be Late: Optimizing Spot Instance Savings under Deadlines" (NSDI'24). Time goes in
ticks. At the beginning of each, the policy says what is to run until its end: nothing, a spot instance or an
on-demand instance, and where there are several regions, in which. A spot instance that runs is lost when its region
has no spot any more. What is started anew first goes through the restart overhead, in which the job gets no further;
moving to another region costs a charge besides. A tick costs its own price in the region where something runs,
whatever happened before or happens later. All times are integer seconds.

An instance brings `facts`:
    several: whether the policy chooses a region; else there is one.
    tick_s, work_s, overhead_s: seconds; ticks: from the start to the deadline.
    available: bool (regions, ticks); price: float64 (regions, ticks), $ for a tick of spot.
    demand: float64 (regions,), $ for a tick on demand; move: $ for each change of region.
    reference: $ of doing everything on demand in the cheapest region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

NONE, SPOT, ON_DEMAND = 0, 1, 2
NAMES = ("NONE", "SPOT", "ON_DEMAND")


class Invalid(ValueError):
    """A decision breaks a rule; the text names the value and the rule, and goes to the proposer."""


class Instance(Protocol):
    """What this simulator reads of an instance."""

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def bound(self) -> float: ...


class Job:
    """What has become of the job so far. work_s and pending_s: seconds of work and of restart overhead to go."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.tick_s, self.overhead_s = int(facts["tick_s"]), int(facts["overhead_s"])
        self.ticks, self.work_s = int(facts["ticks"]), int(facts["work_s"])
        self.available = facts["available"].tolist()
        self.price, self.demand = facts["price"].tolist(), facts["demand"].tolist()
        self.move = float(facts["move"])
        self.now = self.pending_s = self.region = 0
        self.running = NONE
        self.cost = 0.0

    def begin(self) -> None:
        """A tick begins: spot may be gone, and with it what ran there.

        Raises:
            Invalid: even on demand the job cannot be done by the deadline.
        """
        over = self.now >= self.ticks
        if self.running == SPOT and not over and not self.available[self.region][self.now]:
            self.running, self.pending_s = NONE, 0
        needed_s = self.work_s + (self.overhead_s if self.running == NONE else self.pending_s)
        if needed_s > (self.ticks - self.now) * self.tick_s:
            raise Invalid(
                f"the deadline is missed: at tick {self.now} of {self.ticks} it takes "
                f"{needed_s / self.tick_s:.4g} more ticks of running to finish; "
                f"switch to ON_DEMAND while there is time left, the restart overhead included"
            )

    def run(self, kind: int, region: int) -> None:
        """A tick goes by. Where there is no spot, a request for it is not fulfilled, and costs nothing."""
        if kind == NONE or (kind == SPOT and not self.available[region][self.now]):
            self.running, self.pending_s = NONE, 0
        else:
            if region != self.region:
                self.cost += self.move
            if kind != self.running or region != self.region:
                self.pending_s = self.overhead_s
            self.running, self.region = kind, region
            self.cost += self.price[region][self.now] if kind == SPOT else self.demand[region]
            lost_s = min(self.pending_s, self.tick_s)
            self.pending_s -= lost_s
            self.work_s -= min(self.work_s, self.tick_s - lost_s)
        self.now += 1


def simulate(instance: Instance, ask: Callable[..., object]) -> float:
    """Cost in % of doing everything on demand.

    Args:
        ask: the policy; see statement.md of the problem for what it is asked with.

    Raises:
        Invalid: a decision is none, or the deadline is missed.
    """
    job = Job(instance.facts)
    play = _several if instance.facts["several"] else _one
    play(job, instance.facts, ask)
    return 100.0 * job.cost / float(instance.facts["reference"])


def _one(job: Job, facts: Mapping[str, Any], ask: Callable[..., object]) -> None:
    """Plays a job in a single region."""
    share, streak = (past.tolist()[0] for past in history(facts["available"]))
    tick_s, available, price, demand = job.tick_s, job.available[0], job.price[0], job.demand[0]
    total, overhead = job.work_s / tick_s, job.overhead_s / tick_s
    while job.work_s:
        job.begin()
        now, work = job.now, job.work_s / tick_s
        answer = ask(
            float(now), float(job.ticks - now), total - work, work,
            available[now], job.running, job.pending_s / tick_s, overhead,
            price[now], demand, share[now], streak[now],
        )  # fmt: skip
        job.run(_kind(answer), 0)


def _several(job: Job, facts: Mapping[str, Any], ask: Callable[..., object]) -> None:
    """Plays a job that may move between regions. The lists have an entry for each region."""
    # a row for each tick; plain lists, because for a few numbers they are quicker to send and to work with than arrays
    share, streak = (past.T.tolist() for past in history(facts["available"]))
    spot = facts["available"].T.astype(np.float64).tolist()
    price, demand = facts["price"].T.tolist(), facts["demand"].tolist()
    tick_s, regions = job.tick_s, len(demand)
    total, overhead = job.work_s / tick_s, job.overhead_s / tick_s
    while job.work_s:
        job.begin()
        now, work = job.now, job.work_s / tick_s
        answer = ask(
            float(now), float(job.ticks - now), total - work, work,
            job.running, job.region, job.pending_s / tick_s, overhead, job.move,
            spot[now], price[now], demand, share[now], streak[now],
        )  # fmt: skip
        job.run(*_place(answer, regions))


def history(available: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What was seen up to each tick, it included; both of the shape of `available`, (regions, ticks).

    Returns: the share of the ticks at which there was spot, and for how many ticks it has been as it is now.
    """
    count = np.arange(1.0, available.shape[1] + 1.0)
    share = np.cumsum(available, axis=1) / count
    changed = np.zeros(available.shape, np.int64)
    changed[:, 1:] = np.where(available[:, 1:] != available[:, :-1], np.arange(1, available.shape[1]), 0)
    streak = count - np.maximum.accumulate(changed, axis=1)
    return share, streak


def _kind(answer: object) -> int:
    # a bool is an int to Python: it is no decision
    if type(answer) is int and NONE <= answer <= ON_DEMAND:
        return answer
    raise Invalid(f"decide returned {_shown(answer)}; it has to return 0 (NONE), 1 (SPOT) or 2 (ON_DEMAND)")


def _place(answer: object, regions: int) -> tuple[int, int]:
    if type(answer) not in (list, tuple) or len(answer) != 2:  # type: ignore[arg-type]
        raise Invalid(f"decide returned {_shown(answer)}; it has to return two integers (kind, region)")
    kind, region = answer  # type: ignore[misc]
    if type(region) is not int or not 0 <= region < regions:
        raise Invalid(f"decide chose region {_shown(region)}; it has to be an integer of 0..{regions - 1}")
    return _kind(kind), region


def _shown(answer: object) -> str:
    plain = type(answer) in (bool, int, float, str)
    return str(answer)[:20] if plain else f"a {type(answer).__name__}"


def summary(instances: Sequence[Instance], objectives: Sequence[float]) -> dict[str, float]:
    """What was paid over the clairvoyant optimum, on average and in the worst case."""
    ratios = [found / instance.bound for instance, found in zip(instances, objectives, strict=True)]
    return {"mean ratio to the optimum": float(np.mean(ratios)), "worst ratio to the optimum": max(ratios)}
