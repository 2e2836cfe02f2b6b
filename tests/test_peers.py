"""The comparison with other systems: what of it needs none of them installed."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.peers import figures, fresh, hostile, plan, report, runs, stage, standin, watch
from bench.peers.figures import Evaluated
from bench.peers.plan import Plan
from bench.peers.systems import ABSENT, ARMS, SYSTEMS
from evolve import edits
from evolve.evaluate import Evaluator
from evolve.records import Split

SMTT = stage.load("smtt")
EDD = standin.framed(standin.normal(SMTT.seeds["edd"].files["program.py"]))
MDD = standin.normal(SMTT.seeds["mdd"].files["program.py"])
DIFF_PROMPT = """# Program history
```python
{other}```

# Current Program
```python
{parent}```

# Task
Use <<<<<<< SEARCH and >>>>>>> REPLACE.
"""
WHOLE_PROMPT = """## Current Component

```
{parent}```

Provide ONLY the improved version within ``` blocks.
"""


def kin(place: Path, **given: Any) -> standin.Kin:
    return standin.Kin("sequence", 1, place / "calls.jsonl", **given)


def ask(answer: standin.Kin, form: str, parent: str = EDD) -> str:
    return answer(form.format(parent=parent, other=MDD), random.Random())


def children(place: Path) -> list[str]:
    return [line["child"] for line in figures.lines(place / "calls.jsonl")]


# ---- the stand-in


def test_the_same_request_about_the_same_program_gets_the_same_child_whatever_else_is_in_the_prompt(
    tmp_path: Path,
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for place, forms in ((one, (DIFF_PROMPT,) * 3), (other, (WHOLE_PROMPT, DIFF_PROMPT, WHOLE_PROMPT))):
        place.mkdir()
        answer = kin(place)
        for form in forms:
            ask(answer, form)
    assert children(one) == children(other)
    assert len(set(children(one))) == 3


def test_requests_about_other_programs_do_not_change_the_next_child(tmp_path: Path) -> None:
    answer = kin(tmp_path)
    ask(answer, WHOLE_PROMPT)
    ask(answer, WHOLE_PROMPT, MDD)
    ask(answer, WHOLE_PROMPT)
    (tmp_path / "again").mkdir()
    again = kin(tmp_path / "again")
    ask(again, WHOLE_PROMPT)
    ask(again, WHOLE_PROMPT)
    assert [children(tmp_path)[0], children(tmp_path)[2]] == children(tmp_path / "again")


def test_the_edits_of_a_reply_make_the_child_that_was_noted(tmp_path: Path) -> None:
    answer = kin(tmp_path)
    for _ in range(8):
        reply = ask(answer, DIFF_PROMPT)
        child = edits.program(reply, EDD)
        assert standin.identity(child) == children(tmp_path)[-1]
        assert standin.BEGIN in child


def test_a_whole_program_of_a_reply_is_the_child_that_was_noted(tmp_path: Path) -> None:
    reply = ask(kin(tmp_path), WHOLE_PROMPT)
    source = reply.partition("```python\n")[2].partition("```")[0]
    assert [standin.identity(source)] == children(tmp_path)


def test_tags_are_given_where_a_prompt_wants_them(tmp_path: Path) -> None:
    assert "<CODE>" in ask(kin(tmp_path), "Answer with <NAME>.\n" + WHOLE_PROMPT)
    assert "<CODE>" not in ask(kin(tmp_path), WHOLE_PROMPT)


def test_one_request_is_answered_with_the_hostile_program(tmp_path: Path) -> None:
    attack = hostile.attack("os._exit", {"secret": "", "port": 1, "evaluator": "", "child": ""})
    answer = kin(tmp_path, attack=attack, at=2)
    for _ in range(3):
        ask(answer, WHOLE_PROMPT)
    assert [
        i for i, c in enumerate(children(tmp_path)) if c == standin.identity(attack.source("sequence"))
    ] == [1]


@pytest.mark.parametrize("name", hostile.NAMES)
def test_every_hostile_program_parses_and_defines_the_entry(name: str) -> None:
    place = {"secret": "/s", "port": 7, "evaluator": "/e", "child": "/c"}
    assert "def sequence(p, d)" in standin.normal(hostile.attack(name, place).source("sequence"))


def test_an_unknown_attack_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no attack 'flood'"):
        hostile.attack("flood", {})


# ---- the evaluator of the others


def judged(place: Path, source: str) -> dict[str, Any]:
    program = place / "candidate.py"
    program.write_text(source)
    code = f"import json, evaluator; print(json.dumps(evaluator.evaluate({str(program)!r})))"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=True
    )
    return dict(json.loads(shown.stdout.splitlines()[-1]))


@pytest.mark.parametrize("apart", [False, True])
def test_the_others_get_the_score_that_evolve_gives(tmp_path: Path, apart: bool) -> None:
    place = tmp_path / "work"
    stage.prepare(place, "smtt", "edd", apart)
    with Evaluator(SMTT, "rlimits") as evaluator:
        own = evaluator.evaluate(SMTT.seeds["mdd"], Split.TRAIN)
    assert judged(place, MDD)["combined_score"] == pytest.approx((1 + own.score) / 2, abs=1e-12)
    noted = figures.lines(place / "log" / "evaluations.jsonl")
    assert [line["score"] for line in noted] == [pytest.approx(own.score, abs=1e-12)]
    assert noted[0]["cpu_s"] > 0


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def sequence(p, d):\n    return [0] * len(p)\n", "Invalid: order holds 0 twice"),
        ("def sequence(p, d):\n    return 1 // 0\n", "ZeroDivisionError"),
        ("def sequence(p, d", "SyntaxError"),
    ],
)
def test_a_program_that_fails_scores_nothing(tmp_path: Path, apart: bool, source: str, error: str) -> None:
    place = tmp_path / "work"
    stage.prepare(place, "smtt", "edd", apart)
    found = judged(place, source)
    assert found["combined_score"] == 0.0
    assert error in found["error"]


def test_a_program_in_a_process_of_its_own_cannot_end_the_evaluation(tmp_path: Path) -> None:
    place = tmp_path / "work"
    stage.prepare(place, "smtt", "edd", apart=True)
    assert judged(place, "import os\ndef sequence(p, d):\n    os._exit(0)\n")["combined_score"] == 0.0


def test_the_copy_of_the_problem_is_complete(tmp_path: Path) -> None:
    from evolve.problem import load

    folder = stage.prepare(tmp_path / "work", "smtt", "edd", apart=False)
    assert load(str(folder)).digest == SMTT.digest


# ---- what is measured


def test_the_guard_counts_who_is_left_behind_and_ends_them(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
        "start_new_session=True).pid, flush=True)"
    )
    found = watch.watch([sys.executable, "-c", code], os.environ, tmp_path, patience_s=30)
    assert (found.ended, found.code, len(found.left)) == ("by itself", 0, 1)
    pid = int((tmp_path / "output.txt").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def test_cpu_of_ended_processes_counts(tmp_path: Path) -> None:
    inner = "import time\nwhile time.process_time() < 0.5: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    found = watch.watch([sys.executable, "-c", code], os.environ, tmp_path, patience_s=30)
    assert found.cpu_at(time.time()) >= 0.5


def test_a_run_is_killed_with_all_its_processes_when_asked(tmp_path: Path) -> None:
    code = (
        "import os, time\npid = os.fork()\n"
        f"open({str(tmp_path / 'pids')!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(60)"
    )
    pids = tmp_path / "pids"
    found = watch.watch(
        [sys.executable, "-c", code],
        os.environ,
        tmp_path,
        patience_s=30,
        kill_when=lambda: pids.exists() and len(pids.read_text().split()) == 2,
    )
    assert (found.ended, found.code) == ("killed", None)
    assert all(watch._is_dead(int(pid)) for pid in pids.read_text().split())


def test_own_cpu_is_that_of_the_tree_less_evaluations() -> None:
    looks = [watch.Look(float(second), 2.0 * second, 10.0) for second in range(201)]
    watched = watch.Watched(looks=looks)
    calls = [float(second) for second in range(1, 101)]
    found = [Evaluated(at + 0.5, 0.5, 0.0, str(at), "", 0.0) for at in calls]
    # 198 s of CPU from the first answer to the 100th, less 0.5 s for each of the 99 evaluated meanwhile
    assert figures.windows(calls, found, found, watched) == {
        "1-100": [pytest.approx(1000 * (198 - 49.5) / 99), 0.0]
    }


@pytest.mark.parametrize(
    ("clocks", "start_s"),
    [
        ([1.5, 1.25, 1.75, 1.5], 1.5),  # a process for each evaluation
        ([1.25, 1.5, 1.75, 2.0], 0.0),  # one for all
        ([0.5, 4.0, 0.75, 4.25], 0.0),  # two for all
    ],
)
def test_an_evaluations_own_process_is_told_from_one_for_all(clocks: list[float], start_s: float) -> None:
    watched = watch.Watched(looks=[watch.Look(float(second), 0.0, 1.0) for second in range(102)])
    calls = [float(second) for second in range(1, 101)]
    found = [Evaluated(2.0, 0.0, clock, str(clock), "", 0.0) for clock in clocks]
    assert figures.windows(calls, found, found, watched)["1-100"][1] == 1000 * start_s


def test_of_each_arm_what_has_the_calls_of_its_newest_run_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(report, "CACHE", tmp_path)
    for place, (arm, asked) in enumerate([("evolve", 100), ("gepa", 100), ("evolve", 200), ("slow", 8)]):
        path = tmp_path / "work" / str(place) / "outcome.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"kind": "search", "arm": arm, "asked": asked}))
        os.utime(path, (place, place))
    assert [(each["arm"], each["asked"]) for each in report.outcomes()] == [
        ("gepa", 100),
        ("evolve", 200),
        ("slow", 8),
    ]


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"a": 1}\n{"a": ')
    assert figures.lines(log) == [{"a": 1}]


# ---- damage and losses, from logs as another system leaves them


def staged(tmp_path: Path, attack: str = "") -> tuple[Plan, Path, str]:
    """A run of another system on whose second call a hostile program was made; its source."""
    place = tmp_path / "work"
    stage.prepare(place, "smtt", "edd", apart=False)
    knows = {"secret": "/s", "port": 7, "evaluator": str(place / "evaluator.py"), "child": "/c"}
    (place / "server.json").write_text(json.dumps({"entry": "sequence", "place": knows, "latency_s": 0.0}))
    bad = hostile.attack(attack or "hang", knows).source("sequence")
    calls = [
        {"at": float(i), "parent": "", "child": standin.identity(text)} for i, text in enumerate((MDD, bad))
    ]
    (place / "calls.jsonl").write_text("".join(json.dumps(call) + "\n" for call in calls))
    return Plan("faults", ARMS["openevolve"], 1, 2, attack=attack), place, bad


def note(place: Path, source: str, score: float | None, error: str = "") -> None:
    digest = standin.identity(source)
    (place / "log" / f"{digest}.py").write_text(source)
    line = {"at": 9.0, "cpu_s": 0.1, "entered_s": 1.0, "digest": digest, "score": score, "error": error}
    with (place / "log" / "evaluations.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def harm(
    case: tuple[Plan, Path, str], watched: watch.Watched, heard: Sequence[bytes] = ()
) -> tuple[str, str]:
    found = figures.damage(case[0], case[1], watched, heard, case[1] / "evaluator.py")
    return found["outcome"], found["status"]


def test_a_failure_that_harms_nothing_is_contained(tmp_path: Path) -> None:
    case = staged(tmp_path, "os._exit")
    note(case[1], case[2], None, "RuntimeError: the program ended")
    assert harm(case, watch.Watched(code=0)) == ("contained", "RuntimeError")


def test_a_score_beyond_the_bound_is_a_forgery(tmp_path: Path) -> None:
    case = staged(tmp_path, "evaluator patched")
    note(case[1], case[2], 1e6)
    assert harm(case, watch.Watched(code=0)) == ("score forged", "ok")


def test_each_harm_is_told(tmp_path: Path) -> None:
    case = staged(tmp_path, "30 GB")
    (case[1] / "evaluator.py").write_text("FORGED = 1")
    (case[1] / "child.txt").write_text("4711\n")
    watched = watch.Watched(code=1, left=[4711], looks=[watch.Look(0.0, 0.0, 9000.0)])
    outcome, status = harm(case, watched, [plan.SECRET.encode()])
    assert outcome == (
        "secret leaked, evaluator overwritten, child left running, took 9 GB, run died after 2 of 2 calls"
    )
    assert status == "no evaluation"


def test_a_run_that_does_not_end_has_hung(tmp_path: Path) -> None:
    outcome, _ = harm(staged(tmp_path, "hang"), watch.Watched(ended="out of patience"))
    assert outcome == "hung after 2 of 2 calls"


@pytest.mark.parametrize(("known", "lost"), [({"programs": [MDD]}, 1), ({"known": 2}, 0), (None, 2)])
def test_lost_is_what_the_resumed_run_does_not_know(
    tmp_path: Path, known: dict[str, Any] | None, lost: int
) -> None:
    case = staged(tmp_path)
    note(case[1], MDD, 0.9)
    note(case[1], EDD, 0.0)
    before = figures.evaluated(*case[:2])
    if known is not None:
        (case[1] / "resumed.json").write_text(json.dumps(known))
    assert figures.losses(*case[:2], before, watch.Watched(code=0))["lost"] == lost


def test_the_best_after_some_calls_is_the_best_of_the_programs_answered_by_then(tmp_path: Path) -> None:
    the_plan, place, bad = staged(tmp_path, "hang")
    note(place, EDD, 0.0)
    note(place, bad, 0.5)
    note(place, MDD, 0.3)
    best = figures._bests(
        the_plan, place, figures.lines(place / "calls.jsonl"), figures.evaluated(the_plan, place)
    )
    assert [(each["calls"], each["train"]) for each in best] == [(2, 0.5)]
    one = replace(the_plan, calls=1)
    best = figures._bests(one, place, figures.lines(place / "calls.jsonl"), figures.evaluated(one, place))
    assert [(each["calls"], each["train"]) for each in best] == [(1, 0.3)]


# ---- evolve's own arm, from end to end


def test_evolves_own_arm_runs_and_survives_a_kill(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "CACHE", tmp_path)
    small = {"problem": str(small_folder), "seed_program": "arrival", "patience_s": 120.0}
    facts = runs.run(Plan("kill", ARMS["evolve, best"], 1, 40, kill_after=20, **small))
    assert facts["ended"] == "killed"
    assert facts["calls"] >= 20
    kill = facts["kill"]
    assert (kill["lost"], kill["twice"], kill["code"]) == (0, 0, 0)
    assert facts["best"][-1]["train"] is not None


# ---- fresh instances, the report


def test_fresh_instances_belong_to_no_split() -> None:
    made = fresh.instances_of(SMTT)
    drawn = [tuple(p) for _, p, _, _ in fresh.draws(made)]
    known = {tuple(item.p) for split in made.SPLITS for item in made.draws(split)}
    assert len(drawn) == len(set(drawn)) == 125
    assert not set(drawn) & known


def outcome(arm: str, kind: str, **more: Any) -> dict[str, Any]:
    best = {"calls": 100, "source": "", "train": 0.5, "validation": 0.6, "fresh": 0.7}
    common = {"peak_tree_mb": 100.0, "files": 3, "bytes": 2e6, "evaluated": 90, "calls": 100, "asked": 100}
    return {"arm": arm, "kind": kind, "best": [best], "windows": {"1-100": [5.0, 0.0]}, **common, **more}


def test_the_report_has_a_row_for_each_arm_in_each_table() -> None:
    arms = ("evolve", "best-of-n")
    found = [outcome(arm, "search", calls_wall_s=10.0) for arm in arms for _ in range(2)]
    found += [outcome(arm, "latency", calls_wall_s=20.0, in_flight=50.0) for arm in arms]
    found += [
        outcome("evolve", "faults", attack="hang", outcome="contained", status="timed-out", answered=True),
        outcome("evolve", "faults", attack="os._exit", outcome="run died", status="ok", answered=True),
        outcome("evolve", "kill", kill={"lost": 2, "evaluated": 30, "ended": "by itself", "code": 0}),
    ]
    text = report.text(found, "python -m bench.peers all", 6, 20)
    assert "| evolve | 2 | 0.7000 [0.7000, 0.7000] | 0.6000 [0.6000, 0.6000] |" in text
    assert "contained (timed-out)" in text
    assert "**run died**" in text
    assert "| evolve | 2 of 30 | yes |" in text
    assert text.count("| best-of-n |") == 4  # settings, scores, costs, wall


def test_a_score_that_is_missing_is_left_out_of_the_median() -> None:
    assert report.spread([math.nan, 2.0, 1.0], 1) == "1.5 [1.0, 2.0]"
    assert report.spread([math.nan]) == "-"


def test_every_system_has_a_driver_and_says_what_is_installed() -> None:
    assert {arm.system.name for arm in ARMS.values()} == set(SYSTEMS)
    assert all(system.driver.is_file() for system in SYSTEMS.values())
    assert "LEVI" in ABSENT
