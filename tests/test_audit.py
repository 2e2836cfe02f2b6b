"""`evolve audit`: finds holes that were planted in an evaluator, and none in a sound one."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result

from evolve import audit, problem
from evolve.audit import answers, behaviours, contract, corruptions
from evolve.audit.episodes import Replay
from evolve.audit.honest import Policies, Profile, Sample
from evolve.audit.hostile import Assault
from evolve.audit.stage import Stage, problem_files
from evolve.audit.suite import Programs, cheats
from evolve.audit.traces import Watch, jailed_modules
from evolve.cli import main
from evolve.evaluate import Evaluator
from evolve.jail import Hangup
from evolve.program import make_candidate
from evolve.records import Split
from tests.jail_tools import strong


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def planted(small_folder: Path, tmp_path: Path, *edits: tuple[str, str], file: str = "evaluator.py") -> Path:
    """A copy of the small problem with a weak place."""
    folder = Path(shutil.copytree(small_folder, tmp_path / "weak"))
    path = folder / file
    text = path.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return folder


def asked_directly(folder: Path) -> dict[str, str]:
    """Findings of the direct attack on the evaluator, by the name of the cheat, on train alone."""
    with Stage(problem.load(str(folder)), "rlimits", (Split.TRAIN,)) as stage:
        return {row.name: row.finding for row in Assault(stage).rows() if row.finding}


def checked(folder: Path, name: str) -> str:
    """What a check of the problem's promises finds."""
    with Stage(problem.load(str(folder)), "rlimits", (Split.TRAIN,)) as stage:
        return contract.row(stage, name).finding


def played(folder: Path, *names: str) -> dict[str, str]:
    """Findings of cheating programs, by name, on train alone."""
    chosen = problem.load(str(folder))
    with (
        Stage(chosen, "rlimits", (Split.TRAIN,)) as stage,
        Watch(problem_files(chosen), stage.waiting) as watch,
    ):
        some = [cheat for cheat in cheats() if cheat.name in names]
        rows = Programs(stage, watch, print).rows(some)
        return {row.name: row.finding for row in rows if row.finding}


RANGE = "if type(job) is not int or not 0 <= job < n:"
TWICE = "if len(set(decision)) < n:"
LENGTH = "if not isinstance(decision, list) or len(decision) != n:"
HEAD = '    n = len(instance.arguments["p"])\n'

HOLES = {
    "takes entries twice": ([(TWICE, "if False:")], "an entry twice, another missing", "is there twice"),
    "takes aliases from the end": (
        [(RANGE, "if type(job) is not int or not -n <= job < n:")],
        "an entry twice, once as an alias from the end",
        "is negative",
    ),
    "takes floats, and cuts them": (
        [
            (RANGE, "if not isinstance(job, (int, float)) or not 0 <= job < n:"),
            ("return np.array(decision, dtype=np.int64)", "return np.array(decision).astype(np.int64)"),
        ],
        "an entry twice, once a half more",
        "is a float; every seed has an integer there",
    ),
    "trusts the length of what it gets": (
        [(LENGTH, "if not isinstance(decision, list):"), (TWICE, "if len(set(decision)) < len(decision):")],
        "some entry missing",
        "entries",
    ),
    "takes a score from a dict": (
        [
            (HEAD, HEAD + '    if isinstance(decision, dict):\n        return decision["score"]\n'),
            ("    p, w =", "    if isinstance(parsed, float):\n        return parsed\n    p, w ="),
        ],
        "a dict with its score",
        "it has an entry at ['score'], where no seed's decision has one",
    ),
    "takes arguments from the decision": (
        [
            (
                HEAD,
                HEAD
                + '    if isinstance(decision, dict) and "w" in decision:\n'
                + '        return float(np.sum(decision["w"]))\n',
            ),
            ("    p, w =", "    if isinstance(parsed, float):\n        return parsed\n    p, w ="),
        ],
        "every key, the arguments zeroed",
        "only the bound stops it",
    ),
    "lets nan pass its comparisons": (
        [
            (RANGE, "if isinstance(job, (list, dict, str, type(None))) or job < 0 or job >= n:"),
            ("return np.array(decision, dtype=np.int64)", "return np.array([int(job) for job in decision])"),
        ],
        "one entry becomes nan",
        "stops the run",
    ),
    "fails on what is no number": (
        [(RANGE, "if not 0 <= job < n:")],
        "one entry becomes a text",
        "raised TypeError",
    ),
}


@pytest.mark.parametrize("hole", HOLES)
def test_a_planted_hole_is_found(small_folder: Path, tmp_path: Path, hole: str) -> None:
    edits, cheat, text = HOLES[hole]
    found = asked_directly(planted(small_folder, tmp_path, *edits))
    assert cheat in found
    assert text in found[cheat]


def test_a_hole_is_found_by_a_program_in_the_jail_too(small_folder: Path, tmp_path: Path) -> None:
    folder = planted(small_folder, tmp_path, (TWICE, "if False:"))
    found = played(folder, "an entry twice, another missing", "two entries swapped", "a score")
    assert set(found) == {"an entry twice, another missing"}
    assert "is there twice" in found["an entry twice, another missing"]
    assert "around 'arrival', train" in found["an entry twice, another missing"]


def test_control_characters_that_an_evaluator_quotes_do_not_reach_the_feedback(small_folder: Path) -> None:
    assert played(small_folder, "one entry becomes control characters", "raises control characters") == {}


def test_an_evaluator_that_remembers_changes_later_scores(small_folder: Path, tmp_path: Path) -> None:
    """It drifts with every decision that it takes."""
    old = "    return float(np.dot(w[parsed], np.cumsum(p[parsed])))"
    drift = "    LOG.append(1)\n    return float(np.dot(w[parsed], np.cumsum(p[parsed]))) + len(LOG)"
    folder = planted(small_folder, tmp_path, (old, drift), ("class Invalid", "LOG = []\n\n\nclass Invalid"))
    assert "when it is asked again" in checked(folder, "objectives are always the same")
    assert "scores differently on train" in played(folder, "a score")["an honest program again"]


def test_an_evaluator_that_changes_the_instance_is_found(small_folder: Path, tmp_path: Path) -> None:
    folder = planted(small_folder, tmp_path, (HEAD, HEAD + '    instance.arguments["p"].sort()\n'))
    assert "changes the instance" in checked(folder, "checking changes nothing")


def test_a_bound_that_a_seed_beats_is_found(small_folder: Path, tmp_path: Path) -> None:
    edit = ("bound=smith(p, w)", "bound=smith(p, w) * 3")
    report = audit.audit(
        problem.load(str(planted(small_folder, tmp_path, edit, file="instances.py"))), "rlimits"
    )
    assert ["better than the bound" in row.finding for row in report.findings] == [True]


def test_splits_that_share_instances_are_found(small_folder: Path, tmp_path: Path) -> None:
    edit = ('SEEDS = {"train": 1, "validation": 2', 'SEEDS = {"train": 1, "validation": 1')
    folder = planted(small_folder, tmp_path, edit, file="instances.py")
    text = (folder / "instances.py").read_text()
    text = text.replace('"validation": (10, 20, 40)', '"validation": (8, 12, 20, 30)')
    (folder / "instances.py").write_text(text)
    assert "no result on validation shows anything" in checked(folder, "splits share no instance")


def test_a_generator_that_gives_other_instances_each_time_is_found(
    small_folder: Path, tmp_path: Path
) -> None:
    edit = ("np.random.default_rng(SEEDS[split])", "np.random.default_rng()")
    folder = planted(small_folder, tmp_path, edit, file="instances.py")
    assert "other instances when it is called again" in checked(folder, "instances are always the same")


def test_what_a_better_valid_decision_gains_is_no_finding(small: problem.Problem) -> None:
    """The reverse of a weak order may be a better order."""
    with Stage(small, "rlimits", (Split.TRAIN,)) as stage, Watch([small.folder], stage.waiting) as watch:
        rows = Programs(stage, watch, print).rows(
            [cheat for cheat in cheats() if cheat.name == "sorted by text"]
        )
    assert [(row.outcome, row.finding) for row in rows] == [("no trick: a better valid decision", "")]


@strong
def test_the_folder_that_new_writes_has_no_finding(small: problem.Problem) -> None:
    report = audit.audit(small)
    assert report.facts()["findings"] == []
    assert report.jail in ("full", "landlock+seccomp")


@strong
@pytest.mark.parametrize("place", range(len(problem.bundled_problems())), ids=problem.bundled_problems())
def test_a_bundled_problem_has_no_finding(place: int) -> None:
    """Without the cheats that only cost time, and with a part of the others: another part for each problem."""
    some = [
        cheat
        for number, cheat in enumerate(cheats())
        if not cheat.once and (number + place) % (2 if cheat.kit == "behaviours" else 3) == 0
    ]
    report = audit.audit(problem.load(problem.bundled_problems()[place]), suite=some)
    assert report.facts()["findings"] == []
    assert report.programs > len(some)
    assert report.decisions > 1000


def test_there_are_many_cheats_and_each_says_what_it_tries() -> None:
    suite = cheats()
    assert len(suite) >= 60
    assert len({(cheat.kit, cheat.name) for cheat in suite}) == len(suite)
    assert all(cheat.tries for cheat in suite)
    assert {cheat.kit for cheat in suite} == {"answers", "corruptions", "behaviours"}
    assert set(behaviours.SLOW) <= set(behaviours.TRICKS)
    assert not set(answers.TRICKS) & set(behaviours.TRICKS)


def test_a_decision_of_nested_lists_is_told_in_lies_as_well() -> None:
    for name in ("lying integers", "lying floats"):
        told = answers.play(name, SimpleNamespace(honest=lambda: [[0, 1], [2.5, "a"]]))
        assert type(told[0][1]).__name__.startswith("Lying")
        assert told[1][1] == "a"


# -- a problem with a harness ------------------------------------------------------------------------------


def test_a_program_that_takes_the_place_of_the_harness_finds_a_hole(tmp_path: Path) -> None:
    root = problem.bundled_root()
    for name in ("problems/smtt", "problems/smtt_dispatch", "seeds/smtt_dispatch", "evaluators"):
        shutil.copytree(root / name, tmp_path / name)
    evaluator = tmp_path / "evaluators/total_tardiness.py"
    once, text = "sorted(values) == list(range(n))", evaluator.read_text()
    assert once in text
    evaluator.write_text(text.replace(once, "set(values) <= set(range(n))"))
    cheat = "an entry twice, another missing"
    found = played(tmp_path / "problems/smtt_dispatch", cheat, "two entries swapped", "a part twice")
    assert set(found) == {cheat}
    assert "is there twice" in found[cheat]


@strong
def test_what_takes_the_place_of_the_harness_reaches_the_evaluator_and_gains_nothing() -> None:
    chosen = problem.load("smtt_dispatch")
    names = ("a list of its score", "a part twice", "its first argument")
    with (
        Stage(chosen, "landlock+seccomp", (Split.TRAIN,)) as stage,
        Watch([chosen.folder], stage.waiting) as watch,
    ):
        rows = Programs(stage, watch, print).rows([cheat for cheat in cheats() if cheat.name in names])
    outcomes = {row.name: row.outcome for row in rows if not row.finding}
    assert "order has 1 entries" in outcomes["a list of its score"]
    assert "it has to be a permutation" in outcomes["its first argument"]
    assert "is no list of" in outcomes["a part twice"]


# -- an interactive problem --------------------------------------------------------------------------------

KNAPSACK_TOML = """
name = "knapsack"
title = "Online knapsack"
summary = "Take or leave each item as it comes"
statement = "statement.md"
instances = "instances.py"
evaluator = "evaluator.py"
seeds = "seeds"
[entry]
function = "take"
parameters = ["left", "size", "value"]
returns = "1 to take the item, 0 to leave it"
interactive = true
[objective]
name = "value"
unit = "coins"
direction = "maximise"
[score]
baseline = "greedy"
floor = 1.0
[limits]
cpu_s = 0.2
"""
KNAPSACK = """
class Invalid(ValueError):
    pass


def simulate(instance, ask):
    left, total = instance.facts["capacity"], 0
    for size, value in instance.facts["items"]:
        answer = ask(left, size, value)
        if type(answer) is not int or not 0 <= answer <= 1:
            raise Invalid(f"take returned {str(answer)[:20]}; it has to return 0 or 1")
        if answer and size > left:
            raise Invalid(f"an item of size {size} was taken into {left}")
        left -= answer * size
        total += answer * value
    return total
"""
KNAPSACK_INSTANCES = """
import random
from evolve.records import Instance


def instances(split):
    for index in range(6):
        draw = random.Random(f"{split}{index}")
        items = [[draw.randint(1, 20), draw.randint(1, 30)] for _ in range(25)]
        left, bound = 80, 0.0
        for size, value in sorted(items, key=lambda item: item[0] / item[1]):
            share = min(1.0, left / size)
            left, bound = left - share * size, bound + share * value
        yield Instance(f"{split}/{index}", {}, bound, {"index": index}, {"items": items, "capacity": 80})
"""
GREEDY = "def take(left, size, value):\n    return 1 if size <= left else 0\n"
PICKY = "def take(left, size, value):\n    return 1 if size <= left and value > 2 * size else 0\n"


def knapsack(folder: Path, *edits: tuple[str, str]) -> Path:
    """An interactive problem with a weak place."""
    evaluator = KNAPSACK
    for old, new in edits:
        assert old in evaluator
        evaluator = evaluator.replace(old, new)
    files = {
        "problem.toml": KNAPSACK_TOML,
        "statement.md": "# Online knapsack\n",
        "evaluator.py": evaluator,
        "instances.py": KNAPSACK_INSTANCES,
        "seeds/greedy.py": GREEDY,
        "seeds/picky.py": PICKY,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


ANSWER = "if type(answer) is not int or not 0 <= answer <= 1:"
USED = "left -= answer * size"
BOOLEAN = [
    (ANSWER, "if not isinstance(answer, int) or not 0 <= answer <= 1:"),
    (USED, "left -= answer * size if type(answer) is int else 0"),
    ("if answer and size > left:", "if type(answer) is int and answer * size > left:"),
]
SIMULATORS = {
    "trusts a float": (
        [
            (ANSWER, "if not isinstance(answer, (int, float)) or not 0 <= answer <= 1:"),
            (USED, "left -= int(answer) * size"),
            ("if answer and size > left:", "if int(answer) * size > left:"),
        ],
        "one entry becomes a half more",
        "is a float; every seed has an integer there",
    ),
    "takes a boolean for an integer, at no cost": (BOOLEAN, "True", "only the bound stops it"),
    "takes the objective from an answer": (
        [(ANSWER, "if type(answer) is float:\n            return answer\n        " + ANSWER)],
        "a number that becomes the objective",
        "takes it for the objective",
    ),
    "fails on what is no number": (
        [(ANSWER, "if not 0 <= answer <= 1:")],
        "one entry becomes a text",
        "stops the run",
    ),
}


@pytest.mark.parametrize("hole", SIMULATORS)
def test_a_planted_hole_of_a_simulator_is_found(tmp_path: Path, hole: str) -> None:
    edits, cheat, text = SIMULATORS[hole]
    found = asked_directly(knapsack(tmp_path, *edits))
    assert cheat in found
    assert text in found[cheat]


def test_a_hole_of_a_simulator_is_found_by_a_program_that_sees_what_it_gains(tmp_path: Path) -> None:
    """What a boolean gains shows in what is left, so a policy takes more: no answers said beforehand would."""
    found = played(knapsack(tmp_path, *BOOLEAN), "one entry becomes a boolean", "zero")
    assert set(found) == {"one entry becomes a boolean"}
    assert "is a boolean" in found["one entry becomes a boolean"]


def test_a_simulator_that_changes_its_instance_is_found(tmp_path: Path) -> None:
    weak = knapsack(tmp_path, ("    return total", '    instance.facts["items"].sort()\n    return total'))
    assert "changes the instance" in checked(weak, "checking changes nothing")


@strong
def test_a_sound_simulator_has_no_finding(tmp_path: Path) -> None:
    some = [cheat for number, cheat in enumerate(cheats()) if cheat.interactive or number % 5 == 0]
    some += [cheat for cheat in cheats() if cheat.name == "an entry twice, another missing"]
    report = audit.audit(problem.load(str(knapsack(tmp_path))), suite=some)
    assert report.facts()["findings"] == []
    outcomes = {row.name: row.outcome for row in report.rows if row.part == "program"}
    assert outcomes["looks for a mark of an earlier episode"] == "no gain"
    assert "before the next question" in outcomes["answers the next question too"]
    assert "does not apply" in outcomes["an entry twice, another missing"]


def test_an_episode_is_given_again_from_its_start_or_ends() -> None:
    assert [Replay([1, [2]], again=True).ask() for _ in range(2)] == [1, 1]
    replay = Replay([1, [2]], again=True)
    assert [replay.ask() for _ in range(3)] == [1, [2], 1]
    once = Replay([1], again=False)
    once.ask()
    with pytest.raises(Hangup):
        once.ask()
    with pytest.raises(Hangup):
        Replay([], again=True).ask()


def test_answers_are_judged_one_by_one_and_by_what_is_there_twice() -> None:
    order = list(range(20))
    seen = Policies([Sample("a", "one", order, 0.0), Sample("b", "one", order[::-1], 0.0)])
    assert seen.violations("one", order[:5]) == []
    assert seen.violations("one", [0, 1, 1])[:1] == ["1 is there twice; no seed has an entry twice there"]
    assert "is a float" in seen.violations("one", [0, 1.5])[0]


def test_answers_to_questions_of_several_kinds_need_not_have_the_entries_of_each_other() -> None:
    """A number to one question, a list of moves to another, None where there is no such function."""
    one, other = [3, [0, 1], 2, [2, 3], 1, [1, 0]], [None, 0, 1, 2]
    seen = Policies([Sample("a", "one", one, 0.0), Sample("b", "one", other, 0.0)])
    assert seen.violations("one", [None, 1, 2, 2]) == []
    assert seen.violations("one", [1, [0, 1], 0]) == []
    assert "negative" in seen.violations("one", [1, [0, -1], 0])[0]
    assert "is a float" in seen.violations("one", [0.5, [0, 1]])[0]


def test_the_modules_that_belong_in_the_jail_are_those_that_an_honest_program_sees(
    small: problem.Problem,
) -> None:
    source = """
def order(p, w):
    modules = print.__self__.__import__("sys").modules
    raise ValueError(" ".join(sorted(name for name in modules if name.startswith("evolve"))))
"""
    with Evaluator(small, "rlimits") as evaluator:
        text = evaluator.evaluate(make_candidate({"program.py": source}), Split.TRAIN).feedback
    assert f"ValueError: {' '.join(sorted(jailed_modules()))}, in" in text


# -- traces -----------------------------------------------------------------------------------------------


def test_each_trace_is_seen_once_and_cleared(tmp_path: Path) -> None:
    with Watch([tmp_path]) as watch:
        facts = watch.facts()
        assert watch.traces() == []
        (tmp_path / facts["token"]).touch()
        socket.create_connection(("127.0.0.1", facts["port"])).close()
        os.kill(os.getpid(), signal.SIGURG)
        descriptor = os.open(os.devnull, os.O_RDONLY)
        sleeper = subprocess.Popen(["sleep", "60"])
        found = " ".join(watch.traces())
        again = watch.traces()
        sleeper.kill()
        sleeper.wait()
        os.close(descriptor)
    for word in ("a file is left", "a connection", "a signal", "1 descriptors", "a process is left"):
        assert word in found
    assert again == []
    assert list(tmp_path.iterdir()) == []


def test_a_daemon_is_found_by_its_name_wherever_it_hangs(tmp_path: Path) -> None:
    with Watch([tmp_path]) as watch:
        renamed = (
            "import ctypes, sys, time; ctypes.CDLL(None).prctl(15, sys.argv[1].encode()); time.sleep(60)"
        )
        command = [sys.executable, "-c", renamed, watch.daemon]
        daemon = subprocess.Popen(command)
        while Path(f"/proc/{daemon.pid}/comm").read_text().strip() != watch.daemon:
            time.sleep(0.01)
        watch.settle()  # as if it were no descendant
        assert watch.traces() == ["a process is left"]
        assert daemon.wait(10) != 0, "it was killed"


def test_a_changed_file_of_the_problem_is_named(tmp_path: Path) -> None:
    path = tmp_path / "evaluator.py"
    path.write_text("x = 1\n")
    with Watch([tmp_path]) as watch:
        assert watch.changed_files() == []
        path.write_text("x = 22\n")
        assert watch.changed_files() == [str(path)]


# -- what an honest decision looks like -------------------------------------------------------------------


def profile(*decisions: object) -> Profile:
    """Of decisions for one instance."""
    return Profile(Sample(f"s{number}", "one", value, 0.0) for number, value in enumerate(decisions))


def test_ids_that_are_all_different_by_chance_are_no_rule() -> None:
    assert profile([5, 90], [17, 3]).violations("one", [5, 5]) == []
    order = list(range(20))
    assert profile(order, order[::-1]).violations("one", [0, *order[:-1]])


def test_an_assignment_may_repeat_itself() -> None:
    seen = profile([0, 1, 0, 1, 2], [0, 0, 0, 1, 1])
    assert seen.violations("one", [1, 1, 1, 1, 1]) == []
    assert seen.violations("one", [1, 1, 1, 1]) == ["it has 4 entries at []; every seed's decision has 5"]
    assert "negative" in seen.violations("one", [1, 1, 1, 1, -1])[0]
    assert "a boolean" in seen.violations("one", [1, 1, 1, 1, True])[0]


def test_a_partition_has_each_id_once_in_all_its_parts() -> None:
    seen = profile([[*range(10)], [*range(10, 20)]], [[*range(5)], [*range(5, 20)]])
    assert seen.violations("one", [[*range(15)], [*range(15, 20)]]) == []
    assert "0 is there twice" in seen.violations("one", [[*range(10)], [0, *range(11, 20)]])[0]


def test_arrays_are_judged_as_lists_and_integers_may_stand_for_floats() -> None:
    seen = profile(np.array([0.5, 1.5]), np.array([2.5, 0.5]))
    assert seen.violations("one", [1, 2]) == []
    assert "not finite" in seen.violations("one", np.array([0.5, np.nan]))[0]


@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_a_corruption_is_the_same_each_time_and_leaves_its_decision_alone(name: str) -> None:
    for decision in ([2, 0, 1, 3], {"a": [[0.5, 1.5], [2.5]], "b": 1}, [[0, 1], [2, 3]]):
        before = repr(decision)
        try:
            spoilt = corruptions.corrupt(name, decision, 3, np)
        except LookupError:
            continue
        assert repr(decision) == before
        assert repr(spoilt) == repr(corruptions.corrupt(name, decision, 3, np))


# -- the command ------------------------------------------------------------------------------------------


def test_the_command_exits_1_on_a_finding_and_says_it_in_full(small_folder: Path, tmp_path: Path) -> None:
    folder = planted(small_folder, tmp_path, (TWICE, "if False:"))
    shown = call("audit", folder, "--split", "train", "--set", "jail.minimum=rlimits")
    assert shown.exit_code == 1
    assert "finding: an entry twice, another missing: on instance train/" in shown.stdout.replace("\n", " ")


@strong
def test_the_command_prints_one_json_object_and_exits_0_without_a_finding(small_folder: Path) -> None:
    shown = call("audit", small_folder, "--split", "validation", "--json")
    assert shown.exit_code == 0
    facts = json.loads(shown.stdout)
    assert facts["findings"] == []
    assert {row["part"] for row in facts["cheats"]} == {"contract", "evaluator", "program"}
    assert facts["programs"] >= len(cheats())


def test_an_unknown_problem_is_wrong_use() -> None:
    shown = call("audit", "nosuch")
    assert shown.exit_code == 2
    assert "nosuch: no such problem folder" in shown.stderr
