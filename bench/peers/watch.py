"""Runs one driver under the guard and looks at its tree of processes several times a second."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOOK_S = 0.2
GUARD = Path(__file__).with_name("guard.py")
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Look:
    """at: seconds since 1970. cpu_s: of all processes so far, ended ones included. tree_mb: resident, all together."""

    at: float
    cpu_s: float
    tree_mb: float


@dataclass
class Watched:
    """How a driver ran. ended: "by itself", "killed" (as was asked) or "out of patience".

    code: its exit code; None where it was killed. left: processes that it left behind.
    """

    looks: list[Look] = field(default_factory=list)
    begun: float = 0.0
    ended: str = "by itself"
    wall_s: float = 0.0
    code: int | None = None
    left: list[int] = field(default_factory=list)
    peak_process_mb: float = 0.0

    @property
    def peak_tree_mb(self) -> float:
        return max((look.tree_mb for look in self.looks), default=0.0)

    def cpu_at(self, at: float) -> float:
        """CPU seconds until a moment, between two looks by a straight line."""
        before = Look(self.begun, 0.0, 0.0)
        for look in self.looks:
            if look.at >= at:
                share = (at - before.at) / (look.at - before.at) if look.at > before.at else 1.0
                return before.cpu_s + share * (look.cpu_s - before.cpu_s)
            before = look
        return before.cpu_s


def processes() -> dict[int, tuple[int, float, float]]:
    """By process: its parent, CPU seconds of it and of its reaped children, and resident megabytes."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            cpu_s = sum(map(int, fields[11:15])) / _TICK
            found[int(name)] = (int(fields[1]), cpu_s, int(fields[21]) * _PAGE_MB)
    return found


def tree(root: int, known: Mapping[int, tuple[int, float, float]]) -> list[int]:
    """A process and all its descendants."""
    below: dict[int, list[int]] = {}
    for pid, (parent, _, _) in known.items():
        below.setdefault(parent, []).append(pid)
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found += [pid] if pid in known else []
        todo += below.get(pid, [])
    return found


def look(root: int) -> Look:
    known = processes()
    mine = [known[pid] for pid in tree(root, known)]
    return Look(time.time(), sum(each[1] for each in mine), sum(each[2] for each in mine))


def watch(
    command: Sequence[str],
    environment: Mapping[str, str],
    place: Path,
    patience_s: float,
    memory: int = 0,
    kill_when: Callable[[], bool] = lambda: False,
) -> Watched:
    """Run a command to its end, or kill its whole tree: when it is asked for, or when patience is at its end.

    Args:
        place: where its output (output.txt) goes, and its working directory.
        memory: bytes of address space that each process may have; 0 = unlimited.
        kill_when: asked at each look.
    """
    report, watched = place / "guard.json", Watched(begun=time.time())
    report.unlink(missing_ok=True)
    guarded = [sys.executable, str(GUARD), str(report), str(memory), *command]
    with (place / "output.txt").open("ab") as output:
        process = subprocess.Popen(
            guarded, env=dict(environment), cwd=place, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        while process.poll() is None:
            watched.looks.append(look(process.pid))
            if kill_when():
                watched.ended = "killed"
            elif time.time() - watched.begun > patience_s:
                watched.ended = "out of patience"
            if watched.ended != "by itself":
                _kill(process.pid)
                process.wait()
                break
            time.sleep(LOOK_S)
    watched.wall_s = time.time() - watched.begun
    if report.exists():
        found = json.loads(report.read_text())
        watched.code, watched.left = found["code"], found["left"]
        watched.peak_process_mb = found["peak_mb"]
        watched.looks.append(Look(time.time(), found["cpu_s"], 0.0))
    return watched


def _kill(root: int) -> None:
    """SIGKILL for a whole tree, again while there are processes born meanwhile; the guard, held still, is the last."""
    os.kill(root, signal.SIGSTOP)
    while rest := tree(root, processes())[1:]:
        for pid in rest:
            _end(pid)
        if all(_is_dead(pid) for pid in rest):
            break
    _end(root)


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def written(place: Path) -> tuple[int, int]:
    """Files and bytes below a folder."""
    sizes = [path.stat().st_size for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    return len(sizes), sum(sizes)
