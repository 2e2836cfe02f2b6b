"""Every way in which a program can fail: its status, its feedback, and the jail's health afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from evolve.jail import Jail, Level, Limits, encode_arguments, wire
from evolve.records import Status
from tests.jail_tools import LIMITS, TOOLS, ask, fail, healthy, open_session, strong


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with Jail(LIMITS, minimum=Level.RLIMITS) as jail:
        yield jail


@pytest.fixture(scope="module")
def armed() -> Iterator[Jail]:
    """A jail whose import guard lets the tools of an attacker through."""
    limits = Limits(cpu_s=0.2, memory_mb=96, load_s=0.2, answer_bytes=100_000, imports=TOOLS)
    with Jail(limits, minimum=Level.RLIMITS) as jail:
        yield jail


@pytest.fixture(scope="module")
def patient() -> Iterator[Jail]:
    """As `armed`, for programs that take their time to fail."""
    with Jail(Limits(cpu_s=30.0, load_s=30.0, memory_mb=96, imports=TOOLS), minimum=Level.RLIMITS) as jail:
        yield jail


def test_an_exception_is_told_with_the_programs_own_line(jail: Jail) -> None:
    source = "import numpy as np\ndef f(x):\n    y = 1 / x  # here\n    return y"
    assert fail(jail, source, 0) == (
        Status.CRASHED,
        "ZeroDivisionError: division by zero, in program.py line 3: y = 1 / x  # here",
    )


def test_an_error_inside_a_library_is_told_with_the_programs_line_and_no_path(jail: Jail) -> None:
    status, feedback = fail(
        jail, "import numpy as np\ndef f(x):\n    return np.linalg.inv(x)", np.zeros((2, 2))
    )
    assert status is Status.CRASHED
    assert feedback == "LinAlgError: Singular matrix, in program.py line 3: return np.linalg.inv(x)"


def test_a_syntax_error_is_told_with_its_line(jail: Jail) -> None:
    status, feedback = fail(jail, "x = 1\ndef f(x)\n    return x")
    assert status is Status.CRASHED
    assert feedback == "SyntaxError: expected ':', in program.py line 2: def f(x)"


def test_a_missing_entry_point_is_told_with_what_there_is(jail: Jail) -> None:
    source = "import math\ndef foo(): pass\ndef bar(): pass\nx = 1"
    expected = "the program defines no function f; it defines: foo, bar"
    assert fail(jail, source) == (Status.CRASHED, expected)


@pytest.mark.parametrize(
    "statement", ["import socket", "from os import path", "import numpy, subprocess", "import os.path"]
)
def test_a_forbidden_import_names_what_is_allowed(jail: Jail, statement: str) -> None:
    status, feedback = fail(jail, f"{statement}\ndef f(): return 1")
    assert status is Status.FORBIDDEN
    assert "allowed: math, numpy, random, heapq, in program.py line 1" in feedback


@pytest.mark.parametrize(
    "statement", ["import numpy.ma", "from numpy import testing", "from numpy.random import default_rng"]
)
def test_submodules_of_allowed_modules_can_be_imported(jail: Jail, statement: str) -> None:
    assert ask(jail, f"{statement}\ndef f(): return 1", cpu_s=5.0).value == 1


def test_a_program_may_catch_a_refused_import_and_go_on(jail: Jail) -> None:
    source = "try:\n    import numba\nexcept ImportError:\n    numba = None\ndef f(): return numba"
    assert ask(jail, source).failure is None


IGNORE_SIGNALS = """
import signal
for number in range(1, 32):
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
while True: pass
"""
CATCH_ALL = """
def f():
    while True:
        try:
            while True: pass
        except BaseException: pass
"""
NEST = """
import sys
sys.setrecursionlimit(10**9)
def f():
    x = []
    for _ in range(10**6): x = [x]
    return repr(x)
"""
RECURSE = "import sys\nsys.setrecursionlimit(10**9)\ndef f(x=0): return f(x + 1)"
HOARD = "import numpy as np\ndef f():\n    x = []\n    while 1: x.append(np.ones(10**5))"
SORT = "import numpy as np\ndef f():\n    x = np.ones(10**6)\n    while 1: np.sort(x)"
SLEEP_MUTE = "import os, time\ndef f():\n    os.close(3)\n    time.sleep(60)"
CRASHED, TIMED_OUT, OUT_OF_MEMORY = Status.CRASHED, Status.TIMED_OUT, Status.OUT_OF_MEMORY
BAD = {
    "calls sys.exit": ("import sys\ndef f(): sys.exit(0)", CRASHED, "SystemExit"),
    "exits with success": ("import os\ndef f(): os._exit(0)", CRASHED, "exit code 0"),
    "exits while it is loaded": ("import os\nos._exit(0)", CRASHED, "exit code 0"),
    "closes its channel": ("import os\ndef f(): os.close(3)", CRASHED, "program"),
    "closes its channel and sleeps": (SLEEP_MUTE, CRASHED, "closed the descriptor"),
    "closes every descriptor": ("import os\ndef f(): os.closerange(0, 100)", CRASHED, "program"),
    "reads address 0": ("import ctypes\ndef f(): ctypes.string_at(0)", CRASHED, "compiled code"),
    "raises KeyboardInterrupt": ("raise KeyboardInterrupt", CRASHED, "KeyboardInterrupt"),
    "raises a long text": ("def f(): raise BaseException('x' * 10**6)", CRASHED, "BaseException: xxx"),
    "raises what cannot be printed": (
        "class E(Exception):\n    __str__ = None\ndef f(): raise E",
        CRASHED,
        "cannot be printed",
    ),
    "recurses": ("def f(): return f()", CRASHED, "RecursionError"),
    "recurses in C": (NEST, CRASHED, "too deep"),
    "hoards while it is loaded": ("x = []\nwhile True: x.append('a' * 10**6)", OUT_OF_MEMORY, "line 2"),
    "allocates at once": ("import numpy as np\ndef f(): return np.zeros(10**9)", OUT_OF_MEMORY, "allocate"),
    "hoards arrays": (HOARD, OUT_OF_MEMORY, "Memory"),
}
ENDLESS = {
    "loops": ("def f():\n    while True: pass", "the answer took more than 0.2 s"),
    "loops while it is loaded": ("while True: pass", "loading the program took more than 0.2 s"),
    "loops in C": ("def f(): return sum(range(10**12))", "CPU"),
    "computes a huge power": ("def f(): return 3 ** 10**9", "CPU"),
    "loops in numpy": (SORT, "CPU"),
    "catches everything": (CATCH_ALL, "CPU"),
    "ignores signals": (IGNORE_SIGNALS, "CPU"),
    "sleeps": ("import time\ndef f(): time.sleep(60)", "waits or sleeps"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_program_ends_in_its_status_and_harms_nobody(patient: Jail, name: str) -> None:
    source, status, word = BAD[name]
    got, feedback = fail(patient, source)
    assert (got, word in feedback) == (status, True), feedback
    assert len(feedback) <= 2000
    assert healthy(patient)


def test_recursion_without_a_limit_fails_and_harms_nobody(patient: Jail) -> None:
    status, feedback = fail(patient, RECURSE)
    assert status in (CRASHED, OUT_OF_MEMORY)  # CPython may lose the MemoryError and raise a SystemError
    assert "f(x + 1)" in feedback
    assert healthy(patient)


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_program_is_timed_out_and_harms_nobody(armed: Jail, name: str) -> None:
    source, word = ENDLESS[name]
    status, feedback = fail(armed, source)
    assert (status, word in feedback) == (Status.TIMED_OUT, True), feedback
    assert healthy(armed)


DAWDLE = """
import time
asked = 0
def f():
    global asked
    asked += 1
    end = time.process_time() + 0.003
    while time.process_time() < end or asked > 3:
        time.sleep(0.02 if asked > 3 else 0)
    return asked
"""


def test_a_program_that_hardly_works_any_more_is_timed_out_after_its_answers(armed: Jail) -> None:
    with open_session(armed, DAWDLE) as session:
        *answers, last = session.ask([encode_arguments([])] * 30, [0.2] * 30)
    assert [answer.value for answer in answers] == [1, 2, 3]
    assert last.failure is not None
    assert (last.failure.status, "waits or sleeps" in last.failure.feedback) == (Status.TIMED_OUT, True)


REFUSED = [
    "os.fork()",
    "os.kill(os.getppid(), 9)",
    "os.kill(os.getpid(), 9)",
    "os.execv('/bin/true', ['true'])",
    "os.setsid()",
    "os.listdir('/')",
    "os.pipe()",
    "open('/dev/null', 'w')",
    "threading.Thread(target=int).start()",
]


@strong
@pytest.mark.parametrize("statement", REFUSED)
def test_what_the_kernel_refuses_is_forbidden(patient: Jail, statement: str) -> None:
    assert fail(patient, f"import os, threading\ndef f(): {statement}")[0] is Status.FORBIDDEN
    assert healthy(patient)


def test_a_program_that_prints_megabytes_is_not_hurt(patient: Jail) -> None:
    source = """
import sys
def f():
    for _ in range(200):
        print('x' * 100_000)
        print('y' * 100_000, file=sys.stderr)
    return 1
"""
    assert ask(patient, source).value == 1


@pytest.mark.parametrize(
    "garbage",
    [
        "b'x' * 100",
        "b'\\0' * 100",
        "b'\\xff' * 300_000",
        "b'\\x05\\0\\0\\0' + b'\\x02' + b'\\xff' * 4",
        "b'\\x06\\0\\0\\0' + b'\\x00\\x01\\0\\0\\0\\xc0'",
        "b'\\x06\\0\\0\\0' + b'\\x03\\x01\\0\\0\\0\\xc0'",
        "b'\\x06\\0\\0\\0' + b'\\x09\\x01\\0\\0\\0\\xc0'",
        "b'\\x07\\0\\0\\0' + b'\\x02\\x02\\0\\0\\0\\xc4\\x00'",
    ],
)
def test_garbage_on_the_answer_channel_is_a_failure_of_the_program(armed: Jail, garbage: str) -> None:
    source = f"""
import os
def f():
    for descriptor in range(20):
        try: os.write(descriptor, {garbage})
        except OSError: pass
    return 1
"""
    status, feedback = fail(armed, source)
    assert status in (Status.INVALID, Status.CRASHED)
    assert feedback.isprintable()
    assert healthy(armed)


def test_a_forged_failure_has_a_known_status_and_clean_text(armed: Jail) -> None:
    frame = wire.encode(wire.FAILURE, ["ok", "\x1b[31m red \x00" + "x" * 50_000])
    status, feedback = fail(armed, f"import os\ndef f(): os.write(3, {frame!r})")
    assert status is Status.CRASHED
    assert feedback.startswith("?[31m red ?")
    assert len(feedback) == 2000


def test_a_program_that_drips_bytes_is_timed_out(armed: Jail) -> None:
    source = "import os\ndef f():\n    os.write(3, b'\\xff\\xff\\0\\0')\n    while True: os.write(3, b'')"
    assert fail(armed, source)[0] is Status.TIMED_OUT


@strong
def test_the_import_guard_is_no_defence_but_the_kernel_is(jail: Jail) -> None:
    find = "import numpy as np\nos = vars(np)['__builtins__']['__import__']('os')"
    assert fail(jail, f"{find}\ndef f(): return os.listdir('/')")[0] is Status.FORBIDDEN
