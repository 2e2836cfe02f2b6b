"""The files of a published package."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w

from evolve.errors import PublishError, UsageError
from evolve.program import defined_functions, normalise, parse, unified_diff
from evolve.publish import source, words
from evolve.publish.holdout import Measured
from evolve.publish.proof import Case
from evolve.records import Split

TEMPLATES = Path(__file__).parent.parent / "templates" / "package"
REQUIREMENTS = {"numpy": "numpy>=1.26"}


@contextmanager
def staging(destination: Path) -> Iterator[Path]:
    """A folder beside the destination that takes its place if all goes well, and vanishes otherwise.

    Raises:
        UsageError: the destination is not empty, or nothing can be written there.
    """
    target = destination.resolve()
    try:
        if target.exists() and any(target.iterdir()):
            raise UsageError(f"--to {destination}: not empty; name a folder that does not exist yet")
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise UsageError(f"--to {destination}: cannot be written: {error.strerror}") from None
    try:
        yield folder
        folder.chmod(0o755)
        if target.exists():
            target.rmdir()
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(
    folder: Path, case: Case, measured: Measured, proof: dict[str, Any], sample: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """Write all files; gives the proof as it was written."""
    text = case.candidate.files[case.problem.spec.program]
    function = case.problem.spec.entry.function
    programs = case.candidate.files
    others = {
        name: source.relative(content, programs)
        for name, content in programs.items()
        if name != case.problem.spec.program
    }
    module = source.document(
        source.relative(text, programs), function, words.about_module(proof), words.about_function(proof)
    )
    example = case.problem.example(case.instances[next(iter(sample))])
    diff = _diff(case)
    digest = hashlib.sha256(module.encode()).hexdigest()
    digests = {name: hashlib.sha256(content.encode()).hexdigest() for name, content in others.items()}
    proof = {
        **proof,
        "candidate": {**proof["candidate"], "module_sha256": digest, "files_sha256": digests},
    }
    objectives = measured.evaluation.objectives
    cases = [json.dumps({**encoded, "objective": objectives[index]}) for index, encoded in sample.items()]
    files = {
        "pyproject.toml": _pyproject(case),
        "README.md": words.readme(proof, example, diff),
        "LICENSE": _template("LICENSE"),
        "PROOF.json": json.dumps(proof, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        f"src/{case.module}/__init__.py": _init(case, proof),
        f"src/{case.module}/heuristic.py": module,
        f"src/{case.module}/py.typed": "",
        "tests/test_proof.py": _template("test_proof.py"),
        "tests/evaluator.py": (case.problem.folder / case.problem.spec.evaluator).read_text("utf-8"),
        "tests/sample.json": "[\n" + ",\n".join(cases) + "\n]\n",
        "tests/results.csv": _results(case, measured),
    }
    files |= {f"src/{case.module}/{name}": content for name, content in others.items()}
    if case.problem.spec.harness:
        files["tests/harness.py"] = case.problem.harness
    if diff:
        files["seed.diff"] = diff
    files |= {f"tests/{name}.py": text for name, text in case.problem.libraries.items()}
    # behind a harness, an instance's arguments are not those of the function
    stub = "" if case.problem.spec.harness else source.stub(text, function, example)
    if stub:
        files[f"src/{case.module}/heuristic.pyi"] = stub
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    return proof


def _diff(case: Case) -> str:
    """From the seed to the program, unified, both without comments, docstrings and layout; "" for a seed itself."""
    line = case.lineage.line(case.candidate.id)
    if len(line) < 2:
        return ""
    seed = case.journal.candidate(line[0].id)
    return unified_diff(_bare(seed.files), _bare(case.candidate.files)) + "\n"


def _bare(files: Mapping[str, str]) -> dict[str, str]:
    return {name: normalise(parse(text, name)) for name, text in files.items()}


def check_evaluator(case: Case) -> None:
    """The evaluator goes into the package, so it may need nothing but numpy.

    Raises:
        PublishError: naming what else it imports.
    """
    path = case.problem.folder / case.problem.spec.evaluator
    foreign = source.modules(path.read_text("utf-8"), optional=False) - {"numpy"}
    if foreign:
        raise PublishError(
            f"{path} imports {', '.join(sorted(foreign))}; the package carries a copy of the evaluator, "
            f"which may import numpy and the standard library only, "
            f"and other modules where it goes on without them (try, except ImportError)"
        )


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _pyproject(case: Case) -> str:
    needed = sorted(REQUIREMENTS.get(name, name) for name in source.foreign(case.candidate.files))
    libraries = case.problem.libraries.values()
    tested = {"numpy"}.union(*map(source.modules, libraries)) - case.problem.libraries.keys()
    project = {
        "name": case.module.replace("_", "-"),
        "version": case.version,
        "description": f"{case.problem.spec.title}: a heuristic with its proof",
        "readme": "README.md",
        "license": "Apache-2.0",
        "license-files": ["LICENSE"],
        "requires-python": ">=3.11",
        "dependencies": needed,
        "optional-dependencies": {
            "test": [*sorted(REQUIREMENTS.get(name, name) for name in tested), "pytest>=8"]
        },
    }
    wheel = {"packages": [f"src/{case.module}"], "force-include": {"PROOF.json": f"{case.module}/PROOF.json"}}
    return tomli_w.dumps(
        {
            "build-system": {"requires": ["hatchling>=1.26"], "build-backend": "hatchling.build"},
            "project": project,
            "tool": {
                "hatch": {"build": {"targets": {"wheel": wheel}}},
                "pytest": {"ini_options": {"testpaths": ["tests"]}},
            },
        }
    )


def _init(case: Case, proof: dict[str, Any]) -> str:
    entry = case.problem.spec.entry
    defined = defined_functions(parse(case.candidate.files[case.problem.spec.program]))
    names = [entry.function, *(name for name in entry.optional if name in defined)]
    listed = ", ".join(f'"{name}"' for name in names)
    body = (
        f'from .heuristic import {", ".join(names)}\n\n__all__ = [{listed}]\n__version__ = "{case.version}"\n'
    )
    return source.document(body, "", words.about_package(proof), "")


def _results(case: Case, measured: Measured) -> str:
    """One row an instance: its group, its bound, and each program's objective."""
    keys = case.problem.spec.report.group_by
    columns = {case.module: measured.evaluation.objectives}
    columns |= {rival.name: found.objectives for rival, found in measured.rivals if found.ok}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["instance", *(f"group {key}" for key in keys), "bound", *columns])
    for index, instance in enumerate(case.problem.split(Split.HOLDOUT)):
        groups = [instance.group.get(key, "") for key in keys]
        values = [objectives[index] for objectives in columns.values()]
        writer.writerow([instance.name, *groups, instance.bound, *values])
    return text.getvalue()
