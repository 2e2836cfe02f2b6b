"""A small real problem for tests of the engine: weighted completion time, as `evolve new` writes it."""

import os

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when MLflow is imported

from collections.abc import Iterator
from pathlib import Path

import pytest

from evolve import folders, new, problem


@pytest.fixture(scope="session", autouse=True)
def _runs_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs and their cache lie in a folder of this session: no test is fed with what an earlier one found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "RUNS", tmp_path_factory.mktemp("session") / "runs")
        yield


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A problem folder that `evolve new` wrote; tests only read it."""
    folder = tmp_path_factory.mktemp("problems") / "small"
    new.create(folder)
    return folder


@pytest.fixture(scope="session")
def small(small_folder: Path) -> problem.Problem:
    return problem.load(str(small_folder))
