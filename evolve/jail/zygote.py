"""The warm process from which every candidate's process is forked.

Started by exec with an environment and descriptors of its own, it imports numpy and the modules that the
problem allows, and nothing of the project: no task data, no scorer, no keys. It has one thread.

Its control socket carries one byte up, with what belongs to it, and one struct down:

    "S" + the child's end of a socket pair   fork a child that serves on it -> pid, pidfd if there is one
    "R"                                      kill what is left of the child -> wait status, usage
    "C" + a core's number                    stay on this core, and the children to come
"""

from __future__ import annotations

import os
import sys
import types

# random, threading and logging put their own houses in order after a fork. None of that is needed by a single
# thread that reseeds, and it costs a child 180 page faults (0.5 ms). Before all imports: numpy imports random.
if __name__ == "__main__":
    os.register_at_fork = lambda **_: None
    # The siblings are imported under their names; the packages' own code never runs.
    sys.path += sys.argv[3:]
    for _name, _path in (("evolve", []), ("evolve.jail", [__file__.rpartition("/")[0]])):
        sys.modules[_name] = types.ModuleType(_name)
        sys.modules[_name].__path__ = _path
    from evolve.jail import pages

    _ARENAS = pages.reserve(10)  # what numpy and the rest fill

import contextlib
import gc
import importlib
import importlib.util
import json
import signal
import socket
import struct
import warnings
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from evolve.jail import child, kernel, pages, wire

CORE = struct.Struct("<H")
DESCRIPTOR = struct.Struct("=i")
STARTED = struct.Struct("<i")
REAPED = struct.Struct("<iddq")  # wait status, user CPU seconds, system CPU seconds, peak kilobytes
REHEARSALS = 20  # after 8 calls the interpreter specialises a function; then it writes into it less and less
ANSWERS = 3  # the child's descriptor of its answer socket
_NEVER_READ = {"site-packages", "dist-packages", "test", "idlelib", "ensurepip", "lib2to3"}
_EARLY = ("numpy.random", "numpy.linalg", "numpy.fft", "numpy.polynomial", "traceback", "__future__")


@dataclass
class Configuration:
    """What the supervisor decided (JSON on the command line), and what `_prepare` made of it."""

    imports: tuple[str, ...]
    libraries: dict[str, str]
    memory_bytes: int
    answer_bytes: int
    landlock: bool
    seccomp: bool
    nobody: bool
    filter: kernel.Filter | None = None
    steps: list[kernel.Step] = field(default_factory=list)  # that confine a child
    channel: child.Channel = field(default_factory=lambda: child.Channel(ANSWERS))  # that it then answers on


def _compiled(path: str) -> bool:
    return path.endswith(".py") and os.path.exists(importlib.util.cache_from_source(path))


def _readable() -> list[str]:
    """What an import inside a child may read: the standard library and the imported packages, file by file.

    Not the folders that hold them, since the project itself may be installed beside them. And no source that is
    there compiled, since each rule costs each child 0.3 microseconds.
    """
    library = os.path.dirname(os.__file__)
    names = [name for name in os.listdir(library) if name not in _NEVER_READ]
    paths = [path for name in names if not _compiled(path := os.path.join(library, name))]
    for name in {name.partition(".")[0] for name in sys.modules} - {"evolve", "__main__"}:
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if not file or file.startswith(library + os.sep + "lib-dynload"):
            continue
        package = os.path.dirname(file) if hasattr(module, "__path__") else file
        if os.path.dirname(package) != library:
            paths += [package, os.path.join(os.path.dirname(package), f"{name}.libs")]
    return paths


def _rehearse(settings: Configuration) -> None:
    """Goes a child's whole way a few times, here.

    The interpreter writes into the code that it runs until it has specialised it. Done before the fork, this
    copies no pages in each child (0.1 ms).
    """
    source = "".join(f"import {name}\n" for name in settings.imports[:1]) + "def f(x):\n    return x\n"
    frames = wire.encode(wire.PROGRAM, [{"program.py": source}, "program.py", "f"])
    frames += wire.encode(wire.QUESTION, [[1, 2, 3]])
    finders, modules = list(sys.meta_path), set(sys.modules)
    for _ in range(REHEARSALS):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(frames)
            channel = child.Channel(theirs.fileno())
            files, program, entry = channel.receive()
            function = child._load(files, program, entry, settings.imports)
            channel.send(child._answer(function, channel.receive(), settings.answer_bytes))
    sys.meta_path[:] = finders
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def _make_libraries(settings: Configuration) -> None:
    """Runs the problem's own modules here, with all that is installed; children find them ready."""
    for name, text in settings.libraries.items():
        module = sys.modules[name] = types.ModuleType(name)
        exec(compile(text, f"{name}.py", "exec", dont_inherit=True), module.__dict__)
    settings.imports += tuple(settings.libraries)


def _prepare(settings: Configuration) -> None:
    """Everything that can be done once instead of once a child."""
    warnings.simplefilter("ignore")
    for name in (*_EARLY, *settings.imports):
        importlib.import_module(name)
    _make_libraries(settings)
    # A package that nothing has imported so far is "not found" in a child, which libraries expect of optional
    # ones; Landlock's "permission denied" they do not. Packages find their own submodules by their own paths.
    sys.path = [path for path in sys.path if path not in sys.argv[3:]]
    wire.decode(wire.encode(wire.QUESTION, [1, np.zeros(3)])[4:])
    _rehearse(settings)
    child.reseed()
    ruleset = kernel.landlock_rules(_readable()) if settings.landlock else -1
    if settings.seccomp:
        settings.filter = kernel.Filter(kernel.seccomp_program(reading=settings.landlock))
    kernel.adopt_orphans()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # when memory runs out, a candidate goes first
    pages.collapse()
    kernel.hide_memory()
    for name in ("evolve", "evolve.jail"):
        del sys.modules[name]
    limits = kernel.resource_limits(settings.memory_bytes)
    settings.steps = kernel.confinement(ANSWERS + 1, settings.nobody, limits, ruleset, settings.filter)
    if not settings.nobody:  # else the privileges are needed to take them from each child
        kernel.drop_privileges(to_nobody=False)
    kernel.no_new_privileges()
    gc.collect()
    gc.freeze()


def _child(settings: Configuration, parent: int, channel: int) -> NoReturn:
    try:
        os.dup2(channel, ANSWERS)
        kernel.confine(settings.steps, parent)
        child.serve(settings.channel, settings.imports, settings.answer_bytes)
    except OSError as error:
        text = f"the jail could not be closed: {error}"
        os.write(ANSWERS, wire.encode(wire.FAILURE, ["evaluator-failed", text]))
    finally:  # never back into the zygote's loop
        os._exit(1)


def _start(control: socket.socket, settings: Configuration, channel: int) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _child(settings, parent, channel)
    os.close(channel)
    rights, pidfd = [], _pidfd(pid)
    if pidfd >= 0:
        rights.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, DESCRIPTOR.pack(pidfd)))
    control.sendmsg([STARTED.pack(pid)], rights)
    if pidfd >= 0:
        os.close(pidfd)
    return pid


def _pidfd(pid: int) -> int:
    """A descriptor of the process; -1 where there are none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _bury_orphans() -> None:
    """Kills and reaps what the child left behind; there is something only where seccomp is missing."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                for pid in file.read().split():
                    os.kill(int(pid), signal.SIGKILL)
            os.waitpid(-1, 0)
        except OSError:  # no child left, or no /proc to find them
            return


def _reap(control: socket.socket, settings: Configuration, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)  # it is there, be it as a zombie, until we have waited for it
    if not settings.filter:  # behind the filter there is no way to have a child
        with contextlib.suppress(OSError):  # the group does not exist before the child has made it
            os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    if not settings.filter:
        _bury_orphans()
    peak = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss // 1024
    control.sendall(REAPED.pack(status, usage.ru_utime, usage.ru_stime, peak))


def _settle(core: int) -> None:
    with contextlib.suppress(OSError):  # a core that was taken from us
        os.sched_setaffinity(0, {core})


def _loop(control: socket.socket, settings: Configuration) -> None:
    children: deque[int] = deque()  # the one that runs, and one that waits for its program
    room = socket.CMSG_SPACE(DESCRIPTOR.size)
    # plain calls only: each Python object that is touched between two forks is a page to be copied again
    while True:
        order, rights, _, _ = control.recvmsg(1, room)
        if not order:
            return  # the supervisor closed its end, or died; a child of ours dies with us
        if order == b"S":
            children.append(_start(control, settings, *DESCRIPTOR.unpack(rights[0][2])))
        elif order == b"C":
            _settle(*CORE.unpack(control.recv(CORE.size, socket.MSG_WAITALL)))
        else:
            _reap(control, settings, children.popleft())


def main(arguments: list[str]) -> None:
    control = socket.socket(fileno=int(arguments[0]))
    if control.fileno() != ANSWERS:
        os.dup2(0, ANSWERS)  # kept free: a child puts its answer socket there before all else
    values: dict[str, Any] = json.loads(arguments[1])
    settings = Configuration(**values | {"imports": tuple(values["imports"])})
    try:
        _prepare(settings)
    except Exception as error:  # any module of the problem's list can fail in any way when it is imported
        control.sendall(f"{type(error).__name__}: {error}".encode()[:4000])
        return
    control.sendall(b"ready")
    _loop(control, settings)


if __name__ == "__main__":
    main(sys.argv[1:])
