"""smtt_dispatch: the loop gives the orders of the rule, side by side as alone, and what is wrong is refused."""

import random
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve import problem, program, run
from evolve.evaluate import Evaluator
from evolve.problem import Problem
from evolve.proposers.genetic import GeneticProposer
from evolve.publish import publish
from evolve.records import SPLITS, Candidate, Evaluation, Member, Sample, Split, Status
from evolve.settings import resolve
from tests.smtt_tools import ROOT, Ints, jobs, load, seed

dispatch = problem.load("smtt_dispatch")
smtt = problem.load("smtt")
evaluator_module = load(ROOT / "evaluators/total_tardiness.py")


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    with Evaluator(dispatch, "rlimits") as made:
        yield made


@contextmanager
def harness(source: str) -> Iterator[ModuleType]:
    """The harness with a program, as the jail loads them; only for programs of our own."""
    module = types.ModuleType("program")
    exec(source, module.__dict__)
    sys.modules["program"] = module
    text, made = dispatch.harness, types.ModuleType("harness")
    try:
        exec(compile(text, "harness.py", "exec"), made.__dict__)
        yield made
    finally:
        del sys.modules["program"]


def rule(body: str) -> str:
    return f"import numpy as np\n\ndef priority(p: np.ndarray, d: np.ndarray, t: int) -> np.ndarray:\n    {body}\n"


def candidate(source: str) -> Candidate:
    return program.make_candidate({"program.py": source})


def batch(split: Split, count: int = 40) -> list[list[Ints]]:
    return [[item.arguments["p"], item.arguments["d"]] for item in dispatch.split(split)[:count]]


def test_instances_optima_and_score_are_those_of_smtt() -> None:
    for split in SPLITS:
        pairs = list(zip(dispatch.split(split), smtt.split(split), strict=True))
        assert all(ours.name == theirs.name and ours.facts == theirs.facts for ours, theirs in pairs)
        assert all(np.array_equal(ours.arguments["p"], theirs.arguments["p"]) for ours, theirs in pairs)
    assert dispatch.evaluator.objective(*answered(dispatch)) == smtt.evaluator.objective(*answered(smtt))


def answered(of: Problem) -> tuple[object, Ints]:
    item = of.split(Split.TRAIN)[0]
    return item, np.arange(len(item.arguments["p"]))


@pytest.mark.parametrize("name", ["edd", "spt", "mdd", "atc", "covert", "mddc"])
def test_a_seed_gives_the_orders_of_its_namesake_in_smtt(name: str) -> None:
    with harness(dispatch.seeds[name].files["program.py"]) as loop:
        found = loop.decide(batch(Split.TRAIN))
    for (p, d), order in zip(batch(Split.TRAIN), found, strict=True):
        gap = [evaluator_module.total_tardiness(p, d, np.asarray(each)) for each in (order, seed(name)(p, d))]
        assert gap[0] == gap[1]


@pytest.mark.parametrize("name", sorted(dispatch.seeds))
def test_every_seed_is_simulated_side_by_side(name: str) -> None:
    with harness(dispatch.seeds[name].files["program.py"]) as loop:
        together = loop._side_by_side(batch(Split.TRAIN))  # raises if it cannot
        alone = [loop._alone(p, d) for p, d in batch(Split.TRAIN)]
    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))


def grown(count: int) -> list[str]:
    """Programs of the genetic proposer, several steps away from the seeds."""
    proposer = GeneticProposer("priority", "program.py", ("math", "numpy"), list(dispatch.seeds.values()))
    members = [
        Member(each, Evaluation(each.id, Split.TRAIN, Status.OK, (1.0,), (0.5,)))
        for each in dispatch.seeds.values()
    ]
    rng = random.Random(5)
    for number in range(count):
        sample = Sample(rng.choice(members), tuple(rng.sample(members, 3)))
        made = proposer.propose(sample, number, rng).candidate
        if made is not None:
            members.append(Member(made, Evaluation(made.id, Split.TRAIN, Status.OK, (1.0,), (0.5,))))
    return [each.candidate.files["program.py"] for each in members]


def outcome(call: Callable[[], list[Ints]]) -> list[list[int]] | str:
    try:
        return [order.tolist() for order in call()]
    except Exception as error:
        return type(error).__name__


def test_what_evolves_decides_side_by_side_as_it_does_alone() -> None:
    instances = [[p[:12], d[:12]] for p, d in batch(Split.TRAIN, 10)]
    rows = 0
    programs = grown(250)
    for source in programs:
        with harness(source) as loop, np.errstate(all="ignore"):
            alone = outcome(lambda loop=loop: [loop._alone(p, d) for p, d in instances])
            together = outcome(lambda loop=loop: loop._side_by_side(instances))
            assert outcome(lambda loop=loop: loop.decide(instances)) == alone, source
        if isinstance(together, list):
            rows += 1
            assert together == alone, source
    assert rows > 0.7 * len(programs)


@pytest.mark.parametrize(
    "body",
    [
        "return d[np.argsort(p)] + p",
        "return np.array([max(t + a, b) for a, b in zip(p, d)])",
        "return np.maximum(t + p, d) if t > 50 else p",
        "return np.maximum(t + p, d) + np.arange(len(p))",
        "return np.maximum.accumulate(p) + d",
        "return np.sort(p) - d",
        "return p - np.mean(p, axis=0) if p.shape[0] > 3 else d",
        "return np.asarray(d) + np.cumsum(p)",
        "return d + float(np.max(p))",
        "return 7",
    ],
)
def test_a_rule_that_does_more_than_arithmetic_runs_alone_and_means_the_same(body: str) -> None:
    with harness(rule(body)) as loop:
        with pytest.raises(TypeError):
            loop._side_by_side(batch(Split.TRAIN, 4))
        decided = loop.decide(batch(Split.TRAIN, 4))
        alone = [loop._alone(p, d) for p, d in batch(Split.TRAIN, 4)]
    assert all(np.array_equal(one, other) for one, other in zip(decided, alone, strict=True))


def test_a_reduction_goes_over_the_jobs_of_one_instance() -> None:
    with harness(rule("return np.where(p > np.mean(p), d + p.max(), np.clip(d, t, t + len(p)))")) as loop:
        together = loop._side_by_side(batch(Split.TRAIN))
        single = [loop._side_by_side([each])[0] for each in batch(Split.TRAIN)]
    assert all(np.array_equal(one, other) for one, other in zip(together, single, strict=True))


@pytest.mark.parametrize(
    ("source", "status", "text"),
    [
        (rule("return np.log(d - d) - np.log(d - d)"), Status.CRASHED, "priority gave nan for a job"),
        (rule("return p[:2]"), Status.CRASHED, "priority gave shape (2,)"),
        (rule("return p + 1j"), Status.CRASHED, "it has to hold numbers"),
        (rule("return p.no_such"), Status.CRASHED, "no_such"),
        (rule("import os"), Status.FORBIDDEN, "module 'os' is not allowed"),
        (rule("while True: pass"), Status.TIMED_OUT, "more than"),
        ("def other(p): return p\n", Status.CRASHED, "cannot import name 'priority'"),
        (
            "import __main__, sys\ndef priority(p, d, t): return d\n",
            Status.FORBIDDEN,
            "module '__main__' is not allowed",
        ),
    ],
)
def test_a_broken_rule_is_refused_by_name(
    evaluator: Evaluator, source: str, status: Status, text: str
) -> None:
    found = evaluator.evaluate(candidate(source), Split.TRAIN)
    assert (found.status, found.scores) == (status, ())
    assert text in found.feedback


def test_a_program_that_takes_the_harness_over_is_still_checked(evaluator: Evaluator) -> None:
    """The harness is no defence: what a forged one returns has to be orders, and these are scored."""
    forged = """
        import numpy as np
        def priority(p, d, t):
            try:
                raise ValueError
            except ValueError as error:
                frame = error.__traceback__.tb_frame
                while frame and 'decide' not in frame.f_globals:
                    frame = frame.f_back
                frame.f_globals['decide'].__code__ = (lambda batch: ANSWER).__code__
            return d
        """
    for answer in ("[0.0] * len(batch)", "[]", "0", "[list(range(len(p)))[::-1] + [0] for p, d in batch]"):
        source = "\n".join(line[8:] for line in forged.splitlines()).replace("ANSWER", answer)
        found = evaluator.evaluate(candidate(source), Split.VALIDATION)
        assert found.status is Status.INVALID, found.feedback


def test_the_genetic_proposers_offspring_are_valid(evaluator: Evaluator) -> None:
    programs = grown(150)[len(dispatch.seeds) :]
    sound = [evaluator.evaluate(candidate(source), Split.TRAIN).ok for source in programs]
    assert sum(sound) >= 0.7 * len(programs)


def test_descriptors_are_the_size_and_the_distances_to_the_named_seeds() -> None:
    with Evaluator(dispatch, "rlimits", describe=True) as described:
        edd = described.evaluate(dispatch.seeds["edd"], Split.TRAIN).descriptors
        mdd = described.evaluate(dispatch.seeds["mdd"], Split.TRAIN).descriptors
        assert described.evaluate(dispatch.seeds["mdd"], Split.VALIDATION).descriptors == {}
    assert edd["edd"] == mdd["mdd"] == 0.0
    assert edd["mdd"] == pytest.approx(mdd["edd"])
    assert 0 < mdd["edd"] < 1
    assert edd["size"] < mdd["size"]


def test_a_published_rule_carries_the_loop_and_proves_itself(tmp_path: Path) -> None:
    overrides = ["budget.evaluations=30", "workers=1", "jail.minimum=rlimits", "seeds=['edd', 'mdd']"]
    searched = run.start(tmp_path / "run", resolve("smtt_dispatch", {}, overrides))
    searched.execute()
    searched.journal.close()
    package = publish(tmp_path / "run", None, tmp_path / "package").folder
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package)]
    done = subprocess.run(command, cwd=package, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "10 passed" in done.stdout
    assert "decide([[p, d]])" in (package / "README.md").read_text()


@pytest.mark.parametrize("name", ["smtt", "smtt_dispatch"])
def test_grids_of_elites_search_it(name: str, tmp_path: Path) -> None:
    overrides = [
        "budget.evaluations=25",
        "workers=1",
        "jail.minimum=rlimits",
        "archive.kind=islands-map-elites",
    ]
    searched = run.start(tmp_path / "run", resolve(name, {"seeds": ["edd", "mdd"]}, overrides))
    first = searched.execute()
    searched.journal.close()
    again = run.reopen(tmp_path / "run")
    members = [each.candidate.id for each in again.search.archive.members()]
    again.journal.close()
    assert first.champion is not None
    assert members == [each.candidate.id for each in searched.search.archive.members()]
    assert all(
        each.evaluation.descriptors.keys() == {"size", "edd", "mdd"}
        for each in searched.search.archive.members()
    )


@settings(max_examples=50, deadline=None)
@given(jobs(most=12), st.randoms(use_true_random=False))
def test_the_distance_is_the_share_of_pairs_in_another_sequence(
    arrays: tuple[Ints, Ints], rng: random.Random
) -> None:
    n = len(arrays[0])
    one, other = np.array(rng.sample(range(n), n)), np.array(rng.sample(range(n), n))
    first, second = one.tolist(), other.tolist()
    pairs = [(a, b) for a in range(n) for b in range(a)]
    apart = sum((first.index(a) < first.index(b)) != (second.index(a) < second.index(b)) for a, b in pairs)
    assert evaluator_module.distance(None, one, other) == pytest.approx(apart / max(1, len(pairs)))
    assert evaluator_module.distance(None, one, one) == 0.0


def test_races_take_the_instances_in_the_order_of_their_batches(tmp_path: Path) -> None:
    """Else a finding would name another instance than the one that it is about."""
    given = {"seeds": ["edd", "mdd", "atc"], "budget": {"evaluations": 12}, "workers": 1}
    search = run.start(tmp_path / "run", resolve("smtt_dispatch", given, ["jail.minimum=rlimits"]))
    with search.journal:
        search.execute()
        assert search.settings.racing.order == "telling"
        assert search.search.order == ()
