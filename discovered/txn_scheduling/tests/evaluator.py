"""Trusted evaluator of transaction scheduling, as a whole batch (an order) or online (asked one at a time).

An instance brings a batch of n transactions with m operations in all, as `first`, int64 (n + 1,): operations
first[t]..first[t+1]-1 are those of transaction t, in sequence; `keys`, int64 (m,): what each accesses, 0..k-1, or -1
for nothing that others could access; `writes`, int64 (m,): 1 for a write, 0 for a read. For an order to be judged they
are its arguments, for the online problem its facts.

An operation takes one unit of time, and a transaction runs without a pause. Transactions are admitted in an order;
each starts as early as possible, where a write may begin once all accesses of its key by transactions admitted before
have ended, and a read once all such writes have ended. The makespan is when the last operation ends.

numpy and the standard library suffice; where numba is installed, orders are judged by compiled code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Kernel = Callable[[Ints, Ints, Ints, Ints, Ints, Ints], int]
FREE = -(10**6)  # how far apart transactions without a conflict have to start


class Invalid(ValueError):
    """A decision breaks a rule; the text names the value and the rule, and goes to the proposer."""


class Instance(Protocol):
    """What this evaluator reads of an instance."""

    @property
    def arguments(self) -> Mapping[str, Any]: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def bound(self) -> float: ...


# ---- a whole batch


def check(instance: Instance, decision: object) -> Ints:
    """Parse an order strictly.

    Args:
        instance: gives n, the number of transactions.
        decision: hostile data. Accepted: a list (or one-dimensional integer array) of exactly n integers
            (Python's or numpy's), each of 0..n-1 once. A bool, a float (3.0 too) and an alias such as -1 are refused.

    Returns:
        The order as an int64 array of shape (n,).

    Raises:
        Invalid: with the value and the rule that it breaks.
    """
    n = len(instance.arguments["first"]) - 1
    values = _values(decision, n)
    if len(values) != n:
        raise Invalid(f"order has {len(values)} entries; {_rule(n)}")
    # one pass in C for the common case; only a refusal pays for finding out what is wrong
    if set(map(type, values)) <= {int} and sorted(values) == list(range(n)):
        return np.array(values, dtype=np.int64)
    raise Invalid(_complaint(values, n))


def objective(instance: Instance, parsed: Ints) -> float:
    """The makespan of an order, in units of time."""
    first, keys, writes = (instance.arguments[name] for name in ("first", "keys", "writes"))
    return float(makespan(parsed, first, keys, writes))


def consult(instance: Instance, value: object, count: int) -> int:
    """What a program is told when it asks for a makespan: that of a list of distinct transactions, not always of all.

    Args:
        value: hostile data. count: how often the program has asked, this time included.

    Raises:
        Invalid: something else than such a list, or more questions than `arguments["calls"]`.
    """
    arguments = instance.arguments
    n, calls = len(arguments["first"]) - 1, int(arguments["calls"])
    if count > calls:
        raise Invalid(f"makespan was called more than {calls} times; see the argument calls")
    order = np.array(value or np.zeros(0, np.int64)) if type(value) is list else np.array(None)
    if order.dtype != np.int64 or order.ndim != 1:
        raise Invalid("makespan takes a list of integers")
    if not _range(n).issuperset(order.tolist()):
        raise Invalid(f"makespan of an order that is none: transactions are 0..{n - 1}")
    if len(set(order.tolist())) < len(order):
        raise Invalid("makespan of an order that is none: each transaction may be there once")
    return makespan(order, *(arguments[name] for name in ("first", "keys", "writes")))


@functools.cache
def _range(n: int) -> frozenset[int]:
    return frozenset(range(n))


def makespan(order: Ints, first: Ints, keys: Ints, writes: Ints) -> int:
    """When the last operation of the transactions in `order`, (p,), ends; p may be less than n."""
    accessed, written = np.zeros((2, len(keys)), np.int64)  # no more keys than operations
    return int(kernel()(order, first, keys, writes, accessed, written))


@functools.cache
def kernel() -> Kernel:
    """The simulator: compiled if numba is installed, and then kept on disk where that is possible; else plain."""
    try:
        from numba import njit, types
    except ImportError:
        return simulate_order
    given, used = (types.Array(types.int64, 1, "C", readonly=readonly) for readonly in (True, False))
    signature = types.int64(given, given, given, given, used, used)
    try:
        return cast(Kernel, njit(signature, cache=True)(simulate_order))
    except (RuntimeError, ImportError):
        # no folder that numba could write to; or what is there was compiled when this module had another name
        return cast(Kernel, njit(signature)(simulate_order))


def simulate_order(order: Ints, first: Ints, keys: Ints, writes: Ints, accessed: Ints, written: Ints) -> int:
    """Admits one transaction after the other; accessed, written: (k,) zeros, when each key's last such access ends."""
    last = 0
    for t in order:
        begin, end = first[t], first[t + 1]
        start = 0
        for i in range(begin, end):
            if keys[i] >= 0:
                ready = (accessed[keys[i]] if writes[i] else written[keys[i]]) - (i - begin)
                start = max(start, ready)
        for i in range(begin, end):
            if keys[i] >= 0:
                done = start + i - begin + 1
                accessed[keys[i]] = max(accessed[keys[i]], done)
                if writes[i]:
                    written[keys[i]] = max(written[keys[i]], done)
        last = max(last, start + end - begin)
    return last


def distance(instance: Instance, one: Ints, other: Ints) -> float:
    """Share of the pairs of transactions that two orders admit differently, 0 to 1 (Kendall's tau distance)."""
    n = len(one)
    if n < 2:
        return 0.0
    place = np.empty(n, dtype=np.int64)
    place[other] = np.arange(n)
    in_other = place[one]
    swapped = np.triu(in_other[:, None] > in_other[None, :], 1)
    return float(swapped.sum()) / (n * (n - 1) / 2)


# ---- online


def simulate(instance: Instance, ask: Callable[..., object]) -> float:
    """The makespan when a policy picks from a window of the transactions that have arrived; `facts["window"]` many.

    Whenever one is admitted, the next one of the batch arrives. With nothing to choose from, nobody is asked.

    Args:
        ask: the policy, as `next(keys, writes, start, length, delay, age, span)`; see statement.md.

    Raises:
        Invalid: a decision is none of the pending transactions.
    """
    desk, window = (
        Desk(*(instance.facts[name] for name in ("first", "keys", "writes"))),
        instance.facts["window"],
    )
    waiting: list[int] = []
    arrived: list[int] = []  # after how many admissions each came
    for admitted in range(len(desk.length)):
        for row in range(admitted + len(waiting), min(admitted + int(window), len(desk.length))):
            desk.arrive(row, waiting)
            waiting.append(row)
            arrived.append(admitted)
        chosen = 0
        if len(waiting) > 1:
            age = admitted - np.array(arrived, np.int64)
            chosen = _index(ask(*desk.view(waiting), age, desk.span), len(waiting))
        desk.admit(waiting.pop(chosen))
        arrived.pop(chosen)
    return float(desk.span)


class Desk:
    """The transactions as rows of one table, and when each key's accesses end. span: the makespan so far."""

    def __init__(self, first: Ints, keys: Ints, writes: Ints) -> None:
        self.length = np.diff(first)
        self.span = 0
        n, longest, count = len(self.length), int(self.length.max()), int(keys.max(initial=-1)) + 1
        self._offset = np.arange(longest)
        self._end = (
            self._offset[:, None] + 1 - self._offset
        )  # of one operation, from the start of another's row
        inside = self._offset < self.length[:, None]
        self._keys = np.full(inside.shape, -1, np.int64)
        self._writes = np.zeros(inside.shape, np.int64)
        self._keys[inside], self._writes[inside] = keys, writes
        self._apart = np.full((n, n), FREE, np.int64)
        # the last place belongs to key -1, which nobody waits for
        self._accessed, self._written = np.zeros((2, count + 1), np.int64)

    def arrive(self, row: int, waiting: Sequence[int]) -> None:
        """Finds out how far apart a transaction and those that wait have to start, whichever of them is first."""
        rows = np.array(waiting, np.int64)
        same = (self._keys[rows][:, :, None] == self._keys[row]) & (self._keys[row] >= 0)
        conflict = same & ((self._writes[rows][:, :, None] + self._writes[row]) > 0)
        self._apart[rows, row] = np.where(conflict, self._end, FREE).max(axis=(1, 2))
        self._apart[row, rows] = np.where(conflict, self._end.T, FREE).max(axis=(1, 2))

    def view(self, waiting: Sequence[int]) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """Of some transactions: keys and writes, (w, longest); earliest starts, lengths and delays, (w,)."""
        rows = np.array(waiting)
        start = self._start(rows)
        later = start[:, None] + self._apart[rows[:, None], rows] - start
        return (
            self._keys[rows],
            self._writes[rows],
            start,
            self.length[rows],
            np.maximum(later, 0).sum(axis=1),
        )

    def admit(self, row: int) -> None:
        """Starts a transaction as early as possible."""
        start = int(self._start(np.array([row]))[0])
        used = self._keys[row] >= 0
        keys, done = self._keys[row][used], start + 1 + self._offset[used]
        written = self._writes[row][used] == 1
        # in the sequence of the operations, so that of several on one key the last one counts
        self._accessed[keys] = np.maximum(self._accessed[keys], done)
        self._written[keys[written]] = np.maximum(self._written[keys[written]], done[written])
        self.span = max(self.span, start + int(self.length[row]))

    def _start(self, rows: Ints) -> Ints:
        keys = self._keys[rows]
        ready = np.where(self._writes[rows] == 1, self._accessed[keys], self._written[keys])
        return cast(Ints, np.maximum((ready - self._offset).max(axis=1), 0))


def _index(answer: object, count: int) -> int:
    # a bool is an int to Python, and -1 is an index: neither names a transaction
    if type(answer) is int and 0 <= answer < count:
        return answer
    raise Invalid(f"next returned {_show(answer)}; it has to return an integer of 0..{count - 1}")


def summary(instances: Sequence[Instance], objectives: Sequence[float]) -> dict[str, float]:
    """How far the makespans lie above the bound, on average and in the worst case, and how often they reach it."""
    ratios = [found / instance.bound for instance, found in zip(instances, objectives, strict=True)]
    return {
        "mean gap to the bound (%)": 100.0 * (float(np.mean(ratios)) - 1.0),
        "worst gap to the bound (%)": 100.0 * (max(ratios) - 1.0),
        "at the bound (%)": 100.0 * sum(ratio == 1.0 for ratio in ratios) / len(ratios),
    }


# ---- hostile data


def _values(decision: object, n: int) -> list[Any]:
    """The entries of a list, or of a one-dimensional integer array."""
    if type(decision) is list:
        plain = set(map(type, decision)) <= {int}
        return decision if plain else [_plain(value) for value in decision]
    if not isinstance(decision, np.ndarray):
        raise Invalid(f"the decision is {_show(decision)}; order has to be a list of {n} integers")
    if decision.ndim != 1:
        raise Invalid(f"order is an array of shape {decision.shape}; its shape has to be ({n},)")
    if decision.dtype.kind not in "iu":
        raise Invalid(f"order is an array of {decision.dtype}; it has to hold integers")
    return cast(list[Any], decision.tolist())


def _plain(value: Any) -> Any:
    """A numpy integer, which crosses the jail's wall as an array without dimensions, as an int."""
    scalar = isinstance(value, np.integer) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return value.item() if scalar and value.dtype.kind in "iu" else value


def _rule(n: int) -> str:
    return f"it has to be a permutation of 0..{n - 1}"


def _complaint(values: list[Any], n: int) -> str:
    """What is wrong with n entries that are no permutation: the first offence in reading order."""
    seen: set[int] = set()
    for position, value in enumerate(values):
        if type(value) is not int:
            return f"order holds {_show(value)} at position {position}; every entry has to be an integer"
        if not 0 <= value < n:
            return f"order holds {_show(value)} at position {position}; {_rule(n)}"
        if value in seen:
            return f"order holds {value} twice; {_rule(n)}"
        seen.add(value)
    raise AssertionError("n different integers of 0..n-1 are a permutation")


def _show(value: object) -> str:
    """A short description of hostile data that runs none of its code."""
    if value is None:
        return "None"
    if type(value) is int:
        # the decimal text of a huge integer is slow, or refused by the interpreter
        return str(value) if value.bit_length() <= 128 else f"an integer of {value.bit_length()} bits"
    if type(value) is bool or type(value) is float:
        return f"the {type(value).__name__} {value!r}"
    if type(value) is str:
        return f"the str {value[:20]!r}"
    return f"a value of type {type(value).__name__[:40]}"
