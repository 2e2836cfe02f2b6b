"""The loop: same seed, same run; nothing evaluated is lost; a resumed run goes on where it stopped."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from evolve import run, settings
from evolve.errors import EvaluatorError, EvolveError, JournalError, UsageError
from evolve.journal import Entry, Journal, Placed
from evolve.records import Evaluation, Promotion, Proposal, Split, Status
from evolve.settings import BudgetSettings, Settings


def resolved(
    folder: Path, *overrides: str, evaluations: int = 60, seed: int = 1, workers: int = 1
) -> Settings:
    given = {"budget": {"evaluations": evaluations}, "seed": seed, "workers": workers}
    return settings.resolve(str(folder), given, ["jail.minimum=rlimits", *overrides])


def entries(folder: Path) -> list[Entry]:
    with Journal.open(folder) as journal:
        return list(journal.entries())


def facts(folder: Path) -> list[object]:
    """What happened in a run, without what a clock says."""
    found: list[object] = []
    for entry in entries(folder):
        record = entry.record
        if isinstance(record, Evaluation):
            found.append((record.candidate, record.split, record.status, record.objectives, record.scores))
        else:
            found.append(record)
    return found


def search(folder: Path, problem: Path, **options: int) -> run.Result:
    made = run.start(folder, resolved(problem, **options))
    try:
        return made.execute()
    finally:
        made.journal.close()


def test_a_search_finds_smiths_rule(small_folder: Path, tmp_path: Path) -> None:
    result = search(tmp_path / "run", small_folder, evaluations=400)
    assert result.validation is not None
    assert result.validation.score > 0.999
    assert result.evaluations == 400
    assert (tmp_path / "run" / "best.py").read_text() == result.champion.candidate.files["program.py"]  # type: ignore[union-attr]


def test_the_same_seed_gives_the_same_run_bit_for_bit(small_folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        search(tmp_path / name, small_folder, seed=7)
    search(tmp_path / "other", small_folder, seed=8)
    assert facts(tmp_path / "one") == facts(tmp_path / "two")
    assert facts(tmp_path / "one") != facts(tmp_path / "other")


def test_observers_change_nothing(small_folder: Path, tmp_path: Path) -> None:
    from rich.console import Console

    from evolve.observers.console import ConsoleObserver

    search(tmp_path / "silent", small_folder)
    console = Console(file=(tmp_path / "log").open("w"), force_terminal=True)
    watched = run.start(tmp_path / "watched", resolved(small_folder), [ConsoleObserver(console)])
    watched.execute()
    watched.journal.close()
    assert facts(tmp_path / "silent") == facts(tmp_path / "watched")


def test_a_run_in_two_parts_is_the_run_in_one(small_folder: Path, tmp_path: Path) -> None:
    search(tmp_path / "whole", small_folder, evaluations=80)
    search(tmp_path / "parts", small_folder, evaluations=30)
    again = run.reopen(tmp_path / "parts", BudgetSettings(evaluations=80))
    again.execute()
    again.journal.close()
    proposals = [
        [each for each in facts(tmp_path / name) if isinstance(each, Proposal)][:30]
        for name in ("whole", "parts")
    ]
    assert proposals[0] == proposals[1]
    check_complete(entries(tmp_path / "parts"), 80)


def check_complete(found: list[Entry], evaluations: int) -> None:
    """Every candidate evaluated once on train; numbers without gap; records in the order of the search."""
    proposals = [entry.record for entry in found if isinstance(entry.record, Proposal)]
    assert [proposal.number for proposal in proposals] == list(range(1, len(proposals) + 1))
    candidates = [proposal.candidate.id for proposal in proposals if proposal.candidate]
    counted = Counter(
        (entry.record.candidate, entry.record.split)
        for entry in found
        if isinstance(entry.record, Evaluation)
    )
    assert set(counted.values()) == {1}
    assert {candidate for candidate, split in counted if split is Split.TRAIN} == set(candidates)
    assert len(candidates) == evaluations
    known: set[str] = set()
    for entry in found:
        if isinstance(entry.record, Proposal) and entry.record.candidate:
            known.add(entry.record.candidate.id)
        if isinstance(entry.record, Evaluation | Placed):
            assert entry.record.candidate in known


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "evolve.cli", *arguments]


def children(pid: int) -> list[int]:
    """Processes of the session's tree, by walking /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
            found += children(int(status.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="walks /proc")
def test_sigkill_at_random_moments_loses_and_repeats_nothing(small_folder: Path, tmp_path: Path) -> None:
    """Ten kills, then an undisturbed resume: the end is that of a run that was never killed."""
    folder = tmp_path / "run"
    options = ["--no-mlflow", "--json", "--evaluations", "200"]
    first = [
        "run",
        str(small_folder),
        "--out",
        str(folder),
        "--workers",
        "1",
        "--set",
        "jail.minimum=rlimits",
    ]
    moments = random.Random(5)
    kept = 0
    for attempt in range(10):
        arguments = (
            [*first, *options] if not (folder / "journal.db").exists() else ["resume", str(folder), *options]
        )
        process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
        )
        if attempt == 0:
            wait_for(lambda: (folder / "journal.db").exists() and len(entries(folder)) > 3)
        time.sleep(moments.uniform(0.2, 1.0))
        offspring = children(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        now = [entry.record for entry in entries(folder) if isinstance(entry.record, Evaluation)]
        assert len(now) >= kept, "an evaluation was lost"
        kept = len(now)
        wait_for(lambda left=offspring: not any(Path(f"/proc/{pid}").exists() for pid in left))
    done = subprocess.run(
        command("resume", str(folder), *options), capture_output=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    check_complete(entries(folder), 200)
    search(tmp_path / "undisturbed", small_folder, evaluations=200)
    assert [each for each in facts(folder) if isinstance(each, Proposal)] == [
        each for each in facts(tmp_path / "undisturbed") if isinstance(each, Proposal)
    ]


def wait_for(condition: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_cleanly_with_the_best_so_far(
    small_folder: Path, tmp_path: Path, number: int
) -> None:
    folder = tmp_path / "run"
    arguments = ["run", str(small_folder), "--out", str(folder), "--seconds", "60", "--no-mlflow", "--json"]
    process = subprocess.Popen(
        command(*arguments, "--set", "jail.minimum=rlimits"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    wait_for(lambda: (folder / "best.py").exists())
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors.decode()
    assert b'"stopped": "interrupted"' in output
    assert b"Traceback" not in errors
    check_resumable(folder)


def check_resumable(folder: Path) -> None:
    before = len(entries(folder))
    again = run.reopen(folder, BudgetSettings(evaluations=1))
    again.execute()
    again.journal.close()
    assert len(entries(folder)) >= before


def test_a_champion_was_promoted_by_the_paired_test(small_folder: Path, tmp_path: Path) -> None:
    result = search(tmp_path / "run", small_folder, evaluations=300)
    promotions = [entry.record for entry in entries(tmp_path / "run") if isinstance(entry.record, Promotion)]
    promoted = [promotion for promotion in promotions if promotion.promoted]
    assert result.champion is not None
    assert promoted[-1].challenger == result.champion.candidate.id
    assert promoted[0].champion == ""
    for before, after in pairwise(promoted):
        assert after.champion == before.challenger
        assert 0 < after.low <= after.difference <= after.high


def test_a_program_too_near_its_limit_is_not_promoted(small_folder: Path, tmp_path: Path) -> None:
    made = run.start(tmp_path / "run", resolved(small_folder, "promotion.headroom=0.0001", evaluations=10))
    result = made.execute()
    made.journal.close()
    assert result.champion is None
    promotions = [entry.record for entry in entries(tmp_path / "run") if isinstance(entry.record, Promotion)]
    assert "promotion.headroom" in promotions[0].reason


def test_the_budget_is_kept(small_folder: Path, tmp_path: Path) -> None:
    result = search(tmp_path / "run", small_folder, evaluations=37, workers=2)
    assert result.evaluations == 37
    assert result.stopped == run.Stop.BUDGET


def test_a_folder_in_use_is_refused(small_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        run.start(tmp_path / "run", resolved(small_folder))


def test_a_run_goes_on_in_one_process_only(small_folder: Path, tmp_path: Path) -> None:
    made = run.start(tmp_path / "run", resolved(small_folder, evaluations=5))
    with pytest.raises(JournalError, match="another process is running this search"):
        run.reopen(tmp_path / "run")
    made.journal.close()


def test_a_changed_problem_cannot_be_resumed(small_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "problem"))
    search(tmp_path / "run", folder, evaluations=5)
    text = (folder / "instances.py").read_text()
    (folder / "instances.py").write_text(text.replace('"train": 1', '"train": 9'))
    with pytest.raises(JournalError, match="has changed since this run"):
        run.reopen(tmp_path / "run")


def test_a_failing_seed_is_journaled_and_the_run_goes_on(small_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "problem"))
    (folder / "seeds" / "bad.py").write_text("def order(p, w):\n    return [0] * len(p)\n")
    result = search(tmp_path / "run", folder, evaluations=30)
    assert result.champion is not None
    statuses = [
        entry.record.status for entry in entries(tmp_path / "run") if isinstance(entry.record, Evaluation)
    ]
    assert Status.INVALID in statuses


def test_when_no_seed_works_the_run_says_why(small_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "problem"))
    (folder / "seeds" / "bad.py").write_text("def order(p, w):\n    return [0] * len(p)\n")
    made = run.start(tmp_path / "run", resolved(folder, "seeds=['bad']"))
    with pytest.raises(EvolveError, match=r"no seed can be evaluated.*bad: instance train/"):
        made.execute()
    made.journal.close()


def test_an_impossible_score_is_reported_and_never_archived(small_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "problem"))
    text = (folder / "instances.py").read_text()
    # a bound that the better seed beats and the baseline does not: a defect of the problem
    (folder / "instances.py").write_text(
        text.replace("bound=smith(p, w)", "bound=0.9 * float(w @ np.cumsum(p))")
    )
    result = search(tmp_path / "run", folder, evaluations=30)
    assert result.impossible
    assert all("better than the bound" in each.feedback for each in result.impossible)
    placed = {
        entry.record.candidate for entry in entries(tmp_path / "run") if isinstance(entry.record, Placed)
    }
    assert placed.isdisjoint(each.candidate for each in result.impossible)


def test_a_fault_of_the_evaluator_stops_the_run_and_it_can_be_resumed(
    small_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "problem"))
    evaluator = folder / "evaluator.py"
    flag = tmp_path / "fail"
    text = evaluator.read_text()
    trap = f"    import os\n    if os.path.exists({str(flag)!r}):\n        raise OSError('lost')\n"
    head, signature, body = text.partition("def objective(")
    line, _, rest = body.partition(":\n")
    evaluator.write_text(f"{head}{signature}{line}:\n{trap}{rest}")
    made = run.start(tmp_path / "run", resolved(folder, evaluations=40), [_Trap(flag, 20)])
    with pytest.raises(EvaluatorError, match="OSError: lost"):
        made.execute()
    made.journal.close()
    flag.unlink()
    again = run.reopen(tmp_path / "run")
    result = again.execute()
    again.journal.close()
    assert result.evaluations == 40
    check_complete(entries(tmp_path / "run"), 40)


class _Trap:
    """Makes the evaluator fail from the n-th entry on."""

    def __init__(self, flag: Path, after: int) -> None:
        self._flag, self._left = flag, after

    def begin(self, running: run.Run) -> None: ...

    def tick(self, running: run.Run) -> None: ...

    def entry(self, running: run.Run, entry: Entry) -> None:
        self._left -= 1
        if self._left == 0:
            self._flag.touch()

    def end(self, running: run.Run, result: run.Result) -> None: ...
