"""A program that gets no core is not late: what a crowded machine takes does not count against limits of wall time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolve.jail import Jail, Level, Limits, dialogue, session
from evolve.jail.dialogue import Dialogue
from evolve.jail.launch import starved_s
from evolve.records import Status
from tests.jail_tools import TOOLS, ask, fail, open_session

pytestmark = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not tell")
CPU_S = 0.5
WORKS = """import time
def f(x):
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    return x
"""
SLEEPS = "import time\ndef f(x):\n    time.sleep(60)"


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Jail]:
    """A jail with a limit of wall time as short as that of CPU time, on a core that is shared with busy processes."""
    for module in (session, dialogue):
        monkeypatch.setattr(module, "wall_limit", lambda cpu_s: cpu_s)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    limits = Limits(cpu_s=CPU_S, load_s=30.0, memory_mb=96, imports=TOOLS)
    busy = []
    try:
        with Jail(limits, minimum=Level.RLIMITS) as jail:
            ask(jail, "def f(x): return x", 7)  # it has started
            busy += [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
            yield jail
    finally:
        os.sched_setaffinity(0, cores)
        for process in busy:
            process.kill()
            process.wait()


def test_an_answer_is_not_late_for_want_of_a_core(crowded: Jail) -> None:
    before = starved_s()
    assert ask(crowded, WORKS, 7, cpu_s=CPU_S).value == 7
    assert starved_s() > before
    status, feedback = fail(crowded, SLEEPS, 7, cpu_s=CPU_S)
    assert (status, "waits or sleeps" in feedback) == (Status.TIMED_OUT, True), feedback


def test_nor_are_the_answers_of_a_dialogue(crowded: Jail) -> None:
    with open_session(crowded, WORKS) as opened, Dialogue(opened, CPU_S, 1000) as talk:
        assert talk.ask(7) == 7
        talk.finish()
    with open_session(crowded, SLEEPS) as opened, Dialogue(opened, CPU_S, 1000) as talk:
        with pytest.raises(dialogue.Hangup):
            talk.ask(7)
        assert talk.failure is not None
        assert talk.failure.status is Status.TIMED_OUT
        talk.finish()
