"""Large pages for a process that forks all the time.

A fork copies an entry for each page that a process has written to, and the end of its child clears it: 17 MiB of
Python and numpy are over 4,000 pages of 4 KiB. Laid together into pages of 2 MiB they are few, and what of those
is written to, and so taken apart again, is still copied by the row (0.2 ms less for each child).

Standalone and optional: where the kernel cannot, nothing changes. Source: madvise(2), MADV_COLLAPSE, Linux 6.1.
"""

from __future__ import annotations

import ctypes
import sys

_LARGE = 2 << 20
_COLLAPSE = 25
# The interpreter's allocator: arenas of 1 MiB, of 63 pools of 16 KiB or more, with 31 of its largest objects each.
_OBJECT, _IN_ARENA = 512, 63 * 31


def reserve(arenas: int) -> list[bytes]:
    """Makes the interpreter take this many arenas side by side, for what is imported next.

    Taken one by one they lie between libraries, each too small for a large page.

    Returns:
        One object in each, which keeps it from being given back.
    """
    fill = [bytes(_OBJECT - sys.getsizeof(b"")) for _ in range(arenas * _IN_ARENA)]
    return fill[::_IN_ARENA]


def collapse() -> None:
    """Lays the pages of heap and arenas together, as far as they fill large ones."""
    if sys.platform != "linux":
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    try:
        with open("/proc/self/maps") as file:
            mappings = [line.split() for line in file]
    except OSError:
        return
    for bounds, rights, _, _, inode, *name in mappings:
        if rights != "rw-p" or inode != "0" or name not in ([], ["[heap]"]):
            continue
        low, high = (int(bound, 16) for bound in bounds.split("-"))
        for address in range(-(-low // _LARGE) * _LARGE, high - _LARGE + 1, _LARGE):
            madvise(address, _LARGE, _COLLAPSE)  # refused, and no harm done, where nothing was written yet
