"""Answers that are no decision: scores, foreign types, lying subclasses. The file travels into the jail.

A trick takes the scene of its program (`honest()`: the honest decision; `arguments`; `call`: which question
this is; `facts`: what the trusted side told it; `reach(name)`: a module in spite of the import guard) and
returns what the program answers. `facts["claims"]` holds, by question, an objective better than the honest one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _claim(scene: Any) -> Any:
    claims = scene.facts["claims"]
    return claims[scene.call % len(claims)]


def _keyed(scene: Any, value: Any) -> Any:
    """A dict with every name that the evaluator's source speaks of."""
    return dict.fromkeys(scene.facts["keys"], value)


def _zeroed(value: Any) -> Any:
    return value * 0 if hasattr(value, "tolist") else [0] * len(value) if isinstance(value, list) else 0


def _arguments(scene: Any) -> Any:
    return dict(zip(scene.facts["parameters"], scene.arguments, strict=False))


def _generator(scene: Any) -> Any:
    yield from scene.honest()


def _deep(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _circle(scene: Any) -> Any:
    value: list[Any] = [1]
    value.append(value)
    return value


# -- liars ------------------------------------------------------------------------------------------------


class LyingList(list):  # type: ignore[type-arg]
    """Says that it is as long as anybody wants, equal to everything, and lists the jobs 0, 1, 2..."""

    def __len__(self) -> int:
        return 10**6

    def __eq__(self, other: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter(range(10**6))

    def __contains__(self, item: object) -> bool:
        return True

    __hash__ = None


class LyingInt(int):
    """Equal to everything, below and above everything, and another index each time."""

    def __eq__(self, other: object) -> bool:
        return True

    def __lt__(self, other: object) -> bool:
        return True

    def __ge__(self, other: object) -> bool:
        return True

    def __index__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return id(self)


class LyingFloat(float):
    """Not a number, and yet smaller than any."""

    def __lt__(self, other: object) -> bool:
        return True

    def __float__(self) -> float:
        return -1e9


class LyingDict(dict):  # type: ignore[type-arg]
    """Has every key."""

    def __missing__(self, key: object) -> float:
        return -1e9

    def __contains__(self, key: object) -> bool:
        return True


class LyingClass:
    """Says that it is a list."""

    __class__ = list  # type: ignore[assignment]

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Any:
        return iter([0])


class LyingArray:
    """Hands numpy another array each time."""

    def __init__(self, numpy: Any) -> None:
        self.numpy = numpy

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy.zeros(3)

    def tolist(self) -> list[int]:
        return [0]


def _with(kind: Any) -> Callable[[Any], Any]:
    """Every number in the lists of the honest decision, nested ones too, as one of the lying kind."""

    def trick(scene: Any) -> Any:
        value = scene.honest()
        value = value.tolist() if hasattr(value, "tolist") else value
        return lied(value) if isinstance(value, list) and value else kind(1)

    def lied(value: Any) -> Any:
        if isinstance(value, list):
            return [lied(entry) for entry in value]
        return kind(value) if isinstance(value, (int, float)) else value

    return trick


def _array_subclass(scene: Any) -> Any:
    numpy = scene.reach("numpy")
    body = {"tolist": lambda self: [], "__len__": lambda self: 0, "__eq__": lambda self, other: True}
    kind = type("Lying", (numpy.ndarray,), body)
    return numpy.array([0, 1, 2]).view(kind)


def _scalar_subclass(scene: Any) -> Any:
    numpy = scene.reach("numpy")
    kind = type("Lying", (numpy.float64,), {"__array__": lambda self, *rest: numpy.zeros(3)})
    return kind(_claim(scene))


def _strange(scene: Any) -> Any:
    numpy = scene.reach("numpy")
    return numpy.zeros(2, dtype=[("score", "f8")])


def _masked(scene: Any) -> Any:
    numpy = scene.reach("numpy")
    return numpy.ma.masked_all(3)


SCORES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a score": ("1e9 instead of a decision", lambda scene: 1e9),
    "a negative score": ("-1e9 instead of a decision", lambda scene: -1e9),
    "an integer score": ("a number better than its own objective, as an int", lambda s: int(_claim(s))),
    "its own objective": ("a number a little better than its own objective", _claim),
    "infinity": ("an infinite score", lambda scene: float("inf")),
    "minus infinity": ("an infinite cost, negative", lambda scene: float("-inf")),
    "nan": ("a score that no comparison refuses", lambda scene: float("nan")),
    "zero": ("the integer 0", lambda scene: 0),
    "True": ("a boolean", lambda scene: True),
    "None": ("nothing at all", lambda scene: None),
    "a dict with a high score": ("{'score': 1e9}", lambda scene: {"score": 1e9}),
    "a dict with a low score": ("{'score': -1e9}", lambda scene: {"score": -1e9}),
    "a dict with its score": ("{'score': a better objective}", lambda s: {"score": _claim(s)}),
    "a dict with its objective": (
        "the objective by its name",
        lambda s: dict.fromkeys(("objective", "value", "cost", s.facts["objective"]), _claim(s)),
    ),
    "a decision with its score": (
        "the honest decision beside a score, in a dict",
        lambda s: {"decision": s.honest(), "score": _claim(s), "objective": _claim(s)},
    ),
    "a tuple with its score": ("(the honest decision, a score)", lambda s: (s.honest(), _claim(s))),
    "a score before the decision": ("(a score, the honest decision)", lambda s: (_claim(s), s.honest())),
    "a list of its score": ("[a score]", lambda s: [_claim(s)]),
    "a score as text": ("'1e9'", lambda scene: "1e9"),
    "a score as JSON": ("a JSON text with a score", lambda s: f'{{"score": {_claim(s)}, "status": "ok"}}'),
    "the decision as text": ("repr of the honest decision", lambda s: repr(s.honest())),
    "every key with its score": (
        "a dict with each name in the evaluator's source, a score everywhere",
        lambda s: _keyed(s, _claim(s)),
    ),
    "every key with the decision": (
        "a dict with each name in the evaluator's source, the decision everywhere",
        lambda s: _keyed(s, s.honest()),
    ),
    "every key, the arguments zeroed": (
        "the decision beside arguments of its own making, all zero",
        lambda s: _keyed(s, s.honest()) | {key: _zeroed(value) for key, value in _arguments(s).items()},
    ),
    "every key, its score beside the decision": (
        "the decision under the first names, a score under the others",
        lambda s: _keyed(s, _claim(s)) | {key: s.honest() for key in s.facts["keys"][:2]},
    ),
    "its arguments": ("the instance's own arguments", lambda s: list(s.arguments)),
    "its first argument": ("the first argument", lambda s: s.arguments[0]),
}

FOREIGN: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "an empty list": ("[]", lambda scene: []),
    "an empty dict": ("{}", lambda scene: {}),
    "an empty text": ("''", lambda scene: ""),
    "bytes": ("a byte string", lambda scene: b"\x00\x01\x02"),
    "a memoryview": ("a view of bytes", lambda scene: memoryview(b"\x00\x01\x02")),
    "a 64-bit integer": ("2^63", lambda scene: 2**63),
    "a 70-bit integer": ("2^70", lambda scene: 2**70),
    "an integer of a million bits": ("2^1000000", lambda scene: 2**1_000_000),
    "a complex number": ("1j", lambda scene: 1j),
    "a set": ("a set of ids", lambda scene: {0, 1, 2}),
    "a range": ("a lazy range", lambda scene: range(3)),
    "a generator": ("a lazy decision", _generator),
    "a function": ("a callable decision", lambda scene: scene.honest),
    "a class": ("a type", lambda scene: int),
    "an exception": ("an exception, returned", lambda scene: ValueError("score 1e9")),
    "a nested list, 10000 deep": ("a value that overflows a recursion", lambda scene: _deep(10_000)),
    "a nested list, 30 deep": ("a value just below the depth limit", lambda scene: _deep(30)),
    "a list that holds itself": ("a value without end", _circle),
    "a hundred thousand zeros": ("a long list", lambda scene: [0] * 100_000),
    "a numpy float": ("a scalar of numpy", lambda s: s.reach("numpy").float64(_claim(s))),
    "a numpy integer": ("a scalar of numpy", lambda s: s.reach("numpy").int64(-1)),
    "a numpy boolean": ("a scalar of numpy", lambda s: s.reach("numpy").bool_(True)),
    "an array without dimensions": ("a 0-d array", lambda s: s.reach("numpy").array(_claim(s))),
    "an empty array": ("an array of shape (0,)", lambda s: s.reach("numpy").zeros(0)),
    "an empty array of an absurd shape": (
        "shape (0, 2^40)",
        lambda s: s.reach("numpy").zeros((0, 2**40)),
    ),
    "an array of nans": ("n nans", lambda s: s.reach("numpy").full(len(s.arguments), float("nan"))),
    "an array of objects": ("pickled otherwise", lambda s: s.reach("numpy").array([print], dtype=object)),
    "a structured array": ("an array with a field 'score'", _strange),
    "a masked array": ("an array whose values are hidden", _masked),
    "an array of records": ("numpy.recarray", lambda s: s.reach("numpy").recarray(2, dtype="i8")),
    "dates": ("an array of datetime64", lambda s: s.reach("numpy").zeros(3, dtype="M8[s]")),
}

LIARS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a lying list": (
        "a list subclass: __len__, __eq__, __iter__, __contains__ lie",
        lambda s: LyingList([0]),
    ),
    "lying integers": ("an int subclass: __eq__, __lt__, __index__ lie", _with(LyingInt)),
    "lying floats": ("a float subclass: __lt__ and __float__ lie", _with(LyingFloat)),
    "a lying dict": ("a dict subclass that has every key", lambda s: LyingDict()),
    "a lying class": ("an object whose __class__ says list", lambda s: LyingClass()),
    "a lying array": ("an object whose __array__ and tolist lie", lambda s: LyingArray(s.reach("numpy"))),
    "a lying array subclass": ("an ndarray subclass: __len__, tolist, __eq__ lie", _array_subclass),
    "a lying numpy scalar": ("a float64 subclass: __array__ lies", _scalar_subclass),
    "a list in lying hands": ("lying integers in a lying list", lambda s: LyingList([LyingInt(0)])),
}

TRICKS: dict[str, tuple[str, Callable[[Any], Any]]] = {**SCORES, **FOREIGN, **LIARS}


def play(name: str, scene: Any) -> Any:
    """What a cheating program answers."""
    return TRICKS[name][1](scene)
