"""What the jail costs: a candidate over a bare fork, the trusted side's CPU, microseconds a question.

python bench/jail.py            measures (about half a minute) and writes bench/jail.md
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evolve.jail import Jail, Level, Limits, encode_arguments, machine, probe

LIMITS = Limits(cpu_s=5.0, load_s=5.0, imports=("math", "numpy"))
PROGRAM = {"program.py": "import numpy as np\ndef f(x):\n    return x\n"}
SESSIONS, QUESTIONS = 400, 5000
BARE_FORK = """
import os, time, statistics
os.register_at_fork = lambda **_: None
import gc, numpy, numpy.random, msgspec
gc.collect(); gc.freeze()
def once():
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return time.perf_counter() - start
print(statistics.quantiles((once() for _ in range(400)), n=10)[0] * 1e3)
"""


@dataclass(frozen=True)
class Row:
    """The cost at one level. start_ms: a new zygote. session_ms: open, load, one answer, close (wall).
    trusted_ms, child_ms: CPU of a session on either side. one_us, ahead_us: a question, asked one at a time
    or written ahead (wall)."""

    level: Level
    start_ms: float
    session_ms: float
    trusted_ms: float
    child_ms: float
    one_us: float
    ahead_us: float


def bare_fork_ms() -> float:
    """Fork, exit and wait in a process that has imported what the zygote has."""
    return float(subprocess.run([sys.executable, "-c", BARE_FORK], capture_output=True, check=True).stdout)


def quick_ms(action: Callable[[], object], count: int) -> float:
    """The first decile: what an action takes when no other program gets in its way."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.quantiles(times, n=10)[0] * 1e3 if count > 1 else times[0] * 1e3


def measure(level: Level) -> Row:
    question = encode_arguments([[1, 2, 3]])
    child: list[float] = []

    def candidate() -> None:
        with jail.session(PROGRAM, "program.py", "f") as session:
            next(session.ask([question], [5.0]))
            child.append(session.close().cpu_s)

    with Jail(LIMITS, level=level) as jail:
        start_ms = quick_ms(candidate, 1)
        before = time.process_time()
        session_ms = quick_ms(candidate, SESSIONS)
        trusted_ms = (time.process_time() - before) / SESSIONS * 1e3
        with jail.session(PROGRAM, "program.py", "f") as session:
            one_us = quick_ms(lambda: next(session.ask([question], [5.0])), QUESTIONS) * 1e3
            start = time.perf_counter()
            answers = list(session.ask([question] * QUESTIONS, [5.0] * QUESTIONS))
            ahead_us = (time.perf_counter() - start) / len(answers) * 1e6
    return Row(level, start_ms, session_ms, trusted_ms, statistics.median(child) * 1e3, one_us, ahead_us)


def report(bare_ms: float, rows: list[Row]) -> str:
    head = (
        "level",
        "first candidate, ms",
        "candidate, ms",
        "over a bare fork, ms",
        "trusted CPU, ms",
        "child CPU, ms",
        "question, µs",
        "question written ahead, µs",
    )
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = (
            f"{row.start_ms:.0f}",
            f"{row.session_ms:.2f}",
            f"{row.session_ms - bare_ms:.2f}",
            f"{row.trusted_ms:.2f}",
            f"{row.child_ms:.2f}",
            f"{row.one_us:.1f}",
            f"{row.ahead_us:.1f}",
        )
        lines.append(f"| {row.level} | {' | '.join(cells)} |")
    system = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores"
    load = os.getloadavg()[0]
    priority = "" if os.sched_getscheduler(0) == os.SCHED_OTHER else ", at real-time priority"
    python = f"Python {platform.python_version()}"
    return f"""# What the jail costs

First deciles over {SESSIONS} candidates (fork, confine, load, one answer, kill, reap) and {QUESTIONS}
questions, which is what they take when nothing else gets in the way; CPU is a mean on the trusted side and
a median in the child. A bare fork, exit and wait of a process with the same modules: {bare_ms:.2f} ms.
The first candidate also starts the zygote. {system}, {python}, load {load:.1f}{priority}.
Made by `python bench/jail.py`.

{chr(10).join(lines)}
"""


def main() -> None:
    print(f"level of this machine: {machine().level}", file=sys.stderr)
    text = report(bare_fork_ms(), [measure(level) for level in Level if not probe.trial(level)])
    Path(__file__).with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
