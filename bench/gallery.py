"""The tables of what was found, from the proofs of the packages in `discovered/`.

python bench/gallery.py            print them
python bench/gallery.py --write    put them into discovered/README.md and, shorter, into README.md
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


HEAD = (
    "problem",
    "found, on the holdout",
    "best rival there",
    "lead in score, 95 % interval",
    "it is",
    "on validation",
    "program",
)
SHORT = 5  # columns in README.md


def table(folder: str = "", columns: int = len(HEAD)) -> str:
    """All rows as Markdown, with links as from where `folder` lies."""
    lines = [list(HEAD), ["---"] * len(HEAD), *map(row, proofs())]
    shown = (f"| {' | '.join(line[:columns])} |" for line in lines)
    return "\n".join(shown).replace("](", f"]({folder}")


def pages() -> dict[Path, str]:
    """The table for each file that has one."""
    return {ROOT / "README.md": table(), ROOT.parent / "README.md": table("discovered/", SHORT)}


def placed(text: str, new: str) -> str:
    """A page with its table replaced."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{new}\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    for file, found in pages().items():
        if write:
            file.write_text(placed(file.read_text(encoding="utf-8"), found), encoding="utf-8")
        else:
            print(f"{file.relative_to(ROOT.parent)}:\n\n{found}\n")


if __name__ == "__main__":
    main()
