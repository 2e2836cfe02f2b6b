"""What is prepared for a child before the fork: large pages, and the calls that confine it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evolve.jail import Jail
from tests.jail_tools import LIMITS, ask, strong

WORK = """
import os, sys
from evolve.jail import pages
kept = pages.reserve(8)
much = [str(number) * 20 for number in range(60_000)]
pages.collapse()
print(open("/proc/self/smaps_rollup").read())
if os.fork() == 0:
    much[0] = "the child's own"
    os._exit(0)
assert os.wait()[1] == 0
assert much == [str(number) * 20 for number in range(60_000)]
"""


REFUSED = """
import os
from evolve.jail import kernel
kernel.confine([(os.getpid, ()), (kernel._libc.prctl, (-1, 0, 0, 0, 0))], os.getppid())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="large pages are Linux's")
def test_pages_are_laid_together_and_keep_what_they_hold() -> None:
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (large,) = re.findall(r"AnonHugePages: +(\d+) kB", done.stdout)
    release = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    if release < (6, 1) or not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip("this kernel has no MADV_COLLAPSE")
    assert int(large) >= 2048  # how many fit depends on where the kernel put them


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_step_that_the_kernel_refuses_is_an_error() -> None:
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True)
    assert done.returncode == 1
    assert "prctl(-1, 0, 0, 0, 0): Invalid argument" in done.stderr


@strong
def test_the_standard_library_can_be_read_where_only_its_compiled_files_are_allowed() -> None:
    source = (
        "def f():\n"
        "    unguarded = __builtins__['__import__'].__globals__['builtins'].__import__\n"
        "    return [unguarded(name).__name__ for name in ('colorsys', 'fractions', 'sched')]\n"
    )
    with Jail(LIMITS) as jail:
        assert ask(jail, source).value == ["colorsys", "fractions", "sched"]
