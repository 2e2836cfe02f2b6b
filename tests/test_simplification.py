"""Simplification: shorter programs, and never another decision on train."""

import random
from pathlib import Path

import pytest

from evolve import program as programs
from evolve import run, settings
from evolve.evaluate import Evaluator
from evolve.genetic.draft import Draft
from evolve.genetic.simplify import inline_local, shrink
from evolve.genetic.source import read
from evolve.genetic.task import Task
from evolve.journal import Journal, Placed
from evolve.problem import Problem
from evolve.proposers.base import SIMPLIFICATION
from evolve.records import Candidate, Evaluation, Proposal, Split, Status
from evolve.trial import Race
from tests.genetic_programs import ENTRIES

LOCAL = """
def rule(p: float, d: float, t: float) -> float:
    slack = d - t
    return slack / p
"""


def task(text: str, entry: str, seed: int) -> Task:
    source = read(programs.parse(text), entry)
    return Task(Draft(source, ("math", "numpy", "collections")), (source,), 1, random.Random(seed))


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_what_is_simplified_is_shorter_and_a_program(name: str) -> None:
    text, entry = ENTRIES[name]
    made = 0
    for seed in range(60):
        one = task(text, entry, seed)
        size = one.source.size
        if shrink(one):
            made += 1
            assert one.source.size < size
            compile(one.source.text, "child", "exec")
    assert made > 5


def inlined(text: str) -> set[str]:
    found = set()
    for seed in range(20):
        one = task(text, "rule", seed)
        if inline_local(one) and one.draft.commit():
            found.add(one.source.text)
    return found


def test_a_local_that_is_read_once_gives_way_to_its_value() -> None:
    assert inlined(LOCAL) == {"def rule(p: float, d: float, t: float) -> float:\n    return (d - t) / p"}


def test_a_local_that_is_read_twice_or_inside_a_loop_stays() -> None:
    assert inlined(LOCAL.replace("slack / p", "slack / (p + slack)")) == set()
    loop = LOCAL.replace("return slack / p", "for _ in range(3):\n        p += slack\n    return p")
    assert inlined(loop) == set()


TWINS = """

def order(p: np.ndarray, w: np.ndarray) -> list[int]:
    found = plain(p, w)
    for i in range(len(p)):
        for j in range(i):
            if p[i] == p[j] and w[i] == w[j]:
                a, b = found.index(i), found.index(j)
                found[a], found[b] = found[b], found[a]
    return found
"""


@pytest.fixture(scope="module")
def simplified(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simplified") / "run"
    given = {"budget": {"evaluations": 300}, "workers": 1}
    overrides = ["jail.minimum=rlimits", "genetic.simplification=0.4", "stagnation.patience=40"]
    made = run.start(folder, settings.resolve(str(small_folder), given, overrides))
    made.execute()
    made.journal.close()
    return folder


def facts(folder: Path) -> tuple[dict[str, Candidate], dict[str, Evaluation], dict[str, Placed]]:
    candidates, evaluations, placed = {}, {}, {}
    with Journal.open(folder, read_only=True) as journal:
        for entry in journal.entries():
            record = entry.record
            if isinstance(record, Proposal) and record.candidate:
                candidates[record.candidate.id] = record.candidate
            elif isinstance(record, Evaluation) and record.split is Split.TRAIN:
                evaluations[record.candidate] = record
            elif isinstance(record, Placed):
                placed[record.candidate] = record
    return candidates, evaluations, placed


def test_a_simplification_replaces_its_elder_only_with_the_same_scores_everywhere(simplified: Path) -> None:
    candidates, evaluations, placed = facts(simplified)
    made = [each for each in candidates.values() if each.operator == SIMPLIFICATION]
    taken = [each for each in made if each.id in placed]
    assert taken, "no simplification succeeded"
    for each in taken:
        (elder,) = each.parents
        assert placed[each.id].placement.replaced == elder
        assert evaluations[each.id].scores == evaluations[elder].scores
        assert programs.size(each.files) < programs.size(candidates[elder].files)
    others = [evaluations[each.id] for each in made if each.id not in placed]
    assert Status.DUPLICATE not in {evaluation.status for evaluation in others}


def test_one_that_decides_otherwise_is_stopped_at_the_first_stage(small: Problem) -> None:
    with Evaluator(small, "rlimits") as evaluator:

        def evaluated(like: str) -> Evaluation:
            race = Race((8,), None, 0.95, 0, like=like)
            return evaluator.evaluate(small.seeds["spt"], Split.TRAIN, race)

        stopped = evaluated("0" * 16)
        assert (stopped.status, stopped.instances) == (Status.RACED_OUT, 8)
        assert "decides otherwise" in stopped.feedback
        assert evaluated(stopped.decisions).ok


def test_equal_scores_are_not_enough(small: Problem) -> None:
    elder = small.seeds["spt"]
    text = elder.files["program.py"].replace("def order", "def plain") + TWINS
    twin = programs.make_candidate({"program.py": text})
    same = programs.make_candidate({"program.py": text.replace("w[i] == w[j]", "w[i] > w[j] > w[i]")})
    with Evaluator(small, "rlimits") as evaluator:
        known = evaluator.evaluate(elder, Split.TRAIN)
        race = Race((2,), known.scores, 0.95, 0, elder=elder)
        assert evaluator.evaluate(twin, Split.TRAIN).scores == known.scores
        otherwise = evaluator.evaluate(twin, Split.TRAIN, race)
        assert otherwise.status is Status.RACED_OUT
        assert "decides otherwise than its parent, with the same scores" in otherwise.feedback
        alike = evaluator.evaluate(same, Split.TRAIN, race)
        assert alike.ok
        assert alike.scores == known.scores
