"""Traces of expert loads, cut into what has been seen and what is to come, and a bound for each.

Everything is drawn from the raw 64-bit words of PCG64, whose stream numpy keeps stable, by arithmetic that every
processor rounds alike (no power, no logarithm): another machine or version of numpy gives the same tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evolve import data
from evolve.errors import ProblemError
from evolve.records import Instance

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SEEN, NEXT = 8, 4  # windows that a candidate is shown, and that it is scored on
TOKENS = 2048  # mean tokens of an expert in a window
PRICE = (
    0.05  # balance that it costs to bring a new expert into every slot; README.md says where it comes from
)
_SPLIT_KEYS = {"train": 1, "validation": 2, "holdout": 3}


@dataclass(frozen=True)
class Shape:
    """Sizes of an instance. In the global setting nodes and groups are 1, and there is no rule about them."""

    experts: int
    layers: int
    slots: int
    gpus: int
    nodes: int = 1
    groups: int = 1

    @property
    def setting(self) -> str:
        return "hierarchical" if self.nodes > 1 else "global"


class Dice:
    """Uniform numbers of a named stream."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, *shape: int) -> Floats:
        """The middles of 2**52 equal cells of (0, 1)."""
        words = self._bits.random_raw(int(np.prod(shape)))
        return (((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52).reshape(shape)

    def order(self, rows: int, n: int) -> Ints:
        """A permutation of 0..n-1 in each row."""
        words = self._bits.random_raw(rows * n).reshape(rows, n)
        return np.argsort(words, axis=1, kind="stable").astype(np.int64)

    def factors(self, width: float, *shape: int) -> Floats:
        """Positive factors, as often above 1 as below, within 1 + width of it."""
        return (1.0 + width * self.uniform(*shape)) / (1.0 + width * self.uniform(*shape))


def popularity(shape: Shape, dice: Dice, steep: bool = False) -> Floats:
    """Zipf popularity, (layers, experts): rank^-0.5 and rank^-0.75 by turns, or rank^-1; ranks at random."""
    rank = np.arange(1.0, shape.experts + 1.0)
    root = np.sqrt(rank)
    curves = [rank] if steep else [root, root * np.sqrt(root)]
    share = np.stack([1.0 / curves[layer % len(curves)] for layer in range(shape.layers)])
    return np.take_along_axis(share, dice.order(shape.layers, shape.experts), axis=1)


def steady(shape: Shape, windows: int, dice: Dice) -> Floats:
    """Popular experts stay popular. All kinds return (windows, layers, experts), in no unit."""
    return np.broadcast_to(popularity(shape, dice), (windows, shape.layers, shape.experts)).copy()


def drift(shape: Shape, windows: int, dice: Dice) -> Floats:
    """Each expert's popularity walks at random."""
    steps = dice.factors(0.8, windows, shape.layers, shape.experts)
    return popularity(shape, dice) * np.multiply.accumulate(steps, axis=0)


def burst(shape: Shape, windows: int, dice: Dice) -> Floats:
    """Some experts are several times as popular for one to three windows."""
    found = steady(shape, windows, dice)
    start = dice.uniform(windows, shape.layers, shape.experts) < 0.02
    height = 2.0 + 6.0 * dice.uniform(windows, shape.layers, shape.experts)
    length = 1.0 + 3.0 * dice.uniform(windows, shape.layers, shape.experts)
    for later in range(min(3, windows)):
        live = start[: windows - later] & (length[: windows - later] > later + 1.0)
        found[later:] *= np.where(live, height[: windows - later], 1.0)
    return found


def families(shape: Shape, windows: int, dice: Dice) -> Floats:
    """Neighbouring experts walk together, as when the topic of the requests changes."""
    size = max(2, shape.experts // 16)
    steps = dice.factors(1.2, windows, shape.layers, shape.experts // size)
    walk = np.repeat(np.multiply.accumulate(steps, axis=0), size, axis=2)
    return popularity(shape, dice) * walk * dice.factors(0.2, windows, shape.layers, shape.experts)


def steep(shape: Shape, windows: int, dice: Dice) -> Floats:
    """Drift over a steeper curve, rank^-1. Holdout only."""
    steps = dice.factors(0.8, windows, shape.layers, shape.experts)
    return popularity(shape, dice, steep=True) * np.multiply.accumulate(steps, axis=0)


def switch(shape: Shape, windows: int, dice: Dice) -> Floats:
    """Two workloads take turns, each for a few windows: what was popular comes back. Holdout only."""
    one, two = popularity(shape, dice), popularity(shape, dice)
    first = (np.arange(windows) // 3 % 2 == 0)[:, None, None]
    return np.where(first, one, two) * dice.factors(0.2, windows, shape.layers, shape.experts)


Kind = Callable[[Shape, int, Dice], Floats]
KINDS: Mapping[str, Kind] = {
    "steady": steady,
    "drift": drift,
    "burst": burst,
    "families": families,
    "steep": steep,
    "switch": switch,
}
USUAL = ("drift", "families", "burst", "steady")


def exact(future: Ints, last: Ints, _dice: Dice) -> Ints:
    """What is to come is the last window, again and again."""
    return np.broadcast_to(last, future.shape)


def noisy(future: Ints, _last: Ints, _dice: Dice) -> Ints:
    """The trace goes on."""
    return future


def adversarial(future: Ints, last: Ints, dice: Dice) -> Ints:
    """The hottest eighth of the experts trade places with others: what was seen last misleads."""
    layers, experts = last.shape
    order = np.argsort(-last, axis=1, kind="stable")
    hot, rest = order[:, : experts // 8], order[:, experts // 8 :]
    partner = np.take_along_axis(rest, dice.order(layers, rest.shape[1]), axis=1)[:, : experts // 8]
    source = np.broadcast_to(np.arange(experts), last.shape).copy()
    np.put_along_axis(source, hot, partner, axis=1)
    np.put_along_axis(source, partner, hot, axis=1)
    return np.take_along_axis(future, np.broadcast_to(source, future.shape), axis=2)


FORECASTS: Mapping[str, Callable[[Ints, Ints, Dice], Ints]] = {
    "noisy": noisy,
    "exact": exact,
    "adversarial": adversarial,
}


def tokens(rate: Floats, dice: Dice) -> Ints:
    """Whole tokens, TOKENS an expert on average, scattered as counts are: with a variance like the mean."""
    weight = np.rint(rate * (2.0**20 / rate.max())).astype(np.int64)  # whole numbers add up alike everywhere
    total = weight.sum(axis=-1, keepdims=True)
    mean = weight * (TOKENS * rate.shape[-1] / total)
    normal = (dice.uniform(3, *rate.shape) - 0.5) * 2.0
    scatter = np.sqrt(mean) * (normal[0] + normal[1] + normal[2])
    return np.maximum(0, np.rint(mean + scatter)).astype(np.int64)


def trace(kind: str, forecast: str, shape: Shape, *key: int) -> Ints:
    """Tokens of SEEN windows and of the NEXT that follow, int64 (windows, layers, experts)."""
    dice = Dice(*key, list(KINDS).index(kind), shape.experts, shape.layers, shape.slots, shape.nodes)
    rate = KINDS[kind](shape, SEEN + NEXT, dice)
    load = tokens(rate, dice)
    load[SEEN:] = FORECASTS[forecast](load[SEEN:], load[SEEN - 1], dice)
    return load


def first_placement(load: Ints, shape: Shape) -> Ints:
    """What the slots hold when a trace begins: packed for one window in serpentine order, (layers, slots).

    Each node gets the groups in serpentine order of their load, the hottest experts one slot more than the others.
    """
    layers, experts, nodes = load.shape[0], shape.experts, shape.nodes
    size, rows = experts // shape.groups, layers * nodes
    by_group = load.reshape(layers, shape.groups, size).sum(axis=2)
    dealt = _serpentine(np.argsort(-by_group, axis=1, kind="stable"), nodes)
    ids = (dealt[..., None] * size + np.arange(size)).reshape(rows, experts // nodes)
    own = load[np.repeat(np.arange(layers), nodes)[:, None], ids]
    ranked = np.take_along_axis(ids, np.argsort(-own, axis=1, kind="stable"), axis=1)
    # replicas of an expert stand side by side, and so go to different GPUs
    again = np.sort(np.arange(shape.slots // nodes) % ranked.shape[1])
    return _serpentine(ranked[:, again], shape.gpus // nodes).reshape(layers, shape.slots)


def _serpentine(ranked: Ints, bins: int) -> Ints:
    """Deals each row's items to bins, forth and back: (rows, items) to (rows, bins, items / bins)."""
    rounds = ranked.reshape(len(ranked), -1, bins).copy()
    rounds[:, 1::2] = rounds[:, 1::2, ::-1]
    return rounds.transpose(0, 2, 1).copy()


def smallest_share(load: Ints, slots: int) -> Floats:
    """A lower bound of the largest load of a slot, (..,): the smallest T with sum max(1, ceil(w / T)) <= slots.

    Found by bisection, and rounded down. load: (.., experts).
    """
    low, high = np.zeros(load.shape[:-1]), load.max(axis=-1).astype(np.float64)
    for _ in range(60):
        middle = 0.5 * (low + high)
        with np.errstate(divide="ignore", invalid="ignore"):
            copies = np.maximum(1.0, np.ceil(np.nan_to_num(load / middle[..., None]))).sum(axis=-1)
        low, high = np.where(copies > slots, middle, low), np.where(copies > slots, high, middle)
    return low


def node_share(load: Ints, shape: Shape) -> Floats:
    """A lower bound of the largest load of a node, over its GPUs, if groups stay whole, (..,).

    Up to 8 groups all ways to deal them to nodes are tried; beyond, each group alone is looked at.
    """
    by_group = load.reshape(*load.shape[:-1], shape.groups, -1).sum(axis=-1)
    gpus_of_node = shape.gpus / shape.nodes
    if shape.groups > 8:
        return by_group.max(axis=-1) / gpus_of_node
    deals = partitions(shape.groups, shape.nodes)
    members = (deals.reshape(-1, 1) >> np.arange(shape.groups)) & 1  # (deals * nodes, groups)
    by_node = (by_group @ members.T).reshape(*by_group.shape[:-1], -1, shape.nodes)
    return by_node.max(axis=-1).min(axis=-1) / gpus_of_node


def partitions(items: int, parts: int) -> Ints:
    """All ways to part items into exactly so many sets, each set as the bits of a number: (ways, parts)."""

    def extend(item: int, sets: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if item == items:
            if len(sets) == parts:
                yield sets
            return
        for index in range(len(sets)):
            yield from extend(item + 1, (*sets[:index], sets[index] | 1 << item, *sets[index + 1 :]))
        if len(sets) < parts:
            yield from extend(item + 1, (*sets, 1 << item))

    return np.array(list(extend(0, ())), dtype=np.int64)


def best_balance(load: Ints, shape: Shape) -> float:
    """A balance that no placement can beat, mean over windows and layers; proved in README.md."""
    mean = load.sum(axis=-1) / shape.gpus
    least = np.maximum(mean, smallest_share(load, shape.slots))
    if shape.nodes > 1:
        least = np.maximum(least, node_share(load, shape))
    return float(np.where(mean > 0, mean / np.where(least > 0, least, 1.0), 1.0).mean())


def make(
    name: str, load: Ints, shape: Shape, group: Mapping[str, str | int | float], family: str = ""
) -> Instance:
    """An instance from the tokens of its windows, seen and to come."""
    seen, following = load[:-NEXT], load[-NEXT:]
    previous = first_placement(seen[0], shape)
    for array in (seen, following, previous):
        array.flags.writeable = False
    return Instance(
        name=name,
        arguments={
            "load": seen,
            "slots": shape.slots,
            "groups": shape.groups,
            "nodes": shape.nodes,
            "gpus": shape.gpus,
            "previous": previous,
        },
        bound=best_balance(following, shape),
        group=group,
        facts={"next": following, "price": PRICE},
        cpu_s=cpu_limit(shape),
        family=family,
    )


def cpu_limit(shape: Shape) -> float:
    """CPU seconds for a decision: the slowest seed takes about a sixth of it."""
    return 0.02 + 8e-6 * shape.slots * shape.layers


def small(nodes: int, experts: int, layers: int = 6) -> Shape:
    """40 slots on 8 GPUs: a candidate costs little."""
    return Shape(experts, layers, 40, 8, nodes, 1 if nodes == 1 else 4)


def full(nodes: int, experts: int, layers: int = 6) -> Shape:
    """288 slots on 32 GPUs, as DeepSeek-V3 is served."""
    return Shape(experts, layers, 288, 32, nodes, 1 if nodes == 1 else 8)


Cell = tuple[tuple[int, str], str, Shape]
"""Repeat and forecast, kind and shape of an instance."""


def _cross(
    shapes: Iterable[Shape], kinds: Iterable[str], forecasts: Iterable[str], first: int = 0
) -> Iterator[Cell]:
    """Every kind and forecast on every shape; each has a number from `first` on, and with it a trace of its own."""
    return product(enumerate(forecasts, first), kinds, shapes)


def _paired(shapes: Iterable[Shape], kinds: Iterable[str], forecasts: Iterable[str]) -> Iterator[Cell]:
    """The same, but the first of every forecast share a trace, and so do the second ones, and so on."""
    named = list(forecasts)
    numbers = [named[:place].count(forecast) for place, forecast in enumerate(named)]
    return product(zip(numbers, named, strict=True), kinds, shapes)


def drawn(split: str, cell: Cell) -> Instance:
    """On the holdout, instances that differ in the forecast alone have the same past, and are of a family."""
    (repeat, forecast), kind, shape = cell
    load = trace(kind, forecast, shape, _SPLIT_KEYS[split], repeat)
    name = f"{split}/{shape.setting}/{kind}-{forecast}-e{shape.experts}-l{shape.layers}-{repeat}"
    group = {"setting": shape.setting, "forecast": forecast, "kind": kind, "experts": shape.experts}
    family = ""
    if split == "holdout":
        family = f"{kind}-e{shape.experts}-l{shape.layers}-s{shape.slots}-n{shape.nodes}-{repeat}"
    return make(name, load, shape, group, family)


MIXED = ("noisy", "exact", "adversarial", "noisy")
HARD = ("drift", "families", "burst")


def _train() -> Iterator[Cell]:
    """32 small instances, ordered so that a prefix holds every kind, setting and forecast."""
    yield from _cross([small(1, 24), small(2, 32)], USUAL, MIXED)


def _further() -> Iterator[Cell]:
    """As many like those of train again: repeats go on behind those of train."""
    yield from _cross([small(1, 24), small(2, 32)], USUAL, MIXED, len(MIXED))


def _validation() -> Iterator[Cell]:
    """64 instances: small ones, and such as are served."""
    shapes = [small(1, 32), small(2, 24), full(1, 128), full(4, 64)]
    yield from _cross(shapes, USUAL, MIXED)


def _holdout() -> Iterator[Cell]:
    """96 of what was seen at the sizes that are served, 12 with all layers of a model, 36 of unseen kinds."""
    shapes = [full(nodes, experts) for nodes in (1, 4) for experts in (64, 128, 256)]
    yield from _paired(shapes, USUAL, MIXED)
    whole = [full(nodes, *size) for nodes in (1, 4) for size in ((64, 26), (256, 58))]
    yield from _cross(whole, HARD, ["noisy"])
    shifted = [small(2, 16), full(1, 64), full(4, 256)]
    yield from _paired(shifted, ("steep", "switch"), [*MIXED, "noisy", "adversarial"])


SPLITS: Mapping[str, Callable[[], Iterator[Cell]]] = {
    "train": _train,
    "validation": _validation,
    "holdout": _holdout,
}


def instances(split: str) -> Iterable[Instance]:
    """The instances of "train", "validation" or "holdout", always the same and in the same order.

    Raises:
        ProblemError: there is no such split.
    """
    if split not in SPLITS:
        raise ProblemError(f"no split {split!r} in problems/moe_placement; there is: {', '.join(SPLITS)}")
    return (drawn(split, cell) for cell in SPLITS[split]())


def further() -> Iterator[Instance]:
    """As many instances like those of train again."""
    return (drawn("train", cell) for cell in _further())


def count(split: str) -> int:
    """How many instances a split has, without making them."""
    return sum(1 for _ in SPLITS[split]())


# -- recorded loads ----------------------------------------------------------------------------------------

SIZES = {
    "slots": 288,
    "gpus": 32,
    "nodes": 1,
    "groups": 1,
}  # what a file may say, and what holds if it does not
MOST_SLOTS = 2**16  # a hundred times what the largest deployment has


def from_data(split: str, path: Path) -> Iterator[Instance]:
    """The instances that a file of recorded loads gives, or a folder's *.json: README.md says how it looks.

    Train is cut from the first third of the windows, validation from the second, holdout from the last.

    Raises:
        ProblemError: naming the file, the value and the rule.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ProblemError(f"{path}: the folder holds no .json file")
    for file in files:
        tree = _parse(file)
        load = _windows(file, tree)
        shape = _shape(file, tree, load)
        third = len(load) // 3
        start = third * list(SPLITS).index(split)
        for first in range(start, start + third - SEEN - NEXT + 1, NEXT):
            group = {
                "setting": shape.setting,
                "forecast": "recorded",
                "kind": file.stem,
                "experts": shape.experts,
            }
            cut = load[first : first + SEEN + NEXT].copy()
            yield make(f"{split}/{file.stem}-w{first}", cut, shape, group)


def _parse(file: Path) -> Any:
    try:
        return json.loads(data.text(file))
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{file}: no JSON text: {error}") from None


def _windows(file: Path, tree: Any) -> Ints:
    """int64 (windows, layers, experts)."""
    history = tree.get("load_history") if isinstance(tree, dict) else tree
    if not isinstance(history, list):
        raise ProblemError(f"{file}: there is no list 'load_history' of windows")
    rows = [each.get("logical_expert_load") if isinstance(each, dict) else each for each in history]
    try:
        found = np.array(rows)
    except (ValueError, OverflowError):
        found = np.array(None)
    if found.ndim != 3 or found.dtype.kind not in "iuf" or found.size == 0:
        raise ProblemError(
            f"{file}: every window has to be a table of numbers, a row a layer, all of one size"
        )
    if not ((found >= 0) & (found == np.floor(found)) & (found < 2**40)).all():
        wrong = found[~((found >= 0) & (found == np.floor(found)) & (found < 2**40))][0]
        raise ProblemError(f"{file}: {wrong} is no number of tokens: whole numbers from 0 to 2^40")
    if len(found) < 3 * (SEEN + NEXT):
        raise ProblemError(
            f"{file}: {len(found)} windows; three splits of {SEEN} seen and {NEXT} next need {3 * (SEEN + NEXT)}"
        )
    return found.astype(np.int64)


def _shape(file: Path, tree: Any, load: Ints) -> Shape:
    given = {key: tree[key] for key in SIZES if isinstance(tree, dict) and key in tree}
    for key, value in given.items():
        if type(value) is not int or not 1 <= value <= MOST_SLOTS:
            raise ProblemError(
                f"{file}: {key} is {value!r}; it has to be a whole number from 1 to {MOST_SLOTS}"
            )
    sizes = {**SIZES, **given}
    experts = load.shape[2]
    rules = {
        "slots has to be a multiple of gpus": sizes["slots"] % sizes["gpus"] == 0,
        "gpus has to be a multiple of nodes": sizes["gpus"] % sizes["nodes"] == 0,
        "groups has to be a multiple of nodes": sizes["groups"] % sizes["nodes"] == 0,
        f"the {experts} experts have to be a multiple of groups": experts % sizes["groups"] == 0,
        f"slots has to be at least the {experts} experts": sizes["slots"] >= experts,
    }
    for rule, kept in rules.items():
        if not kept:
            raise ProblemError(
                f"{file}: {rule}; there is {', '.join(f'{k} = {v}' for k, v in sizes.items())}"
            )
    return Shape(experts, load.shape[1], **sizes)
