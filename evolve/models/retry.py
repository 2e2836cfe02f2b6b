"""What follows from a fault: try again, and when; give up; or stop the run. The one place that decides."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum, auto

from evolve.models.base import Failure
from evolve.records import Fault

LONGEST_WAIT_S = 120.0  # a provider that asks for more is as good as down


class Verdict(Enum):
    """What a fault means for those who asked."""

    AGAIN = auto()  # the same call may work in a while
    LOST = auto()  # this prompt gets no answer; the model is well
    DOWN = auto()  # the model will not answer anything soon
    GONE = auto()  # nor ever
    STOP = auto()  # nobody can go on until a user mends it


VERDICTS = {
    Fault.RATE_LIMITED: Verdict.AGAIN,
    Fault.OVERLOADED: Verdict.AGAIN,
    Fault.SERVER_ERROR: Verdict.AGAIN,
    Fault.TIMED_OUT: Verdict.AGAIN,
    Fault.UNREACHABLE: Verdict.AGAIN,
    Fault.CUT_STREAM: Verdict.AGAIN,
    Fault.MALFORMED: Verdict.AGAIN,
    Fault.EMPTY: Verdict.AGAIN,
    Fault.REFUSED: Verdict.LOST,
    Fault.FILTERED: Verdict.LOST,
    Fault.TOO_LONG: Verdict.LOST,
    Fault.BAD_REQUEST: Verdict.LOST,
    Fault.UNKNOWN_MODEL: Verdict.GONE,
    Fault.USED_UP: Verdict.GONE,
    Fault.NO_CREDIT: Verdict.DOWN,
    Fault.WRONG_KEY: Verdict.STOP,
}


@dataclass(frozen=True)
class Policy:
    """Exponential backoff with full jitter (Brooker, "Exponential Backoff and Jitter", 2015).

    retries: attempts after the first.
    first_s: the longest pause before the first retry; it doubles with each, up to `longest_s`.
    """

    retries: int = 5
    first_s: float = 1.0
    longest_s: float = 30.0

    def pause_s(self, failure: Failure, attempt: int, rng: random.Random) -> float | None:
        """Seconds until the next attempt; None = there is none.

        What was billed is not tried again: a call was set aside in the budget once.
        """
        if VERDICTS[failure.fault] is not Verdict.AGAIN or attempt > self.retries or failure.usage.total:
            return None
        if failure.retry_after_s is not None:
            asked = failure.retry_after_s
            return asked + rng.uniform(0, 0.1 * asked) if asked <= LONGEST_WAIT_S else None
        return rng.uniform(0, min(self.longest_s, self.first_s * 2 ** (attempt - 1)))
