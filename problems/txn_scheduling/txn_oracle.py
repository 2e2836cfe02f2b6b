"""A fast makespan for programs: compiled once in the jail's warm process, counted, and trusted by nobody.

It shares no code with the evaluator, which judges the order that a program returns by its own simulator: whatever a
program does to this one, it deceives itself alone. For the same reason the count is kept by good will, while the
limit of CPU time is enforced.
"""

import numpy as np

try:
    from numba import njit
except ImportError as error:
    raise ImportError("transaction scheduling needs numba: pip install 'evolve[solver]'") from error

_RANGE, _TWICE = -1, -2


@njit("int64(int64[::1], int64[::1], int64[::1], boolean[::1], int64[:, ::1])")
def _makespan(order, first, keys, writes, ends):
    """ends: (k + 1, 2), when the last access and the last write of each key end; first used for who came twice."""
    n = len(first) - 1
    ends[: n + 1] = 0
    for t in order:
        if t < 0 or t >= n:
            return _RANGE
        if ends[t, 0]:
            return _TWICE
        ends[t, 0] = 1
    ends[:] = 0
    last = 0
    for t in order:
        begin, end = first[t], first[t + 1]
        start = 0
        for i in range(begin, end):
            ready = ends[keys[i], 0 if writes[i] else 1] - (i - begin)
            if ready > start:
                start = ready
        for i in range(begin, end):
            done = start + i - begin + 1
            if keys[i] and done > ends[keys[i], 0]:
                ends[keys[i], 0] = done
            if keys[i] and writes[i] and done > ends[keys[i], 1]:
                ends[keys[i], 1] = done
        if start + end - begin > last:
            last = start + end - begin
    return last


del njit


class Oracle:
    """Makespans of one batch of transactions, `calls` of them.

    first, keys, writes: the batch, see statement.md.
    """

    def __init__(self, first, keys, writes, calls):
        self.calls = calls
        self._n = len(first) - 1
        count = int(keys.max(initial=-1)) + 1
        # key -1 becomes 0, which nobody waits for
        self._batch = (
            np.array(first),
            keys + 1,
            writes.astype(bool),
            np.zeros((max(count, self._n) + 1, 2), np.int64),
        )

    def makespan(self, order):
        """The makespan of an order, a list or int64 array of distinct transactions, not necessarily all.

        Raises:
            ValueError: something else than distinct transactions.
            RuntimeError: all calls are used up.
        """
        if self.calls <= 0:
            raise RuntimeError("all calls of makespan are used up")
        self.calls -= 1
        found = _makespan(np.ascontiguousarray(order, np.int64), *self._batch)
        if found < 0:
            what = f"transactions are 0..{self._n - 1}" if found == _RANGE else "each may be there once"
            raise ValueError(f"makespan of an order that is none: {what}")
        return found
