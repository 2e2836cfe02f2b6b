"""A problem to be sent to another host: its files by content, and what the host has to find when it loads them."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

import evolve
from evolve import __version__, problem
from evolve.errors import BackendError, EvolveError
from evolve.problem import Problem, content
from evolve.records import Split
from evolve.settings import Settings

LIMIT_BYTES = 256 << 20
LEFT_OUT = frozenset({"__pycache__", "runs", "node_modules"})


class Parcel(msgspec.Struct, frozen=True):
    """Files by their paths below a root that the host makes, and what has to come of them.

    folder, data: of the problem, and what its instances are made from; below the root. data "" = none.
    digest: of the problem. instances: digest of the instances of train and validation.
    footing: digest of the baseline's objectives there; "" where they are measured anew on each host.
    """

    files: dict[str, bytes]
    folder: str
    data: str
    name: str
    digest: str
    instances: str
    footing: str
    minimum: str
    describe: bool
    profiled: bool
    version: str = __version__

    @property
    def key(self) -> str:
        """What tells a parcel from all others."""
        head = (self.digest, self.instances, self.footing, self.minimum, self.describe, self.profiled)
        digest = hashlib.sha256(repr((*head, self.version, self.folder, self.data)).encode())
        for name, text in sorted(self.files.items()):
            digest.update(f"{name}\0{len(text)}\0".encode() + text)
        return digest.hexdigest()[:16]


def wrap(
    the_problem: Problem, the_settings: Settings, describe: bool, profiled: bool, footing: str
) -> Parcel:
    """A parcel of a problem.

    Raises:
        BackendError: it is too large to be sent.
    """
    instances = instances_digest(the_problem)
    files = sorted(set(_files(the_problem)))  # after the instances were made: what they import is known now
    data = the_problem.data.path if the_problem.data else None
    root = Path(os.path.commonpath([the_problem.folder, *(path.parent for path in files)]))
    texts = {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
    below = ""
    if data is not None:
        below = f"data-{the_problem.digest}/{data.name}"
        texts |= {_below(below, path, data): path.read_bytes() for path in _all(data)}
    size = sum(map(len, texts.values()))
    if size > LIMIT_BYTES:
        raise BackendError(
            f"{the_problem.folder}: the problem with its data has {size >> 20} MB; at most "
            f"{LIMIT_BYTES >> 20} MB are sent to other hosts: move what is not needed elsewhere, or --backend loky"
        )
    return Parcel(
        texts,
        the_problem.folder.relative_to(root).as_posix(),
        below,
        the_problem.name,
        the_problem.digest,
        instances,
        footing,
        the_settings.jail.minimum,
        describe,
        profiled,
    )


def _below(folder: str, path: Path, top: Path) -> str:
    return folder if path == top else f"{folder}/{path.relative_to(top).as_posix()}"


def _files(the_problem: Problem) -> Iterator[Path]:
    """The folders of the problem, its seeds, instances and evaluator, and what those import from elsewhere."""
    spec, folder = the_problem.spec, the_problem.folder
    names = (spec.seeds, spec.evaluator, spec.instances)
    homes = {folder, *(_home((folder / name).resolve()) for name in names)}
    for home in homes:
        yield from _all(home)
    root = Path(os.path.commonpath(homes))
    own, installed = Path(evolve.__file__).parent, Path(sys.prefix)
    for module in list(sys.modules.values()):
        # what instances and evaluators import from elsewhere in their own tree, such as another problem's generator
        name = getattr(module, "__file__", None)
        path = Path(name) if isinstance(name, str) else None
        if path is None or not path.is_relative_to(root) or len(root.parts) < 2:
            continue
        outside = not path.is_relative_to(own) or path.is_relative_to(problem.bundled_root() / "problems")
        if path.suffix == ".py" and outside and not path.is_relative_to(installed) and path.is_file():
            yield path


def _home(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _all(top: Path) -> Iterator[Path]:
    if top.is_file():
        yield top
        return
    for below in sorted(top.rglob("*")):
        parts = below.relative_to(top).parts
        if below.is_file() and not any(part.startswith(".") or part in LEFT_OUT for part in parts):
            yield below


def evaluated(the_problem: Problem) -> tuple[Split, ...]:
    """The splits that candidates are evaluated on elsewhere: the holdout never leaves the trusted side."""
    return tuple(split for split in the_problem.splits if split is not Split.HOLDOUT)


def instances_digest(the_problem: Problem) -> str:
    """Of all instances that candidates are evaluated on, whatever they are called."""
    digest = hashlib.sha256()
    for split in evaluated(the_problem):
        for instance in the_problem.split(split):
            digest.update(content(instance))
    return digest.hexdigest()[:16]


def open_parcel(parcel: Parcel, root: Path) -> Problem:
    """Write the files below `root` and load the problem.

    Raises:
        EvolveError: it cannot be loaded here, or is not what was sent: this host makes other instances of it.
    """
    if parcel.version != __version__:
        raise BackendError(f"evolve {__version__} is installed here; the run has {parcel.version}")
    for name, text in parcel.files.items():
        path = root / name
        if not path.resolve().is_relative_to(root.resolve()):
            raise BackendError(f"the parcel names the file '{name}' outside of its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    found = problem.load(str(root / parcel.folder), str(root / parcel.data) if parcel.data else "")
    if found.digest != parcel.digest:
        raise BackendError(f"the problem {parcel.name} has the digest {found.digest}, not {parcel.digest}")
    try:
        same = instances_digest(found) == parcel.instances
    except EvolveError as error:
        raise BackendError(f"the instances of {parcel.name} cannot be made here: {error}") from error
    if not same:
        raise BackendError(
            f"the instances of {parcel.name} come out otherwise here than on the machine of the run; "
            f"install the same versions of Python, numpy and what the problem imports"
        )
    return found
