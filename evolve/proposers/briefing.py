"""Prompts: what a model is told of the problem, of a program and of what was tried. Bounded in tokens.

What all calls of a run share comes first, so that providers serve it from their prompt caches. Instances are
described, never shown: their names, their places in the grid of instances, scores and bounds.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from evolve import program as programs
from evolve.models.base import estimate
from evolve.problem import Problem
from evolve.prompts import template
from evolve.records import Array, Candidate, Evaluation, Member, Prompt, Sample, Split
from evolve.scoring import group_indices

GROUPS = 8  # of instances, the worst ones, with the mean score of each
WORST = 4  # instances told one by one
TRIED = 8  # changes that did not help
TEXT = 600  # characters of an error
ELSEWHERE = 3  # groups in which another program is better


class Briefing:
    """Writes the prompts of one run.

    founders: the seeds that the search begins with; each is told by the first line of its docstring.
    skills: what helped in earlier runs, one line each; part of what all calls share.
    limit: tokens of a prompt. What matters least is left out: other programs first, then the list of what was tried.
    """

    def __init__(
        self,
        problem: Problem,
        limit: int,
        founders: Sequence[Candidate] = (),
        skills: Sequence[str] = (),
    ) -> None:
        self._problem = problem
        self._founders = founders
        self._limit = limit
        self._skills = skills

    @cached_property
    def system(self) -> str:
        """What all calls share."""
        spec = self._problem.spec
        text = template("system").fill(
            statement=self._problem.statement.strip(),
            contract=_contract(self._problem),
            imports=", ".join(spec.limits.imports),
            limits=_limits(self._problem),
            known=self._known(),
        )
        if self._skills:
            lines = "\n".join(f"- {skill}" for skill in self._skills)
            text += f"\n# Ideas that raised the score in earlier searches on this problem\n\n{lines}\n"
        return text

    def _known(self) -> str:
        """The seeds in a line each, "" if none says what it is."""
        own = target(self._problem)
        said = {each.note: _first_line(each.files[own]) for each in self._founders}
        lines = [f"- {name}: {line}" for name, line in said.items() if line]
        if not lines:
            return ""
        return "\n".join(["# What the search begins with, and has to beat", "", *lines, "", ""])

    def write(self, operator: str, sample: Sample, tried: Sequence[str], notes: str) -> Prompt:
        """The prompt of an operator that begins with a sound program: all but repair and note."""
        parts = {"parent": self.program(sample.parent, "The program"), "notes": _notes(notes)}
        room = self._limit - estimate(self.system) - sum(estimate(part) for part in parts.values())
        parts["tried"] = _list("Tried on this program before, without success:", tried[-TRIED:], room // 4)
        room -= estimate(parts["tried"])
        form = template(operator)
        if "other" in form.variables:
            parts["other"] = self.program(sample.inspirations[0], "The other program")
        if "others" in form.variables:
            parts["others"] = self._others(sample, room)
        return Prompt(self.system, form.fill(**{name: parts[name] for name in form.variables}))

    def repair(self, broken: Candidate, evaluation: Evaluation) -> Prompt:
        """The prompt for a program that failed."""
        text = template("repair").fill(
            program=self._source(broken),
            status=str(evaluation.status),
            error=evaluation.feedback[:TEXT],
            cost=_cost(evaluation),
        )
        return Prompt(self.system, text)

    def note(self, improved: Sequence[str], failed: Sequence[str], notes: str) -> Prompt:
        """The prompt that asks for notes."""
        text = template("note").fill(
            improved=_lines(improved) or "- nothing yet",
            failed=_lines(failed) or "- nothing",
            notes=_notes(notes),
        )
        return Prompt(self.system, text)

    def program(self, member: Member, title: str) -> str:
        """A program with its scores, per group of instances, and where it is worst."""
        evaluation, spec = member.evaluation, self._problem.spec
        objective = spec.objective
        lines = [
            f"## {title}",
            "",
            f"Score {evaluation.score:.4f}; {objective.name} {evaluation.objective:.5g} {objective.unit} on average "
            f"({'less' if objective.direction == 'minimise' else 'more'} is better).",
            *self._by_group(evaluation),
            *self._worst(evaluation),
            *_cpu(evaluation),
            "",
            self._source(member.candidate),
        ]
        return "\n".join(lines)

    def _source(self, candidate: Candidate) -> str:
        """The file that may be changed, then the others of a program of several files."""
        own = target(self._problem)
        others = [(name, text) for name, text in candidate.files.items() if name != own]
        fixed = [f"\nBeside it lies {name}, which stays as it is:\n\n{_fence(text)}" for name, text in others]
        return "\n".join([_fence(candidate.files[own]), *fixed])

    @cached_property
    def _groups(self) -> tuple[list[str], Array, Array]:
        """Labels of the groups of instances, the place in them of each instance, and the size of each group."""
        groups = group_indices(self._problem, self._problem.split(Split.TRAIN))
        sizes = np.array([len(indices) for indices in groups.values()])
        places = np.empty(sizes.sum(), int)
        for place, indices in enumerate(groups.values()):
            places[indices] = place
        return list(groups), places, sizes

    def _means(self, evaluation: Evaluation) -> dict[str, float]:
        """Mean score per group of instances."""
        labels, places, sizes = self._groups
        means = np.bincount(places, evaluation.scores, len(sizes)) / sizes
        return {label: mean for label, mean in zip(labels, means.tolist(), strict=True) if label}

    def _by_group(self, evaluation: Evaluation) -> list[str]:
        means = self._means(evaluation)
        if len(means) < 2:
            return []
        worst = sorted(means, key=lambda label: (means[label], label))[:GROUPS]
        return [
            "Score by group of instances, worst first:",
            *(f"- {label}: {means[label]:.4f}" for label in worst),
        ]

    def _worst(self, evaluation: Evaluation) -> list[str]:
        instances = self._problem.split(Split.TRAIN)
        order = np.argsort(evaluation.scores, kind="stable")[:WORST]
        found = ["Worst instances:"]
        for index in map(int, order):
            instance = instances[index]
            where = ", ".join(f"{key}={value}" for key, value in instance.group.items())
            found.append(
                f"- {instance.name}{f' ({where})' if where else ''}: score {evaluation.scores[index]:.3f}, "
                f"{self._problem.spec.objective.name} {evaluation.objectives[index]:.5g}, bound {instance.bound:.5g}"
            )
        return found

    def _others(self, sample: Sample, room: int) -> str:
        """Other programs as far as there is room, each as a whole or by what it does differently."""
        found = ""
        for member in sample.inspirations:
            text = self._other(member, sample.parent)
            if estimate(found) + estimate(text) > room:
                continue
            found += f"\n{text}\n"
        return found

    def _other(self, member: Member, parent: Member) -> str:
        name = target(self._problem)
        ours, theirs = parent.candidate.files[name], member.candidate.files[name]
        diff = programs.unified_diff({name: ours}, {name: theirs}, context=1)
        head = f"## Another program: score {member.score:.4f}{self._better(member, parent)}"
        if len(diff) < len(theirs) / 2:
            return f"{head}. What it does differently:\n\n```diff\n{diff}\n```"
        return f"{head}\n\n{_fence(theirs)}"

    def _better(self, member: Member, parent: Member) -> str:
        """Where another program is better than the parent, in words."""
        own, other = self._means(parent.evaluation), self._means(member.evaluation)
        gains = {label: other[label] - own[label] for label in own if other[label] > own[label]}
        best = sorted(gains, key=lambda label: (-gains[label], label))[:ELSEWHERE]
        where = "; ".join(f"{label} by {gains[label]:.4f}" for label in best)
        return f", better on {where}" if where else ""


def _cost(evaluation: Evaluation) -> str:
    """How far a program came that failed, and where its time went if that was it."""
    came = f"It was well up to there on {evaluation.instances} instances.\n" if evaluation.instances else ""
    return f"{came}{evaluation.profile}\n" if evaluation.profile else came


def _cpu(evaluation: Evaluation) -> list[str]:
    """What a program takes, as measured from outside, and where it goes, by its own account."""
    each = 1000 * evaluation.cpu_s / max(1, evaluation.instances)
    said = (
        f"CPU: {each:.3g} ms an instance on average; the slowest took {evaluation.slowest:.0%} of its limit."
    )
    return [said, *evaluation.profile.splitlines()]


def target(problem: Problem) -> str:
    """The file that models change: the one with the entry point, unless it may not be changed."""
    spec = problem.spec
    return spec.program if spec.program in spec.changing else spec.changing[0]


def _first_line(source: str) -> str:
    """The first line of a program's docstring; "" without one."""
    text = ast.get_docstring(programs.parse(source)) or ""
    return text.partition("\n")[0].strip()


def _contract(problem: Problem) -> str:
    """What the file has to define that models change."""
    spec, own = problem.spec, target(problem)
    if own == spec.program:
        may = "".join(f" It may also define `{each.signature}`." for each in spec.entry.also)
        return f"You write one Python file, {own}. It defines `{spec.entry.signature}`.{may}"
    return (
        f"You write one Python file, {own}. It defines what the other files of the program import from it; "
        f"{spec.program}, which stays as it is, defines `{spec.entry.signature}`."
    )


def _limits(problem: Problem) -> str:
    limits = problem.spec.limits
    share = f", {limits.train_share:.0%} of it while you are scored here" if limits.train_share < 1 else ""
    return (
        f"Limits: {limits.cpu_s:g} s of CPU per instance unless the problem says otherwise{share}; "
        f"{limits.memory_mb} MB; {limits.load_s:g} s to load; one thread."
    )


def _fence(source: str) -> str:
    return f"```python\n{source.rstrip()}\n```"


def _lines(texts: Sequence[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


def _list(title: str, texts: Sequence[str], room: int) -> str:
    """A titled list, of its last entries as far as there is room; "" if it is empty."""
    kept = list(texts)
    while kept and estimate(_lines(kept)) > room:
        kept.pop(0)
    return f"\n{title}\n{_lines(kept)}\n" if kept else ""


def _notes(notes: str) -> str:
    return f"# Notes from this search\n\n{notes}\n\n" if notes else ""
