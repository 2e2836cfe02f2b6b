"""The genetic proposer: what it proposes, from what, and whether the offspring run."""

from __future__ import annotations

import ast
import json
import random
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve import program as programs
from evolve.genetic.draft import Draft
from evolve.genetic.nodes import size
from evolve.genetic.operators import OPERATORS, WEIGHTS
from evolve.genetic.source import read
from evolve.genetic.task import Task
from evolve.proposers.genetic import MAX_GROWTH, GeneticProposer
from evolve.records import Candidate, Evaluation, Member, Proposal, Sample, Split, Status
from tests.genetic_programs import COLLATZ, DESCENT, DISPATCH, ENTRIES, GRAPH, PACKING

IMPORTS = ("math", "numpy", "collections")
FILE = "program.py"


def candidate(source: str, note: str = "") -> Candidate:
    return programs.make_candidate({FILE: source}, note=note)


def member(source: str) -> Member:
    made = candidate(source)
    return Member(made, Evaluation(made.id, Split.TRAIN, Status.OK, (1.0,), (0.5,), 1))


def proposer(entry: str, *seeds: str) -> GeneticProposer:
    return GeneticProposer(entry, FILE, IMPORTS, [candidate(seed) for seed in seeds])


def offspring(entry: str, parent: str, others: Sequence[str], count: int) -> list[Proposal]:
    sample = Sample(member(parent), tuple(member(other) for other in others))
    made = proposer(entry, parent, *others)
    return [made.propose(sample, number, random.Random(number)) for number in range(1, count + 1)]


def text(proposal: Proposal) -> str:
    assert proposal.candidate is not None
    return proposal.candidate.files[FILE]


@pytest.mark.parametrize("name", sorted(ENTRIES))
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_child_parses_keeps_its_entry_and_differs_from_its_parent(name: str, seed: int) -> None:
    source, entry = ENTRIES[name]
    proposal = proposer(entry, source).propose(Sample(member(source)), 1, random.Random(seed))
    if proposal.candidate is None:
        assert proposal.reason
        return
    tree = programs.parse(text(proposal))
    assert entry in programs.defined_functions(tree)
    assert proposal.candidate.id == programs.identity(proposal.candidate.files)
    assert proposal.candidate.id != candidate(source).id


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_same_sample_and_generator_give_the_same_proposal(seed: int) -> None:
    sample = Sample(member(DISPATCH), (member(DESCENT),))
    warm = proposer("sequence", DISPATCH, DESCENT)
    for number in range(3):
        warm.propose(sample, number, random.Random(seed + number + 1))
    fresh = proposer("sequence", DISPATCH, DESCENT)
    assert warm.propose(sample, 9, random.Random(seed)) == fresh.propose(sample, 9, random.Random(seed))


def test_proposals_do_not_depend_on_the_hash_seed() -> None:
    script = (
        "import random; from tests.test_genetic_proposer import *; "
        "print([text(p) for p in offspring('sequence', DESCENT, [DISPATCH], 25) if p.candidate])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": value, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for value in ("1", "2")
    }
    assert len(outputs) == 1
    assert "def sequence" in outputs.pop()


def test_a_proposal_names_its_parent_operator_and_what_was_done() -> None:
    proposal = next(p for p in offspring("sequence", DISPATCH, [], 20) if p.candidate)
    assert proposal.candidate is not None
    assert proposal.parents == (candidate(DISPATCH).id,) == proposal.candidate.parents
    assert set(proposal.operator.split(" + ")) <= set(OPERATORS)
    assert proposal.candidate.note


def test_nothing_comes_from_outside_the_sample_and_the_seeds() -> None:
    known = {"np", "math", "min", "max", "len", "sorted", "range", "abs", "float", "term"}
    inside = known | {n.id for n in ast.walk(ast.parse(DISPATCH)) if isinstance(n, ast.Name)}
    inside |= {"priority", "sequence"}
    for proposal in offspring("sequence", DISPATCH, [], 200):
        if proposal.candidate is None:
            continue
        tree = ast.parse(text(proposal))
        bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        bound |= {a.arg for a in ast.walk(tree) if isinstance(a, ast.arg)}
        bound |= set(programs.defined_functions(tree))
        read_names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert read_names <= inside | bound
        assert all(
            name.rpartition("_")[0] in inside or name in inside for name in programs.defined_functions(tree)
        )


def test_a_parent_that_does_not_parse_gives_a_reason_instead_of_a_program() -> None:
    broken = Member(Candidate("x", {FILE: "def ("}), member(DISPATCH).evaluation)
    proposal = proposer("sequence", DISPATCH).propose(Sample(broken), 1, random.Random(0))
    assert proposal.candidate is None
    assert FILE in proposal.reason


def test_no_function_is_left_that_the_entry_does_not_reach() -> None:
    for proposal in offspring("sequence", DESCENT, [DISPATCH], 100):
        if proposal.candidate is not None:
            tree = programs.parse(text(proposal))
            defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert defined == set(read(tree, "sequence").functions)


def test_programs_stay_within_the_bound_of_growth() -> None:
    sample, made = member(DISPATCH), proposer("sequence", DISPATCH, DESCENT)
    rng = random.Random(4)
    for number in range(300):
        proposal = made.propose(Sample(sample, (member(DESCENT),)), number, rng)
        if proposal.candidate is not None:
            sample = member(text(proposal))
            assert size(ast.parse(text(proposal))) <= MAX_GROWTH + max(
                size(ast.parse(DISPATCH)), size(ast.parse(DESCENT))
            )


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_a_child_in_memory_is_what_its_text_is_read_as(name: str) -> None:
    source, entry = ENTRIES[name]
    made = proposer(entry, source, DESCENT)
    for number in range(150):
        proposal = made.propose(Sample(member(source)), number, random.Random(number))
        if proposal.candidate is not None:
            kept = made.library.children[proposal.candidate.id, FILE]
            again = read(programs.parse(text(proposal)), entry)
            assert [ast.dump(d.node) for d in kept.definitions] == [
                ast.dump(d.node) for d in again.definitions
            ]


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_making_children_leaves_parents_and_donors_as_they_were(name: str) -> None:
    """Programs share parts of their trees, so no operator may change one in place."""
    source, entry = ENTRIES[name]
    made = proposer(entry, source, DESCENT)
    shared = [definition for seed in made._seeds[FILE] for definition in seed.definitions]
    before = [definition.text for definition in shared]
    for number in range(300):
        made.propose(Sample(member(source)), number, random.Random(number))
    shared += [d for parent in made.library.sources.values() for d in parent.definitions]
    before += [d.text for parent in made.library.sources.values() for d in parent.definitions]
    assert [ast.unparse(definition.node) for definition in shared] == before


# single operators


def vary(operator: str, entry: str, parent: str, others: Sequence[str] = (), tries: int = 60) -> list[str]:
    """Programs that one operator makes of a parent."""
    found = []
    donors = [read(programs.parse(other), entry) for other in (parent, *others)]
    for seed in range(tries):
        draft = Draft(read(programs.parse(parent), entry), IMPORTS)
        if OPERATORS[operator](Task(draft, donors, 1, random.Random(seed))):
            draft.commit()
            found.append(draft.source.text)
    return found


def test_every_operator_has_a_weight() -> None:
    assert set(OPERATORS) == set(WEIGHTS)
    assert min(WEIGHTS.values()) > 0


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_operator_makes_programs_that_parse(operator: str) -> None:
    selection = DESCENT.replace(
        "return descend(p, d, [int(j) for j in np.argsort(d)])",
        "a = [int(j) for j in np.argsort(d)]\n    a = swapped(a, 0, 0)\n"
        "    return min((a, descend(p, d, a)), key=lambda o: cost(p, d, o)) if len(p) > 0.5 * 3 else list(a)",
    )
    other = DESCENT.replace("swapped(order, i, i + 1)", "swapped(order, i, 0)")
    made = [
        child
        for parent, entry in (
            (selection, "sequence"),
            (PACKING, "pack"),
            (COLLATZ, "steps"),
            (GRAPH, "labels"),
        )
        for child in vary(operator, entry, parent, (other, DISPATCH) if entry == "sequence" else (), 40)
    ]
    assert made, "the operator never found anything to do"
    for child in made:
        tree = ast.parse(child)
        compile(tree, "child", "exec")
        assert programs.normalise(tree) == child


def test_composition_wraps_an_answer_in_a_function_of_another_program_and_brings_its_helpers() -> None:
    children = vary("compose", "sequence", DISPATCH, (DESCENT,))
    wrapped = [child for child in children if "return descend(p, d, order)" in child]
    assert wrapped
    assert all(helper in wrapped[0] for helper in ("def cost(", "def swapped(", "WEIGHT = 2"))


def test_composition_is_undone_by_decomposition() -> None:
    wrapped = DESCENT.replace("return descend(", "return descend(p, d, descend(").replace("(d)])", "(d)]))")
    assert read(programs.parse(DESCENT), "sequence").text in vary("decompose", "sequence", wrapped)


def test_a_call_is_replaced_by_a_call_of_another_function_with_the_same_arguments() -> None:
    other = DESCENT.replace("i, i + 1", "0, i")
    children = vary("substitute call", "sequence", DESCENT, (other,))
    assert any("return descend_2(p, d, [int(j) for j in np.argsort(d)])" in c for c in children) or any(
        "return descend(p, d, [int(j) for j in np.argsort(d)])" in c and "0, i" in c for c in children
    )


def test_the_better_of_two_answers_is_kept_by_a_measure_at_hand() -> None:
    children = vary("select best", "sequence", DESCENT, (DISPATCH,), 200)
    assert any("return min((" in c and "key=lambda option: cost(p, d, option)" in c for c in children)


def test_a_function_of_the_same_name_and_types_is_taken_over() -> None:
    other = DISPATCH.replace("return d\n", "return np.maximum(p + t, d)\n")
    assert read(programs.parse(other), "sequence").text in vary(
        "cross function", "sequence", DISPATCH, (other,)
    )


def test_a_function_is_never_called_from_within_itself() -> None:
    for operator in ("compose", "substitute call", "replace answer", "select best"):
        for child in vary(operator, "sequence", DESCENT, (DISPATCH,)):
            program = read(programs.parse(child), "sequence")
            for name, definition in program.functions.items():
                called = [other for other in definition.mentions if other in program.functions]
                assert not any(name in program.needs(other) for other in called)


def test_a_transplanted_expression_gets_the_names_of_its_new_place() -> None:
    other = DISPATCH.replace(
        "(p: np.ndarray, d: np.ndarray, t: int)", "(a: np.ndarray, b: np.ndarray, now: int)"
    )
    other = other.replace("return d\n", "return np.maximum(a, b) * now\n")
    made = [
        read(ast.parse(c), "sequence") for c in vary("cross subtree", "sequence", DISPATCH, (other,), 200)
    ]
    assert any("np.maximum(" in program.text for program in made)
    assert not any(program.analysis(name).unbound for program in made for name in program.functions)


def test_what_an_array_is_sorted_by_is_grown_anew() -> None:
    children = vary("replace key", "sequence", DESCENT, (), 60)
    assert any("np.argsort(" in child and "np.argsort(d)" not in child for child in children)


def test_the_key_of_a_choice_is_replaced_or_only_breaks_ties_any_more() -> None:
    children = vary("replace key", "labels", GRAPH, (), 60)
    bodies = {child.split("lambda name: ")[1].splitlines()[0] for child in children}
    assert "(table[name], name))]" not in bodies
    assert any(body.endswith(", (table[name], name)))]") for body in bodies)


def test_a_loop_does_what_a_loop_of_another_program_does() -> None:
    other = DESCENT.replace("for i in range(len(order) - 1):", "for k in range(len(order) - 2):")
    other = other.replace("swapped(order, i, i + 1)", "swapped(order, 0, k)")
    children = vary("replace loop body", "sequence", DESCENT, (other,))
    assert any(
        "for i in range(len(order) - 1):" in child and "swapped(order, 0, i)" in child for child in children
    )


def test_an_extracted_helper_is_called_with_what_it_reads() -> None:
    text = DISPATCH.replace("return d\n", "return np.maximum(p + t, d)\n")
    children = [child for child in vary("extract helper", "sequence", text) if "def term(" in child]
    assert children
    for child in children:
        helper = next(node for node in ast.parse(child).body if getattr(node, "name", "") == "term")
        assert isinstance(helper, ast.FunctionDef)
        parameters = [each.arg for each in helper.args.args]
        assert set(parameters) <= {"p", "d", "t", "left", "k", "order"}
        assert f"term({', '.join(parameters)})" in child.replace("def term", "")


# the offspring run

RUNNER = """
import json, signal, sys
jobs = json.load(sys.stdin)
class Late(Exception): pass
def late(*_): raise Late()
signal.signal(signal.SIGPROF, late)
import numpy as np
np.seterr(all="ignore")
def value(x): return np.array(x["array"]) if isinstance(x, dict) and "array" in x else x
def same(kind, answer, arguments):
    if kind == "permutation": return sorted(answer) == list(range(len(arguments[0])))
    if kind == "bins": return len(answer) == len(arguments[0]) and all(isinstance(b, int) for b in answer)
    if kind == "number": return isinstance(answer, (int, float))
    return isinstance(answer, list) and all(isinstance(a, str) for a in answer)
valid = 0
for text in jobs["programs"]:
    space = {"__name__": "program"}
    try:
        signal.setitimer(signal.ITIMER_PROF, 0.5)
        exec(compile(text, "program", "exec"), space)
        ok = True
        for arguments in jobs["inputs"]:
            given = [value(a) for a in json.loads(json.dumps(arguments))]
            ok = ok and same(jobs["kind"], space[jobs["entry"]](*given), given)
        valid += bool(ok)
    except (Exception, Late):
        pass
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
print(json.dumps(valid))
"""
JOBS = [[{"array": [5, 3, 9, 1, 7, 4, 2, 8]}, {"array": [20, 11, 9, 30, 14, 25, 6, 39]}]]
CASES = {
    "dispatch": (DISPATCH, [], "sequence", "permutation", JOBS),
    "descent": (DESCENT, [DISPATCH], "sequence", "permutation", JOBS),
    "packing": (PACKING, [], "pack", "bins", [[[0.5, 0.7, 0.2, 0.4, 0.1], 1.0]]),
    "collatz": (COLLATZ, [], "steps", "number", [[27, 200], [6, 200]]),
    "graph": (GRAPH, [], "labels", "strings", [[{"a": ["b", "c"], "b": ["d"], "c": [], "d": ["a"]}, "a"]]),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_most_offspring_run_and_give_a_valid_decision(name: str) -> None:
    parent, others, entry, kind, inputs = CASES[name]
    children = [text(p) for p in offspring(entry, parent, others, 200) if p.candidate]
    assert len(children) >= 190
    job = json.dumps({"programs": children, "inputs": inputs, "kind": kind, "entry": entry})
    done = subprocess.run(
        [sys.executable, "-c", RUNNER], input=job, capture_output=True, text=True, check=True, timeout=300
    )
    assert json.loads(done.stdout.splitlines()[-1]) >= 0.7 * len(children)
