"""Instances of single-machine total tardiness after Potts and Van Wassenhove, with their optima.

Everything is drawn from the raw 64-bit words of PCG64, whose stream numpy keeps stable, and never from the
distributions of numpy's Generator, which it does not. `optima.csv` holds the optimum of every instance beside
a checksum of its data, so a changed generator is an error and never a wrong gap.
"""

from __future__ import annotations

import csv
import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, cycle, product
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from evolve.errors import EvaluatorError, ProblemError
from evolve.records import Instance

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Cell = tuple[int, int]
"""A cell of the grid: (RDD, TF) in tenths, so that the ranges of the due dates are exact."""

OPTIMA = Path(__file__).with_name("optima.csv")
TENTHS = (2, 4, 6, 8, 10)
CELLS: tuple[Cell, ...] = tuple(product(TENTHS, TENTHS))
SIGNAL: tuple[Cell, ...] = ((2, 6), (4, 6), (6, 4), (2, 4), (6, 6), (4, 4), (8, 6), (2, 8), (10, 6), (2, 2))
"""The cells in which good heuristics differ, the most telling first."""
OTHERS: tuple[Cell, ...] = tuple(cell for cell in CELLS if cell not in SIGNAL)
CPU_S = {200: 0.2, 500: 3.0}
"""CPU limit per instance in seconds by n; smaller instances have the problem's own limit."""

TRAIN_OTHERS: tuple[Cell, ...] = (
    *((4, 8), (8, 4), (4, 2), (6, 8), (10, 4)),
    *((6, 2), (8, 8), (2, 10), (10, 8), (10, 10)),
)
TRAIN_SIZES = (25, 25, 25, 50, 25, 100, 25, 50, *(25, 50, 25, 50, 100, 25, 50, 100) * 2)
"""Sizes of the first instances of train: cheap and telling first, every size within the first eight."""

VALIDATION_REPEATS = {50: (7, 2), 100: (5, 1), 200: (2, 1)}
"""n: (instances per cell with signal, instances per other cell)."""

_SPLIT_KEYS = {"train": 1, "validation": 2, "holdout": 3}
_P_KEYS = {"uniform": 0, "normal": 1, "lognormal": 2, "bimodal": 3, "wide": 4}


@dataclass(frozen=True)
class Draw:
    """An instance without its optimum. p, d: int64 arrays of shape (n,), read-only."""

    name: str
    p: Ints
    d: Ints
    group: Mapping[str, str | int | float]

    @property
    def checksum(self) -> str:
        """CRC-32 of the little-endian bytes of p and d, 8 hex digits."""
        return f"{zlib.crc32(self.d.astype('<i8').tobytes(), zlib.crc32(self.p.astype('<i8').tobytes())):08x}"


def uniform_p(u: Floats) -> Ints:
    """1..100, the literature's."""
    return 1 + np.floor(100 * u).astype(np.int64)


def wide_p(u: Floats) -> Ints:
    """1..1000."""
    return 1 + np.floor(1000 * u).astype(np.int64)


def normal_p(u: Floats) -> Ints:
    """Normal(60, 20), rounded, at least 1."""
    return _rounded([NormalDist(60, 20).inv_cdf(x) for x in u])


def lognormal_p(u: Floats) -> Ints:
    """Lognormal with median 30 and sigma 0.8: a heavy tail, the mean about 41."""
    return _rounded(30 * np.exp([NormalDist(0, 0.8).inv_cdf(x) for x in u]))


def bimodal_p(u: Floats) -> Ints:
    """Seven in ten jobs of 1..10, three in ten of 80..100."""
    short, long = 1 + np.floor(u / 0.7 * 10), 80 + np.floor((u - 0.7) / (1 - 0.7) * 21)
    return np.where(u < 0.7, short, long).astype(np.int64)


PROCESSING_TIMES: Mapping[str, Callable[[Floats], Ints]] = {
    "uniform": uniform_p,
    "normal": normal_p,
    "lognormal": lognormal_p,
    "bimodal": bimodal_p,
    "wide": wide_p,
}


def _rounded(times: npt.ArrayLike) -> Ints:
    return np.maximum(1, np.rint(times)).astype(np.int64)


def generate(n: int, cell: Cell, p_kind: str, key: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Draw processing times and due dates, int64 arrays of shape (n,).

    With P = sum p of at least 5, a due date is a uniform integer of [P (1 - TF - RDD/2), P (1 - TF + RDD/2)],
    and 0 if it is negative. `key` names the stream of random words; equal arguments give equal instances.
    """
    rdd, tf = cell
    bits = np.random.PCG64(np.random.SeedSequence([*key, n, rdd, tf, _P_KEYS[p_kind]]))
    # the middles of 2**52 equal cells of (0, 1): never 0 or 1, where a quantile is infinite
    u = ((bits.random_raw(2 * n) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    p = PROCESSING_TIMES[p_kind](u[:n])
    total = int(p.sum())
    low, high = -((-total * (20 - 2 * tf - rdd)) // 20), total * (20 - 2 * tf + rdd) // 20
    d = low + np.floor(u[n:] * (high - low + 1)).astype(np.int64)
    return p, np.maximum(d, 0)


def draw(split: str, n: int, cell: Cell, repeat: int, p_kind: str = "uniform") -> Draw:
    """One instance of a split; `repeat` tells apart the instances of one size, cell and distribution."""
    p, d = generate(n, cell, p_kind, (_SPLIT_KEYS[split], repeat))
    p.flags.writeable = d.flags.writeable = False
    rdd, tf = cell[0] / 10, cell[1] / 10
    name = f"{split}/{p_kind}/n{n}-rdd{rdd}-tf{tf}-{repeat}"
    return Draw(name, p, d, {"n": n, "RDD": rdd, "TF": tf, "p": p_kind})


def _train() -> Iterator[Draw]:
    """60 instances: 50 in the cells with signal; ordered so that a prefix is cheap and telling."""
    queues: dict[int, list[tuple[Cell, int]]] = {}
    for shift, (n, repeats) in enumerate({25: 2, 50: 2, 100: 1}.items()):
        # shifted, so that the first few instances lie in different cells
        telling = SIGNAL[4 * shift :] + SIGNAL[: 4 * shift]
        queues[n] = [(cell, repeat) for repeat in range(repeats) for cell in telling]
        queues[n] += [(cell, 0) for cell in TRAIN_OTHERS[shift::3]]
    for n in chain(TRAIN_SIZES, cycle(queues)):
        if not any(queues.values()):
            return
        if queues[n]:
            cell, repeat = queues[n].pop(0)
            yield draw("train", n, cell, repeat)


def _validation() -> Iterator[Draw]:
    """200 instances on all cells, seven in ten in the cells with signal; shuffled, so that a prefix tells much."""
    drawn = [
        draw("validation", n, cell, repeat)
        for n, (often, seldom) in VALIDATION_REPEATS.items()
        for cell in CELLS
        for repeat in range(often if cell in SIGNAL else seldom)
    ]
    return iter(sorted(drawn, key=lambda item: zlib.crc32(item.name.encode())))


def _holdout() -> Iterator[Draw]:
    """425 instances like train's at n = 20 to 500, and 100 with other processing times at n = 100."""
    for n, repeats in {20: 4, 50: 4, 100: 4, 200: 4, 500: 1}.items():
        for cell, repeat in product(CELLS, range(repeats)):
            yield draw("holdout", n, cell, repeat)
    for p_kind, cell in product(("normal", "lognormal", "bimodal", "wide"), CELLS):
        yield draw("holdout", 100, cell, 0, p_kind)


SPLITS: Mapping[str, Callable[[], Iterator[Draw]]] = {
    "train": _train,
    "validation": _validation,
    "holdout": _holdout,
}


def draws(split: str) -> Iterator[Draw]:
    """The instances of a split without their optima.

    Raises:
        ProblemError: there is no such split.
    """
    if split not in SPLITS:
        raise ProblemError(f"no split {split!r} in problems/smtt; there is: {', '.join(SPLITS)}")
    return SPLITS[split]()


@functools.cache
def optima() -> Mapping[str, tuple[str, int]]:
    """Checksum and optimum by instance name, as shipped."""
    with OPTIMA.open(encoding="ascii", newline="") as file:
        return {name: (checksum, int(optimum)) for name, checksum, optimum in csv.reader(file)}


def instances(split: str) -> Iterable[Instance]:
    """The instances of "train", "validation" or "holdout", always the same and in the same order.

    Raises:
        ProblemError: there is no such split.
        EvaluatorError: an optimum is missing, or was computed for other data.
    """
    for item in draws(split):
        yield Instance(
            name=item.name,
            arguments={"p": item.p, "d": item.d},
            bound=0.0,
            group=item.group,
            facts={"optimum": optimum_of(item)},
            cpu_s=CPU_S.get(len(item.p)),
        )


def optimum_of(item: Draw) -> int:
    """The shipped optimum.

    Raises:
        EvaluatorError: there is none, or it was computed for other data.
    """
    checksum, optimum = optima().get(item.name, ("nothing", 0))
    if checksum != item.checksum:
        raise EvaluatorError(
            f"{OPTIMA.name} holds {checksum} for {item.name}, whose data have checksum {item.checksum}; "
            "after a change of the generator run: python problems/smtt/optima.py"
        )
    return optimum
