"""Recomputes a sample of the proof, and its sums, with pytest and numpy: `pytest` in the package's folder.

The heuristic is the same program that was measured; the judge beside this file is the one that measured it.
"""

import csv
import hashlib
import importlib.util
import inspect
import itertools
import json
import math
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

PROOF = json.loads((HERE.parent / "PROOF.json").read_text(encoding="utf-8"))
SAMPLE = json.loads((HERE / "sample.json").read_text(encoding="utf-8"))
judge = importlib.import_module("evaluator")
heuristic = importlib.import_module(f"{PROOF['module']}.heuristic")
entry = getattr(heuristic, PROOF["entry"]["function"])
if PROOF["entry"]["harness"]:
    sys.modules[PROOF["entry"]["harness"]["program"]] = heuristic
    harness = importlib.import_module("harness")


def decode(value: Any) -> Any:
    """A value from sample.json."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        dtype, shape, items = value["$array"]
        return np.array(items, dtype=dtype).reshape(shape)
    if "$tuple" in value:
        return tuple(decode(item) for item in value["$tuple"])
    return {decode(key): decode(item) for key, item in value["$dict"]}


def plain(value: Any) -> Any:
    """A value as it passed between judge and program in the measurement: tuples were lists, numpy scalars 0-d."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return np.array(value) if isinstance(value, (np.generic, np.ndarray)) else value


def decide(instance: Any, arguments: list[Any]) -> Any:
    """The decision on one instance; `arguments` are the program's own, which it may change."""
    if not PROOF["entry"]["harness"]:
        return entry(*arguments)
    if not PROOF["entry"]["harness"]["consults"]:
        return harness.decide([arguments])[0]
    count = itertools.count(1)
    return harness.decide([arguments], lambda asked: judge.consult(instance, asked, next(count)))[0]


def reseed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Randomness that the program does not seed itself, as it was in the measurement."""
    random.seed(0)
    np.random.seed(0)
    draw = np.random.RandomState(1).randint

    def bits(count: int) -> int:
        return int.from_bytes(draw(0, 256, (count + 7) // 8, dtype=np.uint8).tobytes(), "little")

    monkeypatch.setattr(np.random.bit_generator, "randbits", bits)


def play(instance: Any, monkeypatch: pytest.MonkeyPatch) -> float:
    """The objective of the program when it is asked, on an instance that knows nothing of earlier ones."""
    spec = importlib.util.spec_from_file_location(f"{PROOF['module']}.played", inspect.getfile(heuristic))
    assert spec is not None
    assert spec.loader is not None
    played = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(played)
    function, several = PROOF["entry"]["function"], bool(PROOF["entry"]["also"])
    reseed(monkeypatch)

    def ask(*question: Any) -> Any:
        name, *arguments = question if several else (function, *question)
        policy = getattr(played, name, None)
        answer = policy(*map(plain, arguments)) if policy is not None else None
        return answer.item() if isinstance(answer, np.generic) else plain(answer)

    return float(judge.simulate(instance, ask))


@pytest.mark.parametrize("case", SAMPLE, ids=[case["name"] for case in SAMPLE])
def test_the_objective_is_the_recorded_one(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {name: decode(case[name]) for name in ("arguments", "facts", "group")}
    instance = SimpleNamespace(name=case["name"], bound=case["bound"], **parts)
    reseed(monkeypatch)
    if PROOF["entry"]["interactive"]:
        found = play(instance, monkeypatch)
    else:
        decision = plain(decide(instance, list(decode(case["arguments"]).values())))
        found = float(judge.objective(instance, judge.check(instance, decision)))
    assert math.isclose(found, case["objective"], rel_tol=1e-9, abs_tol=1e-12)


def test_the_module_is_the_one_that_was_published() -> None:
    source = Path(inspect.getfile(heuristic)).read_bytes()
    assert hashlib.sha256(source).hexdigest() == PROOF["candidate"]["module_sha256"]
    for name, digest in PROOF["candidate"]["files_sha256"].items():
        other = Path(inspect.getfile(heuristic)).with_name(name).read_bytes()
        assert hashlib.sha256(other).hexdigest() == digest, name


def test_the_means_are_those_of_the_single_results() -> None:
    with (HERE / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    programs = [(PROOF["module"], PROOF["holdout"])]
    programs += [(rival["name"], rival) for rival in PROOF["rivals"] if rival["status"] == "ok"]
    for name, figures in programs:
        mean = math.fsum(float(row[name]) for row in rows) / len(rows)
        assert math.isclose(mean, figures["objective"], rel_tol=1e-9, abs_tol=1e-12), name
