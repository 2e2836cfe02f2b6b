"""The dispatch loop of smtt_dispatch: asks the program's `priority` for many instances side by side.

It runs in the jail beside the program, and its answer is checked and scored like any program's. What it must
keep to is one meaning: a program is written for one instance (p and d of shape (k,), t a number), and its orders
are those that it gives for each instance alone. Instances of one size are simulated together as rows, behind
`Rows`, which offers only what is the same on rows as on one instance: arithmetic, numpy's elementwise functions,
and reductions, which go along a row. Whatever else a program does (branches, loops, indexing) raises there, and
the instances are then simulated one by one with plain arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from program import priority


class NotOnRowsError(TypeError):
    """The program does something that is not the same on rows as on one instance."""


class Rows(NDArrayOperatorsMixin):
    """A row for each of m instances, posing as the array of one: shape (m, k), or (m, 1) for a number each."""

    __slots__ = ("flat", "rows")

    def __init__(self, rows: np.ndarray, flat: bool = False) -> None:
        self.rows = rows
        self.flat = flat  # whether an instance has a number here, and not an array

    def __len__(self) -> int:
        return self.size

    @property
    def size(self) -> int:
        if self.flat:
            raise NotOnRowsError
        return self.rows.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        return () if self.flat else self.rows.shape[1:]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: object, **options: object) -> Rows:
        if method != "__call__" or options or ufunc.nout != 1 or ufunc.signature:
            raise NotOnRowsError
        return _on_rows(ufunc, inputs)

    def __array_function__(self, function: object, types: object, inputs: object, options: object) -> Rows:
        if function in REDUCTIONS and len(inputs) == 1 and not options:
            rows = inputs[0].rows
            return Rows(function(rows, axis=1, keepdims=True), flat=True)
        if (function, len(inputs)) in ELEMENTWISE and not options:
            return _on_rows(function, inputs)
        raise NotOnRowsError

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise NotOnRowsError

    def __bool__(self) -> bool:
        raise NotOnRowsError

    def astype(self, dtype: object) -> Rows:
        return Rows(self.rows.astype(dtype), self.flat)

    def copy(self) -> Rows:
        return self


def _on_rows(function: object, inputs: tuple[object, ...]) -> Rows:
    for each in inputs:
        # an array that the program made itself could line up with rows by accident
        if type(each) is not Rows and not np.isscalar(each):
            raise NotOnRowsError
    flat = all(type(each) is not Rows or each.flat for each in inputs)
    return Rows(function(*(each.rows if type(each) is Rows else each for each in inputs)), flat)


REDUCTIONS = frozenset((np.sum, np.min, np.max, np.mean, np.std, np.var, np.median, np.prod, np.any, np.all))
ELEMENTWISE = frozenset(((np.where, 3), (np.clip, 3), (np.round, 1)))
for _reduction in REDUCTIONS - {np.median}:  # no method of that name
    setattr(Rows, _reduction.__name__.removeprefix("a"), (lambda done: lambda self: done(self))(_reduction))


def decide(batch: list[list[np.ndarray]]) -> list[np.ndarray]:
    """The orders of the instances p, d of a batch, in which the job of smallest priority always goes next.

    Ties go to the earlier due date, then to the shorter job.

    Raises:
        ValueError: `priority` returned something else than a number for each job.
    """
    try:
        return _side_by_side(batch)
    except Exception:  # the program's own, or ours: alone it shows whether it can be answered
        return [_alone(p, d) for p, d in batch]


def _side_by_side(batch: list[list[np.ndarray]]) -> list[np.ndarray]:
    sizes: dict[int, list[int]] = {}
    for index, (p, _) in enumerate(batch):
        sizes.setdefault(len(p), []).append(index)
    orders: list[object] = [None] * len(batch)
    for indices in sizes.values():
        p, d = (np.stack([batch[index][part] for index in indices]) for part in (0, 1))
        for index, order in zip(indices, _rows(p, d), strict=True):
            orders[index] = order
    return orders


def _rows(p: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Orders of m instances of n jobs each; p, d: (m, n)."""
    np.random.seed(0)
    m, n = p.shape
    jobs = np.lexsort((p, d), axis=1)
    row = np.arange(m)
    p, d = p[row[:, None], jobs], d[row[:, None], jobs]
    t = np.zeros((m, 1), np.int64)
    orders = np.empty((m, n), np.int64)
    places = np.arange(n)
    for step in range(n):
        scores = priority(Rows(p), Rows(d), Rows(t, flat=True))
        if type(scores) is not Rows or scores.flat:
            raise NotOnRowsError
        chosen = _smallest(scores.rows)
        orders[:, step] = jobs[row, chosen]
        t = t + p[row, chosen][:, None]
        # a compact copy: removing a job from each row keeps the others in their order
        kept = places[: n - step] != chosen[:, None]
        p, d, jobs = (array[kept].reshape(m, n - step - 1) for array in (p, d, jobs))
    return orders


def _alone(p: np.ndarray, d: np.ndarray) -> np.ndarray:
    np.random.seed(0)
    jobs = np.lexsort((p, d))
    p, d = p[jobs], d[jobs]
    t = np.int64(0)
    order = np.empty(len(jobs), np.int64)
    for step in range(len(order)):
        scores = np.asarray(priority(p.copy(), d.copy(), t))
        if scores.shape not in ((), p.shape):
            raise ValueError(
                f"priority gave shape {scores.shape} for {len(p)} jobs; it has to be ({len(p)},)"
            )
        chosen = int(_smallest(np.broadcast_to(scores, (1, len(p))))[0])
        order[step] = jobs[chosen]
        t = t + p[chosen]
        p, d, jobs = (np.delete(array, chosen) for array in (p, d, jobs))
    return order


def _smallest(scores: np.ndarray) -> np.ndarray:
    if scores.dtype.kind not in "biuf":
        raise ValueError(f"priority gave an array of {scores.dtype}; it has to hold numbers")
    chosen = scores.argmin(axis=1)
    if scores.dtype.kind == "f" and np.isnan(scores[np.arange(len(scores)), chosen]).any():
        raise ValueError("priority gave nan for a job; every priority has to be a number")
    return chosen
