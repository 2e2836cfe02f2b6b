"""What crosses the jail's wall, through real processes; and bytes that are no value."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.jail import Jail, Level, encode_arguments, wire
from evolve.records import Status
from tests.jail_tools import LIMITS, ask, fail, open_session


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with Jail(LIMITS, minimum=Level.RLIMITS) as jail:
        yield jail


VALUES = [
    None,
    True,
    False,
    0,
    -(2**63),
    2**64 - 1,
    1.5,
    -0.0,
    math.inf,
    "text with 'quotes' and Ω",
    [],
    [1, 2.0, "three", None, [True, [4]]],
    {"a": [1], "b": {"c": 2.5}},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_went_in_with_its_type(jail: Jail, value: Any) -> None:
    answer = ask(jail, "def f(x):\n    return x", value).value
    assert answer == value
    assert type(answer) is type(value)
    assert repr(answer) == repr(value)


def test_nan_comes_back_as_nan(jail: Jail) -> None:
    value = ask(jail, "def f():\n    return float('nan')").value
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize("dtype", ["bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (0, 4), (2, 1, 2)])
def test_an_array_comes_back_with_its_dtype_and_shape(jail: Jail, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    answer = ask(jail, "def f(x):\n    return x", array).value
    assert isinstance(answer, np.ndarray)
    assert (answer.dtype, answer.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(answer, array)


def test_a_transposed_array_keeps_its_order(jail: Jail) -> None:
    answer = ask(jail, "def f(x):\n    return x.T[::-1]", np.arange(6).reshape(2, 3)).value
    np.testing.assert_array_equal(np.asarray(answer), np.arange(6).reshape(2, 3).T[::-1])


def test_a_tuple_arrives_as_a_list_and_a_numpy_scalar_as_a_zero_dimensional_array(jail: Jail) -> None:
    answer = ask(jail, "import numpy as np\ndef f():\n    return (1, np.int64(2))").value
    assert isinstance(answer, list)
    assert isinstance(answer[1], np.ndarray)
    assert (answer[0], answer[1].shape, int(answer[1])) == (1, (), 2)


def test_every_question_has_fresh_writable_arrays(jail: Jail) -> None:
    question = encode_arguments([np.zeros(3)])
    with open_session(jail, "def f(x):\n    x += 1\n    return x") as session:
        answers = list(session.ask([question] * 3, [0.3] * 3))
    assert [np.asarray(answer.value).tolist() for answer in answers] == [[1.0] * 3] * 3


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("{1, 2}", "set"),
        ("object()", "object"),
        ("[1, [2, lambda: 3]]", "function"),
        ("(i for i in x)", "generator"),
        ("2**64", "64 bits"),
        ("b'bytes'", "bytes"),
        ("type('Text', (str,), {})('a')", "Text"),
        ("type('Whole', (int,), {})(1)", "Whole"),
        ("{1: 2}", "keys"),
        ("'\\ud800'", "Unicode"),
        ("np.zeros(2, complex)", "complex128"),
        ("np.array(['a'])", "dtype <U1"),
        ("np.array([object()])", "object"),
        ("np.zeros(2, 'datetime64[s]')", "datetime64"),
        ("[0] * 2_000_000", "bytes"),
        ("np.zeros(1_000_000)", "bytes"),
        ("(lambda a: (a.append(a), a)[1])([])", "nested"),
    ],
)
def test_a_value_that_may_not_cross_is_invalid_and_named(jail: Jail, expression: str, word: str) -> None:
    status, feedback = fail(jail, f"import numpy as np\ndef f(x):\n    return {expression}", [1])
    assert status is Status.INVALID
    assert word in feedback


def test_an_argument_that_may_not_cross_is_refused_at_once() -> None:
    with pytest.raises(wire.WireError, match="set"):
        encode_arguments([{1}])


numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.booleans() | st.none()
values = st.recursive(
    numbers | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=20
)


@given(values)
def test_the_wire_gives_back_every_value(value: Any) -> None:
    kind, back = wire.decode(wire.encode(wire.ANSWER, value)[4:])
    assert (kind, repr(back)) == (wire.ANSWER, repr(value))


def refused_or_equal(body: bytes) -> bool:
    """Whether the bytes are refused, or stand for a value that crosses once more."""
    try:
        value = wire.decode(body)[1]
    except wire.WireError:
        return True
    return repr(wire.decode(wire.encode(wire.ANSWER, value)[4:])[1]) == repr(value)


@given(st.binary(max_size=60))
def test_no_bytes_bring_down_the_decoder(body: bytes) -> None:
    assert refused_or_equal(body)


@given(st.data())
def test_a_frame_with_one_wrong_byte_is_decoded_strictly_or_refused(data: st.DataObject) -> None:
    frame = bytearray(wire.encode(wire.ANSWER, [1, {"a": np.arange(3)}, np.array([True]), "text", 2.5])[4:])
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    assert refused_or_equal(bytes(frame))


def body(structure: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<BI", wire.ANSWER, len(structure)) + structure + data


def array_head(code: int, *shape: int) -> bytes:
    head = struct.pack(f"<B{len(shape)}q", code, *shape)
    return b"\xc8" + struct.pack(">HB", len(head), 1) + head


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x02",
        body(b"")[:-1] + b"\xff\xff\xff",
        body(b"\xdd\xff\xff\xff\xff"),
        body(b"\x91" * 1000 + b"\xc0"),
        body(b"\x91" * 40 + b"\xc0"),
        body(b"\xd6\xff\x00\x00\x00\x00"),
        body(b"\xc4\x01x"),
        body(b"\x81\x01\x02"),
        body(b"\xa2\xff\xff"),
        body(b"\x01", b"more"),
        body(array_head(1, 2), b"12345678"),
        body(array_head(1, -1), b"12345678"),
        body(array_head(1, 2**62, 8), b""),
        body(array_head(1, 0, 2**62, 2**62), b""),
        body(array_head(99, 1), b"12345678"),
        body(array_head(0, 2), b"\x01\x02"),
        body(array_head(0, *[1] * 40), b"\x01"),
        body(b"\xc0" + b"\xc0" * (wire.STRUCTURE_BYTES + 1)),
    ],
)
def test_malformed_bytes_are_refused(frame: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(frame)
