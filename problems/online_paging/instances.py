"""Request sequences for a cache, and the fewest misses that any policy can have on each.

Everything is drawn from the raw 64-bit words of PCG64, whose stream numpy keeps stable, by arithmetic that every
processor rounds alike (no power, no logarithm): another machine or version of numpy gives the same requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from itertools import product

import numpy as np
import numpy.typing as npt

from evolve.errors import ProblemError
from evolve.records import Instance

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_SPLIT_KEYS = {"train": 1, "validation": 2, "holdout": 3}
PAGES_PER_SLOT = 6  # pages that can be requested, over the capacity
PHASES = 4


def popular(u: Floats, pages: int) -> Ints:
    """Independent requests by Zipf's law: page i with probability in proportion to 1 / i^0.75."""
    rank = np.arange(1.0, pages + 1.0)
    share = np.cumsum(1.0 / (np.sqrt(rank) * np.sqrt(np.sqrt(rank))))
    return np.searchsorted(share, u * share[-1], side="right").astype(np.int64)


def zipf(u: Floats, k: int) -> Ints:
    """Popular pages stay popular: good for frequency."""
    return popular(u[0], PAGES_PER_SLOT * k)


def shift(u: Floats, k: int) -> Ints:
    """Zipf, but which pages are popular changes from phase to phase: good for recency."""
    n, pages = u.shape[1], PAGES_PER_SLOT * k
    phase = np.arange(n) * PHASES // n
    return (popular(u[0], pages) + phase * (pages // PHASES + 1)) % pages


def loop(u: Floats, k: int) -> Ints:
    """Rounds over a few more pages than fit, which lets recency miss always; one request in ten is elsewhere."""
    n = u.shape[1]
    around = np.arange(n) % (k + max(1, k // 4))
    return np.where(u[1] < 0.1, PAGES_PER_SLOT * k + popular(u[0], 2 * k), around)


def scan(u: Floats, k: int) -> Ints:
    """Zipf, broken by scans of pages that are never requested again."""
    n = u.shape[1]
    fresh = 1000 * k + np.arange(n)
    return np.where(np.arange(n) % (4 * k) < k, fresh, popular(u[0], PAGES_PER_SLOT * k))


def near(u: Floats, k: int) -> Ints:
    """A page that was requested a short while ago, or a new one: locality in time alone. Holdout only."""
    requests: list[int] = []
    for index, (what, which) in enumerate(zip(u[0].tolist(), u[1].tolist(), strict=True)):
        back = 1 + int(3 * k * which * which)
        requests.append(requests[-back] if what < 0.7 and back <= index else index)
    return np.array(requests, dtype=np.int64)


def blend(u: Floats, k: int) -> Ints:
    """Thirds: a shifting phase, rounds, popular pages; whose pages are the same. Holdout only."""
    third = u.shape[1] // 3
    parts = (shift(u[:, :third], k), loop(u[:, third : 2 * third], k), zipf(u[:, 2 * third :], k))
    return np.concatenate(parts)


KINDS: Mapping[str, Callable[[Floats, int], Ints]] = {
    "zipf": zipf,
    "shift": shift,
    "loop": loop,
    "scan": scan,
    "near": near,
    "blend": blend,
}
SEEN = ("loop", "scan", "shift", "zipf")
# split: (kinds, capacities, number of requests, instances of each)
PLANS: Mapping[str, list[tuple[tuple[str, ...], tuple[int, ...], int, int]]] = {
    "train": [(SEEN, (8, 16), 400, 3)],
    "validation": [(SEEN, (8, 16, 24), 400, 6)],
    "holdout": [
        (SEEN, (8, 16, 24), 400, 6),
        (SEEN, (48,), 1500, 5),
        (("near", "blend"), (8, 16, 32), 600, 8),
    ],
}


def requests_of(kind: str, k: int, n: int, key: tuple[int, ...]) -> Ints:
    """n page numbers, an int64 array; `key` names the stream of random words."""
    bits = np.random.PCG64(np.random.SeedSequence([*key, list(KINDS).index(kind), k, n]))
    # the middles of 2**52 equal cells of (0, 1)
    u = ((bits.random_raw(2 * n) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    drawn = KINDS[kind](u.reshape(2, n), k)
    # numbered at random, so that a page's number says nothing about how popular it is
    names = np.random.PCG64(np.random.SeedSequence([*key, k, n])).random_raw(int(drawn.max()) + 1)
    found: Ints = np.argsort(names, kind="stable").astype(np.int64)[drawn]
    found.flags.writeable = False
    return found


def fewest_misses(requests: Ints, k: int) -> int:
    """Misses of MIN, which evicts the page whose next request is furthest away; no policy has fewer.

    Belady (1966), "A study of replacement algorithms for a virtual-storage computer"; Mattson et al. (1970) prove it.
    """
    never = len(requests)
    following: list[int] = [never] * len(requests)
    place: dict[int, int] = {}
    for index in range(len(requests) - 1, -1, -1):
        following[index] = place.get(int(requests[index]), never)
        place[int(requests[index])] = index
    cached: dict[int, int] = {}  # page: when it is requested next
    furthest: list[tuple[int, int]] = []
    misses = 0
    for index, page in enumerate(requests.tolist()):
        if page not in cached:
            misses += 1
            if len(cached) == k:
                # an entry is out of date if its page was requested, or evicted, since
                while cached.get(furthest[0][1]) != -furthest[0][0]:
                    heappop(furthest)
                del cached[heappop(furthest)[1]]
        cached[page] = following[index]
        heappush(furthest, (-following[index], page))
    return misses


def instances(split: str) -> Iterable[Instance]:
    """The instances of "train", "validation" or "holdout", always the same and in the same order.

    Raises:
        ProblemError: there is no such split.
    """
    if split not in PLANS:
        raise ProblemError(f"no split {split!r} in problems/online_paging; there is: {', '.join(PLANS)}")
    for kinds, capacities, n, repeats in PLANS[split]:
        # repeats outermost: a prefix holds every kind and capacity
        for repeat, k, kind in product(range(repeats), capacities, kinds):
            requests = requests_of(kind, k, n, (_SPLIT_KEYS[split], repeat))
            yield Instance(
                name=f"{split}/{kind}-k{k}-n{n}-{repeat}",
                arguments={},  # policies are asked, not shown
                bound=100.0 * fewest_misses(requests, k) / n,
                group={"kind": kind, "k": k},
                facts={"requests": requests, "capacity": k},
            )
