"""How strong a jail is: four named levels, each a set of layers.

full                the three below together
landlock+seccomp    each child: an allow-list of some 45 system calls (no socket, process, thread, signal or
                    writing open), and reading of Python's own files only. That a file or a process exists, and
                    a file's size, can still be seen; no content.
bubblewrap+rlimits  all children: no network, no view of other processes, a read-only file system that holds
                    Python alone
rlimits             each child: limits on memory, descriptors, file size and CPU, and as root the user nobody

There is no scratch space: behind Landlock and seccomp no file can be made, opened for writing or changed, in
memory or on a disk, and a file's size limit is zero at every level. numpy and numba need none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """Ordered by strength: `Level.RLIMITS < Level.FULL`."""

    RLIMITS = "rlimits"
    BUBBLEWRAP_RLIMITS = "bubblewrap+rlimits"
    LANDLOCK_SECCOMP = "landlock+seccomp"
    FULL = "full"

    @property
    def bubblewrap(self) -> bool:
        """Whether the zygote lives in namespaces of its own."""
        return self in (Level.FULL, Level.BUBBLEWRAP_RLIMITS)

    @property
    def filters(self) -> bool:
        """Whether each child goes behind Landlock and seccomp."""
        return self in (Level.FULL, Level.LANDLOCK_SECCOMP)

    @property
    def strength(self) -> int:
        return list(Level).index(self)

    def __lt__(self, other: str) -> bool:
        return self.strength < Level(other).strength

    def __le__(self, other: str) -> bool:
        return self.strength <= Level(other).strength

    def __gt__(self, other: str) -> bool:
        return self.strength > Level(other).strength

    def __ge__(self, other: str) -> bool:
        return self.strength >= Level(other).strength


@dataclass(frozen=True)
class Limits:
    """What a candidate may use.

    cpu_s: CPU seconds a question, unless `Session.ask` is told otherwise.
    memory_mb: memory beyond what the interpreter and the imported modules take.
    load_s: CPU seconds for loading the program.
    answer_bytes: size of one encoded answer; of that at most 1 MB outside arrays.
    imports: modules that a program may import, submodules included; they are imported in advance.
    libraries: further modules, by name their source text, that are made in advance in the warm process, where they
        may import what is installed: a program finds them compiled. No part of them is trusted afterwards.
    """

    cpu_s: float = 1.0
    memory_mb: int = 512
    load_s: float = 1.0
    answer_bytes: int = 8_000_000
    imports: tuple[str, ...] = ("math", "numpy")
    libraries: Mapping[str, str] = field(default_factory=dict)
