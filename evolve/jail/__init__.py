"""The sandbox that runs candidate programs: level.py says how strong it is, session.py how it is asked, and
dialogue.py how it is asked one question at a time."""

from evolve.jail.attacks import AttackResult, require_closed, self_attack
from evolve.jail.dialogue import Dialogue, Hangup
from evolve.jail.jail import Jail
from evolve.jail.launch import Usage
from evolve.jail.level import Level, Limits
from evolve.jail.probe import Machine, machine
from evolve.jail.session import Answer, Failure, Session
from evolve.jail.wire import WireError, encode_arguments

__all__ = [
    "Answer",
    "AttackResult",
    "Dialogue",
    "Failure",
    "Hangup",
    "Jail",
    "Level",
    "Limits",
    "Machine",
    "Session",
    "Usage",
    "WireError",
    "encode_arguments",
    "machine",
    "require_closed",
    "self_attack",
]
