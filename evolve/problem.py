"""A problem: what is asked. Reads a problem folder, checks it, and resolves its evaluator and seeds."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import msgspec
import numpy as np

from evolve import data as sources
from evolve import dependencies, program
from evolve.data import Data
from evolve.errors import EvaluatorError, ProblemError, ProgramError, UsageError
from evolve.records import SPLITS, Candidate, Instance, Split, Value
from evolve.spec import HARNESS_ENTRY, HARNESS_FILE, SIZE, SWITCHBOARD, Entry, Spec, read_spec

COUNT = "count"  # count(split) of instances.py, if it is there: how many instances(split) gives
FURTHER = "further"  # further() of instances.py: more instances like those of train, of seeds of their own
MOST_FURTHER = 48  # of them that are used: a search that stagnates evaluates its best on them
FROM_DATA = "from_data"  # from_data(split, path) of instances.py: the same splits, made from real data
Generate = Callable[[str], Iterable[Instance]]


class _Asked(BaseException):  # not an Exception, which a simulator might catch
    """Ends a simulator at its first question."""

    def __init__(self, arguments: tuple[Value, ...]) -> None:
        self.arguments = arguments


@dataclass(frozen=True)
class Problem:
    """A problem folder, checked. `seeds` are candidates by name, in alphabetical order.

    data: what the instances are made from; None: they are generated. takes_data: whether it could be given.
    """

    folder: Path
    spec: Spec
    seeds: Mapping[str, Candidate]
    evaluator: ModuleType
    _instances: Generate
    data: Data | None = None
    takes_data: bool = False
    _counts: Callable[[str], int] | None = None
    _further: Callable[[], Iterable[Instance]] | None = None
    _splits: dict[Split, tuple[Instance, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def source(self) -> str:
        """Path of the data that the instances are made from; "" if they are generated."""
        return str(self.data.path) if self.data else ""

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that it has: not every problem makes further instances."""
        return (*SPLITS, Split.FURTHER) if self._further else SPLITS

    @property
    def sign(self) -> int:
        """+1 where a smaller objective is better, else -1."""
        return 1 if self.spec.objective.direction == "minimise" else -1

    @cached_property
    def statement(self) -> str:
        return (self.folder / self.spec.statement).read_text(encoding="utf-8")

    @cached_property
    def harness(self) -> str:
        """Text of the harness; "" if the problem has none."""
        spec = self.spec.harness
        return (self.folder / spec.file).read_text(encoding="utf-8") if spec else ""

    @cached_property
    def libraries(self) -> dict[str, str]:
        """Texts of the libraries by the names of their modules."""
        return {Path(name).stem: (self.folder / name).read_text("utf-8") for name in self.spec.libraries}

    def loaded(self, files: Mapping[str, str]) -> tuple[dict[str, str], str, str]:
        """What the jail loads for a program: its files, the one that is called, and the function in it."""
        front, entry = self.harness, self.spec.entry
        if entry.also:
            module = self.spec.program.removesuffix(".py")
            front = SWITCHBOARD.format(module=module, function=entry.function)
        if not front:
            return dict(files), self.spec.program, entry.function
        return {**files, HARNESS_FILE: front}, HARNESS_FILE, HARNESS_ENTRY

    @property
    def _modules(self) -> list[Path]:
        return [self.folder / path for path in (self.spec.instances, self.spec.evaluator)]

    @cached_property
    def dependencies(self) -> tuple[Path, ...]:
        """The files that instances and evaluator import or name, themselves left out."""
        return tuple(dependencies.closure(self._modules))

    @cached_property
    def digest(self) -> str:
        """Hash of what scores depend on: limits, instances and the data that they are made from, evaluator, baseline.

        Of instances and evaluator also what they import, and the tables that instances name (see dependencies.py).
        Other seeds and prose may change, and so may the place where the data lie; and a table that the evaluator reads
        may be missing for a while, which it has to say itself (the cache looks at it, see `dependencies`).
        """
        digest = hashlib.sha256()
        for path in self._modules:
            digest.update(path.read_bytes())
        made_of = dependencies.closure(self._modules[:1])
        counted = [each for each in self.dependencies if each.suffix == ".py" or each in made_of]
        for name, content in sorted((each.name, each.read_bytes()) for each in counted):
            digest.update(f"{name}\0".encode() + hashlib.sha256(content).digest())
        scoring = (self.spec.entry, self.spec.objective, self.spec.score, self.spec.limits, self.spec.version)
        digest.update(msgspec.json.encode(scoring))
        digest.update(self.seeds[self.spec.score.baseline].id.encode())
        if self.spec.harness:
            digest.update(msgspec.json.encode(self.spec.harness) + self.harness.encode())
        for name, text in self.libraries.items():
            digest.update(f"{name}\0{text}".encode())
        if self.data:
            digest.update(self.data.digest.encode())
        return digest.hexdigest()[:16]

    def split(self, split: Split) -> tuple[Instance, ...]:
        """The instances of a split, generated on first use.

        Raises:
            EvaluatorError: the generator failed, or gave something else than instances.
            ProblemError: the data that were given break a rule.
        """
        if split not in self._splits:
            self._splits[split] = self._generate(split)
        return self._splits[split]

    def families(self, split: Split) -> tuple[str, ...]:
        """The family of each instance of a split; "" where it has no relatives."""
        return tuple(instance.family for instance in self.split(split))

    def count(self, split: Split) -> int:
        """How many instances a split has; without making them, where instances.py defines `count(split)`.

        Raises:
            EvaluatorError, ProblemError: as `split`.
        """
        if self._counts is None or self.data is not None or split in self._splits:
            return len(self.split(split))
        return self._counts(str(split))

    def example(self, instance: Instance) -> Mapping[str, Value]:
        """What the entry point is called with, by parameter name; for a simulator its first question.

        Raises:
            EvaluatorError: the simulator fails, or asks nothing or something else than entry.parameters.
        """
        return self._first_question(instance) if self.spec.entry.interactive else instance.arguments

    def _first_question(self, instance: Instance) -> Mapping[str, Value]:
        entry = self.spec.entry

        def ask(*arguments: Value) -> None:
            if entry.also and arguments[0] in entry.optional:
                return
            raise _Asked(arguments[1:] if entry.also else arguments)

        names, where = entry.parameters, f"{self.folder / self.spec.evaluator}: simulate"
        try:
            self.evaluator.simulate(instance, ask)
        except _Asked as asked:
            if len(asked.arguments) == len(names):
                return dict(zip(names, asked.arguments, strict=True))
            raise EvaluatorError(
                f"{where} asks with {len(asked.arguments)} arguments on {instance.name}; "
                f"entry.parameters says {', '.join(names)}"
            ) from None
        except Exception as error:  # foreign code: whatever it raises is a fault of the problem
            raise EvaluatorError(
                f"{where} raised {type(error).__name__} on {instance.name}: {error}"
            ) from error
        raise EvaluatorError(f"{where} asks nothing on {instance.name}; then there is nothing to decide")

    def check_disjoint(self) -> None:
        """Make sure that no instance belongs to two splits: what was trained on proves nothing.

        Raises:
            ProblemError: naming two instances with the same arguments, facts and bound.
            EvaluatorError: a split cannot be generated.
        """
        known: dict[bytes, tuple[Split, str]] = {}
        for split in self.splits:
            for instance in self.split(split):
                other, name = known.setdefault(content(instance), (split, instance.name))
                if other is not split:
                    raise ProblemError(
                        f"{self.folder / self.spec.instances}: {instance.name} of {split} is the same as {name} "
                        f"of {other}; splits may share no instance: give each a seed of its own"
                    )

    def _generate(self, split: Split) -> tuple[Instance, ...]:
        function = f"from_data('{split}', {self.data.path})" if self.data else f"instances('{split}')"
        if split is Split.FURTHER:
            function = f"{FURTHER}()"
        where = f"{self.folder / self.spec.instances}: {function}"
        try:
            instances = tuple(self._made(split))
        except ProblemError as error:
            if self.data is None:
                raise EvaluatorError(f"{where} raised ProblemError: {error}") from error
            raise  # the data are the user's, and the text says what is wrong with them
        except Exception as error:  # foreign code: whatever it raises is a fault of the problem
            raise EvaluatorError(f"{where} raised {type(error).__name__}: {error}") from error
        if not instances:
            raise EvaluatorError(f"{where} gave no instance; a split needs at least one")
        for instance in instances:
            self._check_instance(instance, where)
            if instance.family and split is not Split.HOLDOUT:
                raise EvaluatorError(
                    f"{where}: {instance.name} is of the family '{instance.family}'; only instances of the holdout may "
                    f"have relatives: those of {split} are compared as if each were drawn by itself"
                )
        return instances

    def _made(self, split: Split) -> Iterable[Instance]:
        if split is not Split.FURTHER:
            return self._instances(str(split))
        assert self._further is not None, "the problem makes no further instances: see `splits`"
        return islice(self._further(), MOST_FURTHER)

    def _check_instance(self, instance: object, where: str) -> None:
        if not isinstance(instance, Instance):
            raise EvaluatorError(
                f"{where} gave a {type(instance).__name__}; it has to give evolve.records.Instance"
            )
        if self.spec.entry.interactive:
            if instance.arguments:
                raise EvaluatorError(
                    f"{where}: {instance.name} has arguments {', '.join(instance.arguments)}; in an interactive "
                    f"problem candidates see nothing in advance: put what the simulator needs into facts"
                )
            return
        if tuple(instance.arguments) != self.spec.arguments:
            key = "harness.parameters" if self.spec.harness else "entry.parameters"
            raise EvaluatorError(
                f"{where}: {instance.name} has arguments {', '.join(instance.arguments)}; "
                f"{key} says {', '.join(self.spec.arguments)}"
            )


def content(instance: Instance) -> bytes:
    """Digest of what an instance is, whatever it is called."""
    content = (dict(instance.arguments), dict(instance.facts), instance.bound)
    return hashlib.sha256(msgspec.msgpack.encode(content, enc_hook=_plain)).digest()


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, value.tobytes()]
    return value.item() if isinstance(value, np.generic) else repr(value)


def bundled_root() -> Path:
    """The folder that holds the bundled problems/: inside an installed wheel, or the checkout."""
    inside = Path(__file__).parent / "bundled"
    return inside if inside.is_dir() else Path(__file__).parent.parent


def bundled_problems() -> list[str]:
    """Names of the bundled problems."""
    return sorted(path.parent.name for path in (bundled_root() / "problems").glob("*/problem.toml"))


def find(name: str) -> Path:
    """The folder of a problem, given a path or the bare name of a bundled problem.

    Raises:
        ProblemError: neither exists.
    """
    for folder in (Path(name), bundled_root() / "problems" / name, bundled_root() / name):
        if (folder / "problem.toml").is_file():
            return folder.resolve()
    if Path(name).is_dir():
        raise ProblemError(
            f"{name}: the folder has no problem.toml; `evolve new DIR` writes a complete example"
        )
    known = ", ".join(bundled_problems())
    raise ProblemError(
        f"{name}: no such problem folder, and no bundled problem of that name (there are: {known})"
    )


def load(name: str, data: str | Path = "") -> Problem:
    """Load and check a problem folder.

    Args:
        data: file or folder that the instances are made from; "": they are generated.

    Raises:
        ProblemError: naming the file, the value and the rule.
        UsageError: the data cannot be read, or the problem has no use for them.
    """
    folder = find(name)
    spec = read_spec(folder / "problem.toml")
    for key in ("statement", "instances", "evaluator"):
        if not (folder / getattr(spec, key)).is_file():
            raise ProblemError(f"{folder}/problem.toml: {key} = '{getattr(spec, key)}': no such file")
    seeds = _load_seeds(folder, spec)
    evaluator = _load_evaluator(folder / spec.evaluator, spec.entry)
    _check_harness(folder, spec, evaluator)
    _check_libraries(folder, spec)
    _check_descriptors(folder, spec, seeds, evaluator)
    module = _load_module(folder / spec.instances)
    generate = cast(Generate, _function(module, "instances", folder / spec.instances))
    read = getattr(module, FROM_DATA, None)
    count = getattr(module, COUNT, None)
    if not data:
        further = getattr(module, FURTHER, None)
        counts = count if callable(count) else None
        return Problem(
            folder, spec, seeds, evaluator, generate, None, callable(read), counts, _further=further
        )
    if not callable(read):
        raise UsageError(
            f"--data {data}: {spec.name} generates its instances and reads no data; its "
            f"{Path(spec.instances).name} defines no function '{FROM_DATA}'"
        )
    found = sources.read(data)
    return Problem(folder, spec, seeds, evaluator, lambda split: read(split, found.path), found, True)


def select_seeds(problem: Problem, names: Sequence[str]) -> dict[str, Candidate]:
    """The named seeds, or all of them if no name is given.

    Raises:
        ProblemError: a name is unknown.
    """
    for name in names:
        if name not in problem.seeds:
            raise ProblemError(
                f"--seeds {name}: no such seed; {problem.name} has: {', '.join(problem.seeds)}"
            )
    return {name: problem.seeds[name] for name in (names or problem.seeds)}


def _check_harness(folder: Path, spec: Spec, evaluator: ModuleType) -> None:
    if spec.harness is None:
        return
    path = folder / spec.harness.file
    if spec.entry.interactive:
        raise ProblemError(
            f"{folder}/problem.toml: an interactive entry cannot have a [harness]: "
            f"its simulator asks the program itself"
        )
    if not path.is_file():
        raise ProblemError(f"{folder}/problem.toml: harness.file = '{spec.harness.file}': no such file")
    if spec.harness.batch < 1:
        raise ProblemError(
            f"{folder}/problem.toml: harness.batch is {spec.harness.batch}; it has to be at least 1"
        )
    if spec.harness.consults:
        _function(evaluator, "consult", folder / spec.evaluator)
        if spec.harness.batch > 1 or any(each.name != SIZE for each in spec.descriptors):
            raise ProblemError(
                f"{folder}/problem.toml: harness.consults: every instance is played by itself, so harness.batch has "
                f"to be 1, and descriptors other than '{SIZE}' cannot be used"
            )
    try:
        defined = program.defined_functions(program.parse(path.read_text(encoding="utf-8"), str(path)))
    except ProgramError as error:
        raise ProblemError(str(error)) from None
    if HARNESS_ENTRY not in defined:
        names = ", ".join(defined) or "no function"
        raise ProblemError(f"{path}: the function '{HARNESS_ENTRY}' is not defined; it defines: {names}")


def _check_libraries(folder: Path, spec: Spec) -> None:
    taken = {Path(spec.program).stem, Path(HARNESS_FILE).stem}
    for name in spec.libraries:
        path, stem = folder / name, Path(name).stem
        if not path.is_file():
            raise ProblemError(f"{folder}/problem.toml: libraries: '{name}': no such file")
        if not stem.isidentifier() or stem in taken | sys.stdlib_module_names:
            raise ProblemError(
                f"{folder}/problem.toml: libraries: a program could not import '{stem}': the name of another module, "
                f"or no name; rename {name}"
            )
        taken.add(stem)


def _check_descriptors(
    folder: Path, spec: Spec, seeds: Mapping[str, Candidate], evaluator: ModuleType
) -> None:
    for each in spec.descriptors:
        where = f"{folder}/problem.toml: the descriptor '{each.name}'"
        if each.cells < 1 or each.low >= each.high or (each.log and each.low <= 0):
            raise ProblemError(
                f"{where} needs at least 1 cell and low < high, and low above 0 with log; it has "
                f"{each.cells} cells from {each.low:g} to {each.high:g}"
            )
        if each.name == SIZE:
            continue
        if spec.entry.interactive:
            raise ProblemError(
                f"{where} measures a distance of decisions, which an interactive problem does not keep; "
                f"only '{SIZE}' can be used"
            )
        if each.name not in seeds:
            raise ProblemError(f"{where} is neither '{SIZE}' nor a seed; there are: {', '.join(seeds)}")
        _function(evaluator, "distance", folder / spec.evaluator)


def _load_seeds(folder: Path, spec: Spec) -> dict[str, Candidate]:
    place = (folder / spec.seeds).resolve()
    if not place.is_dir():
        raise ProblemError(f"{folder}/problem.toml: seeds = '{spec.seeds}': no such folder")
    seeds = {}
    alone = len(spec.all_files) == 1
    for path in sorted(place.glob("*.py") if alone else place.glob(f"*/{spec.changing[0]}")):
        own = path if alone else path.parent
        seeds[own.stem] = read_program(own, spec, folder)
    for name in (spec.score.baseline, *spec.report.key_seeds):
        if name not in seeds:
            raise ProblemError(
                f"{folder}/problem.toml names the seed '{name}', but there is no {place / name}{'.py' * alone}"
            )
    return seeds


def read_program(path: Path, spec: Spec, folder: Path | None = None) -> Candidate:
    """A candidate from a file, or from a folder if programs have several files; its entry point is checked.

    Args:
        folder: of the problem, for the files that do not change; they lie beside the others if it is not given.

    Raises:
        ProblemError: a file is missing, does not parse or lacks the entry point.
    """
    if len(spec.all_files) == 1:
        places = {spec.program: path}
    elif path.is_file():
        raise ProblemError(
            f"{path}: programs of {spec.name} consist of {', '.join(spec.all_files)}; name a folder that holds "
            f"{', '.join(spec.changing)}"
        )
    else:
        places = {name: (path if name in spec.changing else folder or path) / name for name in spec.all_files}
    sources = {name: _read_source(place) for name, place in places.items()}
    _check_entry(places[spec.program], spec, program.parse(sources[spec.program]))
    return program.make_candidate(sources, note=path.stem)


def _read_source(path: Path) -> str:
    try:
        source = path.read_text(encoding="utf-8")
        program.parse(source, str(path))
    except FileNotFoundError:
        raise ProblemError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ProblemError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except ProgramError as error:
        raise ProblemError(str(error)) from None
    return source


def _check_entry(path: Path, spec: Spec, tree: ast.Module) -> None:
    defined = program.defined_functions(tree)
    if spec.entry.function not in defined:
        names = ", ".join(defined) or "no function"
        raise ProblemError(f"entry '{spec.entry.function}' is not defined in {path}; it defines: {names}")
    _check_parameters(path, spec, defined[spec.entry.function])


def _check_parameters(path: Path, spec: Spec, function: Any) -> None:
    arguments = function.args
    count, wanted = len(arguments.posonlyargs) + len(arguments.args), len(spec.entry.parameters)
    required = count - len(arguments.defaults)
    if not (required <= wanted and (wanted <= count or arguments.vararg)):
        raise ProblemError(
            f"{path}: {spec.entry.function} takes {count} arguments; it is called as {spec.entry.signature}"
        )


def _load_evaluator(path: Path, entry: Entry) -> ModuleType:
    module = _load_module(path)
    names = ("simulate",) if entry.interactive else ("check", "objective")
    for name in names:
        _function(module, name, path)
    invalid = getattr(module, "Invalid", None)
    if not (isinstance(invalid, type) and issubclass(invalid, Exception)):
        raise ProblemError(
            f"{path}: the exception class 'Invalid' is not defined; `{names[0]}` raises it for a broken rule"
        )
    return module


def _load_module(path: Path) -> ModuleType:
    path = path.resolve()
    name = f"evolve_problem_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ProblemError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # foreign code: whatever it raises is a fault of the problem
        del sys.modules[name]
        raise ProblemError(f"{path}: {type(error).__name__} while loading: {error}") from error
    return module


def _function(module: ModuleType, name: str, path: Path) -> Any:
    function = getattr(module, name, None)
    if not callable(function):
        raise ProblemError(f"{path}: the function '{name}' is not defined")
    return function
