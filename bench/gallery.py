"""The table of `discovered/README.md`, from the proofs of the packages there.

python bench/gallery.py            print it
python bench/gallery.py --write    put it into discovered/README.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent / "discovered"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"


def proofs() -> list[dict[str, Any]]:
    """PROOF.json of each package, by the package's name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("*/PROOF.json"))]


def module(proof: dict[str, Any]) -> Path:
    """The published program, relative to the repository."""
    name = proof["module"]
    return Path("discovered") / proof["problem"]["name"] / "src" / name / "heuristic.py"


def row(proof: dict[str, Any]) -> list[str]:
    """A package's figures, on the holdout unless said otherwise."""
    holdout, unit = proof["holdout"], proof["problem"]["objective"]["unit"]
    best = max((each for each in proof["rivals"] if each["status"] == "ok"), key=lambda each: each["score"])
    lead = best["difference"]
    low, high = lead["score_interval"]
    return [
        f"[{proof['problem']['name']}]({proof['problem']['name']}/README.md)",
        f"{holdout['objective']:.5g} {unit}",
        f"{best['name']} {best['objective']:.5g} {unit}",
        f"{lead['score']:+.5f} [{low:+.5f}, {high:+.5f}]",
        "better" if low > 0 else "worse" if high < 0 else "not shown to be better",
        f"{proof['validation']['objective']:.6g} {unit}",
        f"`{module(proof)}`",
    ]


def table() -> str:
    """All rows as Markdown."""
    head = [
        "problem",
        "found, on the holdout",
        "best rival there",
        "lead in score, 95 % interval",
        "it is",
        "on validation",
        "program",
    ]
    lines = [head, ["---"] * len(head), *map(row, proofs())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    if not parser.parse_args().write:
        print(table())
        return
    file = ROOT / "README.md"
    head, _, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    file.write_text(f"{head}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
