"""What each operator's proposals came to: a fold over a journal's records, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from evolve.journal import Placed, Record
from evolve.records import SEPARATOR, Evaluation, Promotion, Proposal, Split, Status

SEED = "seed"  # the operator of the programs that a search begins with


@dataclass
class Yield:
    """Of one operator.

    proposed: attempts. programs: new programs among them. sound: those with a score on train. archived: those that
    entered the archive. bests: those that were the best on train so far. champions: those that were promoted.
    """

    proposed: int = 0
    programs: int = 0
    sound: int = 0
    archived: int = 0
    bests: int = 0
    champions: int = 0

    def share(self, name: str) -> float:
        """One of the counts as a share of the proposals."""
        return float(getattr(self, name)) / self.proposed if self.proposed else 0.0


COUNTS = tuple(each.name for each in fields(Yield))


class Yields:
    """The operators of a search; the seeds count as one of them. Records of other kinds are passed over.

    What several operators made together counts for each of them.
    """

    def __init__(self) -> None:
        self._operators: dict[str, Yield] = {}
        self._made_by: dict[str, list[Yield]] = {}
        self._best = float("-inf")
        self._archived: set[str] = set()

    def take(self, record: Record) -> None:
        match record:
            case Proposal(operator=operator, candidate=candidate):
                made = [
                    self._operators.setdefault(each, Yield())
                    for each in dict.fromkeys(operator.split(SEPARATOR))
                ]
                _count(made, "proposed")
                if candidate is not None:
                    _count(made, "programs")
                    self._made_by[candidate.id] = made
            case Evaluation(split=Split.TRAIN, status=Status.OK):
                self._sound(record)
            case Placed(candidate=identity) if identity not in self._archived:
                self._archived.add(identity)
                self._credit(identity, "archived")
            case Promotion(challenger=identity, promoted=True):
                self._credit(identity, "champions")
            case _:
                pass

    def _sound(self, evaluation: Evaluation) -> None:
        self._credit(evaluation.candidate, "sound")
        if evaluation.score > self._best:
            self._best = evaluation.score
            self._credit(evaluation.candidate, "bests")

    def _credit(self, identity: str, name: str) -> None:
        _count(self._made_by.get(identity, []), name)

    def __iter__(self) -> Iterator[tuple[str, Yield]]:
        """Operators by name, those first whose proposals entered the archive most often."""
        ranked = sorted(self._operators, key=self._rank)
        return ((name, self._operators[name]) for name in ranked)

    def _rank(self, name: str) -> tuple[float, str]:
        return -self._operators[name].share("archived"), name


def _count(made: list[Yield], name: str) -> None:
    for each in made:
        setattr(each, name, getattr(each, name) + 1)
