"""What tests of problems share whose policies are asked."""

from __future__ import annotations

import dataclasses

import msgspec

from evolve.problem import Problem

CPU_S = 20.0  # so that a busy machine, on which a question takes long, ends no episode


def roomy(problem: Problem) -> Problem:
    """The same problem and the same instances, with a limit that no honest program meets."""
    limits = msgspec.structs.replace(problem.spec.limits, cpu_s=CPU_S)
    return dataclasses.replace(problem, spec=msgspec.structs.replace(problem.spec, limits=limits))
