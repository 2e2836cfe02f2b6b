"""moe_placement: its traces, its bound, its seeds, and real traces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve import problem, program
from evolve.errors import ProblemError, UsageError
from evolve.evaluate import Evaluator
from evolve.records import SPLITS, Instance, Split, Status
from tests.moe_tools import GENERATOR, MOE, PATIENT, check, instances, objective, seed, some_placement

NAMES = list(MOE.seeds)
small_loads = st.lists(st.integers(0, 30), min_size=1, max_size=5)


def test_on_the_holdout_the_three_forecasts_share_their_past() -> None:
    families: dict[str, dict[str, Instance]] = {}
    for each in MOE.split(Split.HOLDOUT):
        families.setdefault(each.family, {})[str(each.group["forecast"])] = each
    trios = [found for found in families.values() if len(found) == 3]
    assert len(trios) == 24 + 6
    for found in trios:
        seen = [each.arguments["load"] for each in found.values()]
        assert all(np.array_equal(seen[0], other) for other in seen[1:])
        exact, noisy, adversarial = (found[name].facts["next"] for name in ("exact", "noisy", "adversarial"))
        assert (exact == seen[0][-1]).all()
        assert np.array_equal(np.sort(adversarial, axis=2), np.sort(noisy, axis=2))
        assert not np.array_equal(adversarial, noisy)


# -- the bound ---------------------------------------------------------------------------------------------


@settings(PATIENT, max_examples=400)
@given(small_loads, st.integers(0, 4))
def test_the_smallest_share_is_that_of_the_best_replication(loads: list[int], spare: int) -> None:
    """Against every way to give the spare slots to experts."""
    best = max(loads)
    for extra in product(range(spare + 1), repeat=len(loads)):
        if sum(extra) <= spare:
            best = min(best, max(load / (1 + more) for load, more in zip(loads, extra, strict=True)))
    found = float(GENERATOR.smallest_share(np.array(loads), len(loads) + spare))
    assert found <= best
    assert found == pytest.approx(best, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("items", "parts", "ways"), [(1, 1, 1), (4, 2, 7), (6, 3, 90), (8, 4, 1701)])
def test_the_ways_to_deal_groups_to_nodes_are_stirling_numbers(items: int, parts: int, ways: int) -> None:
    found = GENERATOR.partitions(items, parts)
    assert len({tuple(sorted(row)) for row in found.tolist()}) == len(found) == ways
    assert (found.sum(axis=1) == 2**items - 1).all()


def test_the_bound_of_an_instance_by_hand() -> None:
    """Expert 0 has 90 of 100 tokens and two slots at most: a replica has 45 and an even share is 25."""
    load = np.full((12, 1, 3), 5)
    load[:, 0, 0] = 90
    made = GENERATOR.make("hand", load, GENERATOR.Shape(3, 1, 4, 4), {})
    assert made.bound == pytest.approx(25 / 45)
    # two groups, one with 90 of 100 tokens: its node's two GPUs have 45 each at least
    load = np.array([[[30, 30, 30, 4, 3, 3]]] * 12)
    made = GENERATOR.make("hand", load, GENERATOR.Shape(6, 1, 12, 4, 2, 2), {})
    assert made.bound == pytest.approx(25 / 45)


def climb(made: Instance, rng: np.random.Generator, steps: int) -> float:
    """The best balance that a search with the future before its eyes finds: from the water-filling of what is to
    come, exchanges of slots and changes of replicas that the rules allow, kept if they are no worse."""
    future = dict(made.arguments, load=np.repeat(made.facts["next"].mean(axis=0)[None], 2, axis=0))
    found = check(made, seed("waterfill").place(**future))
    best = objective(made, found)
    for _ in range(steps):
        tried = found.copy()
        layer, one, two = rng.integers(len(tried)), *rng.integers(0, tried.shape[1], 2)
        if rng.random() < 0.5:
            tried[layer, [one, two]] = tried[layer, [two, one]]
        else:
            tried[layer, one] = tried[layer, two]
        try:
            value = objective(made, check(made, tried))
        except MOE.evaluator.Invalid:
            continue
        if value >= best:
            found, best = tried, value
    return float(best)


@settings(PATIENT, max_examples=150)
@given(instances(), st.integers(0, 2**32))
def test_the_strongest_search_does_not_pass_the_bound(made: Instance, dice: int) -> None:
    free = Instance(made.name, made.arguments, made.bound, facts={**made.facts, "price": 0.0})
    assert climb(free, np.random.default_rng(dice), 40) <= made.bound + 1e-9


@settings(PATIENT, max_examples=600)
@given(instances(), st.integers(0, 2**32))
def test_no_placement_passes_the_bound(made: Instance, dice: int) -> None:
    assert objective(made, some_placement(made, np.random.default_rng(dice))) <= made.bound + 1e-9


@pytest.mark.parametrize("nodes", [1, 4])
def test_who_knows_the_next_window_comes_close_to_the_bound(nodes: int) -> None:
    """So the bound says much: what is missing to it is mostly what nobody knows."""
    load = GENERATOR.trace("drift", "exact", GENERATOR.full(nodes, 64, 4), 77)
    made = GENERATOR.make("one", load, GENERATOR.full(nodes, 64, 4), {})
    free = Instance(made.name, made.arguments, made.bound, facts={**made.facts, "price": 0.0})
    assert objective(free, check(free, seed("waterfill").place(**made.arguments))) > 0.97 * made.bound


# -- traces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_holds_its_settings_forecasts_and_kinds(split: Split) -> None:
    found = MOE.split(split)
    assert len(found) == {"train": 32, "validation": 64, "holdout": 144}[split]
    assert len({each.name for each in found}) == len(found)
    assert {each.group["setting"] for each in found} == {"global", "hierarchical"}
    assert {each.group["forecast"] for each in found} == {"exact", "noisy", "adversarial"}
    kinds = set(GENERATOR.KINDS) if split is Split.HOLDOUT else set(GENERATOR.USUAL)
    assert {each.group["kind"] for each in found} == kinds
    for each in found:
        previous = each.arguments["previous"]
        np.testing.assert_array_equal(check(each, previous), previous)
        assert (each.arguments["load"] >= 0).all()


def test_splits_are_disjoint_and_the_same_again() -> None:
    MOE.check_disjoint()
    again = list(GENERATOR.instances("train"))
    for one, other in zip(MOE.split(Split.TRAIN), again, strict=True):
        np.testing.assert_array_equal(one.facts["next"], other.facts["next"])


def test_an_exact_forecast_repeats_the_last_window() -> None:
    for each in MOE.split(Split.TRAIN):
        repeats = (each.facts["next"] == each.arguments["load"][-1]).all()
        assert repeats == (each.group["forecast"] == "exact")


@pytest.mark.parametrize("kind", list(GENERATOR.KINDS))
def test_an_adversarial_forecast_trades_places_and_keeps_the_tokens(kind: str) -> None:
    shape = GENERATOR.small(1, 32)
    dice = GENERATOR.Dice(5)
    load = GENERATOR.trace(kind, "noisy", shape, 5)
    last, future = load[GENERATOR.SEEN - 1], load[GENERATOR.SEEN :]
    found = GENERATOR.adversarial(future, last, dice)
    np.testing.assert_array_equal(np.sort(found, axis=2), np.sort(future, axis=2))
    moved = (found != future).any(axis=0)
    hot = np.argsort(-last, axis=1)[:, :4]
    assert moved.sum(axis=1).max() <= 8
    assert np.take_along_axis(moved, hot, axis=1).mean() > 0.9


def test_tokens_add_up_to_their_mean() -> None:
    for each in MOE.split(Split.TRAIN):
        mean = each.arguments["load"].mean()
        assert mean == pytest.approx(GENERATOR.TOKENS, rel=0.01)


def test_the_tokens_are_those_of_every_other_machine() -> None:
    """The sums of a few traces, as they were when the figures in README.md were measured."""
    found = [
        int((each.facts["next"] * np.arange(1, 1 + each.facts["next"].shape[2])).sum()) for each in CHECKED
    ]
    assert found == SUMS


CHECKED = MOE.split(Split.TRAIN)[:4]
SUMS = [15686300, 26751902, 15739642, 27619942]


# -- seeds -------------------------------------------------------------------------------------------------


def test_the_seeds_are_those_of_the_literature() -> None:
    assert set(NAMES) == {"in_order", "sticky", "eplb", "lpt_heap", "snake", "waterfill"}


@pytest.mark.parametrize("name", NAMES)
@settings(PATIENT, max_examples=60)
@given(made=instances())
def test_a_seed_places_any_experts_by_the_rules(name: str, made: Instance) -> None:
    decision = seed(name).place(**made.arguments)
    assert objective(made, check(made, decision)) <= made.bound + 1e-9


def greedy_copies(loads: list[float], slots: int) -> list[int]:
    """One replica each, then one more to the largest load a replica; plainly."""
    copies = [1] * len(loads)
    for _ in range(slots - len(loads)):
        shares = [load / count for load, count in zip(loads, copies, strict=True)]
        copies[shares.index(max(shares))] += 1
    return copies


@settings(PATIENT, max_examples=300)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12), st.integers(0, 20))
def test_loops_over_arrays_and_heaps_replicate_as_the_plain_rule(loads: list[int], spare: int) -> None:
    slots = len(loads) + spare
    expected = greedy_copies([float(load) for load in loads], slots)
    weight = np.array([loads], dtype=float)
    for name in ("eplb", "lpt_heap", "snake"):
        assert seed(name).replicate(weight, slots)[0].tolist() == expected


@settings(PATIENT, max_examples=300)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=12), st.integers(0, 20))
def test_water_filling_reaches_the_smallest_share(loads: list[int], spare: int) -> None:
    slots = len(loads) + spare
    copies = seed("waterfill").replicate(np.array([loads], dtype=float), slots)[0]
    assert copies.min() >= 1
    assert copies.sum() == slots
    best = max(
        load / count
        for load, count in zip(loads, greedy_copies([float(x) for x in loads], slots), strict=True)
    )
    assert (np.array(loads) / copies).max() == pytest.approx(best, rel=1e-6)


@settings(PATIENT, max_examples=300)
@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_lpt_packs_as_the_plain_rule(bins: int, per: int, data: Any) -> None:
    weights = data.draw(st.lists(st.integers(1, 99), min_size=bins * per, max_size=bins * per))
    total, room = [0] * bins, [per] * bins
    expected = [0] * len(weights)
    for item in sorted(range(len(weights)), key=lambda each: -weights[each]):
        chosen = min((each for each in range(bins) if room[each]), key=lambda each: total[each])
        expected[item], total[chosen], room[chosen] = chosen, total[chosen] + weights[item], room[chosen] - 1
    name = np.arange(len(weights))[None]
    found = seed("eplb").assign(np.array([weights], dtype=float), name, np.zeros((1, bins, len(weights))))
    assert found[0].tolist() == expected


@settings(PATIENT, max_examples=200)
@given(st.integers(0, 2**32))
def test_an_exchange_never_raises_the_largest_load(dice: int) -> None:
    rng = np.random.default_rng(dice)
    heavy = rng.integers(1, 50, (3, 4, 3)).astype(float)
    name = rng.permutation(36).reshape(3, 4, 3)
    before, weights = (
        heavy.sum(axis=2).max(axis=1),
        dict(zip(name.ravel().tolist(), heavy.ravel(), strict=True)),
    )
    seed("waterfill").swap(name, heavy)
    assert (heavy.sum(axis=2).max(axis=1) <= before).all()
    assert [weights[each] for each in name.ravel().tolist()] == heavy.ravel().tolist()


def test_sticky_moves_nothing_and_the_naive_order_does() -> None:
    made = MOE.split(Split.TRAIN)[0]
    gpus, previous = made.arguments["gpus"], made.arguments["previous"]
    assert MOE.evaluator.moved(seed("sticky").place(**made.arguments), previous, gpus) == 0.0
    assert MOE.evaluator.moved(seed("in_order").place(**made.arguments), previous, gpus) > 0.3


def test_functions_of_one_name_take_the_same_in_all_seeds() -> None:
    """So that a search can exchange them."""
    found: dict[str, set[Any]] = {}
    for name in NAMES:
        for key, value in vars(seed(name)).items():
            if hasattr(value, "__code__") and value.__code__.co_filename == "<string>":
                found.setdefault(key, set()).add(tuple(value.__annotations__.items()))
    assert all(len(kinds) == 1 for kinds in found.values())
    assert {"forecast", "need", "cost", "assign", "replicate", "pack"} < set(found)


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    with Evaluator(MOE, "rlimits") as made:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_scores_in_the_jail_what_it_scores_outside(evaluator: Evaluator, name: str) -> None:
    found = evaluator.evaluate(MOE.seeds[name], Split.TRAIN)
    assert found.ok, found.feedback
    chosen = seed(name).place
    expected = [objective(each, check(each, chosen(**each.arguments))) for each in MOE.split(Split.TRAIN)]
    assert list(found.objectives) == expected


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("raise ValueError('no')", Status.CRASHED),
        ("return previous * 0", Status.INVALID),
        ("return 1.0", Status.INVALID),
    ],
)
def test_dropped_failing_cases_do_not_help(evaluator: Evaluator, fault: str, status: Status) -> None:
    """EPLB that fails wherever it would do badly has no score at all."""
    source = MOE.seeds["eplb"].files["program.py"]
    body = f"    if load[-1].max() > 2 * load.mean(axis=0).max():\n        {fault}\n    expected = "
    assert "    expected = " in source
    files = {"program.py": source.replace("    expected = ", body, 1)}
    found = evaluator.evaluate(program.make_candidate(files), Split.TRAIN)
    assert found.status is status, found.feedback
    assert found.scores == ()


def test_seeds_lie_between_the_naive_baseline_and_the_bound_and_apart(evaluator: Evaluator) -> None:
    scores = {name: evaluator.evaluate(MOE.seeds[name], Split.TRAIN).score for name in NAMES}
    assert scores["in_order"] == pytest.approx(0.0, abs=1e-12)
    assert all(0.2 < score < 1.0 for name, score in scores.items() if name != "in_order")
    for one, other in combinations(("in_order", "sticky", "eplb", "waterfill"), 2):
        assert scores[other] > scores[one] + 0.03


# -- recorded loads ----------------------------------------------------------------------------------------


def recorded(path: Path, windows: int = 36, **sizes: Any) -> Path:
    """A small file of expert loads, as serving engines write them."""
    rng = np.random.default_rng(4)
    history = [{"logical_expert_load": rng.integers(0, 99, (2, 6)).tolist()} for _ in range(windows)]
    path.write_text(json.dumps({"load_history": history, "slots": 8, "gpus": 4, **sizes}))
    return path


def test_recorded_loads_become_instances_of_three_splits_that_share_no_window(tmp_path: Path) -> None:
    found = problem.load("moe_placement", recorded(tmp_path / "engine.json", windows=60))
    assert [len(found.split(split)) for split in SPLITS] == [3, 3, 3]
    history = json.loads((tmp_path / "engine.json").read_text())["load_history"]
    table = np.array([window["logical_expert_load"] for window in history])
    for split, first in zip(SPLITS, (0, 20, 40), strict=True):
        one, other = found.split(split)[:2]
        assert one.name == f"{split}/engine-w{first}"
        np.testing.assert_array_equal(one.arguments["load"], table[first : first + 8])
        np.testing.assert_array_equal(one.facts["next"], table[first + 8 : first + 12])
        np.testing.assert_array_equal(other.arguments["load"], table[first + 4 : first + 12])
    found.check_disjoint()


def test_every_seed_runs_on_recorded_loads(tmp_path: Path) -> None:
    recorded(tmp_path / "one.json", nodes=2, groups=2)
    recorded(tmp_path / "two.json")
    loaded = problem.load("moe_placement", tmp_path)
    with Evaluator(loaded, "rlimits") as made:
        for candidate in loaded.seeds.values():
            found = made.evaluate(candidate, Split.VALIDATION)
            assert found.ok, found.feedback
            assert found.instances == 2


def test_a_plain_table_of_windows_is_read_as_well(tmp_path: Path) -> None:
    (tmp_path / "plain.json").write_text(json.dumps(np.ones((36, 1, 64), int).tolist()))
    (found,) = problem.load("moe_placement", tmp_path / "plain.json").split(Split.TRAIN)
    assert (found.arguments["slots"], found.arguments["gpus"]) == (288, 32)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no JSON text"),
        ("{}", "there is no list 'load_history'"),
        ('{"load_history": 7}', "there is no list 'load_history'"),
        ('{"load_history": []}', "a table of numbers"),
        ('{"load_history": [[[1, 2]], [[1]]]}', "a table of numbers"),
        ('{"load_history": [[["1", "2"]]]}', "a table of numbers"),
        ('{"load_history": [{"load": [[1, 2]]}]}', "a table of numbers"),
        ('{"load_history": [[[1, -2]]]}', r"-2 is no number of tokens"),
        ('{"load_history": [[[1, 0.5]]]}', r"0.5 is no number of tokens"),
        ('{"load_history": [[[1, NaN]]]}', r"nan is no number of tokens"),
        ('{"load_history": [[[1, 2]]]}', r"1 windows; three splits .* need 36"),
    ],
)
def test_a_constant_score_when_a_data_file_is_broken_is_an_error_instead(
    tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ProblemError, match=rf"bad\.json: .*{why}"):
        problem.load("moe_placement", tmp_path / "bad.json").split(Split.TRAIN)


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ({"slots": 9}, "slots has to be a multiple of gpus"),
        ({"slots": 4}, "slots has to be at least the 6 experts"),
        ({"nodes": 3}, "gpus has to be a multiple of nodes"),
        ({"nodes": 2}, "groups has to be a multiple of nodes"),
        ({"groups": 4}, "the 6 experts have to be a multiple of groups"),
        ({"gpus": 0}, "gpus is 0; it has to be a whole number from 1"),
        ({"gpus": True}, "gpus is True"),
        ({"slots": 10**12}, "slots is 1000000000000; it has to be a whole number from 1 to 65536"),
    ],
)
def test_sizes_that_do_not_fit_are_named(tmp_path: Path, sizes: dict[str, Any], why: str) -> None:
    with pytest.raises(ProblemError, match=rf"engine\.json: .*{why}"):
        problem.load("moe_placement", recorded(tmp_path / "engine.json", **sizes)).split(Split.TRAIN)


def test_a_constant_score_when_a_data_file_is_missing_is_an_error_instead(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        problem.load("moe_placement", tmp_path / "nowhere.json")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("no trace")
    with pytest.raises(ProblemError, match=r"the folder holds no \.json file"):
        problem.load("moe_placement", tmp_path / "empty").split(Split.TRAIN)
