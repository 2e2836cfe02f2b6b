"""What calls return: the builtins, the methods and the part of numpy that programs commonly use."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from evolve.genetic.printing import unparse
from evolve.genetic.types import (
    AXES,
    BOOL,
    FLOAT,
    INT,
    NONE,
    STR,
    UNKNOWN,
    Type,
    index_vector,
    iterator_of,
    join,
    list_of,
    mask,
    vector,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTWISE = _words(
    "abs absolute sqrt exp log log1p log2 expm1 square floor ceil rint sign negative tanh clip maximum "
    "minimum add subtract multiply divide power mod where nan_to_num cumsum cumprod sort flip roll round "
    "diff fmax fmin floor_divide true_divide asarray array copy zeros_like ones_like full_like empty_like"
)
LOGICAL = _words("logical_and logical_or logical_not logical_xor isfinite isnan isin equal less greater")
REDUCTIONS = _words("sum mean max min amax amin median std var prod ptp dot percentile quantile average item")
COUNTS = _words("argmin argmax count_nonzero searchsorted")
SHAPED = _words("zeros ones full empty arange linspace")
POSITIONS = _words("argsort lexsort")
SELECTIONS = _words("flatnonzero nonzero unique concatenate append insert repeat hstack")
SAME_METHODS = _words("copy astype cumsum clip round sort take")
MATH_INTS = _words("floor ceil comb gcd isqrt factorial")


# What numpy makes or brings into a shape: from which argument on they give the shape.
SHAPED_FROM = {
    **dict.fromkeys(_words("zeros ones full empty arange linspace eye identity"), 0),
    **dict.fromkeys(_words("tile repeat reshape broadcast_to transpose swapaxes moveaxis expand_dims squeeze"), 1),
    "take": 1,
}  # fmt: skip
DRAWS = _words("randrange randint integers getrandbits")  # of a generator; what they are given is a bound
SHAPE_WORDS = _words("axis axes shape newshape keepdims ndmin dtype repeats reps")


def describe(node: ast.AST) -> str:
    """A short text of an expression, used to name symbolic lengths."""
    return node.id if isinstance(node, ast.Name) else unparse(node)


def element(container: Type) -> Type:
    """What iterating over a value gives."""
    if container.text:
        return UNKNOWN
    if container.kind == "vector":
        return INT if container.items else FLOAT
    if container.kind == "mask":
        return BOOL
    if container.kind == "str":
        return STR
    if container.kind == "tuple" and len(set(container.items)) > 1:
        return UNKNOWN
    return container.items[0] if container.is_container and container.items else UNKNOWN


def numeric(operands: Sequence[Type]) -> Type:
    """The type of an element-wise operation on these operands: arrays win, then floats."""
    arrays = [operand for operand in operands if operand.is_array]
    if arrays:
        # of two shapes, the one of more axes is the result's
        shape = next((array for array in arrays if array.text), arrays[0])
        return Type("vector", shape.dim, text=shape.text)
    if operands and all(operand.is_scalar for operand in operands):
        return INT if all(operand.kind != "float" for operand in operands) else FLOAT
    return UNKNOWN


def of_numpy(name: str, node: ast.Call, arguments: Sequence[Type]) -> Type:
    """The type of `np.name(...)`."""
    if any(keyword.arg == "axis" for keyword in node.keywords):
        return UNKNOWN
    first = arguments[0] if arguments else UNKNOWN
    if name in ELEMENTWISE:
        return _elementwise(name, node, arguments)
    if name in LOGICAL:
        return mask(first.dim) if first.is_array else BOOL if first.is_scalar else UNKNOWN
    if name in REDUCTIONS:
        return FLOAT
    if name in COUNTS:
        return index_vector(arguments[1].dim) if len(arguments) > 1 and arguments[1].is_array else INT
    if name in ("any", "all"):
        return BOOL
    return _arrays_made(name, node, arguments)


def _elementwise(name: str, node: ast.Call, arguments: Sequence[Type]) -> Type:
    first = arguments[0] if arguments else UNKNOWN
    if name == "where":
        return (
            numeric(arguments[1:]) if len(arguments) == 3 and arguments[0].is_scalar else numeric(arguments)
        )
    if name in ("asarray", "array") and not first.is_array:
        if first.kind not in ("list", "tuple"):
            return UNKNOWN
        return Type("vector", describe(node), text="" if element(first).is_scalar else AXES)
    if name in ("asarray", "array", "copy", "sort", "flip"):
        return first
    if name == "diff":
        return vector(describe(node))
    result = numeric(arguments)
    return FLOAT if result.kind == "int" and name not in ("abs", "maximum", "minimum", "clip") else result


def _arrays_made(name: str, node: ast.Call, arguments: Sequence[Type]) -> Type:
    first = arguments[0] if arguments else UNKNOWN
    if name in POSITIONS:
        source = element(first) if first.kind == "tuple" else first
        return (
            source._replace(kind="vector", items=(INT,)) if source.is_array else index_vector(describe(node))
        )
    if name in SHAPED:
        dim = first.dim if first.kind == "int" and len(arguments) == 1 + (name == "full") else ""
        made = dim or describe(node)
        if first.kind == "tuple":
            return Type("vector", made, text=AXES)
        if any(keyword.arg == "dtype" and describe(keyword.value) == "bool" for keyword in node.keywords):
            return mask(made)
        return index_vector(made) if name == "arange" else vector(made)
    if name == "delete" and len(node.args) > 1:
        return Type("vector", f"{first.dim}-{describe(node.args[1])}", first.items)
    if name in SELECTIONS:
        return Type("vector", describe(node), (INT,) if name in ("flatnonzero",) else first.items)
    return UNKNOWN


def of_method(name: str, node: ast.Call, owner: Type, arguments: Sequence[Type]) -> Type:
    """The type of `owner.name(...)`."""
    if owner.is_array:
        return _of_array_method(name, node, owner, arguments)
    if owner.kind == "list":
        return {"index": INT, "count": INT, "pop": element(owner), "copy": owner}.get(name, NONE)
    if owner.kind == "dict" and len(owner.items) == 2:
        key, value = owner.items
        views = {"keys": iterator_of(key), "values": iterator_of(value), "items": iterator_of(key, value)}
        return views.get(name, value if name in ("get", "pop", "setdefault") else UNKNOWN)
    if owner.kind == "str":
        return (
            list_of(STR)
            if name == "split"
            else STR
            if name in ("strip", "lower", "upper", "join")
            else UNKNOWN
        )
    if owner.kind == "set":
        return {"copy": owner, "union": owner, "pop": element(owner)}.get(name, UNKNOWN)
    return UNKNOWN


def _of_array_method(name: str, node: ast.Call, owner: Type, arguments: Sequence[Type]) -> Type:
    if any(keyword.arg == "axis" for keyword in node.keywords):
        return UNKNOWN
    if name in SAME_METHODS:
        if name == "astype" and node.args and describe(node.args[0]) in ("int", "np.int64", "np.intp"):
            return index_vector(owner.dim)
        return Type("vector", owner.dim, text=owner.text) if owner.kind == "mask" else owner
    if name in ("sum", "item") and owner.items:
        return INT
    if name in REDUCTIONS:
        return INT if owner.kind == "mask" and name == "sum" else FLOAT
    if name in ("any", "all"):
        return BOOL
    if name in ("argmin", "argmax"):
        return INT
    if name == "argsort":
        return owner._replace(kind="vector", items=(INT,))
    if name == "tolist":
        return list_of(element(owner))
    return vector(describe(node)) if name == "nonzero" and not arguments else UNKNOWN


def of_math(name: str) -> Type:
    return INT if name in MATH_INTS else BOOL if name.startswith("is") else FLOAT


def of_builtin(name: str, arguments: Sequence[Type]) -> Type:
    """The type of a call of a builtin; UNKNOWN for those not listed."""
    first = arguments[0] if arguments else UNKNOWN
    if name in ("int", "float", "bool", "str"):
        return {"int": INT, "float": FLOAT, "bool": BOOL, "str": STR}[name]
    if name == "len":
        return Type("int", first.dim)
    if name in ("abs", "round", "min", "max", "sum", "divmod", "pow"):
        return _of_number_builtin(name, arguments)
    if name in ("sorted", "list", "tuple", "set"):
        items = (element(first),) if arguments and element(first) != UNKNOWN else ()
        return Type("list" if name == "sorted" else name, items=items)
    if name in ("reversed", "iter", "range"):
        return iterator_of(INT if name == "range" else element(first))
    if name == "enumerate":
        return iterator_of(INT, element(first))
    if name == "zip":
        return Type("iterator", items=(Type("tuple", items=tuple(map(element, arguments))),))
    if name == "next":
        return element(first)
    return first if name == "dict" and first.kind == "dict" else UNKNOWN


def _of_number_builtin(name: str, arguments: Sequence[Type]) -> Type:
    first = arguments[0] if arguments else UNKNOWN
    if name in ("min", "max", "sum") and len(arguments) == 1:
        return element(first)
    if name in ("min", "max"):
        result = first
        for other in arguments[1:]:
            result = join(result, other)
        return result
    if name == "round":
        return INT if len(arguments) == 1 and first.is_scalar else first
    if name == "sum":
        return element(first) if element(first).is_number else first
    if first.is_array:
        return first._replace(kind="vector", items=())
    return first if first.is_number else UNKNOWN
