"""What evaluates for the loop: a backend, on this machine or on a cluster; and the hosts that it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from evolve.records import Evaluation
from evolve.search import Task


@dataclass(frozen=True)
class Host:
    """Where evaluations are done.

    level: of the jail there; "" where none can be built. slots: evaluations at a time; 0 for a host without work.
    refusal: why it gets no work; "" if it does.
    """

    name: str
    level: str
    slots: int
    refusal: str = ""


class Backend(Protocol):
    """Evaluates tasks somewhere. A context manager; used by one thread."""

    def __enter__(self) -> Backend: ...

    def __exit__(self, *error: object) -> None: ...

    def submit(self, task: Task) -> Future[Evaluation]:
        """Begin an evaluation. Each has one result, whatever happens to the machine that was given it.

        The future raises EvaluatorError where the evaluator itself failed, and BackendError where the
        machines did so often that the run has to stop.
        """

    def capacity(self) -> int:
        """Evaluations that keep everybody busy; it changes as hosts come and go."""

    def hosts(self) -> Sequence[Host]:
        """All hosts that were seen, those without work included."""

    def cancel(self) -> None:
        """Abandon what is under way."""

    def remarks(self) -> Sequence[str]:
        """What the user should know and was not told yet; each is given once."""


class Lost(Exception):  # noqa: N818 - it is no error of ours: it says what the engine reported
    """A batch that will not come back; the text says why."""


Returned = Callable[[bytes | Lost], None]


class Engine(Protocol):
    """A cluster, as Crew sees it: it runs `station.serve` on a batch of evaluations, on hosts that passed `examine`.

    cost_s: seconds that the engine itself takes for a batch, by which batches are sized.
    """

    cost_s: float

    def look(self) -> None:
        """Take note of hosts that came and went; called about once a second, by the thread that sends."""

    def slots(self) -> int:
        """Batches that run at a time, on hosts that may have work."""

    def hosts(self) -> Sequence[Host]:
        """All hosts that were seen, and examined."""

    def examining(self) -> bool:
        """Whether a host is being examined."""

    def send(self, batch: bytes, returned: Returned) -> None:
        """Have a batch run somewhere; `returned` is called once, from any thread.

        Raises:
            Lost: it was not taken.
        """

    def close(self) -> None:
        """Give back what is under way, and end what was started."""
