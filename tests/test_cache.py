"""The cache of evaluations: it saves jail time, and changes nothing."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evolve import problem, run, settings
from evolve.cache import Cache, Known, repeatable
from evolve.evaluate import Evaluator
from evolve.journal import Journal
from evolve.problem import Problem
from evolve.program import make_candidate
from evolve.records import Candidate, Evaluation, Promotion, Proposal, Split, Status
from evolve.trial import Race, Seen

SMITH = "import numpy as np\ndef order(p, w):\n    return np.argsort(p / w, kind='stable').tolist()\n"
LAZY = "def order(p, w):\n    return list(range(len(p)))\n"
REVERSE = "import numpy as np\ndef order(p, w):\n    return np.argsort(-p / w, kind='stable').tolist()\n"
LATE_FAULTS = {
    Status.INVALID: "def order(p, w):\n    return list(range(min(len(p), 20)))\n",
    Status.CRASHED: "def order(p, w):\n    return list(range(len(p))) if len(p) < 20 else [p[99]]\n",
    Status.FORBIDDEN: "def order(p, w):\n    if len(p) > 12:\n        import socket\n    return list(range(len(p)))\n",
}
EARLY_CRASH = "raise ValueError('at once')\n"
RACES = [
    None,
    Race((4, 16), None, 0.95, 0),
    Race((4, 16), (1.0,) * 40, 0.95, 0),
    Race((8, 16, 32), (0.1,) * 40, 0.95, 0),
    Race((8, 16, 32), (1.0,) * 40, 0.95, 0, tuple(range(39, -1, -1))),
]


def program(source: str) -> Candidate:
    return make_candidate({"program.py": source})


def timeless(evaluation: Evaluation) -> Evaluation:
    """All that an evaluation says, but for clocks and where it comes from."""
    return replace(evaluation, cpu_s=0.0, peak_mb=0.0, slowest=0.0, cached=False)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache.db") as made:
        yield made


def evaluated(
    the_problem: Problem,
    cache: Cache | None,
    source: str,
    split: Split = Split.TRAIN,
    race: Race | None = None,
) -> Evaluation:
    with Evaluator(the_problem, "rlimits", cache=cache) as evaluator:
        found = evaluator.evaluate(program(source), split, race)
    if cache is not None:
        cache._write()
    return found


# ---- a hit is what running would give


@pytest.mark.parametrize("source", [SMITH, LAZY, REVERSE, EARLY_CRASH, *LATE_FAULTS.values()])
@pytest.mark.parametrize("race", RACES)
def test_a_hit_equals_the_evaluation_that_was_kept(
    small: Problem, cache: Cache, source: str, race: Race | None
) -> None:
    first = evaluated(small, cache, source, race=race)
    again = evaluated(small, cache, source, race=race)
    assert timeless(again) == timeless(first) == timeless(evaluated(small, None, source, race=race))
    assert not first.cached
    assert again.cached == (first.status is not Status.RACED_OUT)
    if again.cached:
        assert (again.cpu_s, again.peak_mb, again.slowest) == (first.cpu_s, first.peak_mb, first.slowest)


@pytest.mark.parametrize("source", [LAZY, REVERSE, *LATE_FAULTS.values()])
@pytest.mark.parametrize("height", [-9.0, 0.0, 0.5, 1.0])
def test_a_hit_goes_through_the_race_of_its_own_run(
    small: Problem, cache: Cache, source: str, height: float
) -> None:
    easy = Race((4, 8, 16), None, 0.95, 0, tuple(range(39, -1, -1)))
    hard = replace(easy, bar=tuple(height + 0.001 * index for index in range(40)))
    kept = evaluated(small, cache, source, race=easy)
    assert kept.status is not Status.RACED_OUT
    again = evaluated(small, cache, source, race=hard)
    assert again.cached
    assert timeless(again) == timeless(evaluated(small, None, source, race=hard))


def test_a_hit_that_decides_like_a_known_program_is_a_duplicate(small: Problem, cache: Cache) -> None:
    race = Race((4, 8), None, 0.95, 0)
    kept = evaluated(small, cache, SMITH, race=race)
    seen = Seen()
    seen.add(kept.decisions)
    with Evaluator(small, "rlimits", seen, cache=cache) as evaluator:
        again = evaluator.evaluate(program(SMITH), Split.TRAIN, replace(race, horizon=1))
    assert (again.status, again.instances, again.cached) == (Status.DUPLICATE, 4, True)


def test_validation_is_kept_and_the_holdout_never(small: Problem, cache: Cache) -> None:
    for split, hit in ((Split.VALIDATION, True), (Split.HOLDOUT, False)):
        first = evaluated(small, cache, SMITH, split)
        again = evaluated(small, cache, SMITH, split)
        assert timeless(again) == timeless(first)
        assert again.cached is hit


def test_a_program_written_otherwise_is_a_hit_unless_its_own_line_is_quoted(
    small: Problem, cache: Cache
) -> None:
    crash = "def order(p, w):\n    return [p[99]]\n"
    for source in (LAZY, crash):
        evaluated(small, cache, source)
    assert evaluated(small, cache, "# a remark\n" + LAZY).cached
    again = evaluated(small, cache, "# a remark\n" + crash)
    assert not again.cached
    assert "line 3" in again.feedback


@pytest.mark.parametrize(
    "source",
    [
        "import random\n" + LAZY,
        "import time\n" + LAZY,
        "import numpy as np\ndef order(p, w):\n    return np.argsort(np.empty(len(p))).tolist()\n",
        "def order(p, w):\n    return sorted(range(len(p)), key=id)\n",
        "def order(p, w):\n    raise ValueError(str(order))\n",
        "def order(p, w):\n    while True:\n        pass\n",
        "def order(p, w):\n    return [0] * 10**10\n",
    ],
)
def test_what_may_end_otherwise_next_time_is_not_kept(small: Problem, cache: Cache, source: str) -> None:
    evaluated(small, cache, source)
    assert not evaluated(small, cache, source).cached


def test_a_variable_called_time_is_harmless() -> None:
    assert repeatable({"program.py": "def order(p, w):\n    time = 0\n    return [time + 1]\n"})
    assert not repeatable({"program.py": "from time import sleep\n"})


# ---- the key


CHANGES = {
    "problem.toml": ("cpu_s = 0.05", "cpu_s = 0.06"),
    "instances.py": ('"train": 1', '"train": 9'),
    "evaluator.py": ("np.dot(w[parsed]", "1 * np.dot(w[parsed]"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_problem_is_evaluated_anew(
    small: Problem, small_folder: Path, tmp_path: Path, cache: Cache, name: str
) -> None:
    evaluated(small, cache, SMITH)
    folder = Path(shutil.copytree(small_folder, tmp_path / "changed"))
    assert evaluated(problem.load(str(folder)), cache, SMITH).cached, "the same problem elsewhere"
    text = (folder / name).read_text()
    changed = text.replace(*CHANGES[name])
    assert changed != text
    (folder / name).write_text(changed)
    assert not evaluated(problem.load(str(folder)), cache, SMITH).cached


def test_data_that_the_instances_come_from_are_part_of_the_key(
    small_folder: Path, tmp_path: Path, cache: Cache
) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "data"))
    source = folder / "instances.py"
    (folder / "low.txt").write_text("1")
    source.write_text(
        source.read_text()
        .replace("p = rng.integers(1, 51, n)", "p = rng.integers(LOW, 51, n)")
        .replace(
            "SEEDS =",
            "from pathlib import Path\n\nLOW = int(Path(__file__).with_name('low.txt').read_text())\nSEEDS =",
        )
    )
    evaluated(problem.load(str(folder)), cache, SMITH)
    assert evaluated(problem.load(str(folder)), cache, SMITH).cached
    (folder / "low.txt").write_text("2")
    assert not evaluated(problem.load(str(folder)), cache, SMITH).cached


# ---- the file


def rows(path: Path) -> list[tuple[bytes, str, bytes, bytes]]:
    with sqlite3.connect(path) as database:
        return database.execute("SELECT * FROM evaluations_2").fetchall()


def test_a_damaged_row_is_no_row(small: Problem, cache: Cache) -> None:
    evaluated(small, cache, SMITH)
    with sqlite3.connect(cache.path) as database:
        database.execute("UPDATE evaluations_2 SET content = substr(content, 1, length(content) - 8)")
    assert not evaluated(small, cache, SMITH).cached
    assert evaluated(small, cache, SMITH).cached, "it was written anew"


def test_a_row_under_another_programs_name_is_no_row(small: Problem, cache: Cache) -> None:
    evaluated(small, cache, SMITH)
    with sqlite3.connect(cache.path) as database:
        database.execute("UPDATE evaluations_2 SET candidate = ?", (program(LAZY).id,))
    found = evaluated(small, cache, LAZY)
    assert not found.cached
    assert found.score == pytest.approx(0.0)


@pytest.mark.parametrize("kind", ["garbage", "folder", "file above"])
def test_a_file_that_cannot_be_used_is_a_warning(small: Problem, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "cache.db"
    if kind == "garbage":
        path.write_bytes(b"garbage" * 1000)
    elif kind == "folder":
        path.mkdir()
    else:
        (tmp_path / "above").write_text("")
        path = tmp_path / "above" / "cache.db"
    with Cache(path) as cache:
        assert str(path) in cache.fault
        assert "--no-cache" in cache.fault
        assert evaluated(small, cache, SMITH).ok


def test_a_file_that_is_damaged_during_a_run_is_a_warning(small: Problem, cache: Cache) -> None:
    evaluated(small, cache, SMITH)
    with sqlite3.connect(cache.path) as database:
        database.execute("DROP TABLE evaluations_2")
    assert evaluated(small, cache, SMITH).ok
    assert "no such table" in cache.fault


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    known = Known(Status.OK, b"", "", "", 0.1, 1.0, 0.1, b"")

    def write(number: int) -> None:
        with Cache(tmp_path / "cache.db") as cache:
            for index in range(300):
                cache.put(b"context", f"{number}-{index}", known)
            assert cache.fault == ""

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows(tmp_path / "cache.db")) == 1200


def test_a_writer_in_the_way_stops_nobody(small: Problem, cache: Cache) -> None:
    evaluated(small, cache, SMITH)
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert evaluated(small, cache, SMITH).cached, "reading goes on"
    assert not evaluated(small, cache, LAZY).cached
    other.execute("ROLLBACK")
    other.close()
    assert cache.fault == ""
    cache._write()
    assert evaluated(small, cache, LAZY).cached, "the row had waited"


# ---- a run


def resolved(folder: Path, seed: int, evaluations: int = 150) -> settings.Settings:
    given = {"budget": {"evaluations": evaluations}, "seed": seed, "workers": 1}
    return settings.resolve(str(folder), given, ["jail.minimum=rlimits"])


def search(place: Path, folder: Path, seed: int, cache: Path | None) -> run.Result:
    store = Cache(cache) if cache else None
    made = run.start(place, resolved(folder, seed), cache=store)
    result = made.execute()
    made.journal.close()
    if store:
        store.close()
    return result


def facts(folder: Path) -> list[object]:
    with Journal.open(folder) as journal:
        records = [entry.record for entry in journal.entries()]
    return [timeless(record) if isinstance(record, Evaluation) else record for record in records]


def test_a_run_is_the_same_with_and_without_the_cache(small_folder: Path, tmp_path: Path) -> None:
    """Also where the cache comes from a search with another seed, and so from other races."""
    store = tmp_path / "cache.db"
    search(tmp_path / "other", small_folder, 1, store)
    for name, cache in (("without", None), ("foreign", store), ("warm", store)):
        result = search(tmp_path / name, small_folder, 2, cache)
        assert (result.repeats.cache > 0) == (cache is not None)
        assert result.cache_fault == ""
    assert facts(tmp_path / "without") == facts(tmp_path / "foreign") == facts(tmp_path / "warm")
    kinds = {type(record) for record in facts(tmp_path / "warm")}
    assert kinds >= {Evaluation, Proposal, Promotion}


def test_hits_are_counted_over_all_parts_of_a_run(small_folder: Path, tmp_path: Path) -> None:
    search(tmp_path / "first", small_folder, 1, tmp_path / "cache.db")
    whole = search(tmp_path / "second", small_folder, 1, tmp_path / "cache.db")
    again = run.reopen(tmp_path / "second", settings.BudgetSettings(evaluations=160))
    result = again.execute()
    again.journal.close()
    assert result.repeats.cache == whole.repeats.cache > 0


def test_descriptors_of_behaviour_are_kept_and_apart_from_runs_without_them(
    small: Problem, cache: Cache
) -> None:
    evaluated(small, cache, SMITH)
    with Evaluator(small, "rlimits", cache=cache, describe=True) as evaluator:
        first = evaluator.evaluate(program(SMITH), Split.TRAIN)
        cache._write()
        second = evaluator.evaluate(program(SMITH), Split.TRAIN)
    assert (first.cached, second.cached) == (False, True)
    assert first.descriptors == second.descriptors
    assert first.descriptors["size"] > 10
