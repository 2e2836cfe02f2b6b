"""The measurements of the jail's promises, in small: hostile candidates in a row, attacks by level and user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evolve.jail import machine
from evolve.jail.attacks import ATTACKS
from tests.jail_tools import strong

BENCH = Path(__file__).parents[1] / "bench"


def run(tmp_path: Path, script: str, *arguments: str) -> str:
    out = tmp_path / "out.md"
    command = [sys.executable, BENCH / script, "--out", out, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=BENCH.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return out.read_text()


@strong
def test_hundreds_of_hostile_candidates_leave_the_run_healthy_and_honest_scores_unchanged(
    tmp_path: Path,
) -> None:
    text = run(tmp_path, "soak.py", "--count", "300")
    assert "**Nothing is amiss.**" in text
    assert "2 of 2 scored" in text
    assert "Warm processes needed: 1." in text


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can also be an ordinary user")
@pytest.mark.skipif(str(machine().level) != "full", reason="this machine has not every layer")
def test_every_attack_is_stopped_for_root_and_for_an_ordinary_user(tmp_path: Path) -> None:
    text = run(tmp_path, "jail_attacks.py", "--levels", "full")
    (row,) = [line for line in text.splitlines() if line.startswith("| full |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert (cells[1], cells[3]) == (f"{len(ATTACKS)} of {len(ATTACKS)}",) * 2
