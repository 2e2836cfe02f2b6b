"""What the jail costs: a candidate over a bare fork, throughput, microseconds a question, and how late it ends.

python bench/jail.py                measures (about two minutes) and writes bench/jail.md
python bench/jail.py --seconds 2    throughput in rounds of 2 s instead of 3 s
python bench/jail.py --out FILE.md  elsewhere

Bare forking, and the jail, take turns within one run, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from evolve.jail import Jail, Level, Limits, encode_arguments, machine, probe
from evolve.settings import available_cores

LIMITS = Limits(cpu_s=5.0, load_s=5.0, imports=("math", "numpy", "time"))
PROGRAM = {"program.py": "import numpy as np\ndef f(x):\n    return x\n"}
QUESTION = encode_arguments([[1, 2, 3]])
ROUNDS, CANDIDATES, QUESTIONS = 10, 40, 5000
EVALUATION_S = 0.005
WORK = """import time
def f(x):
    end = time.process_time() + 0.005
    while time.process_time() < end:
        pass
    return x
"""
BUDGET_S = 0.2
ENDLESS = {
    "`while True: pass`": "def f(x):\n    while True: pass",
    "`sum(range(10**15))`": "def f(x): return sum(range(10**15))",
    "`3 ** 10**10`": "def f(x): return 3 ** 10**10",
    "`numpy.linalg.svd` of 3000 x 3000": "import numpy as np\n"
    "def f(x): return np.linalg.svd(np.random.default_rng(0).random((3000, 3000)))",
}
# A process with what the zygote imports. A line "empty N" or "work N" on stdin makes it fork N times: children
# that only exit, or that load the program, call it and write the answer to a pipe. "time S" does work for S s.
BARE = """
import os, sys, time
os.register_at_fork = lambda **_: None
import gc, json, msgspec, numpy, numpy.fft, numpy.linalg, numpy.polynomial, numpy.random, traceback
SOURCE = sys.argv[1]
gc.collect(); gc.freeze()
def empty():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
def work():
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        space = {}
        exec(compile(SOURCE, "program.py", "exec"), space)
        os.write(theirs, msgspec.msgpack.encode(space["f"]([1, 2, 3])))
        os._exit(0)
    os.close(theirs)
    answer = msgspec.msgpack.decode(os.read(ours, 65536))
    os.close(ours)
    os.waitpid(pid, 0)
for line in sys.stdin:
    order, amount = line.split()
    times, end, before = [], time.perf_counter() + float(amount), sum(os.times()[:4])
    action = empty if order == "empty" else work
    while time.perf_counter() < end if order == "time" else len(times) < int(amount):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    print(json.dumps([times, sum(os.times()[:4]) - before]), flush=True)
"""


@dataclass(frozen=True)
class Row:
    """The cost at one level.

    start_ms: a new zygote. session_ms: open, load, one answer, close (wall). empty_ms and bare_ms: a bare fork
    that does nothing, or the same without a jail. bare_cpu_ms: CPU of the latter. trusted_ms, zygote_ms,
    child_ms: CPU of a session. one_us, ahead_us: a question, asked one at a time or written ahead (wall).
    """

    level: Level
    start_ms: float
    session_ms: float
    empty_ms: float
    bare_ms: float
    bare_cpu_ms: float
    trusted_ms: float
    zygote_ms: float
    child_ms: float
    one_us: float
    ahead_us: float


class Bare:
    """A process that forks on order."""

    def __init__(self, source: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BARE, source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )

    def times(self, order: str, amount: float) -> tuple[list[float], float]:
        """Wall seconds of each fork, and the CPU seconds of all, on both sides."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{order} {amount}\n")
        self.process.stdin.flush()
        times, cpu_s = json.loads(self.process.stdout.readline())
        return times, cpu_s

    def close(self) -> None:
        self.process.communicate()


@contextmanager
def bare(source: str) -> Iterator[Bare]:
    made = Bare(source)
    try:
        yield made
    finally:
        made.close()


def decile_ms(times: Sequence[float]) -> float:
    """The first decile: what an action takes when no other program gets in its way."""
    return statistics.quantiles(times, n=10)[0] * 1e3


def timed(action: Callable[[], object], count: int) -> list[float]:
    times = []
    for _ in range(count):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return times


def measure(level: Level) -> Row:
    child: list[float] = []

    def candidate() -> None:
        with jail.session(PROGRAM, "program.py", "f") as session:
            next(session.ask([QUESTION], [5.0]))
            child.append(session.close().cpu_s)

    with Jail(LIMITS, level=level) as jail, bare(PROGRAM["program.py"]) as forks:
        start_ms = timed(candidate, 1)[0] * 1e3
        child.clear()
        sessions: list[float] = []
        empty: list[float] = []
        work: list[float] = []
        trusted = zygote = bare_cpu = 0.0
        for _ in range(ROUNDS):
            before = time.process_time(), zygote_cpu(jail)
            sessions += timed(candidate, CANDIDATES)
            trusted += time.process_time() - before[0]
            zygote += zygote_cpu(jail) - before[1]
            empty += forks.times("empty", CANDIDATES)[0]
            times, cpu_s = forks.times("work", CANDIDATES)
            work += times
            bare_cpu += cpu_s
        one_us, ahead_us = questions(jail)
    count = len(sessions)
    return Row(
        level,
        start_ms,
        decile_ms(sessions),
        decile_ms(empty),
        decile_ms(work),
        bare_cpu / count * 1e3,
        trusted / count * 1e3,
        zygote / count * 1e3,
        statistics.mean(child) * 1e3,
        one_us,
        ahead_us,
    )


def zygote_cpu(jail: Jail) -> float:
    """CPU seconds so far of the warm process, which bubblewrap keeps as a grandchild."""
    pid = jail.zygote
    assert pid is not None
    while Path(f"/proc/{pid}/comm").read_text() == "bwrap\n":
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return time.clock_gettime(
        (~pid << 3) | 2
    )  # the clock of another process, as clock_getcpuclockid(3) makes it


def questions(jail: Jail) -> tuple[float, float]:
    """Microseconds a question, one at a time and written ahead."""
    with jail.session(PROGRAM, "program.py", "f") as session:
        one = decile_ms(timed(lambda: next(session.ask([QUESTION], [5.0])), QUESTIONS)) * 1e3
        start = time.perf_counter()
        answers = list(session.ask([QUESTION] * QUESTIONS, [5.0] * QUESTIONS))
        return one, (time.perf_counter() - start) / len(answers) * 1e6


# -- throughput -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Throughput:
    """Candidates a second that take 5 ms of CPU: medians over the rounds, and the median of the rounds' ratios."""

    workers: int
    bare: float
    jail: float
    share: float


def candidates_for(jail: Jail, seconds: float) -> int:
    """How many candidates one worker runs in this time."""
    end, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        with jail.session({"program.py": WORK}, "program.py", "f") as session:
            next(session.ask([QUESTION], [5.0]))
        count += 1
    return count


def throughput(level: Level, workers: int, seconds: float) -> Throughput:
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        settled = workers >= available_cores()  # as the workers of a run do it
        jails = [stack.enter_context(Jail(LIMITS, level=level, settled=settled)) for _ in range(workers)]
        forks = [stack.enter_context(bare(WORK)) for _ in range(workers)]
        rounds = []
        for seconds_each in (0.2, *[seconds] * 3):  # the first round warms up
            without = sum(pool.map(lambda fork, s=seconds_each: len(fork.times("time", s)[0]), forks))
            within = sum(pool.map(lambda jail, s=seconds_each: candidates_for(jail, s), jails))
            rounds.append((without / seconds_each, within / seconds_each))
    rounds = rounds[1:]
    return Throughput(
        workers,
        statistics.median(without for without, _ in rounds),
        statistics.median(within for _, within in rounds),
        statistics.median(within / without for without, within in rounds),
    )


# -- endless programs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Overrun:
    """What an endless program had beyond its budget, at worst of ten: CPU and wall milliseconds."""

    name: str
    cpu_ms: float
    wall_ms: float


def overrun(level: Level, name: str, source: str) -> Overrun:
    cpu, wall = [], []
    question = encode_arguments([1])
    with Jail(Limits(cpu_s=BUDGET_S, load_s=5.0, memory_mb=2048), level=level) as jail:
        for _ in range(10):
            with jail.session({"program.py": "def f(x): return x"}, "program.py", "f") as session:
                next(session.ask([question], [5.0]))  # a warm zygote
            with jail.session({"program.py": source}, "program.py", "f") as session:
                start = time.perf_counter()
                answer = next(session.ask([question], [BUDGET_S]))
                wall.append(time.perf_counter() - start - BUDGET_S)
            assert answer.failure is not None
            assert answer.failure.status == "timed-out", answer
            cpu.append(answer.cpu_s - BUDGET_S)
    return Overrun(name, max(cpu) * 1e3, max(wall) * 1e3)


# -- the report -------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def cost_table(rows: Sequence[Row]) -> str:
    head = (
        *("level", "first candidate, ms", "candidate, ms", "bare fork, ms", "added, ms"),
        *("same work without a jail, ms", "added, ms", "question, µs", "question written ahead, µs"),
    )
    cells = [
        (
            str(row.level),
            f"{row.start_ms:.0f}",
            f"{row.session_ms:.2f}",
            f"{row.empty_ms:.2f}",
            f"{row.session_ms - row.empty_ms:.2f}",
            f"{row.bare_ms:.2f}",
            f"{row.session_ms - row.bare_ms:.2f}",
            f"{row.one_us:.1f}",
            f"{row.ahead_us:.1f}",
        )
        for row in rows
    ]
    return table(head, cells)


def cpu_table(rows: Sequence[Row]) -> str:
    """With the share of bare forking that is left where every core is busy, which follows from the CPU alone."""
    head = (
        *("level", "trusted side, ms", "warm process, ms", "child, ms", "in all, ms"),
        *("same work without a jail, ms", "bare / jail with 5 ms of evaluation"),
    )
    cells = []
    for row in rows:
        whole = row.trusted_ms + row.zygote_ms + row.child_ms
        share = (row.bare_cpu_ms + EVALUATION_S * 1e3) / (whole + EVALUATION_S * 1e3)
        numbers = (row.trusted_ms, row.zygote_ms, row.child_ms, whole, row.bare_cpu_ms)
        cells.append((str(row.level), *(f"{number:.2f}" for number in numbers), f"{share:.0%}"))
    return table(head, cells)


def throughput_table(rows: Sequence[Throughput]) -> str:
    head = ("workers", "bare forking, candidates/s", "jail, candidates/s", "jail / bare")
    return table(head, [(str(r.workers), f"{r.bare:.0f}", f"{r.jail:.0f}", f"{r.share:.0%}") for r in rows])


def overrun_table(rows: Sequence[Overrun]) -> str:
    head = ("endless program", "CPU beyond its budget, ms", "wall beyond its budget, ms")
    return table(head, [(row.name, f"{row.cpu_ms:.1f}", f"{row.wall_ms:.1f}") for row in rows])


def report(
    rows: Sequence[Row], shares: Sequence[Throughput], overruns: Sequence[Overrun], level: Level
) -> str:
    system = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores"
    priority = "" if os.sched_getscheduler(0) == os.SCHED_OTHER else ", at real-time priority"
    return f"""# What the jail costs

{system}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}{priority}.
Made by `python bench/jail.py`.

## A candidate

First deciles over {ROUNDS * CANDIDATES} candidates (fork, confine, load, one answer, kill, reap) and {QUESTIONS}
questions, which is what they take when nothing else gets in the way. A bare fork is fork, exit and wait in a
process with the same modules; the same work without a jail also loads the program, calls it and reads its
answer from a pipe. They take turns with the jail. The first candidate also starts the zygote.

{cost_table(rows)}

CPU of a candidate, means:

{cpu_table(rows)}

## Throughput

Candidates that compute for {EVALUATION_S * 1e3:.0f} ms of CPU, at level {level}, against bare forks that do the same
work, in turns; medians of three rounds.

{throughput_table(shares)}

## Endless programs

A budget of {BUDGET_S * 1e3:.0f} ms of CPU, at level {level}; the worst of ten.

{overrun_table(overruns)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round of the throughput")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    level = machine().level
    if level is None:
        raise SystemExit("no jail can be built on this machine: evolve doctor says why")
    rows = [measure(each) for each in Level if not probe.trial(each)]
    shares = [throughput(level, workers, options.seconds) for workers in (1, 2)]
    text = report(rows, shares, [overrun(level, *program) for program in ENDLESS.items()], level)
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
