"""Thousands of hostile candidates in a row through one evaluator: is the run as healthy afterwards as before?

python bench/soak.py                    10,000 candidates (a few minutes); writes bench/soak.md
python bench/soak.py --count 1000       fewer
python bench/soak.py --out FILE.md      elsewhere

Every attack on the jail takes its turn, wrapped as a program for smtt; every tenth candidate is an honest seed,
whose score must stay the same to the last bit. Exit code 1 if anything is amiss.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from evolve import problem
from evolve.evaluate import Evaluator
from evolve.jail import Level
from evolve.jail.attacks import ATTACKS, THEMES, Scene, program, scene
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.records import Candidate, Evaluation, Split

HONEST_EVERY = 10
LOOK_EVERY = 100  # candidates between two looks for damage
GROWTH_KB = 8192  # of a resident set from 10 % to the end, above which memory is not flat
# The import guard is walked around through numpy, as an attacker would.
_AROUND = 'import numpy\n__builtins__["__import__"] = vars(numpy)["__builtins__"]["__import__"]\n'


@dataclass(frozen=True)
class Health:
    """Of the supervisor: descriptors, child processes, and resident kilobytes of it and of the warm process."""

    done: int
    descriptors: int
    children: int
    own_kb: int
    zygote_kb: int


@dataclass
class Soak:
    """What happened to the candidates so far. honest: each seed's scores, all that were ever seen."""

    statuses: Counter[str] = field(default_factory=Counter)
    honest: dict[str, set[tuple[float, ...]]] = field(default_factory=dict)
    honest_runs: int = 0
    hostile_ok: int = 0
    looks: list[Health] = field(default_factory=list)
    zygotes: set[int] = field(default_factory=set)
    damage: str = ""


def hostile(smtt: Problem, place: Scene) -> Iterator[Candidate]:
    """Every attack in turn, for ever, as a program of the problem."""
    entry = smtt.spec.entry
    call = f"def {entry.function}({', '.join(entry.parameters)}):\n    return attack(0, {place.facts!r})\n"
    programs = []
    for theme in THEMES:
        for name in theme.attacks:
            source = textwrap.dedent(_AROUND) + program(theme, [name]) + call
            programs.append(make_candidate({smtt.spec.program: source}, operator="hostile", note=name))
    return cycle(programs)


def soak(count: int) -> tuple[Soak, list[str]]:
    """Evaluates `count` candidates, every tenth of them honest, and says what is amiss afterwards."""
    smtt = problem.load("smtt")
    seeds = cycle([smtt.seeds["edd"], smtt.seeds["mdd"]])
    state = Soak()
    with scene(smtt.spec.limits.memory_mb << 20) as place:
        with Evaluator(smtt, Level.LANDLOCK_SECCOMP) as evaluator:
            for seed in (next(seeds), next(seeds)):
                _note_honest(state, seed, evaluator.evaluate(seed, Split.TRAIN))
            attacks = hostile(smtt, place)
            for number in range(1, count + 1):
                if number % HONEST_EVERY == 0:
                    seed = next(seeds)
                    _note_honest(state, seed, evaluator.evaluate(seed, Split.TRAIN))
                else:
                    found = evaluator.evaluate(next(attacks), Split.TRAIN)
                    state.statuses[found.status] += 1
                    state.hostile_ok += found.status == "ok"
                _look(state, evaluator, place, number, count)
        state.damage = state.damage or place.damage()
        left = len(_children(os.getpid()))
    return state, _findings(state, left)


def _note_honest(state: Soak, seed: Candidate, found: Evaluation) -> None:
    state.honest_runs += 1
    state.honest.setdefault(seed.note, set()).add((*found.scores, *found.objectives, found.instances))


def _look(state: Soak, evaluator: Evaluator, place: Scene, number: int, count: int) -> None:
    if number % LOOK_EVERY == 0:
        state.damage = state.damage or place.damage()
    zygote = evaluator.jail.zygote
    assert zygote is not None
    state.zygotes.add(zygote)
    if number in {max(1, count * tenth // 10) for tenth in range(1, 11)}:
        state.looks.append(
            Health(
                number,
                len(os.listdir("/proc/self/fd")),
                len(_children(os.getpid())),
                _resident_kb(os.getpid()),
                _resident_kb(_innermost(zygote)),
            )
        )


def _findings(state: Soak, left: int) -> list[str]:
    first, last = state.looks[0], state.looks[-1]
    checks = {
        f"damage: {state.damage}": bool(state.damage),
        f"{left} processes are left": left > 0,
        f"descriptors went from {first.descriptors} to {last.descriptors}": last.descriptors
        != first.descriptors,
        f"child processes went from {first.children} to {last.children}": last.children != first.children,
        f"{len(state.zygotes)} warm processes were needed": len(state.zygotes) != 1,
        f"{state.hostile_ok} hostile candidates have a score": state.hostile_ok > 0,
        f"own memory grew by {last.own_kb - first.own_kb} kB": last.own_kb - first.own_kb > GROWTH_KB,
        f"the warm process grew by {last.zygote_kb - first.zygote_kb} kB": last.zygote_kb - first.zygote_kb
        > GROWTH_KB,
    }
    changed = [name for name, scores in state.honest.items() if len(scores) != 1]
    return [text for text, wrong in checks.items() if wrong] + [
        f"the score of {name} changed" for name in changed
    ]


# -- /proc ------------------------------------------------------------------------------------------------


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _innermost(pid: int) -> int:
    """The warm process itself, which bubblewrap keeps as a grandchild."""
    while Path(f"/proc/{pid}/comm").read_text() == "bwrap\n":
        pid = _children(pid)[0]
    return pid


def _resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


# -- the report -------------------------------------------------------------------------------------------


def report(state: Soak, findings: list[str], count: int, seconds: float) -> str:
    rows = [
        f"| {look.done} | {look.own_kb / 1024:.1f} | {look.zygote_kb / 1024:.1f} | {look.descriptors} "
        f"| {look.children} |"
        for look in state.looks
    ]
    statuses = ", ".join(f"{status} {number}" for status, number in sorted(state.statuses.items()))
    verdict = "Nothing is amiss." if not findings else "Amiss: " + "; ".join(findings) + "."
    same = sum(len(scores) == 1 for scores in state.honest.values())
    system = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores"
    return f"""# Hostile candidates in a row

{count} candidates through one evaluator in {seconds:.0f} s: {len(ATTACKS)} attacks in turn, and every
{HONEST_EVERY}th an honest seed. {system}, Python {platform.python_version()}.
Made by `python bench/soak.py --count {count}`.

**{verdict}**

- Honest programs: {state.honest_runs} evaluations of {len(state.honest)} seeds; {same} of {len(state.honest)} scored
  the same every time, instance by instance and bit by bit.
- Hostile programs: {statuses}; none of them may be ok.
- Warm processes needed: {len(state.zygotes)}. Damage seen outside: {state.damage or "none"}.

| candidates done | supervisor, MB | warm process, MB | descriptors | child processes |
| ---: | ---: | ---: | ---: | ---: |
{chr(10).join(rows)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="candidates, honest ones included")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    start = time.monotonic()
    state, findings = soak(options.count)
    text = report(state, findings, options.count, time.monotonic() - start)
    options.out.write_text(text)
    print(text)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
