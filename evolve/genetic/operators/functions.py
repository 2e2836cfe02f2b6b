"""Operators on whole functions: exchange, call, chain and choose between them.

Chaining functions of one type (`improve(x, start(x))`), replacing a call by another that answers the same
question, and keeping the better of two answers are the moves by which heuristics are composed by hand:
construction followed by descent, and a portfolio judged by the objective.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from evolve.genetic.nodes import call, children, clone, function_of, name, short, walk
from evolve.genetic.operators.expressions import put
from evolve.genetic.places import Scope, Site
from evolve.genetic.source import Definition, Source
from evolve.genetic.task import Place, Task, caution
from evolve.genetic.types import Type, fits, fits_shapeless, shapeless

LOOP_DISCOUNT = 0.1  # a function called in a loop multiplies the cost of the program
TOP_BONUS = 4.0
BREEDER_BONUS = 4.0
ENTRY_BONUS = 5.0  # what the entry itself does, and what has the type of its answer


@dataclass(frozen=True)
class Block:
    """A function of some program. weight: how likely it is taken, more if its program breeds."""

    owner: Source
    definition: Definition
    weight: float

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def parameters(self) -> tuple[tuple[str, Type, bool], ...]:
        return self.definition.signature.parameters

    @property
    def returns(self) -> Type:
        return self.definition.signature.returns


def blocks(task: Task, caller: str) -> list[Block]:
    """Functions that `caller` may call without ending up in itself: of this program, then of the donors."""
    mine = task.source
    found: dict[frozenset[str], Block] = {}
    for rank, owner in enumerate((mine, *task.donors)):
        weight = BREEDER_BONUS if 0 < rank <= task.near else 1.0
        for definition in owner.functions.values():
            needs = owner.needs(definition.name)
            if not definition.signature.parameters or (
                caller in needs and owner.meaning(caller) == mine.meaning(caller)
            ):
                continue
            meaning = owner.meaning(definition.name)
            if meaning not in found:
                found[meaning] = Block(owner, definition, weight)
    return list(found.values())


def draw(task: Task, options: Sequence[Block]) -> Block | None:
    return task.pick(options, [block.weight for block in options])


def transformers(pool: Sequence[Block], kind: Type) -> list[tuple[Block, int]]:
    """Functions f(.., x: T, ..) -> T with the position of x, which is the last of its type."""
    found = []
    for block in pool:
        places = [i for i, (_, t, _) in enumerate(block.parameters) if shapeless(t) == shapeless(kind)]
        if places and fits_shapeless(block.returns, kind):
            found.append((block, places[-1]))
    return found


def makers(pool: Sequence[Block], kind: Type) -> list[Block]:
    """Functions that return a T and take none."""
    return [
        block for block in pool
        if fits_shapeless(block.returns, kind)
        and all(shapeless(t) != shapeless(kind) for _, t, _ in block.parameters)
    ]  # fmt: skip


def measures(pool: Sequence[Block], kind: Type) -> list[tuple[Block, int]]:
    """Functions m(.., x: T, ..) -> number with the position of x."""
    found = []
    for block in pool:
        places = [i for i, (_, t, _) in enumerate(block.parameters) if shapeless(t) == shapeless(kind)]
        if len(places) == 1 and block.returns.is_number:
            found.append((block, places[0]))
    return found


def call_block(task: Task, block: Block, scope: Scope, given: dict[int, ast.expr]) -> ast.expr | None:
    """A call of a function, adopted if need be, with the arguments not given bound from the scope."""
    arguments: list[ast.expr] = []
    for position, (parameter, kind, default) in enumerate(block.parameters):
        if position in given:
            arguments.append(given[position])
            continue
        if default and not any(later > position for later in given):
            break
        argument = _argument(task, parameter, kind, scope)
        if argument is None:
            return None
        arguments.append(argument)
    wrapper = block.name == block.owner.entry and block.definition.is_formula
    if wrapper and len(arguments) == len(block.parameters):
        return _inlined(task, block, arguments)
    here = _at_home(task, block, block.name)
    return call(here, *arguments) if here else None


def _at_home(task: Task, block: Block, wanted: str) -> str:
    """What a definition of the block's program is called here, adopted if need be."""
    return wanted if block.owner is task.source else task.draft.adopt(block.owner, wanted)


def _inlined(task: Task, block: Block, arguments: Sequence[ast.expr]) -> ast.expr | None:
    """What another program's entry returns, with the arguments in place: mere wrappers must not pile up."""
    given = dict(zip((parameter for parameter, _, _ in block.parameters), arguments, strict=True))
    body = block.definition.function.body[0]
    assert isinstance(body, ast.Return)
    holder = ast.Expr(clone(body.value) if body.value is not None else ast.Constant(None, None))
    for parent in list(walk(holder)):
        for place, node in children(parent):
            if not isinstance(node, ast.Name):
                continue
            if node.id in given:
                place(clone(given[node.id]))
            elif node.id in block.owner.by_name:
                here = _at_home(task, block, node.id)
                if not here:
                    return None
                node.id = here
    return holder.value


def _argument(task: Task, parameter: str, kind: Type, scope: Scope) -> ast.expr | None:
    """The variable of the same name, else one of the same type, else a grown number."""
    if parameter in scope and (fits_shapeless(scope[parameter], kind) or kind.kind == "unknown"):
        return name(parameter)
    names = [n for n, here in scope.items() if fits_shapeless(here, kind)]
    if kind.is_number and (not names or task.rng.random() < 0.5):
        return task.grower(scope).grow(shapeless(kind), 0)
    return name(task.rng.choice(names)) if names else None


def _worth(site: Site) -> float:
    top = TOP_BONUS if site.depth == 0 and site.role in ("return", "assign", "call") else 1.0
    return top * (1.0 if site.depth == 0 else LOOP_DISCOUNT)


def is_call_by_name(site: Site) -> bool:
    return called(site.node) != ""


def is_structured_call(site: Site) -> bool:
    return isinstance(site.node, ast.Call) and site.type.is_structure


def is_function_name(site: Site) -> bool:
    return site.type.kind == "function" and isinstance(site.node, ast.Name)


def is_options(site: Site) -> bool:
    return isinstance(site.node, ast.Tuple) and _is_selection(site.holder)


def is_answer(site: Site) -> bool:
    return site.type.is_structure and site.role in ("return", "assign", "call", "value")


def worth_of_call(site: Site) -> float:
    return caution(site) * _worth(site)


def _answer_place(task: Task) -> Place | None:
    """An expression whose value is a whole piece of an answer: most often one that the entry may return."""
    entry = task.source.functions[task.source.entry].signature.returns
    places: list[tuple[str, Site]] = []
    weights: list[float] = []
    for definition in task.functions():
        at_entry = ENTRY_BONUS if definition.name == task.source.entry else 1.0
        for site, worth in zip(*task.analysis(definition.name).select(is_answer, _worth), strict=True):
            places.append((definition.name, site))
            weights.append(worth * at_entry * (ENTRY_BONUS if fits(site.type, entry) else 1.0))
    chosen = task.pick(places, weights)
    return None if chosen is None else task.place(*chosen)


def compose(task: Task) -> str:
    """Wrap an expression of type T in a call of a function that takes and returns a T."""
    place = _answer_place(task)
    if place is None:
        return ""
    new = _chained(task, place.live.node, blocks(task, place.function), place.seen)
    return "" if new is None else put(place, new)


def decompose(task: Task) -> str:
    """f(.., x, ..) -> x, where x has the type of the whole."""
    place = task.site(is_structured_call)
    if place is None or not isinstance(place.live.node, ast.Call):
        return ""
    kinds = {id(s.node): s.type for s in task.analysis(place.function).sites if s.holder is place.seen.node}
    seen = place.seen.node
    assert isinstance(seen, ast.Call)
    fitting = [i for i, a in enumerate(seen.args) if id(a) in kinds and fits(kinds[id(a)], place.seen.type)]
    return put(place, place.live.node.args[task.rng.choice(fitting)]) if fitting else ""


def substitute_call(task: Task) -> str:
    """Call another function that answers with the same type, given old arguments or ones in scope."""
    own = task.source.functions
    place = task.site(is_call_by_name, worth_of_call, lambda site: called(site.node) in own)
    if place is None or not isinstance(place.live.node, ast.Call):
        return _substitute_reference(task)
    old = place.live.node.func
    assert isinstance(old, ast.Name)
    pool = [
        b for b in blocks(task, place.function)
        if fits_shapeless(b.returns, own[old.id].signature.returns)
        and not (b.owner is task.source and b.name == old.id)
    ]  # fmt: skip
    block = draw(task, pool)
    if block is None:
        return ""
    given = _given(task, block, place)
    if _is_whole_program(task, place) and block.name == task.source.entry:
        return ""
    new = call_block(task, block, place.seen.scope, given)
    return "" if new is None else put(place, new)


def _is_whole_program(task: Task, place: Place) -> bool:
    """Whether the place is all that the entry does: replacing it would only copy another program."""
    return (
        place.function == task.source.entry
        and task.source.functions[place.function].is_formula
        and (place.seen.role == "return")
    )


def _given(task: Task, block: Block, place: Place) -> dict[int, ast.expr]:
    """Arguments of the old call that suit the new one: by name of the parameter and type, in order."""
    node = place.live.node
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    old = task.source.functions[node.func.id].signature.parameters
    left = list(zip(old, node.args, strict=False))
    given: dict[int, ast.expr] = {}
    for position, (parameter, kind, _) in enumerate(block.parameters):
        match = next((p for p in left if p[0][0] == parameter and p[0][1] == kind), None)
        match = match or next(
            (p for p in left if shapeless(p[0][1]) == shapeless(kind) and kind.is_structure), None
        )
        if match is not None:
            left.remove(match)
            given[position] = match[1]
    return given


def _substitute_reference(task: Task) -> str:
    """Pass another function of the same signature where a function is passed by name."""
    place = task.site(is_function_name)
    if place is None:
        return ""
    old = task.source.functions[place.seen.type.text]
    pool = [
        b for b in blocks(task, place.function)
        if [t for _, t, _ in b.parameters] == [t for _, t, _ in old.signature.parameters]
        and b.returns == old.signature.returns and b.definition is not old
    ]  # fmt: skip
    block = draw(task, pool)
    if block is None:
        return ""
    here = block.name if block.owner is task.source else task.draft.adopt(block.owner, block.name)
    return put(place, name(here)) if here else ""


def select_best(task: Task) -> str:
    """`min((A, B), key=measure)`: keep the better of the old answer and another, judged by a function."""
    place = _answer_place(task)
    if place is None or (place.seen.depth > 0 and task.rng.random() < 0.9):
        return ""
    pool = blocks(task, place.function)
    judges = measures(pool, place.seen.type)
    if not judges:
        return ""
    other = _another_answer(task, place, pool)
    if other is None:
        return ""
    block, position = task.rng.choice(judges)
    option = task.draft.fresh("option")
    judged = call_block(task, block, place.seen.scope, {position: name(option)})
    if judged is None:
        return ""
    best = task.rng.choices(("min", "max"), (3, 1))[0]
    key = ast.keyword("key", function_of(option, judged))
    pair = ast.Tuple([place.live.node, other], ast.Load())
    return put(place, ast.Call(name(best), [pair], [key]))


def _another_answer(task: Task, place: Place, pool: Sequence[Block]) -> ast.expr | None:
    """A second expression of the type: made by a function, or an old one passed through one."""
    kind, scope = place.seen.type, place.seen.scope
    maker = draw(task, makers(pool, kind))
    if maker is not None and task.rng.random() < 0.7:
        made = call_block(task, maker, scope, {})
        if made is not None:
            return _chained(task, made, pool, place.seen) if task.rng.random() < 0.5 else made
    names = [n for n, here in scope.items() if fits(here, kind)]
    start = name(task.rng.choice(names)) if names and task.rng.random() < 0.5 else clone(place.seen.node)
    return _chained(task, start, pool, place.seen)


def _chained(task: Task, start: ast.expr, pool: Sequence[Block], site: Site) -> ast.expr | None:
    """A call f(.., start, ..) of a function that keeps the type; seldom of one that was just called."""
    options = transformers(pool, site.type)
    near = {called(start), called(site.holder)}
    chosen = task.pick(options, [block.weight * (0.1 if block.name in near else 1.0) for block, _ in options])
    if chosen is None:
        return None
    block, position = chosen
    return call_block(task, block, site.scope, {position: start})


def called(node: ast.AST) -> str:
    """The name of the function that a call calls; "" for anything else."""
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def extend_selection(task: Task) -> str:
    """One more option in a `min((..), key=..)`."""
    place = task.site(is_options)
    if place is None or not isinstance(place.live.node, ast.Tuple):
        return ""
    kinds = {id(s.node): s for s in task.analysis(place.function).sites if s.holder is place.seen.node}
    first = next(iter(kinds.values()), None)
    if first is None:
        return ""
    other = _another_answer(task, task.place(place.function, first), blocks(task, place.function))
    if other is None:
        return ""
    place.live.replace(ast.Tuple([*place.live.node.elts, other], ast.Load()))
    return f"{place.function}: one more option: {short(other, 50)}"


def _is_selection(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("min", "max")
        and bool(node.keywords)
    )


def replace_answer(task: Task) -> str:
    """Start from another function's answer: a call that makes a T in place of an expression of type T."""
    place = _answer_place(task)
    if place is None or isinstance(place.seen.node, ast.Name) or _is_whole_program(task, place):
        return ""  # in place of a variable, all that computed it would be left behind
    maker = draw(task, makers(blocks(task, place.function), place.seen.type))
    if maker is None:
        return ""
    new = call_block(task, maker, place.seen.scope, {})
    return "" if new is None else put(place, new)


def cross_function(task: Task) -> str:
    """Another program's function of the same name and types in place of this one."""
    donor = task.donor()
    if donor is None:
        return ""
    common = [
        n for n in task.source.functions if n in donor.functions and _exchangeable(task.source, donor, n)
    ]
    if not common:
        return ""
    chosen = task.rng.choice(common)
    arrival = task.draft.adopt(donor, chosen)
    if not arrival or arrival == chosen:
        return ""
    _take_over(task, chosen, arrival)
    return f"{chosen}: taken from another program"


def _exchangeable(mine: Source, donor: Source, function: str) -> bool:
    here, there = mine.functions[function], donor.functions[function]
    return here.text != there.text and here.declared == there.declared


def _take_over(task: Task, old: str, arrival: str) -> None:
    """Give the function `old` the body of `arrival`, whose calls of itself then mean `old`."""
    function = task.draft.open(old).root
    taken = clone(task.source.functions[arrival].function)
    for node in ast.walk(taken):
        if isinstance(node, ast.Name) and node.id == arrival:
            node.id = old
    function.args, function.body, function.returns = taken.args, taken.body, taken.returns
