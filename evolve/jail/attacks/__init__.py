"""The jail attacks itself: small hostile programs by theme, a scene they aim at, and a verdict a boot."""

from evolve.jail.attacks.scene import Scene, scene
from evolve.jail.attacks.suite import (
    ATTACKS,
    LIMITS,
    THEMES,
    AttackResult,
    Theme,
    breaches,
    layer,
    program,
    run_attacks,
    self_attack,
)
from evolve.jail.attacks.verdict import cache, require_closed

__all__ = [
    "ATTACKS",
    "LIMITS",
    "THEMES",
    "AttackResult",
    "Scene",
    "Theme",
    "breaches",
    "cache",
    "layer",
    "program",
    "require_closed",
    "run_attacks",
    "scene",
    "self_attack",
]
