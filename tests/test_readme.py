"""What the README tells a newcomer to type works as written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks(heading: str, language: str) -> list[str]:
    """Fenced blocks of a language under a heading."""
    text = README.read_text()
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    assert section, f"README.md has no section '{heading}'"
    return re.findall(rf"^```{language}\n(.*?)^```", section[1], re.S | re.M)


def test_bring_your_own_problem_works_as_written(tmp_path: Path) -> None:
    commands = [
        line
        for block in blocks("Bring your own problem in five minutes", "sh")
        for line in block.splitlines()
    ]
    assert len(commands) >= 3
    binaries = Path(sys.executable).parent
    for line in commands:
        command = line.partition("#")[0].strip()
        assert command.startswith("evolve "), command
        arguments = [sys.executable, "-m", "evolve.cli", *command.split()[1:]]
        done = subprocess.run(
            arguments,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": f"{binaries}:/usr/bin:/bin"},
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert list((tmp_path / "runs").glob("*/best.py"))


def test_the_python_example_runs(tmp_path: Path) -> None:
    (example,) = blocks("From Python", "python")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "score" in done.stdout


@pytest.mark.parametrize("target", ["run", "test", "lint", "install"])
def test_the_makefile_has_the_targets_that_the_readme_names(target: str) -> None:
    makefile = (README.parent / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, re.M)


def test_every_file_that_the_readme_links_to_exists() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / link).exists(), link
