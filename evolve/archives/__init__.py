"""Archives keep who may breed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from evolve.archives.base import Archive
from evolve.archives.islands import Islands
from evolve.archives.panmictic import BestOfN, Panmictic
from evolve.archives.population import Axis, Grid, MakePopulation
from evolve.settings import ArchiveSettings

SIZE = Axis("size", 30, 1500, 8, log=True)
"""What a grid has by default: syntax-tree nodes of the program."""

_PLAIN: Mapping[str, Callable[[ArchiveSettings], Archive]] = {
    "best-of-n": BestOfN,
    "top-k": Panmictic,
    "islands": Islands,
}
_GRIDS: Mapping[str, Callable[[ArchiveSettings, MakePopulation], Archive]] = {
    "map-elites": Panmictic,
    "islands-map-elites": Islands,
}


def needs_descriptors(settings: ArchiveSettings) -> bool:
    """Whether evaluations have to carry descriptors for this archive."""
    return settings.kind in _GRIDS


def make_archive(settings: ArchiveSettings, axes: Sequence[Axis] = ()) -> Archive:
    """The archive that the settings name, empty.

    Args:
        axes: of the grid, where the archive has one; program size alone if there is none.
    """
    if settings.kind in _PLAIN:
        return _PLAIN[settings.kind](settings)
    return _GRIDS[settings.kind](settings, partial(Grid, axes=tuple(axes) or (SIZE,)))
