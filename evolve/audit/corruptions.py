"""Ways to spoil an honest decision, whatever its structure: entries, rows, keys and array forms.

The file travels into the jail beside a cheating program, and the trusted side uses it to attack the evaluator
directly. So it imports nothing; numpy is handed in.

A corruption takes a decision of plain lists and dicts, a `Draw`, and numpy, and returns the spoilt decision.
It raises LookupError where the decision has nothing that it could spoil.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Path = tuple[int | str, ...]
    Corruption = Callable[[Any, "Draw", Any], Any]


class Draw:
    """A small seeded generator: the same numbers in the jail and outside it, without an import.

    size: of what a number outside lists may be an index into.
    """

    def __init__(self, seed: int, size: int = 1) -> None:
        self.word = seed * 2654435769 + 97
        self.size = size

    def below(self, limit: int) -> int:
        self.word = (self.word * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.word >> 33) % limit


def plain(value: Any) -> Any:
    """Arrays and tuples as lists, numpy scalars as Python's; dicts and the rest as they are."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(child) for child in value]
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    return value


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every entry that is no list and no dict, with the way to it."""
    if isinstance(value, list):
        for index, child in enumerate(value):
            yield from leaves(child, (*path, index))
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from leaves(child, (*path, key))
    else:
        yield path, value


def rows(value: Any, path: Path = ()) -> Iterator[tuple[Path, list[Any]]]:
    """Every list that holds entries alone, and at least one."""
    if isinstance(value, list) and value and not any(isinstance(child, (list, dict)) for child in value):
        yield path, value
    elif isinstance(value, (list, dict)):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from rows(child, (*path, key))


def get(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def put(value: Any, path: Path, new: Any) -> Any:
    """A copy of the value with another part at `path`."""
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


def _number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _size(value: Any, path: Path, draw: Draw) -> int:
    """How many entries the list around an entry has; what an index into it would be an alias modulo."""
    around = get(value, path[:-1]) if path else None
    return len(around) if isinstance(around, list) else draw.size


# -- entries ----------------------------------------------------------------------------------------------


def _bool(value: Any, size: int) -> Any:
    return bool(value)


def _float(value: Any, size: int) -> Any:
    return float(value)


def _text(value: Any, size: int) -> Any:
    return str(value)


ENTRIES: dict[str, Callable[[Any, int], Any]] = {
    "a boolean": _bool,
    "a float": _float,
    "a text": _text,
    "bytes' text": lambda value, size: f"b'{value}'",
    "None": lambda value, size: None,
    "nan": lambda value, size: float("nan"),
    "infinity": lambda value, size: float("inf"),
    "minus infinity": lambda value, size: float("-inf"),
    "its negative": lambda value, size: -value if value else -1,
    "minus zero": lambda value, size: -0.0,
    "zero": lambda value, size: type(value)(0),
    "minus one": lambda value, size: -1,
    "an alias from the end": lambda value, size: value - size,
    "an alias beyond the end": lambda value, size: value + size,
    "an alias modulo 2^8": lambda value, size: value + 2**8,
    "an alias modulo 2^16": lambda value, size: value + 2**16,
    "an alias modulo 2^32": lambda value, size: value + 2**32,
    "the largest 64-bit integer": lambda value, size: 2**63 - 1,
    "the smallest 64-bit integer": lambda value, size: -(2**63),
    "an unsigned 64-bit integer": lambda value, size: 2**64 - 1,
    "a 70-bit integer": lambda value, size: 2**70,
    "a huge float": lambda value, size: 1e308,
    "a tiny bit less": lambda value, size: value - 1e-9,
    "a half more": lambda value, size: value + 0.5,
    "half of it": lambda value, size: value / 2,
    "a list of it": lambda value, size: [value],
    "a dict of it": lambda value, size: {"value": value},
    "an empty list": lambda value, size: [],
    "control characters": lambda value, size: "\x1b[2J\x07",
}
_ARITHMETIC = (
    *("its negative", "an alias from the end", "an alias beyond the end", "a tiny bit less", "a half more"),
    *("an alias modulo 2^8", "an alias modulo 2^16", "an alias modulo 2^32", "half of it", "a float"),
)


def _entries(name: str, value: Any) -> list[Path]:
    """Where the value has entries that the change of this name applies to."""
    numbers = name in _ARITHMETIC or name in ("a boolean", "zero")
    found = [path for path, leaf in leaves(value) if _number(leaf) or not numbers]
    if name == "a boolean":  # True is an alias of 1: only there does it keep its meaning
        found = [path for path in found if get(value, path) in (0, 1)] or found
    if not found:
        raise LookupError(name)
    return found


def _one(name: str) -> Corruption:
    def corrupt(value: Any, draw: Draw, numpy: Any) -> Any:
        found = _entries(name, value)
        path = found[draw.below(len(found))]
        return put(value, path, ENTRIES[name](get(value, path), _size(value, path, draw)))

    return corrupt


def _all(name: str) -> Corruption:
    def corrupt(value: Any, draw: Draw, numpy: Any) -> Any:
        spoilt = value
        for path in _entries(name, value):
            spoilt = put(spoilt, path, ENTRIES[name](get(value, path), _size(value, path, draw)))
        return spoilt

    return corrupt


# -- rows -------------------------------------------------------------------------------------------------


def _two(row: list[Any], draw: Draw) -> tuple[int, int]:
    """Two places of a row whose entries differ."""
    first = draw.below(len(row))
    others = [place for place, entry in enumerate(row) if entry != row[first]]
    if not others:
        raise LookupError("one value only")
    return first, others[draw.below(len(others))]


def _again(change: Callable[[Any, int], Any]) -> Callable[[list[Any], Draw], list[Any]]:
    """An entry takes the place of another, changed so that a comparison may not see that it is there twice."""

    def spoil(row: list[Any], draw: Draw) -> list[Any]:
        first, second = _two(row, draw)
        if not _number(row[first]):
            raise LookupError("no number")
        return [*row[:second], change(row[first], len(row)), *row[second + 1 :]]

    return spoil


def _place_all(value: Any) -> Callable[[list[Any], Draw], list[Any]]:
    return lambda row, draw: [value] * len(row)


def _swap(row: list[Any], draw: Draw) -> list[Any]:
    first, second = _two(row, draw)
    swapped = list(row)
    swapped[first], swapped[second] = row[second], row[first]
    return swapped


def _drop_any(row: list[Any], draw: Draw) -> list[Any]:
    place = draw.below(len(row))
    return row[:place] + row[place + 1 :]


def _one_for_all(row: list[Any], draw: Draw) -> list[Any]:
    return [row[draw.below(len(row))]] * len(row)


ROWS: dict[str, Callable[[list[Any], Draw], list[Any]]] = {
    "an entry twice, another missing": _again(lambda value, size: value),
    "an entry twice, once as an alias from the end": _again(lambda value, size: value - size),
    "an entry twice, once as an alias beyond the end": _again(lambda value, size: value + size),
    "an entry twice, once as a float": _again(lambda value, size: float(value)),
    "an entry twice, once a half more": _again(lambda value, size: value + 0.5),
    "an entry twice, once as a text": _again(lambda value, size: str(value)),
    "an entry twice, once modulo 2^32": _again(lambda value, size: value + 2**32),
    "one entry in all places": _one_for_all,
    "zero in all places": _place_all(0),
    "minus one in all places": _place_all(-1),
    "True in all places": _place_all(True),
    "the last entry missing": lambda row, draw: row[:-1],
    "the first entry missing": lambda row, draw: row[1:],
    "some entry missing": _drop_any,
    "the second half missing": lambda row, draw: row[: len(row) // 2],
    "all entries missing": lambda row, draw: [],
    "an entry too many": lambda row, draw: [*row, row[draw.below(len(row))]],
    "an id too many": lambda row, draw: [*row, len(row)],
    "everything twice": lambda row, draw: row + row,
    "a thousand times": lambda row, draw: row * 1000,
    "the reverse": lambda row, draw: row[::-1],
    "a rotation": lambda row, draw: row[1:] + row[:1],
    "two entries swapped": _swap,
    "sorted by text": lambda row, draw: sorted(row, key=repr),
}


def _row(name: str) -> Corruption:
    def corrupt(value: Any, draw: Draw, numpy: Any) -> Any:
        found = list(rows(value))
        if not found:
            raise LookupError(name)
        path, row = found[draw.below(len(found))]
        return put(value, path, ROWS[name](row, draw))

    return corrupt


# -- the whole --------------------------------------------------------------------------------------------


def _array(dtype: str) -> Corruption:
    def corrupt(value: Any, draw: Draw, numpy: Any) -> Any:
        found = list(rows(value))
        if not found or not all(map(_number, found[0][1])):
            raise LookupError(dtype)
        path, row = found[draw.below(len(found))]
        return put(value, path, numpy.array(row).astype(dtype))

    return corrupt


def _shape(change: Callable[[Any], Any]) -> Corruption:
    def corrupt(value: Any, draw: Draw, numpy: Any) -> Any:
        found = list(rows(value))
        if not found or not all(map(_number, found[0][1])):
            raise LookupError("no row of numbers")
        path, row = found[0]
        return put(value, path, change(numpy.array(row)))

    return corrupt


def _first_nan(array: Any) -> Any:
    floats = array.astype("float64")
    floats[0] = float("nan")
    return floats


def _wrapped(value: Any, draw: Draw, numpy: Any) -> Any:
    return [value]


def _keyed(value: Any, draw: Draw, numpy: Any) -> Any:
    if not isinstance(value, list):
        raise LookupError("no list")
    return {str(key): child for key, child in enumerate(value)}


def _without_key(value: Any, draw: Draw, numpy: Any) -> Any:
    if not isinstance(value, dict) or not value:
        raise LookupError("no dict")
    gone = list(value)[draw.below(len(value))]
    return {key: child for key, child in value.items() if key != gone}


def _outer(change: Callable[[list[Any], Draw], list[Any]]) -> Corruption:
    """For a list of lists: one of the inner lists goes, or comes twice."""

    def corrupt(value: Any, draw: Draw, numpy: Any) -> Any:
        if not (isinstance(value, list) and value and isinstance(value[0], (list, dict))):
            raise LookupError("no list of lists")
        return change(value, draw)

    return corrupt


def _part_over_part(parts: list[Any], draw: Draw) -> list[Any]:
    first, second = _two(parts, draw)
    return [*parts[:second], parts[first], *parts[second + 1 :]]


WHOLE: dict[str, Corruption] = {
    "a list around it": _wrapped,
    "a dict by position": _keyed,
    "a key missing": _without_key,
    "a part missing": _outer(_drop_any),
    "a part twice": _outer(lambda parts, draw: [*parts, parts[draw.below(len(parts))]]),
    "a part over another": _outer(_part_over_part),
    "an array of float64": _array("float64"),
    "an array of int8": _array("int8"),
    "an array of uint64": _array("uint64"),
    "an array of booleans": _array("bool"),
    "an array of objects": _array("object"),
    "an array of texts": _array("str"),
    "an array of int64": _array("int64"),
    "an array of one row": _shape(lambda array: array.reshape(1, -1)),
    "an array of one column": _shape(lambda array: array.reshape(-1, 1)),
    "an array of pairs of itself": _shape(lambda array: array.repeat(2).reshape(-1, 2)),
    "an array that begins with a nan": _shape(_first_nan),
    "an array from minus n": _shape(lambda array: array - len(array)),
}

CORRUPTIONS: dict[str, tuple[str, Corruption]] = {
    **{f"one entry becomes {name}": ("an entry that is none", _one(name)) for name in ENTRIES},
    **{f"all entries become {name}": ("entries that are none", _all(name)) for name in ENTRIES},
    **{name: ("ids twice, missing, too many", _row(name)) for name in ROWS},
    **{name: ("another shape, another form", corruption) for name, corruption in WHOLE.items()},
}
"""What each tries in a few words, and the corruption, by name."""


def corrupt(name: str, decision: Any, seed: int, numpy: Any, size: int = 1) -> Any:
    """The decision, spoilt in the way of this name.

    Args:
        size: of what a decision that is a lone number may be an index into.

    Raises:
        LookupError: there is nothing in it that could be spoilt so.
    """
    try:
        return CORRUPTIONS[name][1](plain(decision), Draw(seed, size), numpy)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise LookupError(f"{name}: {error}") from None


def play(name: str, scene: Any) -> Any:
    """What a cheating program answers: its honest decision, spoilt."""
    decision = scene.honest()
    try:
        sized = [value for value in scene.arguments if hasattr(value, "__len__")]
        sizes = [len(value) for value in sized if getattr(value, "shape", None) != ()]
        return corrupt(name, decision, scene.call, scene.reach("numpy"), max(sizes, default=1))
    except LookupError:
        return decision
