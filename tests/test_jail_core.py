"""Where workers have all cores, a warm process and its children stay on one, unless others crowd it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from evolve.jail import Jail, Level, Limits, core, encode_arguments
from evolve.jail.core import LOOK, HomeCore, SharedCore
from evolve.jail.session import Session

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores to choose from",
)

SPIN = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\nwhile True: pass"


@contextmanager
def opened(settled: bool) -> Iterator[Session]:
    with (
        Jail(Limits(), minimum=Level.RLIMITS, settled=settled) as jail,
        jail.session({"p.py": "def f(x): return x"}, "p.py", "f") as session,
    ):
        assert next(session.ask([encode_arguments([1])], [5.0])).value == 1
        yield session


@contextmanager
def spinning(number: int) -> Iterator[int]:
    """Two processes that both want all of one core; gives the id of one of them."""
    command = [sys.executable, "-c", SPIN, str(number)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for each in both:
            assert each.stdout is not None
            each.stdout.readline()
        yield both[0].pid
    finally:
        for each in both:
            each.kill()
            each.communicate()


def cores(session: Session) -> set[int]:
    assert session.pid is not None
    return os.sched_getaffinity(session.pid)


def test_candidates_of_two_settled_jails_have_a_core_each() -> None:
    with opened(settled=True) as one, opened(settled=True) as other:
        assert len(cores(one)) == len(cores(other)) == 1
        assert not cores(one) & cores(other)


def test_candidates_of_other_jails_run_wherever_there_is_room() -> None:
    with opened(settled=False) as session:
        assert cores(session) == os.sched_getaffinity(0)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores that no other test has leased."""
    monkeypatch.setattr(core, "LEASES", f"\0evolve/test/{os.getpid()}")


@contextmanager
def asleep() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


@pytest.mark.usefixtures("quiet")
def test_pairs_that_take_turns_have_a_core_each_and_where_none_is_left_run_anywhere() -> None:
    everywhere = os.sched_getaffinity(0)
    with ExitStack() as stack:
        pids = [stack.enter_context(asleep()) for _ in range(len(everywhere) + 1)]
        taken = []
        for pid in pids[:-1]:
            stack.enter_context(SharedCore(pid))
            taken.append(os.sched_getaffinity(pid))
            assert os.sched_getaffinity(0) == taken[-1]
            os.sched_setaffinity(0, everywhere)  # as another thread would have it
        assert sorted(number for each in taken for number in each) == sorted(everywhere)
        stack.enter_context(SharedCore(pids[-1]))
        assert os.sched_getaffinity(pids[-1]) == os.sched_getaffinity(0) == everywhere
    assert os.sched_getaffinity(0) == everywhere


@pytest.mark.usefixtures("quiet")
def test_a_pair_that_parts_leaves_its_core_to_others() -> None:
    everywhere = os.sched_getaffinity(0)
    with asleep() as pid, SharedCore(pid) as shared:
        (number,) = os.sched_getaffinity(pid)
        shared.part()
        assert os.sched_getaffinity(pid) == os.sched_getaffinity(0) == everywhere
        os.sched_setaffinity(0, {number})
        with asleep() as other, SharedCore(other):
            assert os.sched_getaffinity(other) == {number}
        os.sched_setaffinity(0, everywhere)


def test_a_core_that_others_crowd_is_left() -> None:
    home = HomeCore(wanted=True)
    before = home.core
    assert before is not None
    with spinning(before) as pid:
        deadline = time.monotonic() + 60
        while home.core == before and time.monotonic() < deadline:
            time.sleep(0.05)
            for _ in range(LOOK):
                home.crowded(pid)
    assert home.core != before
    home.leave()


def test_a_core_of_its_own_is_kept() -> None:
    home = HomeCore(wanted=True)
    before = home.core
    # it uses too little CPU to tell from, however crowded the machine
    with subprocess.Popen(["sleep", "60"]) as idle:
        assert not any(home.crowded(idle.pid) for _ in range(3 * LOOK))
        idle.kill()
    assert home.core == before
    home.leave()
