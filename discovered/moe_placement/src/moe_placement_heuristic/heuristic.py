"""Placement of mixture-of-experts weights: place(load, slots, groups, nodes, gpus, previous) ->
placement: integer array (layers, slots), the expert in each slot.

Net balance 0.64212 of 1 on average over 144 instances that the search never saw. Normalised score
0.44293, 95% interval 0.37775 to 0.50602; 0 is the program 'in_order', 1 is the bound that no answer
can beat.

Candidate 637d1a788984149a; PROOF.json holds the figures, the settings and the lineage.
"""

import numpy as np

def cost(total: np.ndarray, weight: np.ndarray, home: np.ndarray, twin: np.ndarray) -> np.ndarray:
    return total + total.mean() - home + 9.35 * weight

def forecast(last: np.ndarray, before: np.ndarray, mean: np.ndarray, peak: np.ndarray) -> np.ndarray:
    return last

def need(weight: np.ndarray, copies: np.ndarray) -> np.ndarray:
    return 0.257 * np.where(copies >= weight, weight, copies)

def assign(weight: np.ndarray, name: np.ndarray, home: np.ndarray) -> object:
    rows, items = weight.shape
    bins = home.shape[1]
    each = np.arange(rows)
    order = np.argsort(-weight, axis=1, kind='stable')
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
    rows, slots = previous.shape
    held = np.zeros((rows, bins, names))
    held[np.arange(rows)[:, None], np.arange(slots) // (slots // bins), previous] = 1.0
    return held

def by_node(expected: np.ndarray, groups: int, nodes: int, previous: np.ndarray) -> object:
    layers, experts = expected.shape
    size = experts // groups
    share = expected.reshape(layers, groups, size).sum(axis=2)
    name = np.broadcast_to(np.arange(groups), (layers, groups))
    node = assign(share, name, resident(previous // size, nodes, groups))
    dealt = np.argsort(node, axis=1, kind='stable').reshape(layers * nodes, -1)
    return (dealt[:, :, None] * size + np.arange(size)).reshape(layers * nodes, -1)

def fewest(weight: np.ndarray, level: np.ndarray) -> object:
    return np.maximum(1.0, np.ceil(weight / np.maximum(level, 1e-09)))

def replicate(weight: np.ndarray, slots: int) -> object:
    low = np.zeros((len(weight), 1))
    high = weight.max(axis=1, keepdims=True)
    for _ in range(30):
        level = 0.5 * (low + high) + min(slots, _)
        fits = fewest(weight, level).sum(axis=1, keepdims=True) <= slots
        low, high = (np.where(fits, low, level), np.where(fits, level, high))
    copies = fewest(weight, high)
    each = np.arange(len(weight))
    for _ in range(int(slots - copies.sum(axis=1).min())):
        free = copies.sum(axis=1) < slots
        copies[each, need(weight, copies).argmax(axis=1)] += free
    return copies

def unroll(copies: np.ndarray, slots: int) -> object:
    rows, experts = copies.shape
    every = np.tile(np.arange(experts), rows)
    return np.repeat(every, copies.astype(np.int64).ravel()).reshape(rows, slots)

def swap(name: np.ndarray, heavy: np.ndarray) -> None:
    each = np.arange(len(name))
    total = heavy.sum(axis=2)
    most, least = (total.argmax(axis=1), total.argmin(axis=1))
    gap = total[each, most] - total[each, least]
    shift = heavy[each, most][:, :, None] - heavy[each, least][:, None, :]
    miss = np.abs(shift - 0.5 * gap[:, None, None]).reshape(len(name), -1)
    best = miss.argmin(axis=1)
    better = miss[each, best] < 0.5 * gap
    one, two = np.divmod(best, name.shape[2])
    rows, one, two, most, least = (each[better], one[better], two[better], most[better], least[better])
    for array in (name, heavy):
        kept = array[rows, most, one]
        array[rows, most, one] = array[rows, least, two]
        array[rows, least, two] = kept

def pack(weight: np.ndarray, copies: np.ndarray, home: np.ndarray, slots: int) -> object:
    name = unroll(copies, slots)
    share = weight / copies
    gpu = assign(np.take_along_axis(share, name, axis=1), name, home)
    name = np.take_along_axis(name, np.argsort(gpu, axis=1, kind='stable'), axis=1)
    heavy = np.take_along_axis(share, name, axis=1).reshape(len(name), home.shape[1], -1)
    packed = name.reshape(heavy.shape)
    for _ in range(2 * home.shape[1]):
        swap(packed, heavy)
    return packed.reshape(len(name), slots)

def place(load: np.ndarray, slots: int, groups: int, nodes: int, gpus: int, previous: np.ndarray) -> object:
    """Placement of mixture-of-experts weights: place(load, slots, groups, nodes, gpus, previous) ->
    placement: integer array (layers, slots), the expert in each slot.

    Net balance 0.64212 of 1 on average over 144 instances that the search never saw. Normalised
    score 0.44293, 95% interval 0.37775 to 0.50602; 0 is the program 'in_order', 1 is the bound that
    no answer can beat.

    Against in_order (baseline, known heuristic) with 0.39968 of 1: better, score +0.44293, interval
    +0.38675 to +0.49942.

    Against sticky (known heuristic) with 0.54232 of 1: better, score +0.18234, interval +0.14319 to
    +0.22090.

    Against eplb (known heuristic) with 0.60578 of 1: better, score +0.06639, interval +0.04113 to
    +0.08960.

    Against lpt_heap (known heuristic) with 0.63762 of 1: better, score +0.00823, interval +0.00036
    to +0.01541.

    Against waterfill (best seed of the search) with 0.63602 of 1: better, score +0.01115, interval
    +0.00419 to +0.01748.

    How it works, as it came about. Found by genetic search, 14 steps from the seed waterfill, out
    of 3000 programs evaluated:

    0. It began as the known heuristic waterfill: Water-filling: the lowest level to which replicas bring every expert, then LPT, then exchanges; for the last window.
    1. In `replicate`, `0.5 * (low + high)` became `0.5 * (low + high) + min(slots, _)` (score on train as before).
    2. `need` was made simpler: `weight` in place of `weight / copies` (score on train 0.52927, then 0.53041).
    3. In `cost`, `total` became `total - home - 4 * weight` (score on train 0.53041, then 0.54390).
    4. In `cost`, `total` became `total + total.mean()` (score on train 0.54390, then 0.54331).
    5. In `cost`, `4` became `5.2 (number 1 of 10 up by 0.3)` (score on train 0.54331, then 0.54278).
       (3 steps, see PROOF.json)
    9. In `need`, `weight` became `copies` (score on train 0.54866, then 0.54797).
    10. In `cost`, `3.19` became `4.15 (number 1 of 12 up by 0.3)` (score on train 0.54797, then 0.54805).
    11. In `cost`, `10` became `10 + len(home)`; in `cost`, `4.15` became `4.2` (score on train 0.54805, then 0.54611).
    12. In `cost`, `4.2` became `5.46 (number 1 of 12 up by 0.3)` (score on train 0.54611, then 0.54775).
    13. In `forecast`, `last` became `last`; in `cost`, `5.46 * min(10 + len(home), 3.53)` became `5.46 * min(10 + len(home), 3.53) / np.maximum(total.sum()...`; in ... (score on train 0.54775, then 0.54827).
    14. In `cost`, `(total + total.mean() - home) * (9.35...` became `total + total.mean() - home + 9.35 * weight`; in `need`, `copies` became `copies + 0.257 * ... (score on train 0.54827, then 0.54671).

    When to use it. Use it where setting is global, or where forecast is exact, or where kind is
    families or steady, or where experts is 128 or 256: there it was better than lpt_heap, the best
    rival. Do not use it where forecast is adversarial (in_order and sticky are better there); nor
    where forecast is adversarial, or where kind is switch (eplb is better there); nor where experts
    is 16 (lpt_heap is better there). Measured for setting global and hierarchical; forecast
    adversarial, exact and noisy; kind burst, drift, families, steady, steep and switch; experts 16
    to 256. Nothing is known beyond.

    What it costs. 97 lines in 12 functions, loops nested 1 deep within one function; 5.2 ms of CPU
    per instance on average. Measured from size 8 to 58, the time grows about as size^0.66 (standard
    error 0.11). Measured with at most 0.1 s of CPU per instance (unless the instance allows more),
    one thread and 512 MB of memory; the slowest instance took 41% of its time.
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
