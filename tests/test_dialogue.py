"""A jailed program asked one question at a time: what passes, and what each way to fail comes to."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from evolve.jail import Dialogue, Failure, Hangup, Jail, Level, Limits, Usage
from evolve.jail.wire import WireError
from evolve.records import Status
from tests.jail_tools import TOOLS, healthy, levels_here, open_session, strong

BYTES = 1_000_000
ECHO = "def f(*x):\n    return list(x) if len(x) > 1 else x[0]"


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    """Its import guard lets the tools of an attacker through."""
    limits = Limits(memory_mb=96, load_s=0.5, answer_bytes=BYTES, imports=(*TOOLS, "gc", "random", "struct"))
    with Jail(limits, minimum=Level.RLIMITS) as jail:
        yield jail


def converse(
    jail: Jail, source: str, *questions: tuple[Any, ...], cpu_s: float = 5.0
) -> tuple[list[Any], Failure | None, Usage]:
    """The answers until the questions, or the answers, end."""
    answers: list[Any] = []
    with open_session(jail, source) as session, Dialogue(session, cpu_s, BYTES) as dialogue:
        try:
            for question in questions:
                answers.append(dialogue.ask(*question))
        except Hangup:
            assert dialogue.over
        usage = dialogue.finish()
    return answers, dialogue.failure, usage


def status(jail: Jail, source: str, count: int = 3, cpu_s: float = 5.0) -> tuple[Status, str]:
    _, failure, _ = converse(jail, source, *[(number,) for number in range(count)], cpu_s=cpu_s)
    assert failure is not None
    return failure.status, failure.feedback


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        2**64 - 1,
        1.5,
        "ü" * 100,
        [],
        [1, 2.0, "x", None, False, -0.0, True, 0],
        list(range(100_000)),
    ],
)
def test_plain_values_and_lists_of_them_come_back_as_they_are(jail: Jail, value: Any) -> None:
    answers, failure, _ = converse(jail, ECHO, (value,))
    assert failure is None
    assert answers == [value]
    assert type(answers[0]) is type(value)
    assert not isinstance(value, list) or list(map(type, answers[0])) == list(map(type, value))


@pytest.mark.parametrize("value", [{"a": [1, {"b": 2}]}, [[1, 2], [3]], [[[]]]])
def test_nested_values_come_back_as_they_are(jail: Jail, value: Any) -> None:
    assert converse(jail, ECHO, (value,), (1, value))[0] == [value, [1, value]]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(7),
        np.zeros(0),
        np.array(3.5),
        np.ones((2, 3, 4), np.float32),
        np.array([True, False]),
        np.arange(100_000, dtype=np.uint8).reshape(10, 10, 10, 10, 10),
        np.arange(12).reshape(3, 4)[:, ::2],
    ],
)
def test_arrays_come_back_as_they_are(jail: Jail, array: np.ndarray[Any, Any]) -> None:
    (answer,), _, _ = converse(jail, ECHO, (array,))
    assert answer.dtype == array.dtype
    np.testing.assert_array_equal(answer, array)


def test_an_array_is_the_programs_own_to_change(jail: Jail) -> None:
    array = np.arange(5)
    source = "def f(x):\n    x[0] = 7\n    return int(x.sum()) + x.flags.aligned"
    assert converse(jail, source, (array,))[0] == [18]
    assert array[0] == 0


def test_numpys_scalars_arrive_as_pythons(jail: Jail) -> None:
    source = "import numpy as np\ndef f(x):\n    return [np.int64(3), np.float32(0.5), np.bool_(True)][x]"
    answers, _, _ = converse(jail, source, (0,), (1,), (2,))
    assert [(type(answer), answer) for answer in answers] == [(int, 3), (float, 0.5), (bool, True)]


def test_a_question_larger_than_the_sockets_buffer_arrives(jail: Jail) -> None:
    big = np.arange(1_000_000)
    assert converse(jail, "def f(x):\n    return int(x.sum())", (big,), (big,))[0] == [int(big.sum())] * 2


def test_a_question_that_may_not_cross_is_the_simulators_fault(jail: Jail) -> None:
    with open_session(jail, ECHO) as session, Dialogue(session, 5.0, BYTES) as dialogue:
        for wrong in ({1, 2}, object(), 2**70, [{3}], "\ud800"):
            with pytest.raises(WireError):
                dialogue.ask(wrong)
        assert dialogue.ask(4) == 4, "the dialogue goes on"


def test_what_a_program_remembers_ends_with_the_dialogue(jail: Jail) -> None:
    source = "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)"
    for _ in range(2):
        assert converse(jail, source, (1,), (1,), (1,))[0] == [1, 2, 3]


def test_randomness_is_the_same_in_every_dialogue_and_differs_between_questions(jail: Jail) -> None:
    source = (
        "import random\nimport numpy as np\ndef f(x):\n    return [random.random(), float(np.random.rand())]"
    )
    first, second = (converse(jail, source, (1,), (2,))[0] for _ in range(2))
    assert first == second
    assert first[0] != first[1]


BUSY = """import time
def f(x):
    end = time.process_time() + 0.01
    while time.process_time() < end:
        pass
"""
WRONG = {
    "raises": ("def f(x):\n    return 1 // (1 - x)", Status.CRASHED, "ZeroDivisionError"),
    "raises something that is no exception": (
        "class E(BaseException):\n    def __str__(self):\n        raise self\ndef f(x):\n    raise E",
        Status.CRASHED,
        "cannot be printed",
    ),
    "ends itself": ("import sys\ndef f(x):\n    sys.exit(0)", Status.CRASHED, "ended itself"),
    "ends its process": ("import os\ndef f(x):\n    os._exit(0)", Status.CRASHED, "exit code 0"),
    "ends its process when loaded": ("import os\nos._exit(3)\ndef f(x): pass", Status.CRASHED, "exit code 3"),
    "does not load": ("def f(x)\n    return 1", Status.CRASHED, "SyntaxError"),
    "has no entry": ("def g(x):\n    return 1", Status.CRASHED, "no function f"),
    "takes other arguments": ("def f():\n    return 1", Status.CRASHED, "TypeError"),
    "closes its descriptor and waits": (
        "import os, time\ndef f(x):\n    os.close(3)\n    time.sleep(60)",
        Status.CRASHED,
        "closed the descriptor",
    ),
    "closes its descriptor": ("import os\ndef f(x):\n    os.close(3)\n    return 1", Status.CRASHED, ""),
    "allocates": ("def f(x):\n    return len([0] * 10**9)", Status.OUT_OF_MEMORY, "MemoryError"),
    "recurses": ("def f(x):\n    return f(x)", Status.CRASHED, "RecursionError"),
    "imports what it may not": ("def f(x):\n    import socket", Status.FORBIDDEN, "socket"),
    "returns a set": ("def f(x):\n    return {1}", Status.INVALID, "it holds a value of type set"),
    "returns a huge int": ("def f(x):\n    return 2**64", Status.INVALID, "beyond 64 bits"),
    "returns too much": ("def f(x):\n    return 'x' * 2_000_000", Status.INVALID, "limit is 1000000"),
    "returns too large an array": (
        "import numpy as np\ndef f(x):\n    return np.zeros(200_000)",
        Status.INVALID,
        "limit is 1000000",
    ),
    "never answers": ("def f(x):\n    while True:\n        pass", Status.TIMED_OUT, "more than 0.2 s of CPU"),
    "answers late, little by little": (
        BUSY,
        Status.TIMED_OUT,
        "more than 0.2 s of CPU",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_each_way_to_fail_is_a_status(jail: Jail, case: str) -> None:
    source, expected, text = WRONG[case]
    found, feedback = status(jail, source, 100, 0.2)
    assert (found, text in feedback) == (expected, True), feedback
    assert healthy(jail)


SPEAK = """import os, struct, sys
def say(kind, nonce, body):
    os.write(3, struct.pack("<IBQ", 9 + len(body), kind, nonce) + body)
def raw(data):
    os.write(3, data)
    while True:
        pass
def only(kind, nonce, body):
    raw(struct.pack("<IBQ", 9 + len(body), kind, nonce) + body)
"""
HEARD = "sys._getframe(1).f_locals['nonce']"
FORGED = {
    "answers when it is loaded": (f"{SPEAK}say(6, 0, b'\\xc0')\ndef f(x):\n    return x", "not be decoded|cannot"),
    "answers with a number of its own": (f"{SPEAK}def f(x):\n    only(6, 1, b'\\x01')", "not asked"),
    "answers the next question in advance": (
        f"{SPEAK}def f(x):\n    say(6, {HEARD}, b'\\x01')\n    say(6, {HEARD} + 1, b'\\x01')\n    return x",
        "behind the answer|not asked",
    ),
    "answers twice": (f"{SPEAK}def f(x):\n    say(6, {HEARD}, b'\\x01')\n    return x", "behind the answer|not asked"),
    "answers by a frame of another kind": (f"{SPEAK}def f(x):\n    only(2, {HEARD}, b'\\x01')", "out of turn"),
    "writes garbage": (f"{SPEAK}def f(x):\n    raw(b'\\x09\\x00\\x00\\x00garbage..')", "not asked"),
    "writes less than a head": (f"{SPEAK}def f(x):\n    raw(b'\\x01\\x00\\x00\\x00\\x06')", "without a head"),
    "announces a huge frame": (f"{SPEAK}def f(x):\n    os.write(3, b'\\xff\\xff\\xff\\xff')", "a frame of 42949"),
    "sends bytes": (f"{SPEAK}def f(x):\n    only(6, {HEARD}, b'\\xc4\\x01a')", "wrong type"),
    "sends a dict unchecked": (f"{SPEAK}def f(x):\n    only(6, {HEARD}, b'\\x81\\x01\\x02')", "wrong type"),
    "sends nested lists unchecked": (f"{SPEAK}def f(x):\n    only(6, {HEARD}, b'\\x91\\x91\\x01')", "wrong type"),
    "sends an extension": (f"{SPEAK}def f(x):\n    only(6, {HEARD}, b'\\xd4\\x01\\x01')", "wrong type"),
    "sends broken bytes": (f"{SPEAK}def f(x):\n    only(6, {HEARD}, b'\\x92\\x01')", "malformed"),
    "sends what inflates": (
        f"{SPEAK}def f(x):\n    body = b'\\xdd' + (999_000).to_bytes(4, 'big') + b'\\x90' * 999_000\n"
        f"    only(6, {HEARD}, body)",
        "wrong type",
    ),
    "sends a rich frame of nonsense": (f"{SPEAK}def f(x):\n    only(7, {HEARD}, b'\\x00' * 50)", "decoded"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_what_is_no_answer_to_the_question_is_invalid(jail: Jail, case: str) -> None:
    source, text = FORGED[case]
    found, feedback = status(jail, source)
    assert found is Status.INVALID, feedback
    assert any(part in feedback for part in text.split("|")), feedback
    assert healthy(jail)


def test_half_an_answer_is_waited_for_no_longer_than_none(jail: Jail) -> None:
    source = "import os\ndef f(x):\n    os.write(3, b'\\x09\\x00')\n    while True:\n        pass"
    assert status(jail, source, cpu_s=0.1)[0] is Status.TIMED_OUT


def test_an_answer_that_trickles_in_for_ever_is_timed_out(jail: Jail) -> None:
    source = """import os, time
def f(x):
    os.write(3, b'\\x00\\x00\\x08\\x00')
    while True:
        os.write(3, b'x')
        time.sleep(0.005)
"""
    began = time.monotonic()
    found, feedback = status(jail, source, cpu_s=0.05)
    assert found is Status.TIMED_OUT, feedback
    assert time.monotonic() - began < 10


def test_a_program_that_reads_its_question_byte_by_byte_is_timed_out(jail: Jail) -> None:
    source = """import os, sys, time, struct
def f(x):
    os.write(3, struct.pack("<IBQ", 10, 6, sys._getframe(1).f_locals["nonce"]) + b"\\xc0")
    while True:
        os.read(3, 100)
        time.sleep(0.005)
"""
    big = np.zeros(1_000_000)
    began = time.monotonic()
    answers, failure, _ = converse(jail, source, (1,), (big,), cpu_s=0.05)
    assert answers == [None]
    assert failure is not None
    assert failure.status is Status.TIMED_OUT
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("pause_s", [0.2, 60])
def test_a_program_that_sleeps_is_timed_out_by_the_wall_clock(jail: Jail, pause_s: float) -> None:
    began = time.monotonic()
    found, feedback = status(jail, f"import time\ndef f(x):\n    time.sleep({pause_s})", 1000, 0.05)
    assert found is Status.TIMED_OUT
    assert "waits or sleeps" in feedback
    assert time.monotonic() - began < 10


def test_an_endless_loop_ends_close_to_its_cpu_limit(jail: Jail) -> None:
    source = "def f(x):\n    while x == 50:\n        pass"
    _, failure, usage = converse(jail, source, *[(number,) for number in range(100)], cpu_s=0.2)
    assert failure is not None
    assert failure.status is Status.TIMED_OUT
    assert usage.cpu_s < 0.2 + 0.1, "20 ms to be seen, 10 ms to load, and room for a busy machine"


def test_the_limit_is_checked_after_the_last_answer_too(jail: Jail) -> None:
    source = BUSY.replace("0.01", "0.015")
    answers, failure, _ = converse(jail, source, (1,), cpu_s=0.01)
    assert failure is not None
    assert failure.status is Status.TIMED_OUT
    assert len(answers) <= 1


def carelessly(dialogue: Dialogue) -> Any:
    try:
        return dialogue.ask(0)
    except Exception:
        return 7


def test_a_simulator_cannot_swallow_a_failure_by_accident(jail: Jail) -> None:
    with (
        open_session(jail, "def f(x):\n    return 1 / x") as session,
        Dialogue(session, 1.0, BYTES) as dialogue,
    ):
        for _ in range(3):
            with pytest.raises(Hangup):
                carelessly(dialogue)
        dialogue.finish()
    assert dialogue.failure is not None
    assert dialogue.questions == 1


def test_a_dialogue_ends_when_it_is_told_to_stop(jail: Jail) -> None:
    asked = [0]

    def stop() -> bool:
        return asked[0] > 3

    source = "import time\ndef f(x):\n    time.sleep(0.03)"
    with open_session(jail, source) as session, Dialogue(session, 60.0, BYTES, stop) as dialogue:
        with contextlib.suppress(Hangup):
            for asked[0] in range(100):
                dialogue.ask(1)
        dialogue.finish()
    assert (dialogue.stopped, dialogue.failure) == (True, None)
    assert asked[0] < 10


def test_what_was_answered_is_heard_in_order(jail: Jail) -> None:
    heard: list[bytes] = []
    with (
        open_session(jail, ECHO) as session,
        Dialogue(session, 5.0, BYTES, heard=lambda body: heard.append(bytes(body))) as dialogue,
    ):
        heard.clear()
        for value in (1, "x", {"a": 1}, 1):
            dialogue.ask(value)
    assert heard[0] == heard[3] == b"\x01"
    assert len(set(heard)) == 3


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be chosen here")
def test_both_sides_share_a_core_while_they_talk_and_no_longer(jail: Jail) -> None:
    before = os.sched_getaffinity(0)
    with open_session(jail, ECHO) as session:
        with Dialogue(session, 5.0, BYTES) as dialogue:
            assert dialogue.ask(1) == 1
            assert session.pid is not None
            assert len(os.sched_getaffinity(0)) == 1
            assert os.sched_getaffinity(session.pid) == os.sched_getaffinity(0)
        assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("level", levels_here())
def test_a_dialogue_works_at_every_level(level: Level) -> None:
    with Jail(Limits(memory_mb=96, answer_bytes=BYTES), level=level) as jail:
        assert converse(jail, ECHO, (1,), (np.arange(3).tolist(),))[0] == [1, [0, 1, 2]]
        assert status(jail, "def f(x):\n    while True:\n        pass", cpu_s=0.1)[0] is Status.TIMED_OUT
        assert status(jail, "def f(x):\n    return 1 / x")[0] is Status.CRASHED


@strong
def test_a_program_cannot_leave_the_core_that_it_shares(jail: Jail) -> None:
    source = "import os\ndef f(x):\n    os.sched_setaffinity(0, {0, 1})"
    assert status(jail, source)[0] is Status.FORBIDDEN


def test_many_dialogues_leave_no_descriptor_behind(jail: Jail) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    converse(jail, ECHO, (1,))
    before = descriptors()
    for number in range(60):
        converse(
            jail,
            [ECHO, "import os\ndef f(x):\n    os._exit(0)", "def f(x):\n    return {1}"][number % 3],
            (1,),
        )
    assert descriptors() == before
