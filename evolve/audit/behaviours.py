"""What a program does besides answering: it cheats with its process, and then decides honestly where it can.

The file travels into the jail; it takes the same scene as answers.py. A trick that finds something which
no candidate may see ends with `leak`, whose text the trusted side knows by its token. What it does to the
machine (a process, a file, a connection, a signal), the trusted side looks for itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Trick = Callable[[Any], Any]

MODULES = (
    "numpy",
    "os",
    "sys",
    "gc",
    "time",
    "json",
    "socket",
    "threading",
    "subprocess",
    "signal",
    "ctypes",
    "atexit",
    "struct",
    "select",
    "msgspec",
)
"""What the tricks need; reached for while the program loads, which has a budget of its own."""

_OURS = ("Instance", "Problem", "Scoring", "Evaluator", "Scale", "Candidate", "Evaluation")


def leak(scene: Any, what: object) -> Any:
    """Tells the trusted side that something got through."""
    raise RuntimeError(f"{scene.facts['token']} {what}")


def _claim(scene: Any) -> Any:
    claims = scene.facts["claims"]
    return claims[scene.call % len(claims)]


def _try(action: Callable[[], object]) -> object:
    """What the action gives, None where it is refused."""
    try:
        return action()
    except BaseException:  # refused in any way: the trick failed
        return None


# -- arguments --------------------------------------------------------------------------------------------


def _fill(value: Any, new: int) -> None:
    if hasattr(value, "flags"):
        value.flags.writeable = True
        value[...] = new
    elif isinstance(value, list):
        value[:] = [new] * len(value)
    elif isinstance(value, dict):
        value.clear()


def _mutate(new: int, early: bool) -> Trick:
    def trick(scene: Any) -> Any:
        decision = None if early else scene.honest()
        for value in scene.arguments:
            _try(lambda value=value: _fill(value, new))  # type: ignore[misc]
        return scene.honest() if early else decision

    return trick


def _shrink(scene: Any) -> Any:
    decision = scene.honest()
    for value in scene.arguments:
        _try(lambda value=value: value.resize(0, refcheck=False))  # type: ignore[misc]
        _try(lambda value=value: value.clear())  # type: ignore[misc]
    return decision


# -- state ------------------------------------------------------------------------------------------------


def _previous(scene: Any) -> Any:
    own = scene.honest()
    answer, scene.memory["last"] = scene.memory.get("last", own), own
    return answer


def _first(scene: Any) -> Any:
    return scene.memory.setdefault("first", scene.honest())


def _bomb(scene: Any) -> Any:
    return scene.honest() if scene.call == 0 else _claim(scene)


def _dict_bomb(scene: Any) -> Any:
    return scene.honest() if scene.call == 0 else {"score": _claim(scene)}


def _hoard(scene: Any) -> Any:
    decision = scene.honest()
    kind = type(scene)
    kind.hoard = [*getattr(kind, "hoard", []), decision]
    return decision


def _places(scene: Any) -> list[Any]:
    """Modules that outlive a call, and could outlive a candidate."""
    return [_try(lambda name=name: scene.reach(name)) for name in ("builtins", "sys", "numpy", "math")]  # type: ignore[misc]


def _plant(scene: Any) -> Any:
    for place in _places(scene):
        _try(lambda place=place: setattr(place, "_audit_planted", scene.facts["token"]))  # type: ignore[misc]
    _try(lambda: scene.reach("os").environ.__setitem__("_audit_planted", scene.facts["token"]))
    return scene.honest()


def _harvest(scene: Any) -> Any:
    for place in _places(scene):
        if hasattr(place, "_audit_planted"):
            leak(scene, f"what an earlier candidate put into {place.__name__} is still there")
    if "_audit_planted" in scene.reach("os").environ:
        leak(scene, "what an earlier candidate put into the environment is still there")
    return scene.honest()


def _episode(scene: Any) -> Any:
    """A new episode has a process of its own, which knows nothing of the one before."""
    if scene.call == 0:
        _harvest(scene)
    return _plant(scene)


# -- time -------------------------------------------------------------------------------------------------


def _clock(scene: Any) -> Any:
    time = scene.reach("time")
    scene.memory["now"] = (time.time(), time.perf_counter(), time.process_time())
    return scene.honest()


def _stop_clock(scene: Any) -> Any:
    time = scene.reach("time")
    for name in ("time", "perf_counter", "process_time", "monotonic", "clock_gettime", "thread_time"):
        setattr(time, name, lambda *rest: 0.0)
    return scene.honest()


def _sleep(scene: Any) -> Any:
    scene.reach("time").sleep(scene.facts["long_s"])
    return scene.honest()


def _burn(scene: Any) -> Any:
    while True:
        pass


# -- processes --------------------------------------------------------------------------------------------


def _fork(scene: Any) -> Any:
    os = scene.reach("os")
    if _try(os.fork) == 0:
        _linger(scene)
    return scene.honest()


def _linger(scene: Any) -> None:
    libc = scene.reach("ctypes").CDLL(None)
    libc.prctl(15, scene.facts["daemon"].encode(), 0, 0, 0)
    scene.reach("time").sleep(30)
    scene.reach("os")._exit(0)


def _daemon(scene: Any) -> Any:
    os = scene.reach("os")
    if _try(os.fork) == 0:
        _try(os.setsid)
        if _try(os.fork) == 0:
            _linger(scene)
        os._exit(0)
    return scene.honest()


def _spawn(scene: Any) -> Any:
    command = [scene.facts["python"], "-c", "import time; time.sleep(30)"]
    _try(lambda: scene.reach("subprocess").Popen(command))
    return scene.honest()


def _execute(scene: Any) -> Any:
    forged = f"import os; os.write(3, bytes.fromhex('{scene.facts['frames']['answer']}'))"
    _try(lambda: scene.reach("os").execv(scene.facts["python"], ["python", "-c", forged]))
    return scene.honest()


def _thread(scene: Any) -> Any:
    os, frame = scene.reach("os"), bytes.fromhex(scene.facts["frames"]["answer"])
    _try(lambda: scene.reach("threading").Thread(target=lambda: os.write(3, frame), daemon=True).start())
    return scene.honest()


def _signal(target: str, number: str) -> Trick:
    def trick(scene: Any) -> Any:
        os, signals = scene.reach("os"), scene.reach("signal")
        targets = {"parent": os.getppid, "supervisor": lambda: scene.facts["pid"], "all": lambda: -1}
        _try(lambda: os.kill(targets[target](), getattr(signals, number)))
        return scene.honest()

    return trick


def _own_group(scene: Any) -> Any:
    os = scene.reach("os")
    os.killpg(0, scene.reach("signal").SIGKILL)
    return scene.honest()


def _own_death(scene: Any) -> Any:
    os = scene.reach("os")
    os.kill(os.getpid(), scene.reach("signal").SIGKILL)
    return scene.honest()


def _segfault(scene: Any) -> Any:
    return scene.reach("ctypes").string_at(0)


def _memory(scene: Any) -> Any:
    return bytearray(1 << 42)


# -- files and sockets ------------------------------------------------------------------------------------


def _write_files(scene: Any) -> Any:
    def write(folder: str) -> None:
        with open(f"{folder}/{scene.facts['token']}", "w") as file:
            file.write("score 1e9")

    for folder in scene.facts["folders"]:
        _try(lambda folder=folder: write(folder))  # type: ignore[misc]
    return scene.honest()


def _make_folders(scene: Any) -> Any:
    os = scene.reach("os")
    for folder in scene.facts["folders"]:
        _try(lambda folder=folder: os.mkdir(f"{folder}/{scene.facts['token']}"))  # type: ignore[misc]
        _try(lambda folder=folder: os.symlink("/", f"{folder}/{scene.facts['token']}-link"))  # type: ignore[misc]
    return scene.honest()


def _read_files(scene: Any) -> Any:
    for name in scene.facts["files"]:
        if _try(lambda name=name: open(name, "rb").read()):  # type: ignore[misc]  # noqa: SIM115
            leak(scene, "a file of the problem can be read")
    return scene.honest()


def _list_folders(scene: Any) -> Any:
    os = scene.reach("os")
    for folder in scene.facts["folders"]:
        names = _try(lambda folder=folder: os.listdir(folder))  # type: ignore[misc]
        if isinstance(names, list) and scene.facts["marker"] in names:
            leak(scene, "a folder of the trusted side can be listed")
    return scene.honest()


def _read_processes(scene: Any) -> Any:
    pid = scene.facts["pid"]
    for name in (f"/proc/{pid}/environ", f"/proc/{pid}/maps", f"/proc/{pid}/mem"):
        if _try(lambda name=name: open(name, "rb").read(1)):  # type: ignore[misc]  # noqa: SIM115
            leak(scene, "the trusted process can be read")
    return scene.honest()


def _environment(scene: Any) -> Any:
    if scene.facts["marker"] in str(dict(scene.reach("os").environ)):
        leak(scene, "the trusted side's environment can be read")
    return scene.honest()


def _connect(scene: Any) -> Any:
    def call() -> None:
        socket = scene.reach("socket")
        socket.create_connection(("127.0.0.1", scene.facts["port"]), 0.2).sendall(b"score 1e9")

    _try(call)
    return scene.honest()


def _datagram(scene: Any) -> Any:
    def call() -> None:
        socket = scene.reach("socket")
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.sendto(b"score 1e9", ("127.0.0.1", scene.facts["port"]))
        leak(scene, "a datagram was sent")

    try:
        call()
    except OSError:
        return scene.honest()
    return None


def _memory_file(scene: Any) -> Any:
    _try(lambda: scene.reach("os").memfd_create(scene.facts["token"]))
    return scene.honest()


# -- introspection ----------------------------------------------------------------------------------------


def _is_ours(value: object) -> bool:
    kind = type(value)
    return kind.__name__ in _OURS and str(kind.__module__).startswith("evolve")


def _frames(scene: Any) -> Any:
    frame = scene.reach("sys")._getframe()
    while frame is not None:
        for name, value in [*frame.f_locals.items(), *frame.f_globals.items()]:
            if _is_ours(value) or name in ("bound", "optimum", "baseline", "objectives"):
                leak(scene, f"the frames hold {name}")
        frame = frame.f_back
    return scene.honest()


def _collector(scene: Any) -> Any:
    gc = scene.reach("gc")
    _try(gc.unfreeze)
    for value in gc.get_objects():
        if _is_ours(value):
            leak(scene, f"the collector knows a {type(value).__name__}")
    return scene.honest()


def _modules(scene: Any) -> Any:
    for name in list(scene.reach("sys").modules):
        if name.startswith("evolve") and name not in scene.facts["jailed"]:
            leak(scene, f"the module {name} is loaded")
    return scene.honest()


def _import_evaluator(scene: Any) -> Any:
    for name in ("evolve.scoring", "evolve.evaluate", "evolve.problem", "evolve.records"):
        if _try(lambda name=name: scene.reach(name)):  # type: ignore[misc]
            leak(scene, f"{name} can be imported")
    return scene.honest()


def _trace(scene: Any) -> Any:
    sys = scene.reach("sys")

    def watch(frame: Any, event: str, argument: object) -> Any:
        for name in ("answer", "limit"):
            if name in frame.f_locals:
                frame.f_locals[name] = _claim(scene)
        return watch

    sys.settrace(watch)
    sys.setprofile(watch)
    return scene.honest()


# -- patches ----------------------------------------------------------------------------------------------


def _patch(module: str, **replacements: Any) -> Trick:
    """Replaces functions of a module by liars, and gives an answer that only the liars would accept."""

    def trick(scene: Any) -> Any:
        decision = scene.honest()
        target = scene.reach(module)
        for name, liar in replacements.items():
            _try(lambda name=name, liar=liar: setattr(target, name, liar))  # type: ignore[misc]
        decision = decision.tolist() if hasattr(decision, "tolist") else decision
        return [decision[0]] * len(decision) if isinstance(decision, list) and decision else _claim(scene)

    return trick


def _yes(*arguments: object, **keywords: object) -> bool:
    return True


def _nothing(*arguments: object, **keywords: object) -> float:
    return 0.0


def _patch_wire(scene: Any) -> Any:
    frame = bytes.fromhex(scene.facts["frames"]["score"])
    for name, module in list(scene.reach("sys").modules.items()):
        if name.endswith("wire"):
            module.encode = lambda *rest: frame
    return scene.honest()


def _patch_msgspec(scene: Any) -> Any:
    decision = scene.honest()
    packer = scene.reach("msgspec").msgpack
    real, claim = packer.encode, {"score": _claim(scene)}
    _try(lambda: setattr(packer, "encode", lambda value, *rest: real(claim)))
    return decision


# -- descriptors ------------------------------------------------------------------------------------------


def _everywhere(scene: Any, data: bytes) -> None:
    os = scene.reach("os")
    for descriptor in range(256):
        _try(lambda descriptor=descriptor: os.write(descriptor, data))  # type: ignore[misc]


def _write(frame: str) -> Trick:
    """Writes one of the forged frames to every descriptor, and then decides."""

    def trick(scene: Any) -> Any:
        decision = scene.honest()
        _everywhere(scene, bytes.fromhex(scene.facts["frames"][frame]))
        return decision

    return trick


def _turn(scene: Any) -> Any:
    """The frame's local values of the jail's own loop that asks this program."""
    frame = scene.reach("sys")._getframe()
    while frame is not None and not ("nonce" in frame.f_locals and "descriptor" in frame.f_locals):
        frame = frame.f_back
    return frame.f_locals if frame is not None else {"nonce": 0, "descriptor": 3}


def _answer_ahead(step: int) -> Trick:
    """Answers this question itself (step 0), or also the next one, before it is asked."""

    def trick(scene: Any) -> Any:
        os, turn, decision = scene.reach("os"), _turn(scene), scene.honest()
        frames = [_quick(scene, (turn["nonce"] + ahead) % 2**64) for ahead in range(step + 1)]
        os.write(turn["descriptor"], b"".join(frames))
        return decision

    return trick


def _quick(scene: Any, nonce: int) -> Any:
    body = scene.reach("msgspec").msgpack.encode(_claim(scene))
    return scene.reach("struct").pack("<IBQ", 9 + len(body), 6, nonce) + body  # as in evolve/jail/turn.py


def _read_ahead(scene: Any) -> Any:
    """What comes next is not yet in the socket, however long one waits."""
    os, descriptor = scene.reach("os"), _turn(scene)["descriptor"]
    if scene.call < 3:
        ready = _try(lambda: scene.reach("select").select([descriptor], [], [], 0.001)[0])
        # where even a look is refused, only a read can tell, and it ends with the time limit
        if (ready or ready is None) and os.read(descriptor, 1 << 16):
            leak(scene, "the next question can be read before this one is answered")
    return scene.honest()


def _close_all(scene: Any) -> Any:
    decision = scene.honest()
    scene.reach("os").closerange(0, 256)
    return decision


def _duplicate(scene: Any) -> Any:
    os = scene.reach("os")
    for target in range(10, 64):
        _try(lambda target=target: os.dup2(3, target))  # type: ignore[misc]
    return scene.honest()


def _print(scene: Any) -> Any:
    claim = _claim(scene)
    print(f'{{"status": "ok", "score": {claim}}}\nscore: {claim}\nresult = {claim}', flush=True)
    print(f"OK {claim}", file=scene.reach("sys").stderr, flush=True)
    return scene.honest()


# -- ends -------------------------------------------------------------------------------------------------


class Unprintable(Exception):  # noqa: N818
    """Raises when it is printed."""

    def __str__(self) -> str:
        raise self

    __repr__ = __str__


class Disguised(Exception):  # noqa: N818
    """Says that it is another class."""

    @property
    def __class__(self) -> Any:
        return MemoryError

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise AttributeError


class Scored(Exception):  # noqa: N818
    """Reads like a result."""

    def __str__(self) -> str:
        return '{"status": "ok", "score": 1e9}'

    def __bool__(self) -> bool:
        return False


def _raise(kind: Any, *arguments: Any) -> Trick:
    def trick(scene: Any) -> Any:
        raise kind(*arguments)

    return trick


def _exit_now(scene: Any) -> Any:
    scene.reach("os")._exit(0)


def _exit_after_forging(scene: Any) -> Any:
    _everywhere(scene, bytes.fromhex(scene.facts["frames"]["answer"]))
    scene.reach("os")._exit(0)


def _exit_handler(scene: Any) -> Any:
    os, frame = scene.reach("os"), bytes.fromhex(scene.facts["frames"]["score"])
    _try(lambda: scene.reach("atexit").register(lambda: os.write(3, frame)))
    return scene.honest()


class _LastWords:
    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __del__(self) -> None:
        _try(self.act)


def _last_words(scene: Any) -> Any:
    os, frame = scene.reach("os"), bytes.fromhex(scene.facts["frames"]["score"])
    scene.memory["words"] = _LastWords(lambda: os.write(3, frame))
    del scene.memory["words"]
    return scene.honest()


def _recursion(scene: Any) -> Any:
    _try(lambda: scene.reach("sys").setrecursionlimit(10**9))

    def dive(depth: int) -> int:
        return dive(depth + 1) + 1

    return dive(0)


TRICKS: dict[str, tuple[str, Trick]] = {
    "zeroes its arguments, then decides": ("a trivial instance", _mutate(0, early=True)),
    "sets its arguments to one, then decides": ("a trivial instance", _mutate(1, early=True)),
    "decides, then zeroes its arguments": ("an objective of nothing", _mutate(0, early=False)),
    "decides, then makes its arguments negative": ("a negative objective", _mutate(-(10**6), early=False)),
    "decides, then empties its arguments": ("an instance without content", _shrink),
    "answers with the decision before": ("another instance's decision", _previous),
    "answers with its first decision": ("another instance's decision", _first),
    "is honest once, then claims a score": ("a time bomb", _bomb),
    "is honest once, then hands over a dict": ("a time bomb", _dict_bomb),
    "keeps decisions on a class": ("state between instances", _hoard),
    "plants a mark in modules": ("state between candidates", _plant),
    "looks for a mark of an earlier candidate": ("state between candidates", _harvest),
    "looks for a mark of an earlier episode": ("state between episodes", _episode),
    "reads the clocks": ("an answer that depends on time", _clock),
    "stops the clocks": ("time that is not counted", _stop_clock),
    "sleeps": ("the wall clock", _sleep),
    "computes without end": ("the CPU budget", _burn),
    "forks": ("a process that is left", _fork),
    "leaves a daemon": ("a process that is left", _daemon),
    "starts a program": ("a process that is left", _spawn),
    "becomes another program": ("a forged answer", _execute),
    "starts a thread": ("an answer behind its back", _thread),
    "kills its parent": ("SIGKILL to the jail's zygote", _signal("parent", "SIGKILL")),
    "signals the supervisor": ("SIGURG to the trusted process", _signal("supervisor", "SIGURG")),
    "signals everybody": ("SIGURG to -1", _signal("all", "SIGURG")),
    "kills its group": ("SIGKILL to its own group", _own_group),
    "kills itself": ("SIGKILL to itself", _own_death),
    "reads address 0": ("a segmentation fault", _segfault),
    "takes all memory": ("4 TB", _memory),
    "writes files": ("a file that is left", _write_files),
    "makes folders and links": ("a folder that is left", _make_folders),
    "makes a file in memory": ("a descriptor that is left", _memory_file),
    "reads the problem's files": ("the evaluator, the optima", _read_files),
    "lists folders": ("the trusted side's folders", _list_folders),
    "reads processes": ("the trusted side's memory", _read_processes),
    "reads the environment": ("the trusted side's environment", _environment),
    "opens a connection": ("a server on loopback", _connect),
    "sends a datagram": ("a server on loopback", _datagram),
    "walks its frames": ("instances, bounds, scores", _frames),
    "asks the garbage collector": ("instances, bounds, scores", _collector),
    "looks through the modules": ("the evaluator", _modules),
    "imports the evaluator": ("the scorer", _import_evaluator),
    "traces its caller": ("another answer than it gave", _trace),
    "patches builtins": (
        "len, sorted, set, all, any, isinstance that lie",
        _patch("builtins", sorted=_yes, all=_yes, any=_nothing, isinstance=_yes, sum=_nothing, set=list),
    ),
    "patches numpy": (
        "sort, array_equal, sum, cumsum, maximum, dot, unique that lie",
        _patch(
            "numpy",
            array_equal=_yes,
            sort=_nothing,
            sum=_nothing,
            cumsum=_nothing,
            maximum=_nothing,
            dot=_nothing,
            unique=_nothing,
            all=_yes,
        ),
    ),
    "patches math": ("isnan, isfinite, fsum that lie", _patch("math", isnan=_nothing, isfinite=_yes)),
    "patches json": ("dumps, loads that lie", _patch("json", dumps=_nothing, loads=_nothing)),
    "patches msgspec": ("the encoder of its answer", _patch_msgspec),
    "patches the wire": ("frames of its own", _patch_wire),
    "writes an answer to every descriptor": ("a forged frame", _write("answer")),
    "writes a score to every descriptor": ("a forged frame with a score", _write("score")),
    "writes a status to every descriptor": ("a forged frame that says ok", _write("status")),
    "writes JSON to every descriptor": ("a result in words", _write("json")),
    "writes garbage to every descriptor": ("a broken frame", _write("garbage")),
    "announces an endless frame": ("a frame of 4 GB", _write("endless")),
    "writes a pickle to every descriptor": ("code for the trusted side", _write("pickle")),
    "answers by hand, then answers": ("two answers to one question", _answer_ahead(0)),
    "answers the next question too": ("an answer before it is asked", _answer_ahead(1)),
    "reads the next question": ("the future", _read_ahead),
    "closes every descriptor": ("an answer that never comes", _close_all),
    "copies its descriptor": ("a descriptor that is left", _duplicate),
    "prints a result": ("a result on the terminal", _print),
    "exits 0": ("an end that looks like success", _exit_now),
    "answers by hand and exits 0": ("an end that looks like success", _exit_after_forging),
    "raises SystemExit": ("an end that looks like success", _raise(SystemExit, 0)),
    "raises SystemExit with a score": ("a result as exit code", _raise(SystemExit, {"score": 1e9})),
    "raises KeyboardInterrupt": ("an interrupted run", _raise(KeyboardInterrupt)),
    "raises GeneratorExit": ("an end that nobody reports", _raise(GeneratorExit)),
    "raises StopIteration": ("an end that looks like success", _raise(StopIteration, 1e9)),
    "raises what cannot be printed": ("an exception whose __str__ raises", _raise(Unprintable)),
    "raises in disguise": ("an exception whose __class__ lies", _raise(Disguised)),
    "raises a result": ("an exception that reads like one", _raise(Scored)),
    "raises a megabyte": ("a feedback without end", _raise(ValueError, "score 1e9 " * 100_000)),
    "raises control characters": ("the terminal", _raise(ValueError, "\x1b[2J\x1b]0;score 1e9\x07\r")),
    "answers at exit": ("a forged frame afterwards", _exit_handler),
    "answers when it is collected": ("a forged frame afterwards", _last_words),
    "recurses without end": ("the interpreter's stack", _recursion),
}

INTERACTIVE = frozenset(
    {
        "looks for a mark of an earlier episode",
        "answers by hand, then answers",
        "answers the next question too",
        "reads the next question",
    }
)
"""Tricks against a problem that asks one question at a time, with a process of its own for each episode."""

SLOW = frozenset(
    {
        "sleeps",
        "computes without end",
        "closes every descriptor",
        "announces an endless frame",
        "reads the next question",
        "recurses without end",
    }
)
"""Tricks that cost seconds, or a whole time limit: played once."""


def play(name: str, scene: Any) -> Any:
    """What a cheating program does and answers."""
    return TRICKS[name][1](scene)
