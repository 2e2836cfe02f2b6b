"""What became of a run's programs: scores, what was tried on whom, what broke. A fold, bounded in memory."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence

from evolve.records import Candidate, Evaluation, Status

PARENTS = 512  # of which it is remembered what was tried
PER_PARENT = 8
BROKEN = 16  # programs that wait for repair, the newest ones
RECENT = 10  # changes of each kind that notes are made from
NOTE = 160  # characters of an idea
FEEDBACK = 120

_BROKEN = frozenset(
    {Status.INVALID, Status.CRASHED, Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.FORBIDDEN}
)


class History:
    """Remembers what prompts tell of the past."""

    def __init__(self) -> None:
        self.improved: deque[str] = deque(maxlen=RECENT)
        self.failed: deque[str] = deque(maxlen=RECENT)
        self.evaluated = 0  # children so far
        self._scores: dict[str, float] = {}
        self._tried: OrderedDict[str, deque[str]] = OrderedDict()
        self._broken: OrderedDict[str, tuple[Candidate, Evaluation]] = OrderedDict()

    def tried(self, parent: str) -> Sequence[str]:
        """Changes of a program that did not help, the latest last."""
        return tuple(self._tried.get(parent, ()))

    def broken(self) -> tuple[Candidate, Evaluation] | None:
        """The program that broke last and has not been repaired."""
        return next(reversed(self._broken.values()), None)

    def repaired(self, identity: str) -> None:
        """A model was asked to repair a program: once is enough."""
        self._broken.pop(identity, None)

    def base(self, parents: Sequence[str]) -> float:
        """The best score of a child's parents; nan if none of them was sound."""
        return max((self._scores[each] for each in parents if each in self._scores), default=math.nan)

    def add(self, candidate: Candidate, evaluation: Evaluation) -> None:
        """A candidate was evaluated on train."""
        if evaluation.ok:
            self._scores[candidate.id] = evaluation.score
        if not candidate.parents:
            return
        self.evaluated += 1
        base = self.base(candidate.parents)
        text = f"{candidate.note[:NOTE] or candidate.operator}: {_outcome(evaluation, base)}"
        if evaluation.ok and evaluation.score > base:
            self.improved.append(text)
            return
        self.failed.append(text)
        self._remember(candidate.parents[0], text)
        # what a repair has made is not repaired again
        if evaluation.status in _BROKEN and candidate.operator != "repair":
            self._broken[candidate.id] = (candidate, evaluation)
            if len(self._broken) > BROKEN:
                self._broken.popitem(last=False)

    def useless(self, parent: str, reason: str) -> None:
        """A reply about a program that gave none."""
        self._remember(parent, reason[:FEEDBACK])

    def _remember(self, parent: str, text: str) -> None:
        self._tried.setdefault(parent, deque(maxlen=PER_PARENT)).append(text)
        self._tried.move_to_end(parent)
        if len(self._tried) > PARENTS:
            self._tried.popitem(last=False)


def _outcome(evaluation: Evaluation, base: float) -> str:
    """What a change did, in few words."""
    if evaluation.ok:
        change = f" ({evaluation.score - base:+.4f})" if not math.isnan(base) else ""
        return f"score {evaluation.score:.4f}{change}"
    if evaluation.status is Status.RACED_OUT:
        return "clearly worse, stopped early"
    if evaluation.status is Status.DUPLICATE:
        return "decides exactly as a program before it"
    return f"{evaluation.status}: {evaluation.feedback[:FEEDBACK]}"
