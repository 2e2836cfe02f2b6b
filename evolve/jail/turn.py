"""One question and one answer, taken in turns: the quick frames of a dialogue, for both sides of the wall.

A frame is a little-endian uint32 length, a kind byte, the question's nonce (uint64, which its answer repeats,
so that no answer can be written before its question was read) and a body. QUICK bodies are MessagePack of
what most questions and answers are: plain values, lists of them, and in questions arrays. Everything else
goes as RICH, in the format of wire.py with its checks. A program's failure is a frame of wire.py.

It imports nothing of the project but wire.py, because the jailed side has nothing of it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec
import numpy as np

from evolve.jail import wire

QUICK, RICH, ASIDE = (
    6,
    7,
    8,
)  # kinds of frames, beside those of wire.py; ASIDE: the program asks, in place of an answer
HEAD = struct.Struct("<IBQ")  # length of what follows the length, kind, nonce
FRAMED = HEAD.size - wire.HEADER.size  # what the length counts beside the body
PLAIN = frozenset({type(None), bool, int, float, str})
SWITCH = wire.encode(wire.QUESTION, None)  # in place of arguments: a dialogue begins, READY is the answer
SWITCH_ASIDE = wire.encode(wire.QUESTION, True)  # the same, and the program may ask back
READY = HEAD.pack(FRAMED + 1, QUICK, 0) + b"\xc0"
_ARRAY = 1
_CHUNK = 1 << 14
_CODES = {dtype: code for code, dtype in enumerate(wire.DTYPES)}
_SHAPES = [struct.Struct(f"<BB{dimensions}q") for dimensions in range(5)]


def _array(value: Any) -> msgspec.msgpack.Ext:
    shape = value.shape
    head = _SHAPES[len(shape)].pack(_CODES[value.dtype], len(shape), *shape)
    return msgspec.msgpack.Ext(_ARRAY, head + value.tobytes())


def _read_array(_: int, data: memoryview) -> np.ndarray[Any, Any]:
    layout = _SHAPES[data[1]]
    code, _, *shape = layout.unpack_from(data)
    return np.ndarray(shape, wire.DTYPES[code], bytearray(data[layout.size :]))


_encode = msgspec.msgpack.Encoder(enc_hook=_array).encode
_decode_question = msgspec.msgpack.Decoder(ext_hook=_read_array).decode
_Plain = None | bool | int | float | str
_decode_answer = msgspec.msgpack.Decoder(_Plain | list[_Plain]).decode  # refuses the rest before it is built


def _quick(value: Any) -> bool:
    """Whether an argument goes as it is; the types are exact, as in wire.py."""
    kind = type(value)
    if kind is np.ndarray:
        return value.dtype in _CODES and value.ndim < len(_SHAPES)
    return kind in PLAIN or (kind is list and PLAIN.issuperset(map(type, value)))


def question(arguments: tuple[Any, ...], nonce: int) -> bytes:
    """The frame of one question.

    Raises:
        WireError: an argument is of a type that may not cross.
    """
    if PLAIN.issuperset(map(type, arguments)) or all(map(_quick, arguments)):
        try:
            body = _encode(arguments)
            return HEAD.pack(FRAMED + len(body), QUICK, nonce) + body
        except (OverflowError, UnicodeEncodeError):
            pass  # wire.py names what is wrong
    body = wire.encode(wire.QUESTION, list(arguments))[wire.HEADER.size :]
    return HEAD.pack(FRAMED + len(body), RICH, nonce) + body


def quick_answer(body: memoryview) -> Any:
    """The value in the body of a QUICK answer. The bytes may be hostile; a list holds plain values only.

    Raises:
        WireError: anything but what `_answer` makes.
    """
    try:
        return _decode_answer(body)
    except msgspec.ValidationError as error:
        raise wire.WireError(f"a value of a wrong type ({error})") from None
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise wire.WireError(f"malformed bytes ({type(error).__name__})") from None


# -- the jailed side ---------------------------------------------------------------------------------------


def _answer(value: Any, nonce: int, limit: int) -> bytes:
    """The frame of one answer. Numpy's scalars go as Python's.

    Raises:
        WireError: a type that may not cross, or more than `limit` bytes.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in PLAIN or (type(value) is list and PLAIN.issuperset(map(type, value))):
        try:
            body = _encode(value)
        except (OverflowError, UnicodeEncodeError):
            body = b""  # wire.py names what is wrong
        if 0 < len(body) <= min(limit, wire.STRUCTURE_BYTES):
            return HEAD.pack(FRAMED + len(body), QUICK, nonce) + body
    try:
        body = wire.encode(wire.ANSWER, value, limit)[wire.HEADER.size :]
    except wire.WireError as error:
        raise wire.WireError(f"the answer cannot be handed over: it holds {error}") from None
    return HEAD.pack(FRAMED + len(body), RICH, nonce) + body


def _read(descriptor: int) -> bytes:
    """One whole question; nothing comes behind it before it is answered."""
    data = os.read(descriptor, _CHUNK)
    while len(data) < HEAD.size or len(data) < wire.HEADER.size + HEAD.unpack_from(data)[0]:
        more = os.read(descriptor, 1 << 20)
        if not more:
            os._exit(0)  # the supervisor is gone
        data += more
    return data


def converse(descriptor: int, function: Callable[..., Any], limit: int, asides: bool) -> NoReturn:
    """Answers one question at a time until the supervisor ends the process.

    Args:
        asides: the function is called with one argument more: what it calls to ask back.

    Raises:
        whatever the program raises, and WireError for an answer that may not cross.
    """
    nonce = 0

    def receive() -> Any:
        nonlocal nonce
        data = _read(descriptor)
        _, kind, nonce = HEAD.unpack_from(data)
        body = data[HEAD.size :]
        return _decode_question(body) if kind == QUICK else wire.decode(body, len(body))[1]

    def ask_back(value: Any) -> Any:
        _write(descriptor, _aside(value, nonce))
        return receive()[0]

    extra = (ask_back,) if asides else ()
    _write(descriptor, READY)
    while True:
        answer = function(*receive(), *extra)
        _write(descriptor, _answer(answer, nonce, limit))


def _aside(value: Any, nonce: int) -> bytes:
    """The frame of what a program asks: a plain value, or a flat list of such.

    Raises:
        WireError: anything else.
    """
    try:
        body = _encode(value)
    except (AttributeError, KeyError, OverflowError, TypeError, UnicodeEncodeError) as error:
        raise wire.WireError(f"a question that cannot be asked ({type(error).__name__})") from None
    return HEAD.pack(FRAMED + len(body), ASIDE, nonce) + body


def _write(descriptor: int, frame: bytes) -> None:
    written = os.write(descriptor, frame)
    while written < len(frame):
        written += os.write(descriptor, memoryview(frame)[written:])
