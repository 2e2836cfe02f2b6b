"""What a forked child does: load one candidate and answer its questions.

Nothing here is a defence, since the candidate shares the process and can change all of it: the kernel's
layers and the distrust of the other side are. The import guard and the error texts are for the proposer.
"""

from __future__ import annotations

import builtins
import os
import sys
import types
from collections.abc import Callable, Collection, Mapping
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from evolve.jail import turn, wire

if TYPE_CHECKING:  # importing it brings tempfile, urllib and lzma along, whose pages each fork would copy
    from importlib.abc import Loader

TEXT = 1000  # characters of an error text
LINE = 160  # characters of a quoted source line
_CONFINED, _LOADED = wire.encode(wire.CONFINED, None), wire.encode(wire.LOADED, None)
_NO_MEMORY = wire.encode(wire.FAILURE, ["out-of-memory", "MemoryError: the program passed its memory limit"])


# Made before the fork: making it touches, and so copies, the pages of every built-in (150 page faults).
_BUILTINS: dict[str, Any] = dict(vars(builtins))


class ForbiddenImport(ImportError):  # noqa: N818  (the name is shown to proposers)
    """An import that the problem does not allow."""


class MissingEntry(LookupError):  # noqa: N818
    """The program lacks the function that it is called by."""


class Channel:
    """The answer socket, blocking, with the frames of wire.py on it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.buffer = bytearray()

    def _fill(self, size: int) -> None:
        while len(self.buffer) < size:
            data = os.read(self.descriptor, 1 << 16)
            if not data:
                os._exit(0)  # the supervisor is gone
            self.buffer += data

    def receive(self) -> Any:
        self._fill(wire.HEADER.size)
        (length,) = wire.HEADER.unpack_from(self.buffer)
        end = wire.HEADER.size + length
        self._fill(end)
        body = bytes(memoryview(self.buffer)[wire.HEADER.size : end])
        del self.buffer[:end]
        return wire.decode(body, structure_limit=len(body))[1]

    def send(self, frame: bytes) -> None:
        view = memoryview(frame)
        while view:
            view = view[os.write(self.descriptor, view) :]


def _allowed(name: str, imports: tuple[str, ...]) -> bool:
    return name == "__future__" or any(
        name == module or name.startswith(module + ".") or module.startswith(name + ".") for module in imports
    )


def _guard(imports: tuple[str, ...], own: Collection[str]) -> Callable[..., Any]:
    """An `__import__` for the candidate's own import statements; numpy's inner ones do not pass here."""

    def guarded(name: str, *rest: Any, **keywords: Any) -> Any:
        if name not in own and not _allowed(name, imports):
            raise ForbiddenImport(f"module '{name}' is not allowed; allowed: {', '.join(imports) or 'none'}")
        return __import__(name, *rest, **keywords)

    return guarded


class _Files:
    """Makes the files of a program importable by each other, from memory."""

    def __init__(self, files: Mapping[str, str], imports: tuple[str, ...]) -> None:
        self.files = files
        self.names = {name.removesuffix(".py"): name for name in files}
        _BUILTINS["__import__"] = _guard(imports, self.names)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, cast("Loader", self)) if fullname in self.names else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.__dict__["__builtins__"] = _BUILTINS
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        name = self.names[module.__name__]
        exec(compile(self.files[name], name, "exec", dont_inherit=True), module.__dict__)


def _load(files: Mapping[str, str], program: str, entry: str, imports: tuple[str, ...]) -> Callable[..., Any]:
    finder = _Files(files, imports)
    sys.meta_path.insert(0, finder)
    module = finder.create_module(ModuleSpec(program.removesuffix(".py"), cast("Loader", finder)))
    sys.modules[module.__name__] = module
    finder.exec_module(module)
    function = vars(module).get(entry)
    if not callable(function):
        own = [key for key, value in vars(module).items() if isinstance(value, types.FunctionType)]
        raise MissingEntry(f"the program defines no function {entry}; it defines: {', '.join(own) or 'none'}")
    return function  # type: ignore[no-any-return]


def reseed() -> None:
    """Randomness that the candidate did not seed is the same for every question, in every run."""
    if random := sys.modules.get("random"):
        random.seed(0)
    np.random.seed(0)
    bits = np.random.RandomState(1).randint
    np.random.bit_generator.randbits = lambda count: int.from_bytes(  # type: ignore[attr-defined]
        bits(0, 256, (count + 7) // 8, dtype=np.uint8).tobytes(), "little"
    )


def _status(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "out-of-memory"
    if isinstance(error, (ForbiddenImport, PermissionError)) or "start new thread" in str(error):
        return "forbidden"
    return "invalid" if isinstance(error, wire.WireError) else "crashed"


def _place(error: BaseException, files: Mapping[str, str]) -> str:
    """The innermost line of the candidate's own that the error passed: file, number and text."""
    name, number = "", 0
    if isinstance(error, SyntaxError) and error.filename and error.filename in files:
        name, number = error.filename, error.lineno or 0
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename in files:
            name, number = step.tb_frame.f_code.co_filename, step.tb_lineno
        step = step.tb_next
    if not name:
        return ""
    lines = files[name].splitlines()
    text = lines[number - 1].strip()[:LINE] if 0 < number <= len(lines) else ""
    return f", in {name} line {number}: {text}"


def _describe(error: BaseException, files: Mapping[str, str]) -> str:
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    if isinstance(error, SystemExit):
        message = f"{message} (the program ended itself)"
    if isinstance(error, MissingEntry):
        return message
    named = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return named[:TEXT] + _place(error, files)


def _fail(channel: Channel, error: BaseException, files: Mapping[str, str]) -> NoReturn:
    try:
        text = str(error) if isinstance(error, wire.WireError) else _describe(error, files)
        frame = wire.encode(wire.FAILURE, [_status(error), text])
    except MemoryError:
        frame = _NO_MEMORY
    except BaseException:  # the candidate's own exception class may raise anything when it is printed
        frame = wire.encode(wire.FAILURE, ["crashed", "an exception that cannot be printed"])
    channel.send(frame)
    os._exit(0)


def _answer(function: Callable[..., Any], arguments: list[Any], limit: int) -> bytes:
    answer = function(*arguments)
    try:
        return wire.encode(wire.ANSWER, answer, limit)
    except wire.WireError as error:
        raise wire.WireError(f"the answer cannot be handed over: it holds {error}") from None


def serve(channel: Channel, imports: tuple[str, ...], answer_bytes: int) -> NoReturn:
    """Loads the program that comes first, then answers until the supervisor ends the process."""
    channel.send(_CONFINED)  # nothing of the candidate ran before this frame
    files, program, entry = channel.receive()
    try:
        random = any("random" in text for text in files.values())
        if random:
            reseed()
        function = _load(files, program, entry, imports)
        channel.send(_LOADED)
        while True:
            arguments = channel.receive()
            if random:
                reseed()
            if arguments is None or arguments is True:
                turn.converse(channel.descriptor, function, answer_bytes, asides=arguments is True)
            channel.send(_answer(function, arguments, answer_bytes))
    except BaseException as error:  # whatever the candidate raises, SystemExit included, is its own failure
        _fail(channel, error, files)
