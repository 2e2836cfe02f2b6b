"""A small real problem for tests of the engine: weighted completion time, as `evolve new` writes it."""

from pathlib import Path

import pytest

from evolve import new, problem


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A problem folder that `evolve new` wrote; tests only read it."""
    folder = tmp_path_factory.mktemp("problems") / "small"
    new.create(folder)
    return folder


@pytest.fixture(scope="session")
def small(small_folder: Path) -> problem.Problem:
    return problem.load(str(small_folder))
