"""Water-filling: the lowest level to which replicas bring every expert, then LPT, then exchanges; for the last window.

The number of replicas is the exact optimum of the largest load a replica; the greedy rule reaches the same.
"""

import numpy as np


def forecast(last: np.ndarray, before: np.ndarray, mean: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Expected tokens from those of the last window, the one before it, the mean and the peak of all windows."""
    return last


def cost(total: np.ndarray, weight: np.ndarray, home: np.ndarray, twin: np.ndarray) -> np.ndarray:
    """Rates the bins for an item, given their totals; the smallest takes it. All are in tokens.

    home: the item's weight where it was before, else 0. twin: what replicas of the same expert weigh there by now.
    """
    return total


def need(weight: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Rates the experts for one more replica; the largest gets it."""
    return weight / copies


def assign(weight: np.ndarray, name: np.ndarray, home: np.ndarray) -> object:
    """The bin of each item, (rows, items): heavy items first, each to the bin of smallest cost that has room.

    weight: (rows, items). name: (rows, items), what the item is a replica of. home: (rows, bins, names).
    """
    rows, items = weight.shape
    bins = home.shape[1]
    each = np.arange(rows)
    order = np.argsort(-weight, axis=1, kind="stable")
    weight = np.take_along_axis(weight, order, axis=1)[:, :, None]
    name = np.take_along_axis(name, order, axis=1)
    homes = home[each[:, None], :, name] * weight
    twin = np.zeros(home.shape)
    total = np.zeros((rows, bins))
    room = np.full((rows, bins), items // bins)
    found = np.empty((rows, items), np.int64)
    for step in range(items):
        same = name[:, step]
        rating = cost(total, weight[:, step], homes[:, step], twin[each, :, same])
        chosen = np.where(room > 0, rating, np.inf).argmin(axis=1)
        found[:, step] = chosen
        total[each, chosen] += weight[:, step, 0]
        room[each, chosen] -= 1
        twin[each, chosen, same] += weight[:, step, 0]
    bins_of = np.empty((rows, items), np.int64)
    np.put_along_axis(bins_of, order, found, axis=1)
    return bins_of


def resident(previous: np.ndarray, bins: int, names: int) -> object:
    """1 where a bin held a name before, (rows, bins, names). previous: (rows, slots), in the order of the bins."""
    rows, slots = previous.shape
    held = np.zeros((rows, bins, names))
    held[np.arange(rows)[:, None], np.arange(slots) // (slots // bins), previous] = 1.0
    return held


def by_node(expected: np.ndarray, groups: int, nodes: int, previous: np.ndarray) -> object:
    """Deals whole groups to nodes by their load: the experts of each node, (layers * nodes, experts / nodes)."""
    layers, experts = expected.shape
    size = experts // groups
    share = expected.reshape(layers, groups, size).sum(axis=2)
    name = np.broadcast_to(np.arange(groups), (layers, groups))
    node = assign(share, name, resident(previous // size, nodes, groups))
    dealt = np.argsort(node, axis=1, kind="stable").reshape(layers * nodes, -1)
    return (dealt[:, :, None] * size + np.arange(size)).reshape(layers * nodes, -1)


def fewest(weight: np.ndarray, level: np.ndarray) -> object:
    """Replicas that bring every replica down to a level, at least one each, (rows, experts). level: (rows, 1)."""
    return np.maximum(1.0, np.ceil(weight / np.maximum(level, 1e-9)))


def replicate(weight: np.ndarray, slots: int) -> object:
    """Number of replicas of each expert, (rows, experts): the lowest level that fits; the rest to need."""
    low = np.zeros((len(weight), 1))
    high = weight.max(axis=1, keepdims=True)
    for _ in range(30):
        level = 0.5 * (low + high)
        fits = fewest(weight, level).sum(axis=1, keepdims=True) <= slots
        low, high = np.where(fits, low, level), np.where(fits, level, high)
    copies = fewest(weight, high)
    each = np.arange(len(weight))
    for _ in range(int(slots - copies.sum(axis=1).min())):
        free = copies.sum(axis=1) < slots
        copies[each, need(weight, copies).argmax(axis=1)] += free
    return copies


def unroll(copies: np.ndarray, slots: int) -> object:
    """The expert of each replica, (rows, slots)."""
    rows, experts = copies.shape
    every = np.tile(np.arange(experts), rows)
    return np.repeat(every, copies.astype(np.int64).ravel()).reshape(rows, slots)


def swap(name: np.ndarray, heavy: np.ndarray) -> None:
    """Exchanges, in each row, two replicas of the GPUs of largest and smallest load, so that they meet halfway.

    name: (rows, gpus, slots of a GPU), changed in place. heavy: weight of each replica, changed with it.
    """
    each = np.arange(len(name))
    total = heavy.sum(axis=2)
    most, least = total.argmax(axis=1), total.argmin(axis=1)
    gap = total[each, most] - total[each, least]
    shift = heavy[each, most][:, :, None] - heavy[each, least][:, None, :]
    miss = np.abs(shift - 0.5 * gap[:, None, None]).reshape(len(name), -1)
    best = miss.argmin(axis=1)
    better = miss[each, best] < 0.5 * gap
    one, two = np.divmod(best, name.shape[2])
    rows, one, two, most, least = each[better], one[better], two[better], most[better], least[better]
    for array in (name, heavy):
        kept = array[rows, most, one]
        array[rows, most, one] = array[rows, least, two]
        array[rows, least, two] = kept


def pack(weight: np.ndarray, copies: np.ndarray, home: np.ndarray, slots: int) -> object:
    """The expert in each slot, (rows, slots): LPT, then exchanges between the GPUs of largest and smallest load."""
    name = unroll(copies, slots)
    share = weight / copies
    gpu = assign(np.take_along_axis(share, name, axis=1), name, home)
    name = np.take_along_axis(name, np.argsort(gpu, axis=1, kind="stable"), axis=1)
    heavy = np.take_along_axis(share, name, axis=1).reshape(len(name), home.shape[1], -1)
    packed = name.reshape(heavy.shape)
    for _ in range(2 * home.shape[1]):
        swap(packed, heavy)
    return packed.reshape(len(name), slots)


def place(load: np.ndarray, slots: int, groups: int, nodes: int, gpus: int, previous: np.ndarray) -> object:
    """The expert in each slot, (layers, slots). load: (windows, layers, experts); previous: (layers, slots).

    Groups are dealt to nodes first; then each node of each layer is a row of its own.
    """
    expected = forecast(load[-1] + 0.0, load[-2] + 0.0, load.mean(axis=0), load.max(axis=0) + 0.0)
    layers, experts = expected.shape
    local = by_node(expected, groups, nodes, previous)
    weight = np.take_along_axis(np.repeat(expected, nodes, axis=0), local, axis=1)
    held = resident(previous.reshape(layers * nodes, -1), gpus // nodes, experts)
    home = np.take_along_axis(held, local[:, None, :], axis=2)
    copies = replicate(weight, slots // nodes)
    filled = pack(weight, copies, home, slots // nodes)
    return np.take_along_axis(local, filled, axis=1).reshape(layers, slots)
