"""The command line is a contract: exit codes, one JSON object on stdout, no traceback for a user's mistake."""

import io
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from evolve.cli import main
from evolve.doctor import MISSING, print_examination
from evolve.observers.mlflow import pending

COMMANDS = ["run", "resume", "replay", "evaluate", "baselines", "problems", "new"]
COMMANDS += ["audit", "show", "lineage", "diff", "publish", "compare", "mlflow", "doctor"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A short run, made by the command, with what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    made = call(
        "run", small_folder, "--evaluations", 200, "--workers", 1, "--no-mlflow", "--json", "--out", folder
    )
    assert made.exit_code == 0, made.output
    return folder, json.loads(made.stdout)


def test_help_lists_every_command() -> None:
    shown = call("--help").stdout
    assert all(f"  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    shown = call(name, "--help")
    assert shown.exit_code == 0
    assert f"evolve {name}" in shown.stdout.partition("Example:")[2]


def test_the_package_can_be_run_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "evolve", "--help"], capture_output=True, text=True, check=True
    )
    assert "evolve run smtt" in done.stdout


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from click.testing import CliRunner; from evolve.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "print([name for name in ('numpy', 'mlflow', 'rich', 'pandas', 'openai', 'anthropic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_run_prints_run_champion_evaluations_and_scores(finished: tuple[Path, dict[str, object]]) -> None:
    folder, printed = finished
    assert printed["run"] == str(folder)
    assert printed["evaluations"] == 200
    assert set(printed["scores"]) >= {"champion"}  # type: ignore[call-overload]
    assert printed["champion"] == json.loads(call("show", folder, "--json").stdout)["id"]
    assert (folder / "best.py").is_file()


def test_run_shows_a_table_and_the_next_commands(small_folder: Path, tmp_path: Path) -> None:
    options = ("--evaluations", 20, "--workers", 1, "--no-mlflow", "--out", tmp_path / "run")
    shown = call("run", small_folder, *options)
    assert shown.exit_code == 0
    for word in (
        "champion",
        "arrival",
        "spt",
        "train",
        "validation",
        "evolve publish",
        "evolve resume",
        "best.py",
    ):
        assert word in shown.stdout
    assert "no key needed" in shown.stderr


def test_evaluate_prints_the_promised_keys(small_folder: Path) -> None:
    shown = call(
        "evaluate", small_folder, small_folder / "seeds" / "spt.py", "--split", "validation", "--json"
    )
    assert shown.exit_code == 0
    facts = json.loads(shown.stdout)
    promised = [
        "status",
        "split",
        "score",
        "raw",
        "unit",
        "instances",
        "cpu_s",
        "peak_mb",
        "jail",
        "feedback",
    ]
    assert set(promised) <= set(facts)
    assert (facts["status"], facts["split"]) == ("ok", "validation")
    assert 0 < facts["score"] < 1


def test_a_failing_program_is_a_finding_with_its_status(small_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def order(p, w):\n    return [0] * len(p)\n")
    shown = call("evaluate", small_folder, tmp_path / "bad.py", "--json")
    assert shown.exit_code == 1
    facts = json.loads(shown.stdout)
    assert (facts["status"], facts["score"]) == ("invalid", None)


def test_the_holdout_stays_sealed_unless_asked_for_by_name(small_folder: Path) -> None:
    seed = small_folder / "seeds" / "spt.py"
    sealed = call("evaluate", small_folder, seed, "--split", "holdout")
    assert sealed.exit_code == 2
    assert "--open-holdout" in sealed.stderr
    assert call("evaluate", small_folder, seed, "--split", "holdout", "--open-holdout").exit_code == 0


def test_baselines_lists_every_seed(small_folder: Path) -> None:
    facts = json.loads(call("baselines", small_folder, "--json").stdout)
    assert {row["name"] for row in facts["seeds"]} == {"arrival", "spt"}
    assert all(
        facts["bound"][split] <= row[split]["raw"] for split in facts["bound"] for row in facts["seeds"]
    )
    told = call("baselines", small_folder, "--split", "train").stdout
    assert "arrival" in told
    assert f"{facts['bound']['train']:.4g}" in told


def test_problems_lists_the_bundled_ones() -> None:
    facts = json.loads(call("problems", "--json").stdout)
    smtt = next(fact for fact in facts["problems"] if fact["name"] == "smtt")
    assert smtt["entry"].startswith("sequence(p, d)")
    assert all(fact["bound"] for fact in facts["problems"])
    told = call("problems").stdout
    assert "; bound: " in told
    assert "needs: nothing" in told
    assert any(fact["may_define"] for fact in facts["problems"])
    assert "may also define: " in told
    assert smtt["needs"] == []


def test_new_writes_a_folder_that_runs(tmp_path: Path) -> None:
    made = call("new", tmp_path / "mine")
    assert made.exit_code == 0
    shown = call(
        "run", tmp_path / "mine", "--evaluations", 10, "--no-mlflow", "--out", tmp_path / "run", "--json"
    )
    assert json.loads(shown.stdout)["evaluations"] == 10


def test_show_lineage_and_diff_tell_the_same_story(finished: tuple[Path, dict[str, object]]) -> None:
    folder, printed = finished
    steps = json.loads(call("lineage", folder, "--json").stdout)["steps"]
    assert steps[0]["operator"] == "seed"
    assert steps[-1]["id"] == printed["champion"]
    for before, after in pairwise(steps):
        assert after["parents"][0] == before["id"]
    changed = json.loads(call("diff", folder, "--json").stdout)
    assert (changed["from"], changed["to"]) == (steps[-2]["id"], steps[-1]["id"])
    assert changed["diff"].startswith("--- a/program.py")
    for name in ("show", "lineage", "diff"):
        assert str(printed["champion"])[:6] in call(name, folder).stdout


def test_resume_takes_a_new_budget(finished: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(finished[0], tmp_path / "copy")
    resumed = call("resume", folder, "--evaluations", 220, "--json")
    assert json.loads(resumed.stdout)["evaluations"] == 220
    assert pending(folder) is None  # begun without the mirror, it goes on without


MISTAKES = [
    (["run", "nosuch"], "nosuch: no such problem folder"),
    (["run", "{problem}", "--seeds", "nosuch"], "--seeds nosuch: no such seed"),
    (
        ["run", "{problem}", "--proposer", "magic"],
        "--proposer magic: there is no such proposer; there are: genetic",
    ),
    (["run", "{problem}", "--set", "archive.ilands=3"], "did you mean 'archive.islands'"),
    (
        ["run", "{problem}", "--set", "jail.minimum=none"],
        "setting jail.minimum is 'none'; it has to be one of: full",
    ),
    (["run", "{problem}", "--evaluations", "0"], "budget.evaluations is 0"),
    (["run", "{problem}", "--evaluations", "many"], "'many' is not a valid integer"),
    (["run", "{problem}", "--out", "{problem}"], "the folder is not empty"),
    (["resume", "{problem}"], "no run there"),
    (["show", "nosuch"], "nosuch: no run there"),
    (["evaluate", "{problem}", "nosuch.py"], "nosuch.py: no such file"),
    (["new", "{problem}"], "not empty"),
    (["nosuch"], "No such command 'nosuch'"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_wrong_use_is_one_clear_line_and_exit_code_2(
    small_folder: Path, arguments: list[str], message: str
) -> None:
    shown = call(*[argument.format(problem=small_folder) for argument in arguments])
    assert shown.exit_code == 2
    assert message in shown.stderr
    assert "Traceback" not in shown.output
    assert shown.stdout == ""


def test_an_unknown_candidate_is_wrong_use(finished: tuple[Path, dict[str, object]]) -> None:
    shown = call("show", finished[0], "zzzz")
    assert shown.exit_code == 2
    assert "no candidate 'zzzz'" in shown.stderr


@pytest.fixture(scope="module")
def examined() -> Result:
    return call("doctor", "--json")


def test_doctor_says_the_level_and_that_every_attack_was_stopped(examined: Result) -> None:
    facts = json.loads(examined.stdout)
    assert facts["jail"]
    assert set(facts["keys"].values()) <= {True, False}, "keys are never shown"
    assert (examined.exit_code == 1) == bool(facts["findings"])
    if facts["jail"] == "full":
        assert all(attack["stopped"] for attack in facts["attacks"])


def test_doctor_says_which_clusters_can_be_used_and_how(examined: Result) -> None:
    facts = json.loads(examined.stdout)
    assert set(facts["backends"]) == {"dask", "ray"}
    screen = Console(file=io.StringIO(), width=200)
    print_examination({**facts, "backends": {"dask": "2026.8.0", "ray": MISSING}}, screen)
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "backend dask: 2026.8.0: evolve run PROBLEM --backend dask, or --dask ADDRESS" in text
    assert "backend ray: not installed" in text
    assert "pip install 'evolve[ray]'" in text
