"""Compute optima.csv: name, checksum and optimum of every instance. Run: python problems/smtt/optima.py

Takes minutes, nearly all of them for n = 500. Optima of instances whose checksum has not changed are kept
unless --all is given.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[1] / "evaluators")]

import instances  # noqa: E402
import total_tardiness_exact  # noqa: E402

Row = tuple[str, str, int]


def row(item: instances.Draw) -> Row:
    """Name, checksum and optimum of one instance."""
    return item.name, item.checksum, total_tardiness_exact.optimum(item.p, item.d)


def rows(known: set[Row]) -> list[Row]:
    """Rows of all splits, in their order; those in `known` with the same name and checksum are taken over."""
    kept = {(name, checksum): optimum for name, checksum, optimum in known}
    result = []
    for split in instances.SPLITS:
        for item in instances.draws(split):
            optimum = kept.get((item.name, item.checksum))
            result.append(row(item) if optimum is None else (item.name, item.checksum, optimum))
            print(f"\r{len(result)} {item.name:60}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return result


def main() -> None:
    """Write optima.csv beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="recompute also what has not changed")
    again = parser.parse_args().all or not instances.OPTIMA.exists()
    known = set() if again else {(name, *rest) for name, rest in instances.optima().items()}
    table = rows(known)
    with instances.OPTIMA.open("w", encoding="ascii", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(table)


if __name__ == "__main__":
    main()
