"""What is run: one arm, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.peers.systems import CACHE, Arm

SECRET = "the-secret-that-must-not-leave"


@dataclass(frozen=True)
class Plan:
    """What is run. attack: name of a hostile program, or "". kill_after: answers after which all is killed; 0: never.

    patience_s: seconds after which a run is broken off.
    """

    kind: str
    arm: Arm
    repeat: int
    calls: int
    latency_s: float = 0.0
    attack: str = ""
    kill_after: int = 0
    patience_s: float = 3600.0
    problem: str = "smtt"
    seed_program: str = "edd"

    @property
    def folder(self) -> Path:
        parts = (
            self.kind,
            self.arm.name,
            self.attack,
            str(self.calls),
            f"{self.latency_s:g}",
            str(self.repeat),
        )
        name = "-".join(part for part in parts if part)
        return CACHE / "work" / "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
