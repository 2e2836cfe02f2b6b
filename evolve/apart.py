"""Genetic proposals made in processes of their own, for runs whose single loop would be the limit.

To propose is most of what a loop has to do (docs/scaling.md), and needs nothing of its state but a sample. So the loop
draws the sample of each proposal, a process makes the proposal by a generator of its own, seeded from the run's seed
and the proposal's number, and the loop takes them in the order of their numbers. The search is then another one than
without them, as more workers make it another one; its journal holds every proposal, so resuming it is exact. A replay
takes these proposals as they are: when each of their samples was drawn is not in the journal.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from evolve import problem
from evolve.backends.environment import for_children
from evolve.problem import Problem
from evolve.proposers.process import Ask, Order, Setup, framed, messages
from evolve.records import Candidate, Proposal, Sample
from evolve.settings import Settings, available_cores

NOTE = "apart"  # in the journal: number of the first proposal that was made so; those after it are not made again
MANY = 100  # evaluations that keep a cluster busy, from which on processes are worth starting
PROCESSES = 4  # at most; one makes more than a thousand proposals a second
LEAD = 48  # proposals that a process has to make at a time: enough that it never waits


@dataclass(frozen=True)
class Made:
    """What a process answered; None where it has ended."""

    proposals: list[Proposal] | None


@dataclass
class _Process:
    """waiting: what it is to be told next. knows: ids of the members that it was told of."""

    process: subprocess.Popen[bytes]
    waiting: Order = field(default_factory=lambda: Order([], []))
    knows: set[str] = field(default_factory=set)


class Apart:
    """Proposals from processes. Used by one thread; what arrives is handed to `told`, from any thread.

    Where a process ends early, the loop makes its proposals itself from then on.
    """

    def __init__(self, the_settings: Settings, the_problem: Problem, told: Callable[[Made], None]) -> None:
        genetic = the_settings.proposer == "genetic" and the_settings.backend.kind != "loky"
        self._count = min(PROCESSES, max(1, available_cores() - 1)) if genetic else 0
        self._settings = the_settings
        self._problem = the_problem
        self._told = told
        self._processes: list[_Process] = []
        self._asked = 0  # not yet taken
        self._next = 0  # number of the first of them
        self._made: dict[int, Proposal] = {}

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def worthwhile(self, capacity: int) -> bool:
        """Whether proposals come from here, given how many evaluations keep the workers busy."""
        if not self._processes and self._count and capacity >= MANY:
            self._begin()
        return bool(self._processes)

    @property
    def processes(self) -> Sequence[int]:
        """Ids of the processes that are there."""
        return [each.process.pid for each in self._processes]

    @property
    def asked(self) -> int:
        """Proposals that were asked for and not taken yet."""
        return self._asked

    @property
    def room(self) -> bool:
        """Whether more may be asked for."""
        return self._asked < LEAD * len(self._processes)

    def ask(self, number: int, sample: Sample) -> None:
        """Have a proposal made; numbers follow each other."""
        if not self._asked:
            self._next = number
        self._asked += 1
        to = self._processes[number % len(self._processes)]
        for member in (sample.parent, *sample.inspirations):
            if member.candidate.id not in to.knows:
                to.knows.add(member.candidate.id)
                to.waiting.members.append((_bare(member.candidate), member.score))
        others = [member.candidate.id for member in sample.inspirations]
        tuned = {name: count for name, count in sample.tuned.items() if count}
        parent = sample.parent.candidate.id
        to.waiting.asks.append(Ask(number, parent, others, dict(sample.shares), sample.width, tuned))

    def send(self) -> None:
        """Tell the processes what was asked."""
        for each in self._processes:
            if each.waiting.asks:
                _write(each, each.waiting)
                each.waiting = Order([], [])

    def came(self, made: Made) -> None:
        """Take what `told` was given."""
        if made.proposals is None:
            self._end()
            self._count = 0
        elif self._processes:
            self._made |= {proposal.number: proposal for proposal in made.proposals}

    def made(self) -> Iterator[Proposal]:
        """The proposals that are there, in order, as far as none is missing between them."""
        while (proposal := self._made.pop(self._next, None)) is not None:
            self._next += 1
            self._asked -= 1
            yield proposal

    def _begin(self) -> None:
        spec, settings = self._problem.spec, self._settings
        seeds = problem.select_seeds(self._problem, settings.seeds).values()
        setup = Setup(
            settings.seed,
            spec.entry.function,
            spec.program,
            list(spec.limits.imports),
            [_bare(seed) for seed in seeds],
            settings.genetic,
            list(spec.changing),
        )
        for _ in range(self._count):
            process = subprocess.Popen(
                [sys.executable, "-m", "evolve.proposers.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=for_children(),
                start_new_session=True,  # Ctrl-C in the terminal is the loop's to handle
            )
            threading.Thread(target=self._read, args=(process,), name="proposals", daemon=True).start()
            self._processes.append(_Process(process))
            _write(self._processes[-1], setup)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for text in messages(process.stdout):
                self._told(Made(msgspec.msgpack.decode(text, type=list[Proposal])))
        self._told(Made(None))

    def _end(self) -> None:
        for each in self._processes:
            each.process.kill()  # it holds nothing that could be lost
        for each in self._processes:
            each.process.wait()
            assert each.process.stdin is not None
            with suppress(BrokenPipeError):  # what it was not told any more
                each.process.stdin.close()
        self._processes.clear()
        self._made.clear()
        self._asked = 0


def _bare(candidate: Candidate) -> Candidate:
    """With files that MessagePack knows."""
    return Candidate(candidate.id, dict(candidate.files), note=candidate.note)


def _write(to: _Process, message: Setup | Order) -> None:
    assert to.process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended, which its reader tells
        to.process.stdin.write(framed(msgspec.msgpack.encode(message)))
        to.process.stdin.flush()
