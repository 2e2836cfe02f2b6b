"""Paired comparisons. Scores are per instance, in the same order on both sides."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap percentile interval (Efron, 1979)."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    ours: Sequence[float],
    theirs: Sequence[float],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    families: Sequence[str] = (),
) -> Interval:
    """Interval of the mean of ours - theirs, resampling instances; two-sided at `confidence`.

    families: as for `bootstrap_mean`.
    """
    difference = np.asarray(ours, float) - np.asarray(theirs, float)
    return bootstrap_mean(difference, confidence, resamples, seed, families)


def bootstrap_mean(
    values: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    families: Sequence[str] = (),
) -> Interval:
    """Bootstrap interval of the mean of `values`; deterministic for a seed.

    families: of each value; those of the same family are drawn together (Davison and Hinkley, 1997, section 3.8), and
        "" is a family of its own. () = none has relatives.
    """
    sample = np.asarray(values, float)
    if any(families):
        means = _family_means(sample, families, np.random.default_rng(seed), resamples)
    else:
        means = sample[_drawn(seed, resamples, len(sample))].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(sample.mean()), float(low), float(high))


@lru_cache(2)
def _drawn(seed: int, resamples: int, count: int) -> npt.NDArray[np.intp]:
    """Places of resampled values, (resamples, count). A search judges all its challengers by the same ones."""
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    drawn.flags.writeable = False
    return drawn


def _family_means(
    sample: Floats, families: Sequence[str], rng: np.random.Generator, resamples: int
) -> Floats:
    """Means of resamples of whole families, (resamples,)."""
    names = [family or str(place) for place, family in enumerate(families)]
    _, family_of = np.unique(names, return_inverse=True)
    sums, sizes = np.bincount(family_of, sample), np.bincount(family_of)
    drawn = rng.integers(0, len(sums), (resamples, len(sums)))
    means: Floats = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return means


def clearly_worse(ours: Sequence[float], theirs: Sequence[float], confidence: float) -> bool:
    """Whether a one-sided paired t-test says that ours is worse than theirs on average."""
    difference = np.asarray(ours, float) - np.asarray(theirs, float)
    count = len(difference)
    if count < 2:
        return False
    error = float(difference.std(ddof=1)) / count**0.5
    return bool(difference.mean() < -student_quantile(confidence, count - 1) * error)


def student_quantile(confidence: float, freedom: int) -> float:
    """Quantile of Student's t by the Cornish-Fisher expansion (error below 2 % from 5 degrees of freedom)."""
    z = NormalDist().inv_cdf(confidence)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def bootstrap_median(
    values: npt.ArrayLike, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[Floats, Floats, Floats]:
    """Medians over the rows with their bootstrap percentile intervals; nan is left out.

    Args:
        values: shape (runs,) or (runs, columns).

    Returns:
        Median, low and high, of shape () or (columns,); nan where a column holds nothing else.
    """
    sample = np.asarray(values, float)
    rows = np.random.default_rng(seed).integers(0, len(sample), (resamples, len(sample)))
    tail = (1 - confidence) / 2
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # a column without a number has no median: nan says so
        medians = np.nanmedian(sample[rows], axis=1)
        low, high = np.nanquantile(medians, [tail, 1 - tail], axis=0)
        return np.nanmedian(sample, axis=0), low, high


def finite(value: Any) -> Any:
    """A value for JSON, which has neither nan nor infinity: they become None, all the way down."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
