"""The jail attacks itself: small hostile programs, each run through a real session.

An attack is the body of a function that has every module at hand (the import guard is off: it is no defence)
and gets `facts` from the trusted side. It returns a text if it got through, and nothing, or an exception, if
not. Where the trusted side can see the damage itself (a file that changed, a connection that came), it does.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import socket
import stat
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from evolve.errors import JailError
from evolve.jail import wire
from evolve.jail.jail import Jail
from evolve.jail.level import Level, Limits
from evolve.records import Value

MODULES = ("ctypes", "mmap", "os", "resource", "signal", "socket", "subprocess", "threading", "time")
LIMITS = Limits(cpu_s=0.5, memory_mb=64, load_s=1.0, imports=MODULES)
_SECRET_NAME = "EVOLVE_JAIL_SECRET"

_HEADER = """
import ctypes, mmap, os, resource, signal, socket, subprocess, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
def raw(x86_64, aarch64, *values):
    return check(libc.syscall({'x86_64': x86_64, 'aarch64': aarch64}[os.uname().machine], *values))
def attack(facts):
"""


@dataclass(frozen=True)
class AttackResult:
    """name: what was tried. stopped: whether the jail held. by: what stopped it, or what got through."""

    name: str
    stopped: bool
    by: str


ATTACKS: dict[str, str] = {
    "read a file": "return open(facts['secret']).read()",
    "list a folder": "return ', '.join(os.listdir(facts['folder']))",
    "write a file": "open(facts['folder'] + '/written', 'w').write('x')",
    "overwrite a file": "open(facts['secret'], 'r+').write('x')",
    "create a folder": "os.mkdir(facts['folder'] + '/made')",
    "change a file's mode": "os.chmod(facts['secret'], 0o777)",
    "delete a file": "os.remove(facts['secret'])",
    "rename a file": "os.rename(facts['secret'], facts['secret'] + '.moved')",
    "link to a file": "os.symlink(facts['secret'], facts['folder'] + '/link')",
    "change the jail's own code": "open(facts['jail'] + '/planted.py', 'w').write('x')",
    "write to shared memory": """
        check(libc.shm_open(b'/evolve-attack', os.O_CREAT | os.O_RDWR, 0o600))
        libc.shm_unlink(b'/evolve-attack')
        return 'opened'
    """,
    "read the supervisor's environment": "return open(f\"/proc/{facts['pid']}/environ\").read()",
    "read the parent's memory": "return open(f'/proc/{os.getppid()}/maps').read()",
    "find a secret in the environment": """
        names = open('/proc/self/environ').read() if os.path.exists('/proc/self/environ') else ''
        return [text for text in (*os.environ, names) if facts['name'] in text]
    """,
    "connect to a local server": "socket.socket().connect(('127.0.0.1', facts['port'])); return 'connected'",
    "send a datagram": """
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', facts['port']))
        return 'sent'
    """,
    "listen on a port": "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); return 'listening'",
    "open a Unix socket": "socket.socketpair(); return 'opened'",
    "fork": "pid = os.fork(); pid or os._exit(0); return 'forked'",
    "leave a daemon behind": """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                libc.prctl(15, facts['daemon'].encode(), 0, 0, 0)
                time.sleep(1000)
            os._exit(0)
        time.sleep(0.05)
    """,
    "start a thread": "threading.Thread(target=int).start(); return 'started'",
    "run a program": """
        python = facts['python']
        return f'exit code {subprocess.call([python, "-c", ""])}'
    """,
    "replace itself by a program": """
        forged = f"import os; os.write(3, bytes.fromhex('{facts['forged']}'))"
        os.execv(facts['python'], ['python', '-c', forged])
    """,
    "signal its parent": "os.kill(os.getppid(), 0); return 'possible'",
    "signal the supervisor": "os.kill(facts['pid'], 0); return 'possible'",
    "signal everything": "os.kill(-1, 0); return 'possible'",
    "trace its parent": "check(libc.ptrace(0x4206, os.getppid(), 0, 0)); return 'seized'",
    "read its parent's memory by a system call": """
        cell = ctypes.create_string_buffer(8)
        vector = (ctypes.c_size_t * 2)(ctypes.addressof(cell), 8)
        check(libc.process_vm_readv(os.getppid(), vector, 1, vector, 1, 0))
        return 'read'
    """,
    "allocate beyond its limit": "return f'{len(bytes(facts[\"bytes\"]))} bytes'",
    "map shared memory beyond its limit": "return f'{len(mmap.mmap(-1, facts[\"bytes\"]))} bytes'",
    "raise its limits": """
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return 'raised'
    """,
    "use a foreign descriptor": """
        found = []
        for number in range(4, 256):
            try:
                os.fstat(number)
                found.append(number)
            except OSError:
                pass
        return found and f'descriptors {found}'
    """,
    "write to the terminal": """
        null = os.stat('/dev/null').st_rdev
        return [number for number in (0, 1, 2) if os.fstat(number).st_rdev != null]
    """,
    "open namespaces of its own": "check(libc.unshare(0x10000000)); return 'opened'",
    "mount": "check(libc.mount(b'none', facts['folder'].encode(), b'tmpfs', 0, 0)); return 'mounted'",
    "become another user": "check(libc.setuid(1)); return 'became'",
    "make an in-memory file": "os.memfd_create('x'); return 'made'",
    "use io_uring": "raw(425, 425, 8, bytes(120)); return 'set up'",
    "load a BPF program": "raw(321, 280, 0, bytes(72), 72); return 'loaded'",
    "watch faults": "raw(323, 282, 1); return 'watched'",
    "reach for keys": "raw(250, 219, 0, -3, 1); return 'got'",
    "use the x32 system calls": """
        if os.uname().machine == 'x86_64':
            return f'pid {check(libc.syscall(0x40000000 | 39))}'
    """,
    "take over a core": "os.sched_setaffinity(0, {0}); return 'bound'",
    "compute without end": "while True: pass",
}


class _Scene:
    """What the attacks aim at: a secret file, a secret in the environment, a server on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        self.secret = folder / "secret"
        self.daemon = f"attack-{self.token[:8]}"  # at most 15 characters
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setblocking(False)
        self.restore()

    def restore(self) -> None:
        for path in self.folder.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
        self.secret.write_text(self.token)
        self.secret.chmod(0o600)

    def facts(self) -> dict[str, Value]:
        return {
            "secret": str(self.secret),
            "folder": str(self.folder),
            "jail": str(Path(__file__).parent),
            "name": _SECRET_NAME,
            "forged": wire.encode(wire.ANSWER, "executed").hex(),
            "daemon": self.daemon,
            "pid": os.getpid(),
            "port": self.server.getsockname()[1],
            "python": os.path.realpath(sys.executable),
            "bytes": 16 * LIMITS.memory_mb << 20,
        }

    def damage(self) -> str:
        """What can be seen from here; empty if nothing happened."""
        checks: dict[str, Callable[[], bool]] = {
            "the folder changed": lambda: sorted(os.listdir(self.folder)) != ["secret"],
            "the file changed": lambda: self.secret.read_text() != self.token,
            "the mode changed": lambda: stat.S_IMODE(self.secret.stat().st_mode) != 0o600,
            "a file was planted in the jail": Path(__file__).with_name("planted.py").exists,
            "the server was reached": self._reached,
            "a process is left": self._haunted,
        }
        return next((text for text, check in checks.items() if check()), "")

    def _reached(self) -> bool:
        try:
            self.server.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def _haunted(self) -> bool:
        for comm in Path("/proc").glob("[0-9]*/comm"):
            with contextlib.suppress(OSError):
                if comm.read_text().strip() == self.daemon:
                    return True
        return False

    def close(self) -> None:
        self.server.close()
        Path(__file__).with_name("planted.py").unlink(missing_ok=True)


@contextlib.contextmanager
def _scene() -> Iterator[_Scene]:
    with tempfile.TemporaryDirectory(prefix="evolve-jail-") as folder:
        scene = _Scene(Path(folder))
        os.environ[_SECRET_NAME] = scene.token
        try:
            yield scene
        finally:
            del os.environ[_SECRET_NAME]
            scene.close()


def _run(jail: Jail, scene: _Scene, name: str, body: str) -> AttackResult:
    source = _HEADER + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n"
    scene.restore()
    try:
        with jail.session({"attack.py": source}, "attack.py", "attack") as session:
            answer = next(session.ask([wire.encode_arguments([scene.facts()])], [LIMITS.cpu_s]))
    except JailError as error:
        return AttackResult(name, False, f"the jail broke: {error}")
    damage = scene.damage()
    if damage or (answer.failure is None and answer.value):
        return AttackResult(name, False, damage or str(answer.value)[:80])
    return AttackResult(name, True, answer.failure.feedback if answer.failure else "nothing was found")


def self_attack(level: Level) -> list[AttackResult]:
    """Runs every attack in a jail of exactly this level.

    Raises:
        JailError: no such jail can be built here.
    """
    with _scene() as scene, Jail(LIMITS, level=level) as jail:
        return [_run(jail, scene, name, body) for name, body in ATTACKS.items()]


# -- once a boot ------------------------------------------------------------------------------------------


def _cache(level: Level) -> Path:
    """Where the verdict is kept: another kernel, Python or jail must be attacked anew."""
    digest = hashlib.sha256(
        f"{level} {sys.version} {os.path.realpath(sys.executable)} {os.geteuid()}".encode()
    )
    with contextlib.suppress(OSError):
        digest.update(Path("/proc/sys/kernel/random/boot_id").read_bytes())
    digest.update(" ".join(os.uname()).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "evolve", f"jail-{digest.hexdigest()[:16]}.json")


def _read(path: Path) -> list[AttackResult]:
    try:
        return [AttackResult(**row) for row in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return []


def _write(path: Path, results: list[AttackResult]) -> None:
    with contextlib.suppress(OSError):  # a home that cannot be written costs half a second at each start
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps([asdict(result) for result in results]))
        new.replace(path)


def require_closed(level: Level) -> list[AttackResult]:
    """Attacks the jail once per boot and version, and answers from a cache after that.

    At the two levels with Landlock and seccomp nothing may get through. The weaker levels are known to be
    open, so that there the caller shows what got through.

    Raises:
        JailError: an attack got through a level that should stop them all.
    """
    path = _cache(level)
    results = _read(path)
    if not results:
        results = self_attack(level)
        _write(path, results)
    through = [result for result in results if not result.stopped]
    if through and level.filters:
        path.unlink(missing_ok=True)
        rows = "".join(f"\n  {result.name}: {result.by}" for result in through)
        raise JailError(
            f"{len(through)} of {len(results)} attacks got through the jail at level '{level}':{rows}"
        )
    return results
