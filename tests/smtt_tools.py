"""What the tests of SMTT share: its modules, loaded by path as the engine does, and random small jobs."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
SEEDS = sorted((ROOT / "seeds/smtt").glob("*.py"))
Ints = npt.NDArray[np.int64]


def load(path: Path) -> ModuleType:
    """Import a file of the repository under a name of its own."""
    name = f"smtt_under_test_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        # a dataclass looks its module up while it is made
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def seed(name: str) -> Callable[[Ints, Ints], list[int]]:
    sequence: Callable[[Ints, Ints], list[int]] = load(ROOT / f"seeds/smtt/{name}.py").sequence
    return sequence


def tardiness(p: Ints, d: Ints, order: list[int]) -> int:
    """Total tardiness by its definition, job by job."""
    t, total = 0, 0
    for job in order:
        t += int(p[job])
        total += max(0, t - int(d[job]))
    return total


@st.composite
def jobs(draw: st.DrawFn, most: int = 12, longest: int = 100) -> tuple[Ints, Ints]:
    """p and d of 1 to `most` jobs, many with ties; read-only, as instances are."""
    top = draw(st.sampled_from((1, 3, longest)))
    times = draw(st.lists(st.integers(1, top), min_size=1, max_size=most))
    due = st.integers(0, draw(st.sampled_from((0, sum(times) // 2, sum(times) + 5))))
    d = draw(st.lists(due, min_size=len(times), max_size=len(times)))
    arrays = np.array(times, dtype=np.int64), np.array(d, dtype=np.int64)
    for array in arrays:
        array.flags.writeable = False
    return arrays
