"""The kernel's part of the jail: rlimits, capabilities, Landlock and a seccomp allow-list, by plain ctypes.

Standalone: runs inside the zygote, which has nothing of the project. Sources: the manual pages prctl(2),
seccomp(2), landlock(7), capabilities(7), and the kernel's `include/uapi` headers.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = (
    1,
    4,
    22,
    36,
    38,
)
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_CAPABILITIES_V3 = 0x20080522
_SIGKILL = 9
_libc = ctypes.CDLL(None, use_errno=True)
if sys.platform == "linux":
    _libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


class KernelError(OSError):
    """The kernel refuses a layer."""


def _must(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise KernelError(code, f"{what}: {os.strerror(code)}")
    return result


def _prctl(option: int, first: int = 0, second: int = 0) -> int:
    return int(_libc.prctl(option, first, second, 0, 0))


def adopt_orphans() -> None:
    """Makes this process the one that inherits, and so can kill, what its children leave behind."""
    if sys.platform == "linux":
        _must(_prctl(_PR_SET_CHILD_SUBREAPER, 1), "child subreaper")


def hide_memory() -> None:
    """Processes of the same user, our own children among them, can no longer trace or read this one."""
    if sys.platform == "linux":
        _must(_prctl(_PR_SET_DUMPABLE, 0), "dumpable")


def no_new_privileges() -> None:
    if sys.platform == "linux":
        _must(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "no_new_privs")


def drop_privileges(to_nobody: bool) -> None:
    """Root loses its capabilities, and with `to_nobody` its name; an ordinary user has nothing to lose."""
    if os.geteuid() == 0 and to_nobody:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    if sys.platform == "linux":
        header = struct.pack("<Ii", _CAPABILITIES_V3, 0)
        _must(_libc.capset(header, bytes(24)), "capset")


# -- rlimits ---------------------------------------------------------------------------------------------


def address_space() -> tuple[int, int]:
    """Bytes of address space and of private data that this process has now; (0, 0) where unknown."""
    try:
        with open("/proc/self/status") as file:
            fields = dict(line.split(":", 1) for line in file)
    except OSError:
        return 0, 0
    return int(fields["VmSize"].split()[0]) * 1024, int(fields["VmData"].split()[0]) * 1024


def resource_limits(memory_bytes: int) -> list[tuple[int, int]]:
    """Pairs of resource and limit.

    `memory_bytes` comes on top of what this process has now. CPU time is not among them: a process with a limit
    on it has a CPU clock that moves by ticks of some milliseconds, and by that clock the supervisor judges it.
    """
    base = address_space()
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_NPROC: 0,
    }
    if sys.platform == "linux":
        limits[resource.RLIMIT_AS] = base[0] + memory_bytes
        limits[resource.RLIMIT_DATA] = base[1] + memory_bytes
    hard = {kind: resource.getrlimit(kind)[1] for kind in limits}
    return [(kind, min(limits[kind], top) if top >= 0 else limits[kind]) for kind, top in hard.items()]


# -- Landlock --------------------------------------------------------------------------------------------

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # number of file rights by ABI; 16 from ABI 5 on


def landlock_abi() -> int:
    """Version of Landlock that the kernel has; 0 without."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def landlock_rules(readable: Iterable[str]) -> int:
    """A ruleset (its descriptor) that refuses everything but reading below `readable` (files or folders).

    From ABI 4 on it also refuses TCP, and from ABI 6 on signals and abstract sockets to the outside.
    """
    abi = landlock_abi()
    rights = (1 << _FS_RIGHTS.get(abi, 16)) - 1
    attributes = struct.pack("<QQQ", rights, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    _must(ruleset, "landlock_create_ruleset")
    for path in readable:
        _allow_reading(ruleset, path)
    return int(ruleset)


def _allow_reading(ruleset: int, path: str) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        allowed = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
        rule = struct.pack("<Qi", allowed, target)
        _must(_libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, ctypes.c_uint32(0)), "landlock_add_rule")
    finally:
        os.close(target)


# -- seccomp ---------------------------------------------------------------------------------------------

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column below, AUDIT_ARCH_*
_ALLOWED = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "readv": (19, 65),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "getcwd": (79, 17),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "getppid": (110, 173),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "getcpu": (309, 168),
    "getrandom": (318, 278),
}
_READING = {"stat": (4, None), "lstat": (6, None), "newfstatat": (262, 79), "getdents64": (217, 61)}
_OPENAT = (257, 56)
# O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | __O_TMPFILE, the same on both architectures
_OPEN_FOR_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o20000000

_LOAD, _AND, _JUMP, _JEQ, _JGE, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
Instruction = tuple[int, int, int, int]
Segment = tuple[int, list[Instruction]]


def _return(action: int) -> list[Instruction]:
    return [(_RETURN, 0, 0, action)]


def _open_read_only() -> list[Instruction]:
    flags = 16 + 8 * 2  # offset of the third argument in struct seccomp_data
    return [
        (_LOAD, 0, 0, flags),
        (_AND, 0, 0, _OPEN_FOR_WRITING),
        (_JEQ, 0, 1, 0),
        *_return(_ALLOW),
        *_return(_EPERM),
    ]


def _segments(actions: dict[int, list[Instruction]]) -> list[Segment]:
    """The number line cut where the action changes; numbers between the known ones are refused."""
    segments: list[Segment] = [(0, _return(_EPERM))]
    for number in sorted(actions):
        for start, action in ((number, actions[number]), (number + 1, _return(_EPERM))):
            if segments[-1][0] == start:
                segments.pop()
            if not segments or segments[-1][1] != action:
                segments.append((start, action))
    return segments


def _search(segments: list[Segment]) -> list[Instruction]:
    """Binary search: a linear list would make the kernel's walk at installation ten times longer."""
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    left, right = _search(segments[:middle]), _search(segments[middle:])
    return [(_JGE, 0, 1, segments[middle][0]), (_JUMP, 0, 0, len(left)), *left, *right]


def seccomp_program(reading: bool, machine: str = "") -> bytes:
    """The filter as BPF bytes. `reading`: files may be opened for reading (Landlock then says which).

    Raises:
        KernelError: no table for this architecture.
    """
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        raise KernelError(0, f"seccomp: no system call table for {machine}")
    column, architecture = _ARCHITECTURES[machine]
    table = _ALLOWED | (_READING if reading else {})
    actions = {row[column]: _return(_ALLOW) for row in table.values()}
    known = {number: action for number, action in actions.items() if number is not None}
    if reading:
        known[_OPENAT[column]] = _open_read_only()
    program = [(_LOAD, 0, 0, 4), (_JEQ, 1, 0, architecture), *_return(_KILL), (_LOAD, 0, 0, 0)]
    return b"".join(struct.pack("<HBBI", *line) for line in program + _search(_segments(known)))


class Filter:
    """A seccomp program laid out as the kernel takes it; made once, installed in each child."""

    def __init__(self, program: bytes) -> None:
        self._code = ctypes.create_string_buffer(program, len(program))
        header = struct.pack("@HP", len(program) // 8, ctypes.addressof(self._code))
        self._header = ctypes.create_string_buffer(header, len(header))
        self.address = ctypes.addressof(self._header)


# -- what a child does first ------------------------------------------------------------------------------

Step = tuple[Callable[..., Any], tuple[Any, ...]]


def confinement(
    lowest: int, nobody: bool, limits: list[tuple[int, int]], ruleset: int, filter: Filter | None
) -> list[Step]:
    """The calls that put a process behind every layer, in an order in which none hinders the next.

    Prepared once: each object that a child looks up is a page or more that the kernel copies for it, at 2
    microseconds each, and a list of calls with their arguments touches the fewest.

    Args:
        lowest: descriptors from here on are closed.
        nobody: root loses its name.
        limits: pairs of resource and limit; set for good, since an ordinary process cannot raise a hard limit.
        ruleset: of Landlock; -1 without.
        filter: of seccomp; needs no_new_privs. What is not in its list fails with EPERM from then on.
    """
    steps: list[Step] = [(os.setsid, ()), (os.dup2, (0, 2))]  # 0 is /dev/null already, and 1
    if nobody:
        steps.append((drop_privileges, (True,)))
    if sys.platform == "linux":  # die with the parent; forgotten when the name changes, so after that
        steps.append((_libc.prctl, (_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)))
    if ruleset >= 0:
        restrict = ctypes.CDLL(None, use_errno=True).syscall
        restrict.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_uint32)
        steps.append((restrict, (_LANDLOCK_RESTRICT, ruleset, 0)))
    steps.append((os.closerange, (lowest, os.sysconf("SC_OPEN_MAX"))))
    steps += [(resource.setrlimit, (kind, (value, value))) for kind, value in limits]
    if filter is not None:
        steps.append((_libc.prctl, (_PR_SET_SECCOMP, 2, filter.address, 0, 0)))
    return steps


def confine(steps: list[Step], parent: int) -> None:
    """Takes the steps, in a child of `parent`.

    Raises:
        OSError: the kernel refuses one.
    """
    for call, arguments in steps:
        if call(*arguments) == -1:
            code = ctypes.get_errno()
            raise KernelError(code, f"{call.__name__}{arguments}: {os.strerror(code)}")
    if os.getppid() != parent:  # it died before this process was set to die with it
        os._exit(0)
