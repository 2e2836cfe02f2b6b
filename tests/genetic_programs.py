"""Programs that the tests of the genetic proposer vary: several that have nothing to do with scheduling."""

from __future__ import annotations

DISPATCH = '''
"""A rule in a loop over numpy arrays."""
import numpy as np


def priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:
    """The smallest goes next."""
    return d


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    """An order of all jobs."""
    left = np.arange(len(p))
    t = 0
    order: list[int] = []
    while len(left):
        k = int(np.argmin(priority(p[left], d[left], t)))
        order.append(int(left[k]))
        t += int(p[left[k]])
        left = np.delete(left, k)
    return order
'''

DESCENT = """
import numpy as np

WEIGHT = 2


def cost(p: np.ndarray, d: np.ndarray, order: list[int]) -> int:
    return int(np.maximum(np.cumsum(p[order]) - d[order], 0).sum()) * WEIGHT


def swapped(order: list[int], i: int, j: int) -> list[int]:
    other = list(order)
    other[i], other[j] = other[j], other[i]
    return other


def descend(p: np.ndarray, d: np.ndarray, order: list[int]) -> list[int]:
    best = cost(p, d, order)
    for i in range(len(order) - 1):
        other = swapped(order, i, i + 1)
        if cost(p, d, other) < best:
            best = cost(p, d, other)
            order = other
    return order


def sequence(p: np.ndarray, d: np.ndarray) -> list[int]:
    return descend(p, d, [int(j) for j in np.argsort(d)])
"""

PACKING = """
import math


def fits_in(size: float, room: float) -> bool:
    return size <= room


def score(size: float, room: float, used: dict[int, float]) -> float:
    return room - size + 0.5 * math.sqrt(len(used) + 1)


def pack(sizes: list[float], capacity: float) -> list[int]:
    rooms: dict[int, float] = {}
    bins = []
    for size in sizes:
        best, choice = 1e9, -1
        for index, room in rooms.items():
            if fits_in(size, room) and score(size, room, rooms) < best:
                best, choice = score(size, room, rooms), index
        if choice < 0:
            choice = len(rooms)
            rooms[choice] = capacity
        rooms[choice] -= size
        bins.append(choice)
    return bins
"""

COLLATZ = """
def steps(n: int, limit: int) -> int:
    count = 0
    while n != 1 and count < limit:
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        count += 1
    return count
"""

GRAPH = """
from collections import deque


def label(name: str, depth: int) -> str:
    return name.upper() + "-" + str(depth)


def levels(graph: dict[str, list[str]], start: str) -> dict[str, int]:
    found = {start: 0}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for other in graph[node]:
            if other not in found:
                found[other] = found[node] + 1
                queue.append(other)
    return found


def labels(graph: dict[str, list[str]], start: str) -> list[str]:
    table = levels(graph, start)
    return [label(name, table[name]) for name in sorted(table, key=lambda name: (table[name], name))]
"""

ENTRIES = {
    "dispatch": (DISPATCH, "sequence"),
    "descent": (DESCENT, "sequence"),
    "packing": (PACKING, "pack"),
    "collatz": (COLLATZ, "steps"),
    "graph": (GRAPH, "labels"),
}
