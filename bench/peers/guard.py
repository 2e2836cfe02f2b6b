"""Runs a command as a nurse does: adopts every orphan of it, and says at its end who is left and what it all took.

    python guard.py REPORT MEMORY_BYTES COMMAND...

REPORT is JSON: code, cpu_s and peak_mb (largest process) of all that ended, left: the processes left behind.
Standard library only.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

SUBREAPER = 36  # prctl's PR_SET_CHILD_SUBREAPER
GRACE_S = 5.0  # for processes that are just ending, on a busy machine


def children() -> list[int]:
    """Processes whose parent is this one; ended ones are reaped first."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            return []
    me = os.getpid()
    return [int(each) for each in Path(f"/proc/{me}/task/{me}/children").read_text().split()]


def main() -> None:
    report, memory, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    process = subprocess.Popen(command)
    code = process.wait()
    left, deadline = children(), time.monotonic() + GRACE_S
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = children()
    for child in left:
        os.kill(child, signal.SIGKILL)
    while children():
        time.sleep(0.01)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {
        "code": code,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "left": left,
    }
    report.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
