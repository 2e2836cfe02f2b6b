"""Comparisons: equal budgets, paired seeds, the control always there, and nothing done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from evolve import compare, compare_report
from evolve.cli import main
from evolve.compare import Job, Plan
from evolve.errors import JournalError, SettingsError, UsageError
from evolve.journal import Journal
from evolve.records import Evaluation, Split
from evolve.statistics import bootstrap_median

WEAK = ("jail.minimum=rlimits",)
ARMS = ("islands", "small:archive.islands=2,archive.size=4,racing.stages=[4,8]")


def plan(problem: Path, *arms: str, repeats: int = 2, evaluations: int = 15) -> Plan:
    return compare.make_plan(str(problem), arms or ARMS, repeats, evaluations, overrides=WEAK)


def execute(made: Plan, folder: Path) -> list[tuple[list[str], list[str]]]:
    """Make the runs one after the other; what was reported."""
    reports: list[tuple[list[str], list[str]]] = []

    def report(done: list[Job], under_way: list[Job]) -> None:
        reports.append(([job.name for job in done], [job.name for job in under_way]))

    compare.execute(made, folder, 1, report)
    return reports


def facts(made: Plan, folder: Path) -> dict[str, Any]:
    return compare_report.facts(made, folder, list(compare.outcomes(made, folder)))


@pytest.fixture(scope="module")
def compared(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished comparison; tests only read it."""
    folder = tmp_path_factory.mktemp("compared") / "folder"
    execute(plan(small_folder), folder)
    return folder


# ---- arms


def test_an_arm_is_a_name_with_settings_or_a_preset() -> None:
    assert compare.parse_arm("a-1:archive.size=3,racing.stages=[4, 8],seeds=['x']").overrides == (
        "archive.size=3",
        "racing.stages=[4, 8]",
        "seeds=['x']",
    )
    assert compare.parse_arm("hill-climbing").overrides[:2] == ("archive.kind=top-k", "archive.size=1")


@pytest.mark.parametrize("name", sorted(compare.PRESETS))
def test_every_preset_has_settings_that_hold(name: str, small_folder: Path) -> None:
    made = compare.make_plan(str(small_folder), [name], 1)
    assert made.arms[0].name == compare.CONTROL
    assert made.settings(made.arms[0], 1).archive.kind == "best-of-n"
    assert made.evaluations == compare.DEFAULT_EVALUATIONS


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (
            ["hillclimbing"],
            r"--arm hillclimbing: expected NAME:key=value,key=value, or one of: default, best-of-n",
        ),
        (["a/b:workers=1"], r"the name 'a/b' has to consist of letters"),
        (["x:seed=3"], r"'seed' is the same for every arm"),
        (["x:budget.seconds=3"], r"'budget' is the same for every arm"),
        (["best-of-n:archive.size=3"], r"best-of-n is the control"),
        (["islands", "islands"], r"two arms of this name"),
        (
            ["islands", "default"],
            r"--arm default: the same settings as the arm islands",
        ),
        (["x:archive.sise=3"], r"unknown key 'archive\.sise'; did you mean 'archive\.size'"),
        (["x:archive.kind=map-elite"], r"did you mean 'map-elites'"),
        (["x:archive.size"], r"expected key=value"),
    ],
)
def test_a_bad_arm_is_refused_by_name(small_folder: Path, arms: list[str], message: str) -> None:
    with pytest.raises((UsageError, SettingsError), match=message):
        compare.make_plan(str(small_folder), arms, 1, 10)


def test_arms_share_budget_and_seeds_and_differ_in_their_settings(small_folder: Path) -> None:
    jobs = plan(small_folder).jobs()
    assert [job.name for job in jobs] == [
        f"{arm}-{seed}" for seed in (1, 2) for arm in ("best-of-n", "islands", "small")
    ]
    assert {(job.settings.budget.evaluations, job.settings.workers) for job in jobs} == {(15, 1)}
    assert [job.settings.seed for job in jobs] == [1, 1, 1, 2, 2, 2]
    assert jobs[2].settings.racing.stages == (4, 8)


# ---- running


def test_every_run_has_the_same_number_of_evaluations(compared: Path, small_folder: Path) -> None:
    found = list(compare.outcomes(plan(small_folder), compared))
    assert [each.evaluations for each in found] == [15] * 6
    assert all(each.champions and each.train for each in found)
    assert [each.arm for each in found] == ["best-of-n"] * 2 + ["islands"] * 2 + ["small"] * 2


def test_what_is_complete_is_not_run_again(compared: Path, small_folder: Path) -> None:
    before = {path: path.read_bytes() for path in compared.glob("*/journal.db")}
    reports = execute(plan(small_folder), compared)
    assert reports == [([job.name for job in plan(small_folder).jobs()], [])] * 2
    assert {path: path.read_bytes() for path in compared.glob("*/journal.db")} == before


def test_more_repeats_add_to_a_comparison(small_folder: Path, tmp_path: Path) -> None:
    execute(plan(small_folder, "islands", repeats=1), tmp_path)
    assert plan(small_folder, "islands", repeats=1).key == plan(small_folder, "islands", repeats=2).key
    reports = execute(plan(small_folder, "islands", repeats=2), tmp_path)
    assert [job for _, under_way in reports for job in under_way] == ["best-of-n-2", "islands-2"]


def test_a_run_that_was_broken_off_is_resumed(small_folder: Path, tmp_path: Path) -> None:
    made = plan(small_folder, "islands", repeats=1)
    execute(made, tmp_path)
    with Journal.open(tmp_path / "islands-1") as journal:
        seqs = [entry.seq for entry in journal.entries()]
        for table in ("proposals", "evaluations", "placements", "promotions"):
            journal._database.execute(f"DELETE FROM {table} WHERE seq > ?", (seqs[len(seqs) // 2],))
        journal.note("ended", "")
    (tmp_path / "best-of-n-1" / "journal.db").unlink()  # as if killed before the journal was made
    kept = evaluated(tmp_path / "islands-1")
    reports = execute(made, tmp_path)
    assert [job for _, under_way in reports for job in under_way] == ["best-of-n-1", "islands-1"]
    again = evaluated(tmp_path / "islands-1")
    assert 0 < len(kept) < 15 == len(set(again)) == len(again)
    assert again[: len(kept)] == kept


def evaluated(folder: Path) -> list[str]:
    with Journal.open(folder, read_only=True) as journal:
        records = [entry.record for entry in journal.entries()]
    return [each.candidate for each in records if isinstance(each, Evaluation) and each.split is Split.TRAIN]


def test_other_settings_in_the_same_folder_are_refused(compared: Path, small_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"best-of-n-1: a run with other settings than the arm best-of-n"):
        execute(plan(small_folder, evaluations=16), compared)


def test_a_problem_that_has_changed_is_refused(small_folder: Path, tmp_path: Path) -> None:
    made = plan(small_folder, "islands", repeats=1)
    execute(made, tmp_path)
    with Journal.open(tmp_path / "islands-1") as journal:
        journal.note("digest", "0" * 16)
    with pytest.raises(JournalError, match=r"islands-1: the problem .* has changed since this run"):
        execute(made, tmp_path)


def test_a_budget_of_cpu_seconds_counts_proposing_and_evaluating(small_folder: Path, tmp_path: Path) -> None:
    made = compare.make_plan(str(small_folder), ["islands"], 1, cpu_s=1.0, overrides=WEAK)
    execute(made, tmp_path)
    for each in compare.outcomes(made, tmp_path):
        assert each.evaluations > 2
        assert each.cpu_s < each.elapsed_s  # the search's own seconds are counted too
        assert 1.0 <= each.elapsed_s < 3.0
    assert facts(made, tmp_path)["curves"]["unit"] == "CPU seconds"


def command(problem: Path, folder: Path, *more: object) -> list[str]:
    arguments = ("compare", problem, "--arm", "islands", "--evaluations", 60, "--repeats", 2, "--out", folder)
    return [str(part) for part in (*arguments, "--set", "jail.minimum=rlimits", *more)]


@pytest.mark.skipif(sys.platform != "linux", reason="walks /proc")
def test_a_comparison_that_was_killed_goes_on_with_the_same_command(
    small_folder: Path, tmp_path: Path
) -> None:
    line = [
        sys.executable,
        "-m",
        "evolve.cli",
        *command(small_folder, tmp_path / "out", "--jobs", 2, "--json"),
    ]
    running = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "out").glob("*/journal.db")):
        assert running.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    workers = children(running.pid)
    running.kill()
    running.wait()
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in workers):  # they end with their parent
        assert time.monotonic() < deadline
        time.sleep(0.1)
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [each["evaluations"] for each in found["runs"]] == [60] * 4
    for each in found["runs"]:
        candidates = evaluated(Path(each["folder"]))
        assert len(set(candidates)) == len(candidates) == 60


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="walks /proc")
def test_ctrl_c_says_how_to_go_on(small_folder: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "evolve.cli", *command(small_folder, tmp_path / "out", "--jobs", 2)]
    line[line.index("60")] = "100000"
    running = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while len(list((tmp_path / "out").glob("*/best.py"))) < 2:
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    _, told = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "the same command goes on" in told
    assert "Traceback" not in told


# ---- what is said


def test_facts_hold_intervals_differences_and_curves(compared: Path, small_folder: Path) -> None:
    found = facts(plan(small_folder), compared)
    control, islands, _ = found["arms"]
    assert control["arm"] == compare.CONTROL
    assert control["difference"] == {"median": 0.0, "low": 0.0, "high": 0.0, "wins": 0}
    scores = {(each["arm"], each["seed"]): each["validation"] for each in found["runs"]}
    gains = [scores["islands", seed] - scores["best-of-n", seed] for seed in (1, 2)]
    assert islands["difference"]["median"] == pytest.approx(np.median(gains))
    assert islands["difference"]["low"] <= islands["difference"]["median"] <= islands["difference"]["high"]
    for curve in found["curves"]["arms"].values():
        train = [value for value in curve["train"]["median"] if value is not None]
        assert train == sorted(train)
        assert len(curve["train"]["median"]) == len(found["curves"]["at"])
        assert curve["validation"]["median"][-1] is not None
    assert found["curves"]["at"][-1] == 15
    json.dumps(found, allow_nan=False)


def test_the_files_are_complete_in_themselves(compared: Path, small_folder: Path, tmp_path: Path) -> None:
    found = facts(plan(small_folder), compared)
    compare_report.write(found, tmp_path)
    page = (tmp_path / "compare.html").read_text()
    assert json.loads((tmp_path / "compare.json").read_text()) == found
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in page
    for reference in ("src=", 'href="http', "<link", "<script", "url(http"):
        assert reference not in page
    for arm in ("best-of-n", "islands", "small"):
        assert f"<td>{arm}</td>" in page


def test_an_interval_without_zero_is_a_verdict_unless_seeds_are_few() -> None:
    above, around = {"low": 0.1, "high": 0.2}, {"low": -0.1, "high": 0.2}
    below = {"low": -0.2, "high": -0.1}
    assert [compare_report.verdict(each, 5) for each in (above, around, below)] == [
        "better",
        "unclear",
        "worse",
    ]
    assert compare_report.verdict(above, 4) == "unclear"


def test_the_median_lies_in_its_interval_and_missing_values_are_left_out() -> None:
    median, low, high = bootstrap_median([[1.0, np.nan, np.nan], [2.0, 5.0, np.nan], [9.0, 7.0, np.nan]])
    assert median.tolist()[:2] == [2.0, 6.0]
    assert np.all(low[:2] <= median[:2])
    assert np.all(median[:2] <= high[:2])
    assert np.isnan([median[2], low[2], high[2]]).all()


def test_a_wider_spread_of_runs_gives_a_wider_interval() -> None:
    rng = np.random.default_rng(0)
    narrow, wide = (bootstrap_median(rng.normal(0, scale, 30)) for scale in (1, 10))
    assert wide[2] - wide[1] > 3 * (narrow[2] - narrow[1])


# ---- the command


def test_the_command_prints_a_table_and_writes_its_files(small_folder: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(
        main, command(small_folder, tmp_path / "out", "--evaluations", 12, "--jobs", 1)
    )
    assert shown.exit_code == 0, shown.output
    for word in ("best-of-n", "islands", "verdict", "compare.html"):
        assert word in shown.stdout
    assert {path.name for path in (tmp_path / "out").glob("compare.*")} == {
        "compare.html",
        "compare.json",
        "compare.png",
    }


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seconds", "3"], "a comparison has one budget"),
        (["--repeats", "0"], "--repeats 0"),
        (["--jobs", "0"], "--jobs 0"),
        (["--arm", "annealing"], "--arm annealing: expected NAME:key=value"),
        (["--set", "seed=3"], "'seed' is the same for every arm"),
        (["--set", "wrkers=3"], "did you mean 'workers'"),
    ],
)
def test_wrong_use_is_exit_code_2_and_says_what_is_wrong(
    small_folder: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    shown = CliRunner().invoke(main, command(small_folder, tmp_path / "out", *more))
    assert shown.exit_code == 2
    assert message in shown.stderr
    assert not (tmp_path / "out").exists()


def test_run_takes_an_archive_by_name(small_folder: Path, tmp_path: Path) -> None:
    options = ["--evaluations", "12", "--workers", "1", "--no-mlflow", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(main, ["run", str(small_folder), "--archive", "map-elites", *options])
    assert done.exit_code == 0, done.output
    assert 'kind = "map-elites"' in (tmp_path / "run" / "settings.toml").read_text()
    wrong = CliRunner().invoke(main, ["run", str(small_folder), "--archive", "map_elites", *options])
    assert wrong.exit_code == 2
    assert "did you mean 'map-elites'?" in wrong.stderr
