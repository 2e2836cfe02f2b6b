"""A process that makes genetic proposals for a search: `python -m evolve.proposers.process`.

It reads a `Setup` and then `Order`s from standard input, answers with proposals on standard output, and ends with its
input. What goes through the pipes is MessagePack, each message after its length. The other side is evolve/apart.py.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator, Mapping
from typing import IO

import msgspec

from evolve.proposers.genetic import GeneticProposer
from evolve.records import Candidate, Evaluation, Member, Sample, Split, Status
from evolve.settings import GeneticSettings

LENGTH = 4  # bytes before a message that give its length
TOGETHER = 8  # proposals that are answered with at once


class Setup(msgspec.Struct, frozen=True, array_like=True):
    """What a proposer is made of (see GeneticProposer), and the seed of the run."""

    seed: int
    entry: str
    program: str
    imports: list[str]
    seeds: list[Candidate]
    settings: GeneticSettings
    changing: list[str]


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """A proposal to be made: a sample whose members are named by the ids of their candidates."""

    number: int
    parent: str
    inspirations: list[str]
    shares: dict[str, float]
    width: int
    tuned: dict[str, int]


class Order(msgspec.Struct, frozen=True, array_like=True):
    """Proposals to be made, in order, and the members with their scores that the process was not yet told of."""

    members: list[tuple[Candidate, float]]
    asks: list[Ask]


def generator(seed: int, number: int) -> random.Random:
    """The only source of randomness of a proposal that is made apart from the loop."""
    return random.Random(f"{seed}/{number}/apart")


def member(candidate: Candidate, score: float) -> Member:
    """As much of a member as a proposer looks at."""
    return Member(candidate, Evaluation(candidate.id, Split.TRAIN, Status.OK, scores=(score,)))


def sample(ask: Ask, members: Mapping[str, Member]) -> Sample:
    """What is asked, with the members themselves."""
    others = tuple(members[each] for each in ask.inspirations)
    return Sample(members[ask.parent], others, ask.shares, ask.width, ask.tuned)


def framed(text: bytes) -> bytes:
    """A message as it goes through a pipe."""
    return len(text).to_bytes(LENGTH, "little") + text


def messages(source: IO[bytes]) -> Iterator[bytes]:
    """The messages of a pipe, until its other end is closed."""
    while len(head := source.read(LENGTH)) == LENGTH:
        size = int.from_bytes(head, "little")
        text = source.read(size)
        if len(text) < size:
            return
        yield text


def main() -> None:
    """Serve until standard input ends."""
    found = messages(sys.stdin.buffer)
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever prints must not get among the answers
    setup = msgspec.msgpack.decode(next(found), type=Setup)
    proposer = GeneticProposer(
        setup.entry, setup.program, setup.imports, setup.seeds, setup.settings, setup.changing
    )
    members: dict[str, Member] = {}
    for text in found:
        order = msgspec.msgpack.decode(text, type=Order)
        members |= {candidate.id: member(candidate, score) for candidate, score in order.members}
        for first in range(0, len(order.asks), TOGETHER):
            made = [
                proposer.propose(sample(ask, members), ask.number, generator(setup.seed, ask.number))
                for ask in order.asks[first : first + TOGETHER]
            ]
            answers.write(framed(msgspec.msgpack.encode(made)))
            answers.flush()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # the search has ended
        os._exit(0)
