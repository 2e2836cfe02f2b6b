"""Sessions of the jail with real processes: questions and answers, and nothing left behind."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evolve.errors import JailError
from evolve.jail import Jail, Level, Limits, encode_arguments
from evolve.records import Status
from tests.jail_tools import LIMITS, TOOLS, ask, gone, healthy, levels_here, open_session, parent, strong


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with Jail(LIMITS, minimum=Level.RLIMITS) as jail:
        yield jail


@pytest.fixture(scope="module")
def armed() -> Iterator[Jail]:
    """A jail whose import guard lets the tools of an attacker through."""
    limits = Limits(cpu_s=0.3, memory_mb=96, load_s=0.3, answer_bytes=100_000, imports=TOOLS)
    with Jail(limits, minimum=Level.RLIMITS) as jail:
        yield jail


# -- questions --------------------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_the_questions(jail: Jail) -> None:
    questions = [encode_arguments([i]) for i in range(500)]
    with open_session(jail, "def f(x):\n    return x * x") as session:
        assert [a.value for a in session.ask(questions, [0.3] * 500)] == [i * i for i in range(500)]


def test_questions_and_answers_larger_than_the_pipe_do_not_block_each_other(jail: Jail) -> None:
    question = encode_arguments([np.ones(400_000)])
    with open_session(jail, "def f(x):\n    return x") as session:
        answers = list(session.ask([question] * 8, [1.0] * 8))
    assert [np.asarray(answer.value).sum() for answer in answers] == [400_000.0] * 8


@pytest.mark.parametrize("size", [100_000, 300_000], ids=["answers without room", "questions without room"])
def test_nobody_sleeps_while_a_program_waits_to_be_read_or_written_to(
    jail: Jail, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    naps: list[float] = []
    program = "def f(x): return x if len(x) < 200_000 else sum(x)"
    with open_session(jail, program) as session:
        question = encode_arguments([[7] * size])
        assert next(session.ask([question], [5.0])).failure is None  # it is loaded, and its pace is known
        monkeypatch.setattr("evolve.jail.session.time.sleep", naps.append)
        assert sum(answer.failure is None for answer in session.ask([question] * 20, [5.0] * 20)) == 20
    assert naps == []


def test_a_session_can_be_asked_again_and_keeps_its_state(jail: Jail) -> None:
    source = "seen = []\ndef f(x):\n    seen.append(x)\n    return list(seen)"
    with open_session(jail, source) as session:
        replies = [next(session.ask([encode_arguments([i])], [0.3])).value for i in range(3)]
    assert replies == [[0], [0, 1], [0, 1, 2]]


def test_two_sessions_share_nothing(jail: Jail) -> None:
    ask(jail, "import math\ndef f():\n    math.pi = 3\n    return 1")
    assert ask(jail, "import math\ndef f():\n    return math.pi").value == math.pi


def test_iteration_ends_with_the_first_failure_which_every_later_question_repeats(jail: Jail) -> None:
    questions = [encode_arguments([i]) for i in (1, 0, 1)]
    with open_session(jail, "def f(x):\n    return 1 // x") as session:
        answers = list(session.ask(questions, [0.3] * 3))
        again = list(session.ask(questions, [0.3] * 3))
    assert [answer.failure is None for answer in answers] == [True, False]
    assert [answer.failure for answer in again] == [answers[1].failure]


def test_an_iteration_that_is_left_early_ends_the_session(jail: Jail) -> None:
    with open_session(jail, "def f(x):\n    return x") as session:
        for _ in session.ask([encode_arguments([1])] * 3, [0.3] * 3):
            break
        with pytest.raises(JailError, match="closed"):
            next(session.ask([encode_arguments([1])], [0.3]))
    assert healthy(jail)


def test_a_second_open_session_is_refused(jail: Jail) -> None:
    with open_session(jail, "def f(x):\n    return x"), pytest.raises(JailError, match="session open"):
        open_session(jail, "def f(x):\n    return x")


BURN = """
import time
def f(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
    return 1
"""


def test_the_cpu_time_of_an_answer_is_the_kernels(armed: Jail) -> None:
    with open_session(armed, BURN) as session:
        next(session.ask([encode_arguments([0.0])], [0.3]))
        answer = next(session.ask([encode_arguments([0.1])], [0.3]))
        usage = session.close()
    assert answer.cpu_s >= 0.1
    assert usage.cpu_s >= answer.cpu_s
    assert usage.peak_mb > 1


def test_each_answer_has_its_own_limit(armed: Jail) -> None:
    with open_session(armed, BURN) as session:
        answers = list(session.ask([encode_arguments([s]) for s in (0.0, 0.2)], [0.5, 0.05]))
    assert answers[0].value == 1
    assert answers[1].failure is not None
    assert answers[1].failure.status is Status.TIMED_OUT


def test_files_of_a_program_can_import_each_other(jail: Jail) -> None:
    files = {
        "program.py": "import helper\ndef f(x):\n    return helper.double(x)",
        "helper.py": "def double(x): return 2 * x",
    }
    with jail.session(files, "program.py", "f") as session:
        assert next(session.ask([encode_arguments([4])], [0.3])).value == 8


def test_randomness_without_a_seed_repeats_for_every_question_and_in_every_jail(jail: Jail) -> None:
    source = (
        "import random\nimport numpy as np\ndef f():\n"
        "    return [random.random(), float(np.random.rand()), float(np.random.default_rng().random())]"
    )
    with open_session(jail, source) as session:
        first, second = list(session.ask([encode_arguments([])] * 2, [0.3] * 2))
    with Jail(LIMITS, minimum=Level.RLIMITS) as other:
        assert first.value == second.value == ask(other, source).value


def test_sets_of_strings_iterate_alike_in_every_jail(jail: Jail) -> None:
    source = "def f():\n    return list({str(i) for i in range(100)})"
    with Jail(LIMITS, minimum=Level.RLIMITS) as other:
        assert ask(jail, source).value == ask(other, source).value


def test_two_jails_in_two_threads_serve_at_once() -> None:
    def work(number: int) -> None:
        with Jail(LIMITS, minimum=Level.RLIMITS) as jail:
            for i in range(20):
                results.append(ask(jail, "def f(x):\n    return x", [number, i]).value == [number, i])

    results: list[bool] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40


# -- health -----------------------------------------------------------------------------------------------


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_hundreds_of_sessions_leave_no_descriptor_and_no_process(jail: Jail) -> None:
    programs = [
        "def f(x): return x",
        "def f(x): return 1 / 0",
        "def f(x)",
        "import os",
        "def f(x): return {1}",
    ]
    healthy(jail)
    pids, before = [], open_descriptors()
    for number in range(200):
        with open_session(jail, programs[number % len(programs)]) as session:
            next(session.ask([encode_arguments([1])], [0.3]))
            pids.append(session._process.pid)
    assert open_descriptors() == before
    assert all(gone(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_closed_jail_leaves_no_process() -> None:
    jail = Jail(LIMITS, minimum=Level.RLIMITS)
    session = open_session(jail, "while True: pass")
    child = session._process.pid
    zygote = parent(child)
    jail.close()
    assert gone(child)
    assert gone(zygote)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_zygote_killed_between_sessions_is_replaced_silently() -> None:
    with Jail(LIMITS, minimum=Level.RLIMITS) as jail:
        with open_session(jail, "def f(x): return x") as session:
            zygote = parent(session._process.pid)
        spare = jail.waiting
        os.kill(zygote, signal.SIGKILL)
        assert gone(zygote)
        assert spare is None or gone(spare)
        assert healthy(jail)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_zygote_killed_under_a_candidate_is_no_fault_of_the_candidate() -> None:
    with Jail(LIMITS, minimum=Level.RLIMITS) as jail:
        session = open_session(jail, "def f(x): return x")
        assert next(session.ask([encode_arguments([1])], [0.3])).value == 1
        child = session._process.pid
        os.kill(parent(child), signal.SIGKILL)
        assert gone(child)
        with pytest.raises(JailError, match="zygote died"):
            next(session.ask([encode_arguments([1])], [0.3]))
        assert healthy(jail)


def offspring(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def forked_ahead(running: int) -> int:
    """The process that waits for the next program, once it is there: nothing waits for it, so it may come late."""
    for _ in range(1000):
        if others := set(offspring(parent(running))) - {running}:
            (spare,) = others
            return spare
        time.sleep(0.01)
    raise AssertionError("no process was forked ahead within ten seconds")


@strong
def test_the_next_candidates_process_is_forked_ahead_and_does_not_outlive_the_jail() -> None:
    with Jail(LIMITS) as jail:
        with open_session(jail, "def f(x): return x") as session:
            assert next(session.ask([encode_arguments([1])], [0.3])).value == 1
            running = session._process.pid
            spare = forked_ahead(running)
        with open_session(jail, "def f(x): return x") as session:
            assert session._process.pid == spare
    assert gone(spare)


@strong
def test_a_process_that_is_killed_while_it_waits_for_its_program_is_replaced_silently() -> None:
    with Jail(LIMITS) as jail:
        session = open_session(jail, "def f(x): return x")
        assert next(session.ask([encode_arguments([1])], [0.3])).value == 1
        running = session._process.pid
        spare = forked_ahead(running)
        os.kill(spare, signal.SIGKILL)
        assert gone(spare)
        session.close()
        assert healthy(jail)
        assert healthy(jail)


def test_no_process_waits_where_a_candidate_could_reach_it() -> None:
    with Jail(LIMITS, level=Level.RLIMITS) as jail, open_session(jail, "def f(x): return x") as session:
        assert next(session.ask([encode_arguments([1])], [0.3])).value == 1
        assert offspring(parent(session._process.pid)) == [session._process.pid]


SUPERVISOR = """
import sys, threading, time
from evolve.jail import Jail, Level, Limits, encode_arguments
jail = Jail(Limits(cpu_s=1000.0, imports=()), level=Level(sys.argv[1]))
session = jail.session({"p.py": "def f():\\n    while True: pass"}, "p.py", "f")
threading.Thread(target=lambda: list(session.ask([encode_arguments([])], [1000.0])), daemon=True).start()
print(session._process.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("level", levels_here())
def test_nothing_outlives_a_supervisor_that_is_killed(level: Level) -> None:
    command = [sys.executable, "-c", SUPERVISOR, level]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        zygote = parent(child)
        supervisor.kill()
    assert gone(child)
    assert gone(zygote)


def test_a_module_that_is_not_installed_is_told() -> None:
    jail = Jail(Limits(imports=("numpy", "no_such_module")), minimum=Level.RLIMITS)
    with pytest.raises(JailError, match="'no_such_module', which is not installed"):
        open_session(jail, "def f(): return 1")


def test_the_zygote_has_nothing_of_the_project_in_memory(armed: Jail) -> None:
    source = "import sys\ndef f(): return [name for name in sys.modules if name.startswith('evolve')]"
    own = {f"evolve.jail.{name}" for name in ("wire", "turn", "child", "kernel", "pages")}
    assert set(ask(armed, source).value) == own


def test_the_child_has_a_scrubbed_environment(armed: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    with Jail(armed.limits, minimum=Level.RLIMITS) as jail:
        names = ask(jail, "import os\ndef f(): return sorted(os.environ)").value
    assert isinstance(names, list)
    assert "SOME_API_KEY" not in names
    assert len(names) < 15
