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

import numpy as np
import pytest
from click.testing import CliRunner, Result

from evolve import audit, problem
from evolve.audit import answers, behaviours, contract, corruptions
from evolve.audit.honest import Profile, Sample
from evolve.audit.hostile import Assault
from evolve.audit.stage import Stage, problem_files
from evolve.audit.suite import Programs, cheats
from evolve.audit.traces import Watch
from evolve.cli import main
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
    with Stage(chosen, "rlimits", (Split.TRAIN,)) as stage, Watch(problem_files(chosen)) as watch:
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
    with Stage(small, "rlimits", (Split.TRAIN,)) as stage, Watch([small.folder]) as watch:
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
@pytest.mark.parametrize("name", problem.bundled_problems())
def test_a_bundled_problem_has_no_finding(name: str) -> None:
    assert audit.audit(problem.load(name)).facts()["findings"] == []


def test_there_are_many_cheats_and_each_says_what_it_tries() -> None:
    suite = cheats()
    assert len(suite) >= 60
    assert len({(cheat.kit, cheat.name) for cheat in suite}) == len(suite)
    assert all(cheat.tries for cheat in suite)
    assert {cheat.kit for cheat in suite} == {"answers", "corruptions", "behaviours"}
    assert set(behaviours.SLOW) <= set(behaviours.TRICKS)
    assert not set(answers.TRICKS) & set(behaviours.TRICKS)


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
