"""What crosses the jail's wall: values as bytes and back, with nothing trusted on the way in.

A frame is a little-endian uint32 length, a kind byte, a uint32 length of the structure, the structure
(MessagePack) and the raw bytes of its arrays in order. The arrays travel outside the structure, so that a
large array costs no parsing, and a small limit on the structure bounds what a hostile answer can inflate to
(one byte of MessagePack becomes up to 64 bytes of Python objects).

Both sides use this file. It imports nothing of the project, because the jailed side has nothing of it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

CONFINED, LOADED, ANSWER, FAILURE, QUESTION, PROGRAM = range(6)
HEADER = struct.Struct("<I")
PREFIX = struct.Struct("<IBI")  # length of what follows, kind, length of the structure
_HEAD = struct.Struct("<BI")  # the same without the first length
STRUCTURE_BYTES = 1 << 20
DEPTH = 32
DTYPES = tuple(
    np.dtype(name)
    for name in ("?", "<i8", "<f8", "<i4", "<f4", "<i2", "i1", "<u8", "<u4", "<u2", "u1", "<f2")
)
_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}
_ARRAY = 1
_PLAIN = frozenset({type(None), bool, int, float, str})
_FLAT = _PLAIN | {np.ndarray}


class WireError(ValueError):
    """A value that cannot cross, or bytes that are no value. The text names the reason."""


def _array(value: Any, buffers: list[bytes]) -> msgspec.msgpack.Ext:
    array = np.asarray(value)
    code = _CODES.get(array.dtype)
    if code is None:
        raise WireError(f"an array of dtype {array.dtype}; use integers, floats or booleans")
    buffers.append(array.tobytes())
    return msgspec.msgpack.Ext(_ARRAY, struct.pack(f"<B{array.ndim}q", code, *array.shape))


def _children(value: Any, depth: int, buffers: list[bytes]) -> list[Any]:
    if depth >= DEPTH:
        raise WireError(f"a value nested more than {DEPTH} levels deep")
    if set(map(type, value)) <= _PLAIN:
        return list(value)
    return [_pack(child, depth + 1, buffers) for child in value]


def _pack(value: Any, depth: int, buffers: list[bytes]) -> Any:
    """The value with its arrays moved to `buffers`; refuses every type but the exact ones that may cross."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return _children(value, depth, buffers)
    if kind is np.ndarray or isinstance(value, np.generic):
        return _array(value, buffers)
    if kind is dict:
        if set(map(type, value)) <= {str}:
            return dict(zip(value, _children(value.values(), depth, buffers), strict=True))
        raise WireError("a dict whose keys are not all strings")
    raise WireError(f"a value of type {kind.__name__}")


def encode(kind: int, value: Any, limit: int = (1 << 32) - 1) -> bytes:
    """One frame. Tuples become lists, numpy scalars 0-d arrays; bool stays bool and int stays int.

    Raises:
        WireError: a type that may not cross, an int beyond 64 bits, or more than `limit` bytes.
    """
    buffers: list[bytes] = []
    try:
        structure = msgspec.msgpack.encode(_pack(value, 0, buffers))
    except OverflowError:
        raise WireError("an integer beyond 64 bits") from None
    except UnicodeEncodeError:
        raise WireError("a string that is no valid Unicode") from None
    data = b"".join(buffers)
    length = PREFIX.size - HEADER.size + len(structure) + len(data)
    if length > limit:
        raise WireError(f"{length} bytes, and the limit is {limit}")
    if kind == ANSWER and len(structure) > STRUCTURE_BYTES:
        raise WireError(f"{len(structure)} bytes outside arrays, and the limit is {STRUCTURE_BYTES}")
    return PREFIX.pack(length, kind, len(structure)) + structure + data


class _Arrays:
    """Hands out the arrays of a frame in order; each is fresh, aligned and writable."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.used = 0

    def take(self, code: int, head: memoryview) -> np.ndarray[Any, Any]:
        if code != _ARRAY or len(head) % 8 != 1 or head[0] >= len(DTYPES) or len(head) > 1 + 8 * DEPTH:
            raise WireError("an unknown extension")
        shape = struct.unpack(f"<{len(head) // 8}q", head[1:])
        dtype = DTYPES[head[0]]
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or size > len(self.data) - self.used:
            raise WireError("an array larger than its bytes")
        part = self.data[self.used : self.used + size]
        self.used += size
        array = np.empty(shape, dtype)
        array.reshape(-1).view(np.uint8)[:] = part
        if dtype == np.bool_ and size and np.frombuffer(part, np.uint8).max() > 1:
            raise WireError("a boolean that is neither 0 nor 1")
        return array


# for the values without arrays, which are most: an array without elements needs no bytes
_PLAIN_DECODER = msgspec.msgpack.Decoder(ext_hook=_Arrays(memoryview(b"")).take)


def _check(value: Any, depth: int = 0) -> None:
    kind = type(value)
    if kind in _FLAT:
        return
    if kind is dict:
        if not set(map(type, value)) <= {str}:
            raise WireError("a dict whose keys are not all strings")
        value = value.values()
    elif kind is not list:
        raise WireError(f"a value of type {kind.__name__}")
    if depth >= DEPTH:
        raise WireError(f"a value nested more than {DEPTH} levels deep")
    if not set(map(type, value)) <= _FLAT:
        for child in value:
            _check(child, depth + 1)


def decode(body: bytes | bytearray | memoryview, structure_limit: int = STRUCTURE_BYTES) -> tuple[int, Any]:
    """The kind and the value of a frame's body (all after the first length). The bytes may be hostile.

    Raises:
        WireError: anything but what `encode` makes.
    """
    size = len(body)
    if size < _HEAD.size:
        raise WireError("a frame without a head")
    kind, length = _HEAD.unpack_from(body)
    end = _HEAD.size + length
    if length > structure_limit or end > size:
        raise WireError("a structure longer than allowed")
    view = memoryview(body)[_HEAD.size :]
    try:
        value = _PLAIN_DECODER.decode(view) if end == size else _with_arrays(view[:length], view[length:])
        _check(value)
    except WireError:
        raise
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise WireError(f"malformed bytes ({type(error).__name__})") from None
    return kind, value


def _with_arrays(structure: memoryview, data: memoryview) -> Any:
    arrays = _Arrays(data)
    value = msgspec.msgpack.Decoder(ext_hook=arrays.take).decode(structure)
    if arrays.used != len(data):
        raise WireError("bytes that belong to nothing")
    return value


def encode_arguments(arguments: Sequence[Any]) -> bytes:
    """The positional arguments of one question, encoded once and asked of any number of candidates.

    Raises:
        WireError: an argument is of a type that may not cross.
    """
    return encode(QUESTION, list(arguments))
