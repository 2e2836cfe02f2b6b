"""Batches of transactions in the shapes of five benchmarks, and a makespan that no order can beat.

Everything is drawn from the raw 64-bit words of PCG64, whose stream numpy keeps stable, by arithmetic that every
processor rounds alike (square roots, but no power and no logarithm): another machine gives the same batches.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evolve import data
from evolve.errors import ProblemError
from evolve.records import Instance

Ints = npt.NDArray[np.int64]
Operation = tuple[int, bool]
"""A key, or -1 for something that no other transaction accesses, and whether it is written."""
Transaction = tuple[Operation, ...]

_SPLIT_KEYS = {"train": 1, "validation": 2, "holdout": 3}
NOWHERE = -1


class Dice:
    """Random draws for one batch. skew: exponent of Zipf's law in quarters, for all that is hot or cold.

    writes: how much more often than usual something is written.
    """

    def __init__(self, key: Sequence[int], skew: int, writes: float) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([*key, skew]))
        self._skew = skew
        self._writes = writes
        self._shares: dict[int, npt.NDArray[np.float64]] = {}

    def unit(self) -> float:
        """The middle of one of 2**52 equal cells of (0, 1)."""
        return (float(int(self._bits.random_raw()) >> 12) + 0.5) * 2.0**-52

    def below(self, count: int) -> int:
        """An integer of 0..count-1, all alike."""
        return int(self.unit() * count)

    def popular(self, count: int) -> int:
        """An integer of 0..count-1 by Zipf's law: i in proportion to (i + 1) ** (-skew / 4)."""
        if count not in self._shares:
            rank = np.arange(1.0, count + 1.0)
            quarter = np.sqrt(np.sqrt(rank))
            weight = np.ones(count)
            for _ in range(self._skew):
                weight /= quarter
            self._shares[count] = np.cumsum(weight)
        share = self._shares[count]
        return int(np.searchsorted(share, self.unit() * share[-1], side="right"))

    def several(self, least: int, most: int, count: int) -> list[int]:
        """Some different integers of 0..count-1 by Zipf's law, in the sequence in which they came."""
        wanted = least + self.below(most - least + 1)
        found: dict[int, None] = {}
        while len(found) < wanted:
            found[self.popular(count)] = None
        return list(found)

    def writes(self, share: float) -> bool:
        """Whether something is written that usually is with this share."""
        return self.unit() < share * self._writes


# Keys are (table, row) until a batch is complete; a row of None is a new one, which nobody else accesses.
Access = tuple[str, int | None, bool]


def ycsb(dice: Dice) -> list[Access]:
    """YCSB's workload A in transactions: 5 to 20 rows of one table, half of them updated."""
    return [("row", row, dice.writes(0.5)) for row in dice.several(5, 20, 600)]


def tpcc(dice: Dice) -> list[Access]:
    """TPC-C on two warehouses: new orders, payments and a few others, every one with a hot row."""
    kind, warehouse = dice.unit(), dice.below(2)
    district = 10 * warehouse + dice.below(10)
    customer = 100 * district + dice.popular(100)
    if kind < 0.45:
        items = dice.several(3, 7, 400)
        stock = [access for item in items for access in (("item", item, False), ("stock", item, True))]
        order: list[Access] = [("orders", None, True)]
        begin: list[Access] = [("warehouse", warehouse, False), ("district", district, True)]
        return [*begin, ("customer", customer, False), *order, *stock]
    if kind < 0.88:
        money: list[Access] = [("warehouse", warehouse, True), ("district", district, True)]
        return [*money, ("customer", customer, False), ("customer", customer, True), ("history", None, True)]
    if kind < 0.94:  # order status and stock level: readers
        rows = dice.several(4, 12, 400)
        return [("district", district, False), *(("stock", row, False) for row in rows)]
    return [("customer", 100 * (10 * warehouse + each) + dice.popular(100), True) for each in range(10)]


def smallbank(dice: Dice) -> list[Access]:
    """SmallBank: two to four of its operations on checking and savings accounts in one transaction."""
    found: list[Access] = []
    while len(found) < 5:
        kind, (one, other) = dice.unit(), dice.several(2, 2, 150)
        if kind < 0.25:  # send payment
            found += [("checking", one, dice.writes(1.0)), ("checking", other, True)]
        elif kind < 0.45:  # amalgamate
            found += [("savings", one, True), ("checking", one, True), ("checking", other, True)]
        elif kind < 0.75:  # balance, write check
            found += [("savings", one, False), ("checking", one, dice.writes(0.5))]
        else:  # deposit, transact savings
            found += [("savings" if kind < 0.9 else "checking", one, True)]
    return found


def epinions(dice: Dice) -> list[Access]:
    """Epinions: reviews of items and trust between users are read, and now and then written."""
    found: list[Access] = []
    for _ in range(2 + dice.below(3)):
        user, item = dice.popular(200), dice.popular(120)
        if dice.unit() < 0.5:
            rows = dice.several(2, 4, 200)
            found += [("item", item, dice.writes(0.3)), *(("review", row, False) for row in rows)]
        else:
            found += [("user", user, dice.writes(0.3)), ("trust", user, dice.writes(0.4))]
            found += [("review", dice.popular(200), dice.writes(0.4))]
    return found if len(found) >= 5 else [*found, ("user", dice.popular(200), False)]


def taobench(dice: Dice) -> list[Access]:
    """TAOBench: objects and associations of a social graph in bulk, few of them written, the hot ones very hot."""
    rows = dice.several(6, 20, 800)
    return [("object" if row % 3 else "association", row, dice.writes(0.12)) for row in rows]


KINDS: Mapping[str, Callable[[Dice], list[Access]]] = {
    "ycsb": ycsb,
    "tpcc": tpcc,
    "smallbank": smallbank,
    "epinions": epinions,
    "taobench": taobench,
}


@dataclass(frozen=True)
class Batch:
    """Transactions, as three int64 arrays.

    first: (n + 1,), where each one's operations begin. keys: (m,), 0..k-1, or -1 for nothing shared.
    writes: (m,), 1 for a write, 0 for a read.
    """

    first: Ints
    keys: Ints
    writes: Ints


def batch_of(transactions: Sequence[Transaction]) -> Batch:
    """Arrays of some transactions, their keys numbered anew from 0."""
    keys = np.array([key for each in transactions for key, _ in each], np.int64)
    shared = np.unique(keys[keys >= 0])
    numbered = np.where(keys >= 0, np.searchsorted(shared, keys), NOWHERE).astype(np.int64)
    writes = np.array([write for each in transactions for _, write in each], np.int64)
    first = np.concatenate(([0], np.cumsum([len(each) for each in transactions]))).astype(np.int64)
    for array in (first, numbered, writes):
        array.flags.writeable = False
    return Batch(first, numbered, writes)


def draw(kind: str, skew: int, n: int, key: Sequence[int], writes: float = 1.0) -> list[Transaction]:
    """n transactions; `key` names the stream of random words, and equal arguments give equal transactions."""
    dice = Dice([*key, list(KINDS).index(kind), n], skew, writes)
    accesses = [KINDS[kind](dice) for _ in range(n)]
    rows = sorted({(table, row) for each in accesses for table, row, _ in each if row is not None})
    # numbered at random, so that a key's number says nothing about how hot it is
    words = np.random.PCG64(np.random.SeedSequence([*key, len(rows)])).random_raw(len(rows))
    number = {rows[place]: index for index, place in enumerate(np.argsort(words, kind="stable").tolist())}
    return [
        tuple((NOWHERE if row is None else number[table, row], write) for table, row, write in each)
        for each in accesses
    ]


Block = tuple[int, int, int]
"""First place, last place and the transaction's last place."""


def lower_bound(batch: Batch) -> int:
    """A makespan that no order can beat: each key taken as one machine (see README.md for the proof)."""
    lengths = np.diff(batch.first)
    longest = int(lengths.max())
    keys = [_Key(uses, lengths) for uses in _uses(batch).values()]
    best = longest
    for key in sorted(keys, key=lambda each: -each.most):
        if key.most + longest <= best:
            break  # nor can any key that follows do better
        best = max(best, key.bound(longest))
    return best


def _uses(batch: Batch) -> dict[int, dict[int, list[tuple[int, bool]]]]:
    """By key and transaction the places of the accesses, and whether each writes."""
    uses: dict[int, dict[int, list[tuple[int, bool]]]] = {}
    for t, begin in enumerate(batch.first[:-1].tolist()):
        for i in range(begin, int(batch.first[t + 1])):
            if batch.keys[i] >= 0:
                of_key = uses.setdefault(int(batch.keys[i]), {})
                of_key.setdefault(t, []).append((i - begin, bool(batch.writes[i])))
    return uses


class _Key:
    """The accesses of one key, as blocks of transactions. most: work that can count for the bound."""

    def __init__(self, uses: Mapping[int, list[tuple[int, bool]]], lengths: Ints) -> None:
        self._readers: list[Block] = []
        self._written: list[Block] = []  # from the first to the last write
        self._until: list[Block] = []  # from the first access to the last write
        self._since: list[Block] = []  # from the first write to the last access
        self.most = 0
        longest_read = 0
        for t, accesses in uses.items():
            (begin, _), (end, _), last = accesses[0], accesses[-1], int(lengths[t]) - 1
            written = [place for place, write in accesses if write]
            if not written:
                self._readers.append((begin, end, last))
                longest_read = max(longest_read, end - begin + 1)
                continue
            self._written.append((written[0], written[-1], last))
            self._until.append((begin, written[-1], last))
            self._since.append((written[0], end, last))
            self.most += end - begin + 1
        self.most += longest_read

    def bound(self, longest: int) -> int:
        return max(
            _heads_and_tails(self._written, self._readers, longest),
            _heads_and_tails(self._until, [], longest),
            _heads_and_tails(self._since, [], longest),
        )


def _heads_and_tails(blocks: Sequence[Block], shared: Sequence[Block], longest: int) -> int:
    """The largest head + work + tail over all sets of blocks with at least some head and some tail.

    blocks: they exclude each other. shared: some that exclude the blocks, but perhaps not each other, so that one of
    them counts.
    """
    work = np.zeros((longest, longest), np.int64)  # by head and tail
    for begin, end, last in blocks:
        work[begin, last - end] += end - begin + 1
    extra = np.zeros_like(work)
    for begin, end, last in shared:
        extra[begin, last - end] = max(extra[begin, last - end], end - begin + 1)
    total = work[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]
    one = np.maximum.accumulate(np.maximum.accumulate(extra[::-1, ::-1], axis=0), axis=1)[::-1, ::-1]
    found = total + one
    heads = np.arange(longest)
    return int(np.where(found > 0, found + heads[:, None] + heads, 0).max(initial=0))


# ---- the splits

MIDDLE, HOT = 3, 4  # exponents of Zipf's law in quarters: .75 and 1
# (kinds, skews, sizes, how much more is written, repeats)
Plan = tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...], float, int]
ALL = tuple(KINDS)
PLANS: Mapping[str, list[Plan]] = {
    "train": [(ALL, (HOT, MIDDLE), (50, 100), 1.0, 1)],
    "validation": [(ALL, (HOT, MIDDLE), (50, 100), 1.0, 2)],
    "holdout": [
        (ALL, (HOT, MIDDLE), (100,), 1.0, 2),
        # shifted: twice the size, nearly uniform or extreme keys, more writes
        (ALL, (1, 5), (200,), 1.0, 1),
        (ALL, (HOT,), (200,), 1.4, 2),
    ],
}
CALLS = {"train": 500, "validation": 2000, "holdout": 20_000}
"""How often a program may ask for a makespan, per batch."""
CPU_S = {"train": 0.2, "validation": 0.4, "holdout": 2.0}
"""CPU limit per batch in seconds."""
HALVES = 7  # batches of half its transactions that a workload of a file also gives
SMALLEST = 10  # transactions of a workload that is halved


@dataclass(frozen=True)
class Draw:
    """A batch of a split, and what its instance is called and belongs to."""

    name: str
    transactions: Sequence[Transaction]
    group: Mapping[str, str | int | float]


def generated(split: str, turn: int = 0) -> Iterator[Draw]:
    """The batches of a split from the generator, always the same and in the same order.

    Args:
        turn: 1 = as many like them again; no split holds those.

    Raises:
        ProblemError: there is no such split.
    """
    if split not in PLANS:
        raise ProblemError(f"no split {split!r} in transaction scheduling; there is: {', '.join(PLANS)}")
    for kinds, skews, sizes, writes, repeats in PLANS[split]:
        # kinds innermost: a prefix of five holds every kind
        numbers = range(turn * repeats, (turn + 1) * repeats)
        for repeat, n, skew, kind in product(numbers, sizes, skews, kinds):
            label = f"{skew / 4:g}" + ("" if writes == 1.0 else "-write-heavy")
            yield Draw(
                f"{split}/{kind}-{label}-n{n}-{repeat}",
                draw(kind, skew, n, (_SPLIT_KEYS[split], repeat, int(10 * writes)), writes),
                {"kind": kind, "skew": label, "n": n},
            )


def instances(split: str) -> Iterable[Instance]:
    """The instances of "train", "validation" or "holdout".

    Raises:
        ProblemError: there is no such split.
    """
    return [_instance(split, each) for each in generated(split)]


def count(split: str) -> int:
    """How many instances a split has, without making them."""
    return sum(
        len(kinds) * len(skews) * len(sizes) * repeats for kinds, skews, sizes, _, repeats in PLANS[split]
    )


def further() -> Iterable[Instance]:
    """As many instances like those of train again."""
    return [_instance("train", each) for each in generated("train", 1)]


def _instance(split: str, item: Draw) -> Instance:
    batch = batch_of(item.transactions)
    return Instance(
        name=item.name,
        arguments={
            "first": batch.first,
            "keys": batch.keys,
            "writes": batch.writes,
            "calls": CALLS[split],
        },
        bound=float(lower_bound(batch)),
        group=item.group,
        cpu_s=CPU_S[split],
    )


# ---- real workloads


def from_data(split: str, path: Path) -> Iterable[Instance]:
    """The same splits from a file of real workloads (see README.md for the format).

    Raises:
        ProblemError: the file breaks a rule.
    """
    return [_instance(split, each) for each in loaded(split, path)]


def loaded(split: str, path: Path) -> Iterator[Draw]:
    """The batches of a split from a file: every third workload, whole, and random halves of it.

    Raises:
        ProblemError: the file breaks a rule.
    """
    workloads = read_workloads(path)
    if len(workloads) < len(_SPLIT_KEYS):
        raise ProblemError(
            f"{path}: {len(workloads)} workloads; at least {len(_SPLIT_KEYS)} are needed, one for each split"
        )
    for name in list(workloads)[_SPLIT_KEYS[split] - 1 :: len(_SPLIT_KEYS)]:
        whole = workloads[name]
        yield Draw(f"{split}/{name}", whole, {"kind": name, "n": len(whole)})
        for repeat in range(HALVES if len(whole) >= SMALLEST else 0):
            half = _half(whole, (zlib.crc32(name.encode()), repeat))
            yield Draw(f"{split}/{name}-half-{repeat}", half, {"kind": name, "n": len(half)})


def _half(transactions: Sequence[Transaction], key: Sequence[int]) -> list[Transaction]:
    """Half of the transactions at random, in their order."""
    words = np.random.PCG64(np.random.SeedSequence(list(key))).random_raw(len(transactions))
    chosen = np.sort(np.argsort(words, kind="stable")[: len(transactions) // 2])
    return [transactions[index] for index in chosen.tolist()]


def read_workloads(path: Path) -> dict[str, list[Transaction]]:
    """Workloads by name: {"workload": {"transaction": "r-17 w-5 *"}}, in one JSON file.

    Raises:
        ProblemError: the file is no such JSON, or an operation is none of r-KEY, w-KEY and *.
    """
    try:
        tree = json.loads(data.text(path))
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{path}: no JSON file of workloads: {error}") from None
    if not isinstance(tree, dict) or not all(isinstance(each, dict) and each for each in tree.values()):
        raise ProblemError(f'{path}: expected {{"workload": {{"transaction": "r-17 w-5 *", ...}}, ...}}')
    for name, workload in tree.items():
        if not name.isprintable() or len(workload) < 2:
            raise ProblemError(
                f"{path}: workload {name!r} has {len(workload)} transactions; there have to be two or more, under a "
                f"name that can be printed"
            )
    return {
        name: [_parse(path, f"{name}/{key}", text) for key, text in workload.items()]
        for name, workload in tree.items()
    }


def _parse(path: Path, where: str, text: object) -> Transaction:
    words = text.split() if isinstance(text, str) else []
    if not words:
        raise ProblemError(f"{path}: {where} is no text with operations, such as 'r-17 w-5 *'")
    return tuple(_operation(path, where, word) for word in words)


def _operation(path: Path, where: str, word: str) -> Operation:
    if word == "*":
        return NOWHERE, False
    kind, dash, key = word.partition("-")
    if kind not in ("r", "w") or not dash or not key.isascii() or not key.isdigit() or len(key) > 15:
        raise ProblemError(f"{path}: {where} holds {word[:20]!r}; an operation is r-KEY, w-KEY or *")
    return int(key), kind == "w"
