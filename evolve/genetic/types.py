"""The types that tell a genetic operator what may stand where.

They are coarser than Python's own: a numpy array of numbers is a vector whatever its dtype, but it carries
a symbolic length, because two arrays of different lengths cannot be added. Typed trees that stay closed
under crossover and mutation are strongly typed genetic programming (Montana, "Strongly Typed Genetic
Programming", Evolutionary Computation 3(2), 1995, section 2).
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import NamedTuple

from evolve.genetic.printing import unparse


class Type(NamedTuple):
    """A static type.

    kind: "int", "float", "bool", "str", "none", "vector", "mask", "list", "tuple", "dict", "set",
        "iterator", "function", "named" (any other annotation, compared by its text) or "unknown".
    dim: symbolic length of a vector or mask, equal texts mean equal lengths; of an int, the length it counts.
    items: element types of a container; of a vector, (INT,) if it holds indices, else ().
    text: the annotation of a "named" type; the name of a "function"; AXES of an array of several axes; SHAPE.
    """

    kind: str
    dim: str = ""
    items: tuple[Type, ...] = ()
    text: str = ""

    @property
    def is_number(self) -> bool:
        return self.kind in ("int", "float")

    @property
    def is_scalar(self) -> bool:
        return self.kind in ("int", "float", "bool")

    @property
    def is_array(self) -> bool:
        return self.kind in ("vector", "mask")

    @property
    def is_container(self) -> bool:
        return self.kind in ("list", "tuple", "dict", "set", "iterator")

    @property
    def is_structure(self) -> bool:
        """Whether values of it are whole pieces of an answer, which a function may take and give back."""
        return self.kind in ("list", "tuple", "dict", "set", "named", "str") and self.text != SHAPE


UNKNOWN = Type("unknown")
INT = Type("int")
FLOAT = Type("float")
BOOL = Type("bool")
STR = Type("str")
NONE = Type("none")
SHAPE = "shape"  # text of the tuple that says how long an array is along each axis
AXES = "axes"  # such an array goes with itself and with numbers only: no other is known to have its shape
PARAMETER_DIM = "n"  # arrays that enter a function together are taken to be of one length

_PLAIN = {"int": INT, "float": FLOAT, "bool": BOOL, "str": STR, "None": NONE}
_ARRAYS = ("np.ndarray", "numpy.ndarray", "ndarray", "NDArray", "np.typing.NDArray", "npt.NDArray")
_CONTAINERS = {
    "list": "list", "List": "list", "Sequence": "list", "tuple": "tuple", "Tuple": "tuple",
    "dict": "dict", "Dict": "dict", "Mapping": "dict", "set": "set", "Set": "set",
}  # fmt: skip


def vector(dim: str) -> Type:
    return Type("vector", dim)


def index_vector(dim: str) -> Type:
    return Type("vector", dim, (INT,))


def mask(dim: str) -> Type:
    return Type("mask", dim)


def list_of(item: Type) -> Type:
    return Type("list", items=(item,))


def iterator_of(*items: Type) -> Type:
    return Type("iterator", items=items if len(items) == 1 else (Type("tuple", items=items),))


def from_annotation(node: ast.expr | None) -> Type:
    """The type that an annotation stands for; UNKNOWN without one."""
    if node is None:
        return UNKNOWN
    if isinstance(node, ast.Constant):
        return _from_constant(node)
    if isinstance(node, ast.Subscript):
        return _from_subscript(node)
    text = _text(node)
    if text in _PLAIN:
        return _PLAIN[text]
    if text in _ARRAYS:
        return vector(PARAMETER_DIM)
    if text in _CONTAINERS:
        # what is inside is not said, so it is not taken for what another list holds
        return Type(_CONTAINERS[text], items=(UNKNOWN,) if _CONTAINERS[text] == "list" else ())
    return UNKNOWN if text in ("Any", "object") else Type("named", text=text)


def _from_constant(node: ast.Constant) -> Type:
    if node.value is None:
        return NONE
    if not isinstance(node.value, str):
        return UNKNOWN
    try:
        return from_annotation(ast.parse(node.value, mode="eval").body)
    except SyntaxError:
        return UNKNOWN


def _from_subscript(node: ast.Subscript) -> Type:
    base = _text(node.value)
    if base in _ARRAYS:
        return vector(PARAMETER_DIM)
    kind = _CONTAINERS.get(base)
    if kind is None:
        return Type("named", text=unparse(node))
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    items = [item for item in inner if not (isinstance(item, ast.Constant) and item.value is Ellipsis)]
    return Type(kind, items=tuple(from_annotation(item) for item in items))


def _text(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else unparse(node)


def fits(have: Type, want: Type) -> bool:
    """Whether a value of type `have` may stand where `want` is expected."""
    if want.kind == "unknown":
        return False
    if have.kind != want.kind:
        return have.kind == "int" and want.kind == "float"
    if have.is_array:
        alike = have.dim == want.dim and have.text == want.text
        return alike and (not want.items or have.items == want.items)
    if not have.is_container:
        return have.text == want.text
    if not have.items or not want.items:
        return True
    if len(have.items) != len(want.items):
        return False
    return all(
        mine == theirs or fits(mine, theirs) for mine, theirs in zip(have.items, want.items, strict=True)
    )


@lru_cache(4096)
def shapeless(kind: Type) -> Type:
    """The type without symbolic lengths: what signatures of functions are compared by."""
    return kind._replace(dim="", items=()) if kind.is_array else kind._replace(dim="")


def fits_shapeless(have: Type, want: Type) -> bool:
    return fits(shapeless(have), shapeless(want))


def join(left: Type, right: Type) -> Type:
    """The type of a value that is one or the other; arrays of two lengths get a third."""
    if left == right:
        return left
    if left.is_number and right.is_number:
        return INT if left.kind == right.kind == "int" else FLOAT
    if left.kind != right.kind:
        return UNKNOWN
    if left.is_array:
        dim = left.dim if left.dim == right.dim else f"({left.dim}|{right.dim})"
        items = left.items if left.items == right.items else ()
        return Type(left.kind, dim, items, left.text or right.text)
    if left.is_container:
        return left if left.items else right
    return UNKNOWN
