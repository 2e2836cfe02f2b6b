"""What stops or shames a run is told at its end, by its exit code and in --json; the holdout is opened in the open."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evolve import folders
from evolve.cli import main
from evolve.journal import Journal
from evolve.records import Evaluation, Status

LOOSE = "0.9 * float(w @ np.cumsum(p))"  # better seeds than the baseline beat this "bound"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def search(problem: Path, place: Path, *options: object) -> Result:
    settings = ("--set", "jail.minimum=rlimits", "--workers", 1, "--no-mlflow", "--no-cache")
    return call("run", problem, "--out", place, *settings, *options)


def altered(small_folder: Path, target: Path, name: str, *pairs: tuple[str, str]) -> Path:
    folder = Path(shutil.copytree(small_folder, target))
    text = (folder / name).read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return folder


def evaluations(place: Path) -> list[Evaluation]:
    with Journal.open(place, read_only=True) as journal:
        return [entry.record for entry in journal.entries() if isinstance(entry.record, Evaluation)]


# ---- impossible scores


def test_an_impossible_score_is_told_at_the_end_with_program_and_instance(
    small_folder: Path, tmp_path: Path
) -> None:
    folder = altered(
        small_folder, tmp_path / "loose", "instances.py", ("bound=smith(p, w)", f"bound={LOOSE}")
    )
    shown = search(folder, tmp_path / "run", "--evaluations", 30)
    assert shown.exit_code == 1
    text = " ".join(shown.stdout.split())
    culprits = [each for each in evaluations(tmp_path / "run") if each.status is Status.IMPOSSIBLE]
    assert culprits
    for culprit in culprits:
        assert f"IMPOSSIBLE: candidate {culprit.candidate} on train/n" in text
        assert culprit.feedback.partition(": ")[2] in text
    assert "defect of the problem" in text
    listed = call("resume", tmp_path / "run", "--evaluations", 31, "--no-mlflow", "--json")
    assert listed.exit_code == 1
    facts = json.loads(listed.stdout)["impossible"]
    assert {each["candidate"] for each in facts} >= {culprit.candidate for culprit in culprits}
    for each in facts:
        assert f"instance {each['instance']}: objective" in each["feedback"]
        assert f"{each['bound']:.9g}" in each["feedback"]


def test_an_impossible_score_on_validation_is_told_too(small_folder: Path, tmp_path: Path) -> None:
    loose = f"bound=smith(p, w) if split == 'train' else {LOOSE}"
    folder = altered(small_folder, tmp_path / "loose", "instances.py", ("bound=smith(p, w)", loose))
    shown = search(folder, tmp_path / "run", "--evaluations", 30, "--json")
    assert shown.exit_code == 1
    facts = json.loads(shown.stdout)["impossible"]
    assert facts
    assert {each["split"] for each in facts} == {"validation"}
    assert facts[0]["instance"].startswith("validation/")
    assert "validation/" not in facts[0]["feedback"], "a proposer may read the feedback"


def test_a_run_without_a_finding_lists_none(small_folder: Path, tmp_path: Path) -> None:
    shown = search(small_folder, tmp_path / "run", "--evaluations", 20, "--json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["impossible"] == []


# ---- faults of the evaluator


def data_reader(small_folder: Path, target: Path) -> Path:
    """The small problem with an evaluator that reads a file whenever it scores."""
    reader = "objective(instance: Instance, parsed: np.ndarray) -> float:\n"
    read = (
        f"{reader}    unit = float(__import__('pathlib').Path(__file__).with_name('unit.txt').read_text())\n"
    )
    folder = altered(
        small_folder,
        target,
        "evaluator.py",
        (reader, read),
        ("return float(np.dot", "return unit * float(np.dot"),
    )
    (folder / "unit.txt").write_text("1.0")
    return folder


def test_missing_data_stop_the_run_and_it_goes_on_when_they_are_back(
    small_folder: Path, tmp_path: Path
) -> None:
    folder = data_reader(small_folder, tmp_path / "problem")
    assert search(folder, tmp_path / "run", "--evaluations", 10).exit_code == 0
    before = evaluations(tmp_path / "run")
    (folder / "unit.txt").rename(tmp_path / "unit.txt")
    broken = call("resume", tmp_path / "run", "--evaluations", 40, "--no-mlflow", "--no-cache")
    assert broken.exit_code == 1
    assert "FileNotFoundError" in broken.stderr
    assert "no candidate can be scored until it is mended" in broken.stderr
    assert "Traceback" not in broken.output
    assert evaluations(tmp_path / "run") == before, "nobody was charged with it"
    (tmp_path / "unit.txt").rename(folder / "unit.txt")
    mended = call("resume", tmp_path / "run", "--evaluations", 40, "--no-mlflow", "--no-cache", "--json")
    assert mended.exit_code == 0
    assert json.loads(mended.stdout)["evaluations"] == 40
    whole = search(folder, tmp_path / "whole", "--evaluations", 40)
    assert whole.exit_code == 0


@pytest.mark.parametrize("fault", ["1 / 0", "raise KeyError('optimum')", "return float('nan')"])
def test_an_evaluator_that_fails_from_the_start_is_named(
    small_folder: Path, tmp_path: Path, fault: str
) -> None:
    body = '    p, w = instance.arguments["p"], instance.arguments["w"]\n    return float(np.dot'
    folder = altered(
        small_folder,
        tmp_path / "problem",
        "evaluator.py",
        (body, body.replace("    p, w", f"    {fault}\n    p, w", 1)),
    )
    shown = search(folder, tmp_path / "run", "--evaluations", 10, "--json")
    assert shown.exit_code == 1
    assert shown.stdout == ""
    assert str(folder / "evaluator.py") in shown.stderr
    assert "Traceback" not in shown.output


# ---- the cache and the counts


def test_the_counts_are_in_the_print_in_json_and_in_show(small_folder: Path, tmp_path: Path) -> None:
    options = (
        "--set",
        "jail.minimum=rlimits",
        "--workers",
        1,
        "--no-mlflow",
        "--evaluations",
        120,
        "--seed",
        77,
    )
    first = json.loads(call("run", small_folder, "--out", tmp_path / "one", *options, "--json").stdout)
    assert folders.cache_file().is_file()
    again = json.loads(call("run", small_folder, "--out", tmp_path / "two", *options, "--json").stdout)
    assert again["cache"]["hits"] > first["cache"]["hits"]
    assert again["duplicates"] == first["duplicates"]
    assert again["scores"]["champion"]["train"]["score"] == first["scores"]["champion"]["train"]["score"]
    facts = json.loads(call("show", tmp_path / "two", "--json").stdout)
    assert facts["run"]["duplicates"] == again["duplicates"]
    assert facts["run"]["cache_hits"] == again["cache"]["hits"]
    assert f"{again['cache']['hits']} evaluations" in " ".join(call("show", tmp_path / "two").stdout.split())
    shown = " ".join(call("resume", tmp_path / "two", "--no-mlflow").stdout.split())
    assert f"{again['duplicates']['source']} proposals of a known program" in shown
    assert f"{again['cache']['hits']} evaluations from the cache" in shown
    without = call("run", small_folder, "--out", tmp_path / "three", *options, "--json", "--no-cache")
    assert json.loads(without.stdout)["cache"] == {"hits": 0, "fault": ""}
    assert "enabled = false" in (tmp_path / "three" / "settings.toml").read_text().partition("[cache]")[2]


def test_a_cache_that_cannot_be_used_is_a_warning(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "RUNS", tmp_path / "runs")
    (tmp_path / "runs" / "cache.db").mkdir(parents=True)
    options = ("--set", "jail.minimum=rlimits", "--workers", 1, "--no-mlflow", "--evaluations", 10)
    shown = call("run", small_folder, "--out", tmp_path / "run", *options)
    assert shown.exit_code == 0
    assert "Warning: the cache of evaluations" in shown.stderr
    assert "Warning: the cache of evaluations" in shown.stdout


# ---- the holdout


def test_every_opening_of_the_holdout_is_told(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "RUNS", tmp_path / "runs")
    place = tmp_path / "run"
    assert search(small_folder, place, "--evaluations", 60).exit_code == 0
    champion = json.loads(call("show", place, "--json").stdout)["id"]
    other = next(each.candidate for each in evaluations(place) if each.ok and each.candidate != champion)
    first = call("publish", place, "--to", tmp_path / "one", "--json")
    assert first.exit_code == 0, first.output
    assert (
        json.loads(first.stdout)["holdout_openings"],
        json.loads(first.stdout)["holdout_openings_elsewhere"],
    ) == (1, 0)
    same = json.loads(call("publish", place, "--to", tmp_path / "again", "--json").stdout)
    assert same["holdout_openings"] == 1, "it was measured before, nothing was opened"
    refused = call("publish", place, other, "--to", tmp_path / "two")
    assert refused.exit_code == 1
    assert f"opened for candidate {champion}" in refused.stderr
    counted = call("publish", place, other, "--to", tmp_path / "two", "--again", "--json")
    assert json.loads(counted.stdout)["holdout_openings"] == 2
    proof = json.loads((tmp_path / "two" / "PROOF.json").read_text())
    assert [each["candidate"] for each in proof["holdout"]["openings"]] == [champion, other]


def test_a_look_outside_the_run_is_counted_in_the_proof(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "RUNS", tmp_path / "runs")
    assert search(small_folder, tmp_path / "run", "--evaluations", 20).exit_code == 0
    seed = small_folder / "seeds" / "spt.py"
    for _ in range(2):
        assert call("evaluate", small_folder, seed, "--split", "holdout", "--open-holdout").exit_code == 0
    assert call("evaluate", small_folder, seed, "--split", "validation").exit_code == 0
    shown = call("publish", tmp_path / "run", "--to", tmp_path / "package")
    assert shown.exit_code == 0, shown.output
    assert "Outside this run the same instances were opened 2 times" in " ".join(shown.stdout.split())
    assert json.loads((tmp_path / "package" / "PROOF.json").read_text())["holdout"]["elsewhere"] == 2
    assert "and 2 times outside this run" in " ".join(
        (tmp_path / "package" / "README.md").read_text().split()
    )
