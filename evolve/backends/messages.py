"""What goes between the loop and the workers of a cluster: plain data in MessagePack, never pickled objects."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from evolve.backends.base import Host, Lost
from evolve.records import Candidate, Evaluation, Split
from evolve.search import Task
from evolve.trial import Race


class Job(msgspec.Struct, frozen=True, array_like=True):
    """An evaluation to be done.

    number: by which its result is known again. race: its place in the batch's races; -1 = none.
    horizon: how many of the digests of decisions count as known (see trial.Race).
    """

    number: int
    candidate: str
    files: dict[str, str]
    split: Split
    race: int
    horizon: int


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Jobs that one worker does one after the other.

    problem: digest of the parcel that holds it. run: a name that no other search on the cluster has.
    races: each once, as many jobs share their bar.
    start: how many of this run's digests of decisions the worker has to know already; `digests` are those that follow.
    seconds: after which no further job of the batch is begun.
    """

    problem: str
    run: str
    races: list[Race]
    jobs: list[Job]
    start: int
    digests: list[str]
    seconds: float


class Done(msgspec.Struct, frozen=True, array_like=True):
    """A job that was done: an evaluation, or why there is none.

    fault: of the machine, or of the evaluator if `evaluator` is set; never the candidate's.
    """

    number: int
    seconds: float
    evaluation: Evaluation | None = None
    fault: str = ""
    evaluator: bool = False


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """What became of a batch. Jobs that are not among `done` were not begun.

    worker: the process, on `host`. known: how many digests of decisions it knows; fewer than the batch's start
    means that nothing was begun for want of them. refusal: why this process may not evaluate; "" if it may.
    """

    host: str
    worker: str
    known: int
    done: list[Done] = []
    refusal: str = ""


class Examined(msgspec.Struct, frozen=True, array_like=True):
    """What a host is: `level` of its jail ("" = none), and why it gets no work, if so."""

    host: str
    level: str
    refusal: str = ""


def host(found: bytes | Lost, name: str, slots: int) -> Host:
    """What a worker process called `name` says of its host; no slots where it may not evaluate."""
    if isinstance(found, Lost):
        return Host(name, "", 0, f"it could not be examined: {found}")
    examined = msgspec.msgpack.decode(found, type=Examined)
    return Host(
        f"{examined.host} ({name})", examined.level, 0 if examined.refusal else slots, examined.refusal
    )


def pack(
    problem: str, run: str, tasks: list[tuple[int, Task]], start: int, digests: list[str], seconds: float
) -> bytes:
    """A batch of numbered tasks; see Batch."""
    races: list[Race] = []
    jobs = []
    for number, task in tasks:
        race, horizon = -1, 0
        if task.race is not None:
            horizon, common = task.race.horizon, replace(task.race, horizon=0)
            if common not in races:
                races.append(common)
            race = races.index(common)
        candidate = task.candidate
        jobs.append(Job(number, candidate.id, dict(candidate.files), task.split, race, horizon))
    return msgspec.msgpack.encode(Batch(problem, run, races, jobs, start, digests, seconds))


def unpack(batch: Batch, job: Job) -> Task:
    """The task of a job; of its candidate, what an evaluation needs."""
    race = None if job.race < 0 else replace(batch.races[job.race], horizon=job.horizon)
    return Task(Candidate(job.candidate, job.files), job.split, race)
