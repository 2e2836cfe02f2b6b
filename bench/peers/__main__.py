"""The command line; see the package's docstring. Example: python -m bench.peers all --calls 500 --repeats 5"""

from __future__ import annotations

import argparse
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence

from bench.peers import hostile, report, runs
from bench.peers.plan import Plan
from bench.peers.systems import ARMS, SYSTEMS, Arm, install

FAULT_CALLS, FAULT_PATIENCE_S = 10, 240.0
WANTED = ("install", *report.KINDS, "all", "report")


def plans(kind: str, arms: Sequence[Arm], options: argparse.Namespace) -> Iterator[Plan]:
    """Runs of a kind, the arms interleaved."""
    if kind == "faults":
        tried = [arm for arm in arms if arm.name != "best-of-n"]
        for attack in options.attacks or hostile.NAMES:
            for arm in tried:
                yield Plan(kind, arm, 1, FAULT_CALLS, attack=attack, patience_s=FAULT_PATIENCE_S)
        return
    for repeat in range(1, options.repeats + 1):
        for arm in arms:
            if kind == "search":
                yield Plan(kind, arm, repeat, options.calls)
            elif kind == "latency" and (arm.name.endswith("best") or options.arms):
                yield Plan(kind, arm, repeat, options.latency_calls, latency_s=1.0)
            elif kind == "kill" and arm.name != "best-of-n":
                answers = options.kill_after
                yield Plan(kind, arm, repeat, 2 * answers, kill_after=answers, patience_s=900)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("what", choices=WANTED)
    parser.add_argument("--calls", type=int, default=500, help="model calls of a search")
    parser.add_argument("--latency-calls", type=int, default=128, help="at 1 s latency")
    parser.add_argument("--kill-after", type=int, default=155, help="answers after which a run is killed")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), metavar="ARM", help="; ".join(ARMS))
    parser.add_argument("--attacks", nargs="+", choices=hostile.NAMES, metavar="ATTACK")
    options = parser.parse_args()
    if options.what in ("install", "all"):
        for system in SYSTEMS.values():
            if not system.installed or options.what == "install":
                print(f"{system.name}: {install(system) or 'installed ' + system.version()}", flush=True)
    arms = [ARMS[name] for name in options.arms or ARMS]
    arms = [arm for arm in arms if arm.system.installed]
    for kind in report.KINDS if options.what == "all" else [options.what]:
        for plan in plans(kind, arms, options) if kind in report.KINDS else ():
            print(f"{plan.folder.name}: ", end="", flush=True)
            try:
                facts = runs.run(plan)
            except Exception:  # one run that cannot be measured must not end the others
                traceback.print_exc()
                continue
            shown = facts.get("outcome") or facts.get("kill") or f"{facts['evaluated']} programs"
            print(f"{facts['calls']} calls, {facts['wall_s']:.1f} s, {facts['ended']}: {shown}", flush=True)
    if options.what != "install":
        command = shlex.join(["python", "-m", "bench.peers", *sys.argv[1:]])
        print(report.write(command, runs.MEMORY >> 30, runs.FAULT_S))
    return 0


if __name__ == "__main__":
    sys.exit(main())
