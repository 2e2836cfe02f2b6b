"""--data: a problem's instances made from real files, and known by their content."""

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evolve import data, problem
from evolve.cli import main
from evolve.errors import EvaluatorError, ProblemError, UsageError
from evolve.records import SPLITS, Split

LOADER = '''

def from_data(split, path):
    """Every line of the file is a job's p; each split takes its third."""
    from evolve.errors import ProblemError

    lines = path.read_text().split()
    if not all(line.isdigit() for line in lines):
        raise ProblemError(f"{path}: line {lines[0]!r} is no processing time")
    third = list(SEEDS).index(split)
    for index in range(third, len(lines), 3):
        p = np.array([int(lines[index]), 7])
        w = np.array([1, 2])
        yield Instance(f"{split}/{index}", {"p": p, "w": w}, smith(p, w), {"n": 2, "weights": "even"})
'''


@pytest.fixture(scope="module")
def folder(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A problem that takes data."""
    place = Path(shutil.copytree(small_folder, tmp_path_factory.mktemp("data") / "mine"))
    with (place / "instances.py").open("a") as file:
        file.write(LOADER)
    return place


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.txt"
    path.write_text("3\n4\n5\n16\n27\n38\n")
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_instances_are_made_from_the_data(folder: Path, trace: Path) -> None:
    loaded = problem.load(str(folder), trace)
    assert [int(each.arguments["p"][0]) for each in loaded.split(Split.VALIDATION)] == [4, 27]  # type: ignore[index]


def test_other_data_are_another_problem_wherever_they_lie(folder: Path, trace: Path, tmp_path: Path) -> None:
    generated = problem.load(str(folder)).digest
    known = problem.load(str(folder), trace).digest
    moved = tmp_path / "elsewhere"
    shutil.copy(trace, moved)
    assert problem.load(str(folder), moved).digest == known != generated
    moved.write_text("3\n4\n5\n16\n27\n39\n")
    assert problem.load(str(folder), moved).digest != known


def test_a_folder_is_known_by_all_its_files_and_their_names(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "traces"
    (place / "deep").mkdir(parents=True)
    (place / "deep" / "a").write_text("1")
    first = problem.load(str(folder), place).digest
    (place / ".hidden").write_text("2")
    assert problem.load(str(folder), place).digest == first
    (place / "deep" / "a").rename(place / "b")
    assert problem.load(str(folder), place).digest != first


def test_missing_data_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--data .*nowhere: no such file or folder"):
        problem.load(str(folder), tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"--data .*empty: the folder holds no file"):
        problem.load(str(folder), tmp_path / "empty")


def test_a_problem_that_reads_no_data_says_so(small_folder: Path, trace: Path) -> None:
    with pytest.raises(UsageError, match=r"small generates its instances and reads no data.*'from_data'"):
        problem.load(str(small_folder), trace)


def test_data_that_break_a_rule_are_the_users_mistake(folder: Path, trace: Path) -> None:
    trace.write_text("three")
    with pytest.raises(ProblemError, match="line 'three' is no processing time"):
        problem.load(str(folder), trace).split(Split.TRAIN)
    done = call("baselines", folder, "--data", trace)
    assert done.exit_code == 2
    assert "evolve: " in done.stderr


def test_data_without_an_instance_for_a_split_stop_the_evaluation(folder: Path, trace: Path) -> None:
    trace.write_text("3 4")
    with pytest.raises(EvaluatorError, match=r"from_data\('holdout', .*gave no instance"):
        problem.load(str(folder), trace).split(Split.HOLDOUT)


def test_evaluate_takes_data_and_says_where_instances_come_from(folder: Path, trace: Path) -> None:
    file = folder / "seeds" / "spt.py"
    generated = call("evaluate", folder, file, "--json")
    assert "instances: generated; --data PATH takes real ones" in generated.stderr
    real = call("evaluate", folder, file, "--json", "--data", trace)
    assert f"instances: from {trace}" in real.stderr
    assert (json.loads(generated.stdout)["data"], json.loads(real.stdout)["data"]) == (None, str(trace))
    assert json.loads(real.stdout)["instances"] == 2


def test_baselines_and_compare_take_data(folder: Path, trace: Path, tmp_path: Path) -> None:
    found = json.loads(call("baselines", folder, "--data", trace, "--json").stdout)
    assert found["data"] == str(trace)
    options = ("--repeats", 1, "--evaluations", 3, "--jobs", 1, "--out", tmp_path / "runs", "--json")
    compared = call("compare", folder, "--arm", "default", "--data", trace, *options)
    assert compared.exit_code == 0, compared.output
    assert json.loads(compared.stdout)["digest"] == problem.load(str(folder), trace).digest


def test_a_run_goes_on_with_its_data_and_refuses_changed_ones(
    folder: Path, trace: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    options = ("--workers", 1, "--no-mlflow", "--json", "--out", out)
    made = call("run", folder, "--data", trace, "--evaluations", 10, *options)
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["data"] == str(trace)
    more = call("resume", out, "--evaluations", 15, "--no-mlflow", "--json")
    assert json.loads(more.stdout)["evaluations"] == 15
    trace.write_text("3\n4\n5\n16\n27\n37\n")
    changed = call("resume", out, "--evaluations", 20, "--no-mlflow")
    assert changed.exit_code == 2
    assert "has changed since this run" in changed.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (gzip.compress(b""), "the file is empty"),
        (gzip.compress(b"some text")[:-9], "cannot be read: "),
        (b"\x1f\x8b nothing like it", "cannot be read: "),
        (b"\xd6\xff", r"no text \(invalid continuation byte at byte 0\)"),
    ],
)
def test_a_file_without_text_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ProblemError, match=f"file: {message}"):
        data.text(tmp_path / "file")


def test_a_text_that_is_too_large_is_refused_packed_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few bytes of gzip may stand for any amount of text."""
    monkeypatch.setattr(data, "MOST_BYTES", 2**20)
    for content in (b"a" * (2**20 + 1), gzip.compress(b"a" * 2**26)):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ProblemError, match="file: more than 1 MB of text; cut it into parts"):
            data.text(tmp_path / "file")


def test_what_is_neither_a_file_nor_a_folder_is_named() -> None:
    with pytest.raises(UsageError, match="--data /dev/null: neither a file nor a folder"):
        data.read("/dev/null")


def test_a_text_is_read_packed_or_not(tmp_path: Path) -> None:
    for content in ("a,b\n1,ä\n".encode(), gzip.compress("a,b\n1,ä\n".encode())):
        (tmp_path / "file").write_bytes(content)
        assert data.text(tmp_path / "file") == "a,b\n1,ä\n"
    with pytest.raises(ProblemError, match="a folder; name one file in it"):
        data.text(tmp_path)


# every bundled problem that takes data

READERS = [name for name in problem.bundled_problems() if problem.load(name).takes_data]
OTHERS = {  # by file name: what none of them reads
    "empty.json": b"",
    "garbage.json": bytes(range(256)) * 40,
    "truncated.json": b'{"load_history": [[[1, 2], [3',
    "deep.json": b"[" * 100_000,
    "null.json": b"null",
    "list.json": b"[1, 2, 3]",
    "strange.json": b'{"a": {"b": [null, "c", {"d": -1e400}]}}',
    "page.html": b"<html><body>404 Not Found</body></html>",
    "truncated.json.gz": gzip.compress(b'{"a": {"b": "r-1 w-1"}}' * 50)[:40],
    "truncated.tar.gz": gzip.compress(b"a.json" + bytes(2000))[:30],
    "wrong.csv": b"time,price\n1,2\n",
    "wrong.jsonl": b'{"timestamp": -1e999, "input_length": 3}\n',
    "other.parquet": b"PAR1" + bytes(100),
}


def test_the_families_problems_take_data() -> None:
    assert len(READERS) >= 6


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("file", OTHERS)
def test_a_file_that_is_none_of_a_problems_is_the_users_mistake_and_named(
    name: str, file: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_bytes(OTHERS[file])
    loaded = problem.load(name, tmp_path / file)
    for split in SPLITS:
        with pytest.raises(ProblemError, match=re.escape(str(tmp_path / file.split(".")[0]))):
            loaded.split(split)


@pytest.mark.parametrize("name", READERS)
def test_exploit_constant_score_when_a_data_file_is_missing(name: str, tmp_path: Path) -> None:
    """Where there are no data, there is no score at all: neither of a missing file nor of a folder without one."""
    seed = next(iter(problem.load(name).seeds))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("moved elsewhere")
    for path in (tmp_path / "gone.json", tmp_path / "notes"):
        program = problem.bundled_root() / "seeds" / name / f"{seed}.py"
        result = call("evaluate", name, program, "--data", path, "--set", "jail.minimum=rlimits", "--json")
        assert result.exit_code == 2, result.output
        assert str(path) in result.output
        assert "score" not in result.stdout
