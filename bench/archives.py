"""Archives and the control at the same number of evaluations. Writes bench/archives.md and bench/archives-*.png.

    python bench/archives.py [--evaluations 2000] [--repeats 5] [--problems smtt_dispatch smtt] [--jobs 2]

Every archive with its default settings, and two classic searches that are settings of one: hill climbing with
restarts (a population of one) and plain tournament genetic programming (one population, the worst replaced). The
comparison itself is `evolve compare`; what is stopped goes on when the command is repeated.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from rich.console import Console

from evolve import compare, compare_report, settings

HERE = Path(__file__).parent
ARMS = (
    "best-of-n",
    "hill-climbing",
    "tournament",
    "top-k",
    "islands",
    "map-elites",
    "islands-map-elites",
)


def section(name: str, options: argparse.Namespace) -> str:
    plan = compare.make_plan(name, ARMS, options.repeats, options.evaluations, overrides=options.overrides)
    folder = compare.default_folder(plan)
    with compare_report.display(plan, folder, Console(stderr=True)) as progress:
        compare.execute(plan, folder, options.jobs, progress)
    found = compare_report.facts(plan, folder, list(compare.outcomes(plan, folder)))
    compare_report.write(found, folder)
    picture = f"archives-{name}.png"
    shutil.copyfile(folder / compare_report.PNG_FILE, HERE / picture)
    heading = compare_report.title(found)
    return f"## {heading}\n\n{compare_report.markdown(found)}\n\n![{heading}]({picture})\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--evaluations", type=int, default=2000, help="candidates a run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--problems", nargs="+", default=["smtt_dispatch", "smtt"])
    parser.add_argument("--jobs", type=int, default=settings.available_cores())
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    options = parser.parse_args()
    sections = [section(name, options) for name in options.problems]
    command = " ".join(["python bench/archives.py", *sys.argv[1:]])
    text = f"# Archives against the control\n\nMade by `{command}`. {compare_report.EXPLANATION}\n\n"
    (HERE / "archives.md").write_text(text + "\n".join(sections))
    print(text + "\n".join(sections))


if __name__ == "__main__":
    main()
