"""What a question costs when a policy is asked one at a time: microseconds, beside a bare pipe and other ways.

python bench/interactive.py [--count 20000] [--runs 5]    measures (about half a minute), writes bench/interactive.md
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evolve.jail import Dialogue, Jail, Level, Limits, encode_arguments, machine, probe
from evolve.jail.core import SharedCore

LIMITS = Limits(cpu_s=600.0, load_s=5.0)
POLICY = {"program.py": "def f(*x):\n    return 3\n"}
CPU_S, BYTES = 600.0, 1_000_000
ECHO = """
import os
while True:
    os.write(1, os.read(0, 64))
"""
JSON_ECHO = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"answer": json.loads(line)["arguments"][0]}), flush=True)
"""
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "two integers": (17, 3),
    "an integer and a list of 16 integers": (17, list(range(16))),
    "an integer and an array of 16": (17, np.arange(16)),
    "two integers and five arrays of 16 (online_paging)": (17, 3, *[np.arange(16)] * 5),
    "an array of 10,000": (np.arange(10_000),),
}
Ask = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """Microseconds a question: first decile, median, and mean of the best run."""

    name: str
    quick: float
    median: float
    mean: float

    def line(self, bare: float) -> str:
        cells = (f"{self.quick:.1f}", f"{self.median:.1f}", f"{self.mean:.1f}", f"{self.median / bare:.1f}")
        return f"| {self.name} | {' | '.join(cells)} |"


def measure(name: str, ways: Callable[[], Any], count: int, runs: int) -> Row:
    """The best of several runs: what a question takes when no other program gets in its way."""
    return min((_run(name, ways, count) for _ in range(runs)), key=lambda row: row.median)


def _run(name: str, way: Callable[[], Any], count: int) -> Row:
    times = []
    with way() as ask:
        for _ in range(200):
            ask()
        for _ in range(count):
            start = time.perf_counter()
            ask()
            times.append(time.perf_counter() - start)
    deciles = statistics.quantiles(times, n=10)
    return Row(name, deciles[0] * 1e6, deciles[4] * 1e6, statistics.mean(times) * 1e6)


@contextmanager
def bare_pipe(shared: bool) -> Iterator[Ask]:
    """16 bytes there and back with os.write and os.read, between two processes of Python."""
    with (
        subprocess.Popen(
            [sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
        SharedCore(process.pid if shared else None),
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin.fileno(), process.stdout.fileno()

        def ask() -> bytes:
            os.write(to, b"0123456789abcdef")
            return os.read(back, 64)

        yield ask
        process.kill()


@contextmanager
def json_lines() -> Iterator[Ask]:
    """A line of JSON there and back through the pipes of a process, as many tools do it."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", JSON_ECHO], **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin, process.stdout

        def ask() -> object:
            to.write(json.dumps({"arguments": [17, 3]}) + "\n")
            to.flush()
            return json.loads(back.readline())["answer"]

        yield ask
        process.kill()


@contextmanager
def dialogue(level: Level, arguments: tuple[Any, ...]) -> Iterator[Ask]:
    with (
        Jail(LIMITS, level=level) as jail,
        jail.session(POLICY, "program.py", "f") as session,
        Dialogue(session, CPU_S, BYTES) as talk,
    ):
        yield lambda: talk.ask(*arguments)


@contextmanager
def batch(level: Level, arguments: tuple[Any, ...]) -> Iterator[Ask]:
    """`Session.ask`, made for questions that are written ahead, with one question at a time."""
    with Jail(LIMITS, level=level) as jail, jail.session(POLICY, "program.py", "f") as session:
        yield lambda: next(session.ask([encode_arguments(arguments)], [CPU_S]))


def rows(count: int, runs: int) -> tuple[list[Row], list[Row]]:
    """The ways to ask two integers, the bare pipe on one core first; and what larger questions cost."""
    level = machine().level
    assert level is not None
    plain = ARGUMENTS["two integers"]
    ways: dict[str, Callable[[], Any]] = {
        "bare pipe, no jail, both on one core": lambda: bare_pipe(True),
        "bare pipe, no jail, wherever the kernel puts them": lambda: bare_pipe(False),
    }
    for each in (each for each in Level if not probe.trial(each)):
        ways[f"**Dialogue.ask**, jail {each}"] = lambda each=each: dialogue(each, plain)
    ways[f"Session.ask one at a time, jail {level}"] = lambda: batch(level, plain)
    ways["JSON lines, no jail"] = json_lines
    found = [measure(name, way, count, runs) for name, way in ways.items()]
    larger = [
        measure(name, lambda given=given: dialogue(level, given), count // 4, runs)
        for name, given in ARGUMENTS.items()
    ]
    return found, larger


def report(found: list[Row], larger: list[Row], count: int, runs: int) -> str:
    bare = found[0].median
    head = "| first decile | median | mean | median over the bare pipe |\n| --- | ---: | ---: | ---: | ---: |"
    cores = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"""# Microseconds a question

A question and its answer, there and back, the policy doing nothing. {count} questions a run, the best of {runs}
runs. {platform.system()} {platform.release()}, {platform.machine()}, {cores}, Python {platform.python_version()}.
Made by `python bench/interactive.py`.

Two integers asked, one answered; the bare pipe carries 16 bytes and means nothing by them:

| way {head}
{chr(10).join(row.line(bare) for row in found)}

What is asked, in the jail at level {machine().level}:

| arguments {head}
{chr(10).join(row.line(bare) for row in larger)}

Most of what a question costs without care is waking a process that sleeps on another core. The two sides of a
dialogue never work at the same time, so they share a core, chosen anew for each instance.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=20_000, help="questions a run")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    text = report(*rows(given.count, given.runs), given.count, given.runs)
    Path(__file__).with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
