"""Publishing: the holdout is opened once, and what comes out is a package that proves itself."""

import dataclasses
import json
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pytest

from evolve import problem, program, run, settings
from evolve.errors import EvaluatorError, JournalError, PublishError, UsageError
from evolve.evaluate import Evaluator
from evolve.journal import Journal
from evolve.lineage import Lineage
from evolve.publish import Published, publish, sample, source
from evolve.records import Candidate, Evaluation, Instance, Proposal, Split, Status


def search(folder: Path, problem_folder: Path, evaluations: int) -> Path:
    overrides = [f"budget.evaluations={evaluations}", "workers=1", "seed=2", "mlflow.enabled=false"]
    run.start(folder, settings.resolve(str(problem_folder), {}, overrides)).execute()
    return folder


@pytest.fixture(scope="module")
def searched(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests copy it, since publishing writes to its journal."""
    return search(tmp_path_factory.mktemp("runs") / "run", small_folder, 60)


@pytest.fixture(scope="module")
def published(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """The champion's package; tests only read it."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(searched, folder / "run")
    return publish(folder / "run", None, folder / "package")


@pytest.fixture
def a_run(searched: Path, tmp_path: Path) -> Path:
    shutil.copytree(searched, tmp_path / "run")
    return tmp_path / "run"


def add(folder: Path, text: str) -> str:
    """Put a program into a run, as a proposal with its evaluation on train; gives its id."""
    with Journal.open(folder) as journal:
        the_problem = problem.load(journal.meta("folder"))
        made = program.make_candidate(
            {the_problem.spec.program: textwrap.dedent(text)}, (), "manual", "by hand"
        )
        candidate = dataclasses.replace(made, number=10_000)
        journal.append(Proposal(10_000, "manual", (), candidate), 1e6)
        with Evaluator(the_problem, "rlimits") as evaluator:
            journal.append(evaluator.evaluate(candidate, Split.TRAIN), 1e6)
    return candidate.id


def holdout_evaluations(folder: Path) -> list[Evaluation]:
    with Journal.open(folder, read_only=True) as journal:
        records = [entry.record for entry in journal.entries()]
    return [record for record in records if isinstance(record, Evaluation) and record.split is Split.HOLDOUT]


def champion(folder: Path) -> Candidate:
    with Journal.open(folder, read_only=True) as journal, Lineage(journal) as lineage:
        return journal.candidate(lineage.champion)


def another(folder: Path) -> str:
    """Id of a candidate that works and is not the champion."""
    with Journal.open(folder, read_only=True) as journal, Lineage(journal) as lineage:
        return next(
            identity
            for (identity, _), verdict in lineage.verdicts.items()
            if verdict.status is Status.OK and identity != lineage.champion
        )


def own_tests(package: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package)]
    return subprocess.run(command, cwd=package, text=True, capture_output=True, check=False)


# ---- the package


def test_the_package_passes_its_own_tests(published: Published) -> None:
    result = own_tests(published.folder)
    assert result.returncode == 0, result.stdout
    assert "10 passed" in result.stdout


def test_the_packages_tests_notice_another_program(published: Published, tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(published.folder, package)
    module = next(package.glob("src/*/heuristic.py"))
    module.write_text(module.read_text() + "\n\ndef order(p, w):\n    return list(range(len(p)))\n")
    result = own_tests(package)
    assert result.returncode == 1
    assert "test_the_objective_is_the_recorded_one" in result.stdout
    assert "test_the_module_is_the_one_that_was_published" in result.stdout


def test_the_wheel_installs_and_runs_with_numpy_alone(published: Published, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip"]
    wheel = [*pip, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(tmp_path)]
    subprocess.run([*wheel, str(published.folder)], check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = [*pip, "--python", python, "install", "--no-index", "--no-deps", *tmp_path.glob("*.whl")]
    subprocess.run([str(part) for part in install], check=True, capture_output=True)
    (tmp_path / "only").mkdir()
    site = Path(np.__file__).parent.parent
    for name in ("numpy", "numpy.libs"):
        if (site / name).exists():
            (tmp_path / "only" / name).symlink_to(site / name)
    code = f"""
        import importlib.util, json, {published.module} as heuristic, numpy as np
        from importlib.resources import files
        proof = json.loads((files(heuristic) / "PROOF.json").read_text())
        assert importlib.util.find_spec("evolve") is None
        print(sorted(heuristic.order(np.array([3, 1, 2]), np.array([1, 1, 1]))), proof["candidate"]["id"])
    """
    environment = {"PYTHONPATH": str(tmp_path / "only")}
    command = [python, "-P", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == f"[0, 1, 2] {published.candidate}"


def test_the_published_module_is_the_candidates_program(published: Published, searched: Path) -> None:
    text = (published.folder / "src" / published.module / "heuristic.py").read_text()
    assert program.identity({"program.py": text}) == published.candidate == champion(searched).id


def test_the_entry_function_says_what_it_is_worth(published: Published) -> None:
    text = (published.folder / "src" / published.module / "heuristic.py").read_text()
    scope: dict[str, object] = {}
    exec(text, scope)
    about = " ".join(str(scope["order"].__doc__).split())
    assert about.startswith("Weighted completion time on one machine: order(p, w)")
    for part in (
        "40 instances that the search never saw",
        "Against arrival (baseline",
        "from the seed",
        "256 MB",
    ):
        assert part in about


def test_the_proof_repeats_what_the_journal_knows(published: Published, searched: Path) -> None:
    proof = json.loads((published.folder / "PROOF.json").read_text())
    with Journal.open(searched, read_only=True) as journal, Lineage(journal) as lineage:
        assert [node["id"] for node in proof["lineage"]] == [n.id for n in lineage.line(published.candidate)]
        validation = lineage.evaluation(published.candidate, Split.VALIDATION)
        assert validation is not None
        assert proof["validation"]["score"] == validation.score
        assert proof["search"]["evaluated"] == 60
        assert proof["problem"]["digest"] == journal.meta("digest")
        assert proof["promotion"]["challenger"] == published.candidate


def test_the_proof_compares_with_the_baseline_in_pairs(published: Published) -> None:
    baseline = next(rival for rival in published.proof["rivals"] if rival["name"] == "arrival")
    low, high = baseline["difference"]["score_interval"]
    assert baseline["score"] == 0
    assert low <= baseline["difference"]["score"] <= high
    assert baseline["difference"]["score"] == pytest.approx(published.proof["holdout"]["score"])


def test_the_groups_of_the_proof_cover_every_instance(published: Published) -> None:
    groups = published.proof["holdout"]["groups"]
    assert list(groups) == ["n", "weights"]
    for rows in groups.values():
        assert sum(row["instances"] for row in rows) == published.proof["holdout"]["instances"]


def test_the_proof_names_no_place_on_this_machine(published: Published, small_folder: Path) -> None:
    for path in published.folder.rglob("*"):
        if path.is_file():
            assert str(small_folder.parent) not in path.read_text()


def test_the_package_needs_numpy_only_if_the_program_imports_it(a_run: Path, tmp_path: Path) -> None:
    identity = add(a_run, "def order(p, w):\n    return sorted(range(len(p)), key=lambda j: p[j] / w[j])\n")
    package = publish(a_run, identity, tmp_path / "plain").folder
    assert tomllib.loads((package / "pyproject.toml").read_text())["project"]["dependencies"] == []


def test_an_unannotated_program_gets_a_type_stub(a_run: Path, tmp_path: Path) -> None:
    identity = add(a_run, "def order(p, w):\n    return sorted(range(len(p)), key=lambda j: p[j] / w[j])\n")
    package = publish(a_run, identity, tmp_path / "plain").folder
    stub = next(package.glob("src/*/heuristic.pyi")).read_text()
    assert "def order(p: np.ndarray[Any, Any], w: np.ndarray[Any, Any]) -> Any: ..." in stub


# ---- the holdout


def test_publishing_the_same_candidate_again_measures_nothing(a_run: Path, tmp_path: Path) -> None:
    first = publish(a_run, None, tmp_path / "one")
    measured = holdout_evaluations(a_run)
    second = publish(a_run, first.candidate, tmp_path / "two")
    assert second.proof == first.proof
    assert len(holdout_evaluations(a_run)) == len(measured) > 0


def test_another_candidate_is_refused_once_the_holdout_is_open(a_run: Path, tmp_path: Path) -> None:
    publish(a_run, None, tmp_path / "one")
    with pytest.raises(PublishError, match="--again"):
        publish(a_run, another(a_run), tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_a_second_opening_is_counted_in_the_proof(a_run: Path, tmp_path: Path) -> None:
    publish(a_run, None, tmp_path / "one")
    second = publish(a_run, another(a_run), tmp_path / "two", again=True)
    assert [opening["candidate"] for opening in second.proof["holdout"]["openings"]] == [
        champion(a_run).id,
        another(a_run),
    ]
    assert "holdout opened 2 times" in (tmp_path / "two" / "README.md").read_text()


def test_a_failure_on_the_holdout_is_kept_and_leaves_no_package(a_run: Path, tmp_path: Path) -> None:
    identity = add(a_run, "def order(p, w):\n    return list(range(min(len(p), 60)))\n")
    before = set(tmp_path.iterdir())
    with pytest.raises(PublishError, match="invalid: an instance of holdout"):
        publish(a_run, identity, tmp_path / "package")
    assert set(tmp_path.iterdir()) == before
    assert [(e.candidate, e.status) for e in holdout_evaluations(a_run)] == [(identity, Status.INVALID)]


def test_a_failure_on_the_holdout_is_remembered(a_run: Path, tmp_path: Path) -> None:
    identity = add(a_run, "def order(p, w):\n    return list(range(min(len(p), 60)))\n")
    for _ in range(2):
        with pytest.raises(PublishError, match="invalid"):
            publish(a_run, identity, tmp_path / "package")
    assert len(holdout_evaluations(a_run)) == 1


def changed_problem(small_folder: Path, target: Path, seed: str, key_seeds: str) -> Path:
    """The small problem with a seed that fails on the holdout's largest instances."""
    shutil.copytree(small_folder, target)
    (target / "seeds" / f"{seed}.py").write_text(
        "def order(p, w):\n    return list(range(min(len(p), 60)))\n"
    )
    settings_file = target / "problem.toml"
    settings_file.write_text(settings_file.read_text().replace('["arrival", "spt"]', key_seeds))
    return target


def test_a_rival_that_fails_on_the_holdout_is_shown_as_failed(small_folder: Path, tmp_path: Path) -> None:
    folder = changed_problem(small_folder, tmp_path / "problem", "brief", '["brief", "spt"]')
    found = publish(search(tmp_path / "run", folder, 4), None, tmp_path / "package")
    rival = next(rival for rival in found.proof["rivals"] if rival["name"] == "brief")
    assert (rival["status"], rival["score"], rival["difference"]) == ("invalid", None, None)
    assert "| brief (known heuristic) | invalid |" in (tmp_path / "package" / "README.md").read_text()
    assert own_tests(tmp_path / "package").returncode == 0


def test_a_baseline_that_fails_on_the_holdout_opens_nothing(small_folder: Path, tmp_path: Path) -> None:
    folder = changed_problem(small_folder, tmp_path / "problem", "arrival", '["spt"]')
    run_folder = search(tmp_path / "run", folder, 3)
    with pytest.raises(EvaluatorError, match="'arrival' fails on holdout"):
        publish(run_folder, None, tmp_path / "package")
    assert holdout_evaluations(run_folder) == []
    with Journal.open(run_folder, read_only=True) as journal:
        assert journal.meta("holdout_opened") == ""


def test_a_published_run_can_be_resumed(a_run: Path, tmp_path: Path) -> None:
    publish(a_run, None, tmp_path / "package")
    result = run.reopen(a_run, settings.BudgetSettings(evaluations=70)).execute()
    assert result.evaluations == 70


# ---- what is refused


def test_a_candidate_that_fails_on_train_is_refused(a_run: Path, tmp_path: Path) -> None:
    identity = add(a_run, "def order(p, w):\n    return None\n")
    with pytest.raises(PublishError, match="invalid on train"):
        publish(a_run, identity, tmp_path / "package")
    assert holdout_evaluations(a_run) == []


def test_a_run_without_champion_is_refused(small_folder: Path, tmp_path: Path) -> None:
    with Journal.open(search(tmp_path / "run", small_folder, 3)) as journal:
        journal._database.execute("DELETE FROM promotions")
    with pytest.raises(PublishError, match="no candidate has passed promotion"):
        publish(tmp_path / "run", None, tmp_path / "package")


def test_an_unknown_candidate_is_refused(a_run: Path, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no candidate 'f00d'"):
        publish(a_run, "f00d", tmp_path / "package")


def test_a_destination_in_use_is_refused_before_the_holdout_is_opened(a_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not empty"):
        publish(a_run, None, tmp_path)
    assert holdout_evaluations(a_run) == []


@pytest.mark.parametrize("name", ["two words", "9lives", "class", "json", "numpy", "_private", "größe"])
def test_a_name_that_is_no_module_name_is_refused(a_run: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        publish(a_run, None, tmp_path / "package", name=name)


def test_a_run_that_is_going_on_is_refused(a_run: Path, tmp_path: Path) -> None:
    with Journal.open(a_run) as journal:
        journal.lock()
        with pytest.raises(JournalError, match="going on"):
            publish(a_run, None, tmp_path / "package")


def test_a_changed_problem_is_refused(small_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(small_folder, tmp_path / "problem")
    folder = search(tmp_path / "run", tmp_path / "problem", 3)
    with (tmp_path / "problem" / "evaluator.py").open("a") as file:
        file.write("\n# changed\n")
    with pytest.raises(PublishError, match="has changed"):
        publish(folder, None, tmp_path / "package")


def test_an_evaluator_that_needs_more_than_numpy_is_refused(small_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(small_folder, tmp_path / "problem")
    judge = tmp_path / "problem" / "evaluator.py"
    judge.write_text(judge.read_text().replace("import numpy as np", "import evolve\nimport numpy as np"))
    folder = search(tmp_path / "run", tmp_path / "problem", 3)
    with pytest.raises(PublishError, match="imports evolve"):
        publish(folder, None, tmp_path / "package")
    assert holdout_evaluations(folder) == []


# ---- programs and instances of every shape


TOSS = {
    "problem.toml": """
        name = "toss"
        title = "Pick the smallest"
        summary = "one of a few numbers"
        statement = "statement.md"
        instances = "instances.py"
        evaluator = "evaluator.py"
        seeds = "seeds"
        [entry]
        function = "pick"
        parameters = ["items", "extra"]
        returns = "index"
        [objective]
        name = "value"
        unit = ""
        [score]
        baseline = "first"
        floor = 1.0
        [limits]
        cpu_s = 0.1
        imports = ["random"]
    """,
    "statement.md": "Pick the smallest.",
    "instances.py": """
        from evolve.records import Instance

        def instances(split):
            for k in range(12):
                items = [float((7 * k + 3 * j + len(split)) % 11) for j in range(9)]
                facts = {"range": (min(items), max(items)), "seen": {1: "x"}}
                arguments = {"items": items, "extra": {"k": [k, None]}}
                yield Instance(f"{split}/{k}", arguments, min(items), facts=facts)
    """,
    "evaluator.py": """
        class Invalid(ValueError):
            pass

        def check(instance, decision):
            if type(decision) is not list or len(decision) != 1:
                raise Invalid("a list of one index is wanted")
            return decision[0]

        def objective(instance, parsed):
            assert isinstance(instance.facts["range"], tuple)
            assert instance.facts["seen"] == {1: "x"}
            return instance.arguments["items"][parsed]
    """,
    "seeds/first.py": """
        import random

        def pick(items, extra):
            return [0]
    """,
}


def test_unseeded_randomness_and_nested_arguments_survive_publishing(tmp_path: Path) -> None:
    for name, text in TOSS.items():
        path = tmp_path / "toss" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    folder = search(tmp_path / "run", tmp_path / "toss", 1)
    draw = "import random\n\ndef pick(items, extra):\n    return (random.randrange(len(items)),)\n"
    package = publish(folder, add(folder, draw), tmp_path / "package").folder
    assert own_tests(package).returncode == 0


PROGRAMS = {
    "plain": "def f(x):\n    return x\n",
    "one line": "def f(x): return x\n",
    "one line of two": "def f(x): y = x; return y\n",
    "own docstring": 'def f(x):\n    """Own words."""\n    return x\n',
    "own docstring in one line": 'def f(x): "Own words."; return x\n',
    "only a docstring": 'def f(x):\n    """Own words."""\n',
    "module docstring": '"""Old."""\nimport math\n\n\ndef f(x):\n    return math.floor(x)\n',
    "module docstring and code in one line": '"Old."; import math\ndef f(x):\n    return math.floor(x)\n',
    "future": "# first\nfrom __future__ import annotations\n\ndef f(x: int) -> int:\n    return x  # kept\n",
    "tabs": "def f(x):\n\tif x:\n\t\treturn 1\n\treturn 2\n",
    "decorated inside": "def f(x):\n    @staticmethod\n    def g(): return 1\n    return g\n",
    "carriage returns": "import math\r\ndef f(x):\r\n    y = '''a\r\nb'''\r\n    return y\r\n",
    "not ASCII": "ä = 'é'; ö = 1\ndef f(ü): 'é'; return ü\n",
    "backslash": "def f(x): \\\n  return x\n",
    "defined twice": "def f(x):\n    return 1\n\ndef f(x):\n    return 2\n",
    "form feed": "x = 1\n\x0c\ndef f(x):\n    return x\n",
}


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_documenting_does_not_change_the_program(text: str) -> None:
    documented = source.document(text, "f", "About the module.", 'About \\ """f""".')
    assert program.identity({"p": documented}) == program.identity({"p": text})
    scope: dict[str, object] = {}
    exec(documented, scope)
    assert "About \\ '''f'''." in str(scope["f"].__doc__)
    assert scope["__doc__"].strip() == "About the module."  # type: ignore[attr-defined]
    assert ("Own words." in str(scope["f"].__doc__)) == ("Own words." in text)


def test_comments_survive_documenting() -> None:
    assert "# kept" in source.document(PROGRAMS["future"], "f", "About.", "About.")


def test_an_argument_that_is_no_data_is_refused_by_name() -> None:
    instance = Instance("holdout/1", {"p": 1}, 0.0, facts={"rule": len})
    with pytest.raises(PublishError, match=r"holdout/1.*builtin_function"):
        sample.choose([instance], problem.load("smtt").evaluator)


@pytest.mark.parametrize("name", problem.bundled_problems())
def test_instances_of_a_bundled_problem_can_be_written_down(name: str) -> None:
    bundled = problem.load(name)
    assert sample.choose(bundled.split(Split.VALIDATION)[:10], bundled.evaluator)


def test_the_sample_is_spread_and_leaves_out_huge_instances() -> None:
    sizes = [1 if k % 5 else sample.MAX_CHARACTERS for k in range(100)]
    instances = [Instance(str(k), {"p": np.zeros(size, np.int64)}, 0.0) for k, size in enumerate(sizes)]
    chosen = list(sample.choose(instances, problem.load("smtt").evaluator))
    assert len(chosen) == sample.COUNT
    assert all(index % 5 for index in chosen)
    assert chosen[0] < 20
    assert chosen[-1] > 80
