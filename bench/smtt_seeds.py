"""Measure every seed of SMTT against exact optima, beside quoted figures. Run: python bench/smtt_seeds.py

Writes bench/smtt_seeds.md. The instances are fresh (no split's), all 25 cells of the grid at each size.
Takes about three minutes, most of them for the optima at n = 500; needs numba.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "evaluators"), str(ROOT / "problems/smtt")]

import instances  # noqa: E402
import total_tardiness  # noqa: E402
import total_tardiness_exact  # noqa: E402

Ints = npt.NDArray[np.int64]
Figures = tuple[float | None, ...]
Sequence = Callable[[Ints, Ints], list[int]]

REPEATS = {20: 100, 50: 40, 100: 40, 200: 20, 500: 4}
"""Instances per cell by n."""
STREAM = 9
"""First word of the key of the instances' random stream; those of the splits are 1 to 3."""

PROTOTYPE: dict[str, Figures] = {
    "edd": (43, 53, 56, 59, 59),
    "atc": (2.49, 3.09, 2.16, 1.88, 1.56),
    "mdd": (1.23, 1.71, 1.62, 1.45, 1.43),
    "psk": (1.20, 1.69, 1.59, 1.44, 1.42),
    "nbr": (0.50, 1.44, 1.68, 2.60, 3.09),
    "mddc": (1.69, 1.84, 1.51, 1.47, 1.38),
    "aug_mddc": (0.49, 1.01, 0.99, 0.95, 1.01),
    "dec_mdd": (0.14, 0.24, 0.24, 0.31, 0.34),
    "mdd_insertion": (0.41, 0.74, 0.59, 0.53, 0.40),
    "mdd_swap": (0.12, 0.14, 0.13, 0.11, 0.06),
}
"""Mean gap in % over OPT > 0, all cells, of an independent prototype on its own instances, by REPEATS' n."""

PAPER: dict[str, Figures] = {
    "edd": (46.61, None, 59.57, 62.98, None),
    "eddc": (12.83, None, 28.12, 52.02, None),
    "mdd": (1.86, None, 1.81, 2.07, None),
    "mddc": (1.70, None, 1.52, 2.00, 1.82),
    "aug_mddc": (0.79, None, 1.08, 1.44, 1.29),
}
"""Published averages over the 20 cells with TF <= .8 ("Discovering Heuristics with LLMs for MIPs", 2025).

Its printed n = 500 row comes from misaligned optima; those here are the corrected ones.
"""


@dataclass(frozen=True)
class Solved:
    """An instance with its optimum."""

    n: int
    cell: instances.Cell
    p: Ints
    d: Ints
    optimum: int


@dataclass(frozen=True)
class Result:
    """What a seed did on one instance: the gap to OPT in % (nan where OPT = 0), the floor gap, CPU in ms."""

    case: Solved
    gap: float
    floor_gap: float
    cpu_ms: float


def load(path: Path) -> ModuleType:
    """Import a seed by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases() -> Iterator[Solved]:
    """The instances with their optima, smallest first."""
    for n, repeats in REPEATS.items():
        for cell in instances.CELLS:
            for repeat in range(repeats):
                p, d = instances.generate(n, cell, "uniform", (STREAM, repeat))
                yield Solved(n, cell, p, d, total_tardiness_exact.optimum(p, d))


def measure(sequence: Sequence, case: Solved) -> Result:
    """Run a seed on one instance."""
    start = time.process_time()
    order = sequence(case.p, case.d)
    cpu_ms = 1000 * (time.process_time() - start)
    excess = total_tardiness.total_tardiness(case.p, case.d, np.array(order)) - case.optimum
    gap = 100 * excess / case.optimum if case.optimum else float("nan")
    return Result(case, gap, 100 * excess / max(case.optimum, int(case.p.sum())), cpu_ms)


def mean_gap(results: list[Result], n: int, largest_tf: int) -> tuple[float, float]:
    """Mean gap in % over OPT > 0 and its standard error, over the cells with TF up to largest_tf tenths."""
    gaps = [r.gap for r in results if r.case.n == n and r.case.cell[1] <= largest_tf and r.case.optimum > 0]
    return float(np.mean(gaps)), float(np.std(gaps, ddof=1) / np.sqrt(len(gaps)))


def table(title: str, cell: Callable[[str, int], str], names: list[str]) -> str:
    """A markdown table: a row per seed, a column per n."""
    head = f"| seed | {' | '.join(f'n = {n}' for n in REPEATS)} |\n|---|{'---:|' * len(REPEATS)}"
    rows = [f"| {name} | {' | '.join(cell(name, n) for n in REPEATS)} |" for name in names]
    return "\n".join([f"## {title}", "", head, *rows, ""])


def report(results: dict[str, list[Result]]) -> str:
    """The whole of smtt_seeds.md."""

    def gap(name: str, n: int, largest_tf: int, quoted: dict[str, Figures]) -> str:
        mean, error = mean_gap(results[name], n, largest_tf)
        figure = quoted.get(name, (None,) * len(REPEATS))[list(REPEATS).index(n)]
        return f"{mean:.2f} ± {error:.2f}" + ("" if figure is None else f" ({figure:g})")

    def floor_gap(name: str, n: int) -> str:
        return f"{np.mean([r.floor_gap for r in results[name] if r.case.n == n]):.3f}"

    def optimal(name: str, n: int) -> str:
        return f"{100 * np.mean([r.floor_gap == 0 for r in results[name] if r.case.n == n]):.0f}"

    def cpu(name: str, n: int) -> str:
        times = [r.cpu_ms for r in results[name] if r.case.n == n]
        return f"{np.mean(times):.1f} / {np.max(times):.0f}"

    names = sorted(results, key=lambda name: np.mean([r.floor_gap for r in results[name]]))
    return "\n".join(
        [
            "# The seeds of SMTT, measured\n",
            f"Written by bench/smtt_seeds.py; Python {platform.python_version()}, numpy {np.__version__}, one core.",
            f"Instances per cell of the grid (25 cells) by n: {REPEATS}. ± is the standard error.\n",
            table(
                "Mean gap in %, OPT > 0, all 25 cells; an independent prototype's in brackets",
                lambda name, n: gap(name, n, 10, PROTOTYPE),
                names,
            ),
            table(
                "Mean gap in %, OPT > 0, the 20 cells with TF <= .8; the 2025 paper's in brackets",
                lambda name, n: gap(name, n, 8, PAPER),
                names,
            ),
            table("Mean floor gap in %, all instances", floor_gap, names),
            table("Share of instances solved to optimality in %", optimal, names),
            table("CPU per instance in ms, mean / largest", cpu, names),
        ]
    )


def main() -> None:
    """Measure and write the report."""
    seeds = {path.stem: load(path).sequence for path in sorted((ROOT / "seeds/smtt").glob("*.py"))}
    solved = list(cases())
    print(f"{len(solved)} optima computed", file=sys.stderr)
    results = {name: [measure(sequence, case) for case in solved] for name, sequence in seeds.items()}
    text = report(results)
    Path(__file__).with_suffix(".md").write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
