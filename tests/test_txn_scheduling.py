"""Transaction scheduling as a problem: instances, real workloads, and the exploits known from public suites."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from evolve import problem
from evolve.cli import main
from evolve.errors import ProblemError
from evolve.evaluate import Evaluator
from evolve.jail import Level
from evolve.records import SPLITS, Evaluation, Split, Status
from tests import txn_tools as tools
from tests.txn_tools import ONLINE, PUBLIC, TXN, evaluator, generator


@pytest.fixture(scope="module")
def judge() -> Iterator[Evaluator]:
    with Evaluator(TXN, Level.LANDLOCK_SECCOMP) as made:
        yield made


def evaluated(judge: Evaluator, tmp_path: Path, text: str) -> Evaluation:
    path = tmp_path / "mine.py"
    path.write_text(text)
    return judge.evaluate(problem.read_program(path, judge.problem.spec), Split.TRAIN)


ARRIVAL = "def order(transactions, makespan, calls):\n    found = list(range(len(transactions)))\n"


def test_arrival_is_the_zero_of_the_scale(judge: Evaluator) -> None:
    found = judge.evaluate(TXN.seeds["arrival"], Split.TRAIN)
    assert found.status is Status.OK
    assert found.score == pytest.approx(0.0)


def test_the_oracle_in_the_jail_says_what_the_evaluator_says(judge: Evaluator, tmp_path: Path) -> None:
    """Descending by the oracle's word alone gains; the same program with its word turned round loses."""
    descent = (
        ARRIVAL + "    best = makespan(found)\n    for place in range(len(found) - 1):\n"
        "        found[place], found[place + 1] = found[place + 1], found[place]\n"
        "        value = makespan(found)\n        if value < best:\n            best = value\n        else:\n"
        "            found[place], found[place + 1] = found[place + 1], found[place]\n    return found\n"
    )
    gained = evaluated(judge, tmp_path, descent)
    lost = evaluated(judge, tmp_path, descent.replace("value < best", "value > best"))
    assert gained.score > 0 > lost.score


# ---- the exploits of public suites, by name


@pytest.mark.parametrize(
    "claim", ["found, 1", "{'order': found, 'makespan': 1}", "1", "[found, 1]", "float('-inf')"]
)
def test_exploit_self_reported_makespan(judge: Evaluator, tmp_path: Path, claim: str) -> None:
    assert evaluated(judge, tmp_path, f"{ARRIVAL}    return {claim}\n").status is Status.INVALID


def test_exploit_mutated_inputs(judge: Evaluator, tmp_path: Path) -> None:
    mutation = ARRIVAL + "    for each in transactions:\n        del each[1:]\n    return found\n"
    found = evaluated(judge, tmp_path, mutation)
    assert found.objectives == judge.evaluate(TXN.seeds["arrival"], Split.TRAIN).objectives


def test_exploit_a_falsified_oracle(judge: Evaluator, tmp_path: Path) -> None:
    """A program that answers its own questions deceives itself alone."""
    forged = (
        ARRIVAL
        + "    makespan.__closure__[0].cell_contents = lambda order: 0\n    makespan(found)\n    return found\n"
    )
    found = evaluated(judge, tmp_path, forged)
    assert found.objectives == judge.evaluate(TXN.seeds["arrival"], Split.TRAIN).objectives
    honest = judge.evaluate(TXN.seeds["smf_sample"], Split.TRAIN)
    assert honest.status is Status.OK
    assert honest.score > 0.3


def test_exploit_more_calls_than_allowed(judge: Evaluator, tmp_path: Path) -> None:
    """The count in the jail can be turned back; the one that is kept on the trusted side cannot."""
    cells = "    left = [c for c in makespan.__closure__ if c.cell_contents == calls][0]\n"
    turned = (
        ARRIVAL
        + cells
        + "    for _ in range(calls + 1):\n        left.cell_contents = 9\n        makespan(found)\n"
    )
    found = evaluated(judge, tmp_path, turned + "    return found\n")
    assert found.status is Status.INVALID
    assert "makespan was called more than 500 times" in found.feedback
    allowed = evaluated(judge, tmp_path, turned.replace("calls + 1", "calls") + "    return found\n")
    assert allowed.status is Status.OK
    over = evaluated(judge, tmp_path, ARRIVAL + "    while True:\n        makespan(found)\n")
    assert over.status is Status.CRASHED
    assert "all calls of makespan are used up" in over.feedback


def test_exploit_dropped_failing_cases(judge: Evaluator, tmp_path: Path) -> None:
    """A program that gives up where it would look bad has no score at all, instead of the mean of the rest."""
    selective = ARRIVAL + "    assert len(found) < 100\n    return found\n"
    found = evaluated(judge, tmp_path, selective)
    assert found.status is Status.CRASHED
    assert math.isnan(found.score)


def test_exploit_constant_score_when_a_data_file_is_missing(tmp_path: Path) -> None:
    seed = tools.ROOT / "seeds" / "txn_scheduling" / "arrival.py"
    arguments = ["evaluate", "txn_scheduling", str(seed), "--data", str(tmp_path / "nowhere.json"), "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "no such file or folder" in done.stderr


def test_exploit_repeated_and_missing_transactions(judge: Evaluator, tmp_path: Path) -> None:
    for trick in ("found[:-1]", "[0] * len(found)", "found[:-1] + [-1]", "found + found"):
        assert evaluated(judge, tmp_path, f"{ARRIVAL}    return {trick}\n").status is Status.INVALID


# ---- instances


def test_no_batch_belongs_to_two_splits() -> None:
    TXN.check_disjoint()
    ONLINE.check_disjoint()


def test_the_generator_makes_the_same_batches_on_every_machine() -> None:
    digest = hashlib.sha256()
    for split in SPLITS:
        for each in TXN.split(split):
            digest.update(each.name.encode())
            for name in ("first", "keys", "writes"):
                digest.update(np.asarray(each.arguments[name], "<i8").tobytes())
    assert digest.hexdigest()[:16] == "737f2060400ea2cd"


@pytest.mark.parametrize("split", SPLITS)
def test_batches_are_as_the_readme_says(split: Split) -> None:
    for each in TXN.split(split):
        length = np.diff(np.asarray(each.arguments["first"]))
        assert len(length) == each.group["n"]
        assert length.min() >= 5
        assert length.max() <= 20
        assert set(np.unique(np.asarray(each.arguments["writes"]))) <= {0, 1}
        assert each.bound >= length.max()


def test_the_online_problem_streams_the_same_batches() -> None:
    for one, other in zip(TXN.split(Split.TRAIN), ONLINE.split(Split.TRAIN), strict=True):
        assert other.bound == one.bound
        assert not other.arguments
        assert all(np.array_equal(other.facts[name], one.arguments[name]) for name in ("first", "keys"))


# ---- real workloads

MADE = {
    f"w{index}": {
        str(each): " ".join(
            f"{'rw'[(each * place) % 2]}-{(each * index + place * place) % 23}"
            for place in range(3 + each % 4)
        )
        for each in range(12)
    }
    | {"last": f"w-{index} * r-5"}
    for index in range(2, 6)
}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "workloads.json"
    path.write_text(json.dumps(MADE))
    return path


def test_workloads_are_read_as_they_stand(made: Path) -> None:
    found = generator.read_workloads(made)
    assert list(found) == list(MADE)
    assert found["w2"][-1] == ((2, True), (-1, False), (5, False))


@pytest.mark.parametrize("name", ["txn_scheduling", "txn_online"])
def test_workloads_are_dealt_to_the_splits_whole_and_in_halves(name: str, made: Path) -> None:
    loaded = problem.load(name, made)
    loaded.check_disjoint()
    sizes = [each.group["n"] for each in loaded.split(Split.TRAIN)]
    assert sizes == [13, *[6] * 7, 13, *[6] * 7]
    kinds = [{each.group["kind"] for each in loaded.split(split)} for split in SPLITS]
    assert kinds == [{"w2", "w5"}, {"w3"}, {"w4"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON file of workloads"),
        ("[1]", 'expected {"workload"'),
        ('{"a": {}, "b": {"x": "*"}, "c": {"x": "*"}}', 'expected {"workload"'),
        ('{"a": {"x": "*", "y": "*"}}', "1 workloads; at least 3 are needed"),
        ('{"a": {"x": "r17", "y": "*"}}', r"a/x holds 'r17'; an operation is r-KEY"),
        ('{"a": {"x": "r--1", "y": "*"}}', "a/x holds 'r--1'"),
        ('{"a": {"x": "r-1234567890123456", "y": "*"}}', "a/x holds 'r-1234567890123456'"),
        ('{"a": {"x": "", "y": "*"}}', "a/x is no text with operations"),
        ('{"a": {"x": 7, "y": "*"}}', "a/x is no text with operations"),
        ('{"a": {"x": "*"}}', "workload 'a' has 1 transactions; there have to be two or more"),
        ('{"\\ud800": {"x": "*", "y": "*"}}', "under a name that can be printed"),
        ("[" * 100_000, "no JSON file of workloads"),
    ],
)
def test_a_file_that_breaks_a_rule_is_named_with_the_place(made: Path, text: str, message: str) -> None:
    made.write_text(text)
    with pytest.raises(ProblemError, match=message):
        problem.load("txn_scheduling", made).split(Split.TRAIN)


@pytest.mark.skipif(not PUBLIC.is_file(), reason="the public workloads are not here")
def test_the_public_workloads_take_537_in_the_order_of_arrival_and_annealing_less_than_half() -> None:
    arrival, annealed, bound = 0, 0, 0
    for workload in generator.read_workloads(PUBLIC).values():
        batch = generator.batch_of(workload)
        program = tools.listed(batch)
        order = tools.seed("annealing")(program, tools.makespan_of(program, 20_000), 20_000)
        spans = [
            evaluator.makespan(np.array(each, np.int64), batch.first, batch.keys, batch.writes)
            for each in (range(len(workload)), order)
        ]
        arrival, annealed = arrival + spans[0], annealed + spans[1]
        bound += generator.lower_bound(batch)
    assert (arrival, bound) == (537, 125)
    assert bound <= annealed <= 237
