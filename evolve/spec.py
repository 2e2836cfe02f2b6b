"""What problem.toml may say: its tables and keys, read strictly."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from evolve.errors import ProblemError, SettingsError
from evolve.settings import check_choices, check_keys

HARNESS_FILE = "problem_harness.py"  # its name in the jail
HARNESS_ENTRY = "decide"
SWITCHBOARD = """
import {module}
from {module} import {function}


def decide(name, *arguments):
    function = getattr({module}, name, None)
    return None if function is None else function(*arguments)
"""  # stands in for a harness where a problem asks several functions
SIZE = "size"  # the descriptor that every problem has


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Also(_Strict, frozen=True):
    """A function that a candidate may define beside its entry point, to be asked other questions."""

    function: str
    parameters: tuple[str, ...]
    returns: str

    @property
    def signature(self) -> str:
        return f"{self.function}({', '.join(self.parameters)}) -> {self.returns}"


class Entry(_Strict, frozen=True, omit_defaults=True):
    """The function that a candidate has to define.

    interactive: an instance is not shown to it, but played: the evaluator's `simulate(instance, ask)` runs on
        the trusted side and calls `ask(*arguments)` whenever there is something to decide; what comes later
        is not in the candidate's memory. Each instance is played with a fresh process, whose globals live
        from its first question to its last.
    also: of an interactive problem whose simulator has several kinds of questions: each then begins with the name of
        the function that is asked, as `ask("route", now, prompt)`. One that the candidate does not define answers None.
    """

    function: str
    parameters: tuple[str, ...]
    returns: str
    interactive: bool = False
    also: tuple[Also, ...] = ()

    @property
    def signature(self) -> str:
        return f"{self.function}({', '.join(self.parameters)}) -> {self.returns}"

    @property
    def optional(self) -> tuple[str, ...]:
        """Names of the functions that a candidate may define."""
        return tuple(each.function for each in self.also)


class Objective(_Strict, frozen=True):
    name: str
    unit: str
    direction: Literal["minimise", "maximise"] = "minimise"


class Score(_Strict, frozen=True):
    """Normalised score of an instance = 1 - (objective - bound) / scale: 1 at the bound, 0 at the baseline.

    scale "instance": the instance's own max(baseline's objective - bound, floor); for objectives whose size
        differs between instances.
    scale "split": the mean of baseline's objective - bound over the split (at least floor); for objectives
        that are comparable between instances already. The baseline is then 0 on average, and the mean score
        is linear in the mean objective.
    """

    baseline: str
    scale: Literal["instance", "split"] = "instance"
    floor: float = 1e-9


class ProblemLimits(_Strict, frozen=True):
    """What a candidate may use.

    cpu_s: CPU seconds per instance; in an interactive problem for all its answers together. train_share: the
        share of it that holds on train, so that what passes there has room on larger instances and slower
        machines.
    load_s: CPU seconds for importing the program.
    """

    cpu_s: float
    train_share: float = 1.0
    memory_mb: int = 512
    load_s: float = 1.0
    answer_bytes: int = 1_000_000
    imports: tuple[str, ...] = ("math", "numpy")


class Descriptor(_Strict, frozen=True):
    """A side of the grid of an archive that keeps the best of each kind.

    name: "size" (syntax-tree nodes of the program), or the name of a seed: the mean distance of the decisions
        to those of that seed, by the evaluator's function `distance(instance, one, other)`.
    low, high: the range that is cut into `cells` equal parts; what lies outside belongs to the ends.
    log: equal parts of the logarithm.
    """

    name: str
    low: float
    high: float
    cells: int
    log: bool = False


class Harness(_Strict, frozen=True):
    """A file of the problem that runs in the jail between the engine and the program's entry point.

    It imports the program by the name of its file and defines `decide(batch)`: from a list of instances, each
    the list of its arguments, a list with the decision of each. What it returns is trusted no more than a
    program's own answer.

    parameters: names of an instance's arguments, in order.
    batch: how many instances one call is given at most.
    consults: `decide(batch, consult)` may ask the trusted side: `consult(value)` gives what the evaluator's
        `consult(instance, value, count)` says, where count is how often it was asked for this instance, and Invalid
        ends the program. Each instance is then a batch of its own, in a fresh process.
    """

    file: str
    parameters: tuple[str, ...]
    batch: int = 1
    consults: bool = False


class Report(_Strict, frozen=True):
    """What is shown. bound: what no answer beats, in a few words."""

    bound: str = ""
    key_seeds: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()


class Spec(_Strict, frozen=True):
    """problem.toml.

    program: the file that defines the entry point.
    files: all files of a program; empty = `program` alone. With several, each seed is a folder.
    change: which of them a search may change; empty = all. The others lie beside problem.toml, and every
        program has them as they are there.
    needs: what a host must have to evaluate: "gpu", or nothing.
    libraries: Python files of the problem that harness and programs may import by their names, without `.py`. They
        are run once in the jail's warm process, which may take a moment to compile; what they answer is trusted no
        more than the program that asks.
    """

    name: str
    title: str
    summary: str
    statement: str
    instances: str
    evaluator: str
    seeds: str
    entry: Entry
    objective: Objective
    score: Score
    limits: ProblemLimits
    version: int = 1
    program: str = "program.py"
    files: tuple[str, ...] = ()
    change: tuple[str, ...] = ()
    needs: tuple[Literal["gpu"], ...] = ()
    libraries: tuple[str, ...] = ()
    harness: Harness | None = None
    descriptors: tuple[Descriptor, ...] = ()
    report: Report = Report()

    @property
    def all_files(self) -> tuple[str, ...]:
        """Names of the files of a program, the one with the entry point among them."""
        return self.files or (self.program,)

    @property
    def changing(self) -> tuple[str, ...]:
        """Names of the files that a search may change."""
        return self.change or self.all_files

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of an instance's arguments."""
        return self.harness.parameters if self.harness else self.entry.parameters

    @property
    def converses(self) -> bool:
        """Whether the trusted side talks with a program while it runs: a simulator asks it, or it may ask itself."""
        return self.entry.interactive or (self.harness is not None and self.harness.consults)


def read_spec(path: Path) -> Spec:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        check_keys(tree, Spec, str(path))
        check_choices(tree, Spec, f"{path}:")
        spec = msgspec.convert(tree, Spec)
    except tomllib.TOMLDecodeError as error:
        raise ProblemError(f"{path}: {error}") from None
    except SettingsError as error:
        raise ProblemError(str(error)) from None
    except msgspec.ValidationError as error:
        raise ProblemError(_explain(path, error)) from None
    _check_spec(path, spec)
    _check_files(path, spec)
    return spec


def _explain(path: Path, error: msgspec.ValidationError) -> str:
    text, _, where = str(error).partition(" - at `$")
    where = where.rstrip("`").lstrip(".")
    prefix = "Object missing required field `"
    if text.startswith(prefix):
        missing = text.removeprefix(prefix).rstrip("`")
        return f"{path}: key '{f'{where}.' if where else ''}{missing}' is missing"
    return f"{path}: {where or 'top level'}: {text}"


def _check_spec(path: Path, spec: Spec) -> None:
    if not spec.name.replace("_", "").isalnum():
        raise ProblemError(f"{path}: name '{spec.name}': letters, digits and _ only")
    if not spec.entry.function.isidentifier():
        raise ProblemError(f"{path}: entry.function '{spec.entry.function}' is no Python name")
    for name in spec.entry.optional:
        if not name.isidentifier() or name == spec.entry.function:
            raise ProblemError(
                f"{path}: entry.also.function '{name}' is no Python name, or the entry point's own"
            )
    if spec.entry.also and not spec.entry.interactive:
        raise ProblemError(
            f"{path}: entry.also: only a simulator asks several functions: set entry.interactive"
        )
    if spec.limits.cpu_s <= 0 or spec.limits.load_s <= 0 or spec.limits.memory_mb < 16:
        raise ProblemError(f"{path}: limits: cpu_s and load_s have to be above 0 s, memory_mb at least 16")
    if not 0 < spec.limits.train_share <= 1:
        raise ProblemError(
            f"{path}: limits.train_share is {spec.limits.train_share:g}; it has to lie in 0 to 1"
        )
    if spec.score.floor <= 0:
        raise ProblemError(f"{path}: score.floor is {spec.score.floor:g}; it has to be above 0")


def _check_files(path: Path, spec: Spec) -> None:
    if spec.program not in spec.all_files:
        raise ProblemError(
            f"{path}: files lacks '{spec.program}', the file with the entry point (see program)"
        )
    for name in (*spec.change, *spec.all_files):
        stem = name.removesuffix(".py")
        if stem == name or not stem.isidentifier() or name == HARNESS_FILE:
            raise ProblemError(
                f"{path}: '{name}' cannot be a file of a program: files import each other by name"
            )
        if name not in spec.all_files:
            raise ProblemError(f"{path}: change names '{name}'; files has: {', '.join(spec.all_files)}")
        if name not in spec.changing and not (path.parent / name).is_file():
            raise ProblemError(
                f"{path}: '{name}' may not change, so it lies beside problem.toml; it is not there"
            )
