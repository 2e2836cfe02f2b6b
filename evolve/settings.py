"""The settings of a run: few, strict, and saved resolved beside its journal."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import tomli_w

from evolve.errors import SettingsError


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class BudgetSettings(_Strict, frozen=True):
    """When a run ends; whichever comes first. With neither, `DEFAULT_SECONDS` holds."""

    evaluations: int | None = None  # candidates evaluated on train
    seconds: float | None = None  # wall-clock seconds, counted over all parts of a resumed run
    tokens: int | None = None  # of models: prompts and replies, cached and reasoning tokens included
    dollars: float | None = None  # for models, at the prices of models/prices.toml or of llm.prices


ARCHIVES = ("best-of-n", "top-k", "islands", "map-elites", "islands-map-elites")


class ArchiveSettings(_Strict, frozen=True):
    """Who may breed (see archives/). A population is an island, or all of an archive without islands."""

    kind: str = "islands"  # one of ARCHIVES
    # populations, where the archive has islands; where models propose, one for each CANDIDATES_PER_ISLAND of the
    # budget, unless it is set
    islands: int = 4
    size: int = 24  # members that a population holds; 1 is hill climbing
    tournament: int = 4  # members drawn for one parent; the best of them breeds. 1 = any alike
    inspirations: int = 3  # further members shown to the proposer
    # proposals without a better best after which an island, or a hill climber, starts anew; 0 = never
    patience: int = 80
    # which seeds an island begins with: all of them, or, dealt out by rank, its own
    founding: Literal["all", "apart"] = "all"
    migration: int = 0  # proposals after which the best of each island visits the next one; 0 = never


class RacingSettings(_Strict, frozen=True):
    """After each stage a candidate that is already worse than what it must beat is stopped.

    After the first one, also without racing, a candidate that decides as a known one is dropped.
    """

    enabled: bool = True
    stages: tuple[int, ...] = (
        8,
        16,
        32,
    )  # instances after which to look; none = every candidate is run in full
    confidence: float = 0.95  # of the one-sided paired test
    # which instances come first: those that tell the seeds apart best (see racing.py), or the problem's first
    order: Literal["telling", "given"] = "telling"


class GeneticSettings(_Strict, frozen=True):
    """What the genetic proposer does besides its operators."""

    tuning: bool = True  # improve the numbers of good programs by a pattern search (see genetic/tuning.py)
    # share of proposals that make a program shorter and must not change a decision
    simplification: float = 0.03


class StagnationSettings(_Strict, frozen=True):
    """What a run does when its best on train gets no better (see stagnation.py)."""

    # evaluations without a better best after which it answers, and between answers; 0 = never
    patience: int = 400
    progress: float = 0.005  # of the way left to the bound: a smaller step does not count as better
    # in turns: the best of all moves to every island; more operators in sequence; races begin with the instances on
    # which the best members differ most (where the problem has no harness)
    answers: tuple[Literal["migrate", "widen", "sharpen"], ...] = ("widen", "sharpen", "migrate")


class BanditSettings(_Strict, frozen=True):
    """How a proposer's operators are chosen (see bandit.py and credit.py)."""

    enabled: bool = True  # learn which operators gain most per cost; else draw them by fixed weights
    decay: float = 0.999  # by which what was learnt fades with every candidate
    # what a candidate costs: instances decided, the same on every machine, or CPU seconds, with which no two runs
    # are the same
    cost: Literal["instances", "cpu"] = "instances"


class LlmSettings(_Strict, frozen=True):
    """How language models are asked (proposers llm, replay and manual; see docs/models.md)."""

    in_flight: int = 8  # calls under way at a time, at most
    # a call is made when evaluators would run out of work otherwise, about the best program then (see pace.py);
    # false = as many as in_flight allows, always
    paced: bool = True
    reply_tokens: int = 16_000  # of one reply at most, reasoning included
    prompt_tokens: int = 12_000  # of one prompt at most; what is less important is left out
    timeout_s: float = 180.0  # without a byte from the provider
    retries: int = 5  # of a call after faults that may pass (see models/retry.py)
    retry_s: float = 1.0  # the longest pause before the first of them; it doubles with each
    patience_s: float = 600.0  # after so long without any reply a model is given up
    stream: bool = True  # ask for the reply piece by piece, so that a slow one is told from a dead one
    profile: bool = True  # models are told where a program's CPU time goes; it is run once more for that
    notes: bool = False  # models take notes of what helped; costs a call now and then
    # ideas that helped in earlier runs of the problem are shown, and this run's are kept
    skills: bool = False
    source: str = ""  # proposer replay: the run whose replies are used
    prices: dict[str, str] = {}  # "INPUT/OUTPUT[/CACHED]" in dollars per million tokens, by model


class BackendSettings(_Strict, frozen=True):
    """Who evaluates (see backends/ and docs/scaling.md)."""

    # loky: workers on this machine, each with a warm jail process; the others: a cluster
    kind: Literal["loky", "dask", "ray"] = "loky"
    # of the cluster, e.g. tcp://10.0.0.1:8786; "" = one of the engine's own on this machine
    address: str = ""


class CacheSettings(_Strict, frozen=True):
    """Evaluations kept in runs/cache.db for the runs to come (see cache.py)."""

    enabled: bool = True


class ShareSettings(_Strict, frozen=True):
    """Other searches with which candidates are exchanged (see sharing/ and docs/sharing.md)."""

    folder: str = ""  # where the runs lay out what they have to give; "" = none
    mlflow: bool = False  # take the champions of the MLflow store that this run is mirrored to
    # candidates after which to look at the others; searches that look too often become one search
    every: int = 500
    count: int = 2  # programs that a look brings at most, one of each run


class PromotionSettings(_Strict, frozen=True):
    """How a challenger becomes champion."""

    confidence: float = 0.95  # of the two-sided bootstrap interval of the paired difference
    resamples: int = 2000
    share: float = 0.15  # instances decided for validation, at most this fraction of those on train
    headroom: float = 0.8  # of each instance's CPU limit; a slower program is not promoted


class JailSettings(_Strict, frozen=True):
    # the weakest acceptable level; `evolve doctor` shows what this machine has
    minimum: Literal["full", "landlock+seccomp", "bubblewrap+rlimits", "rlimits"] = "landlock+seccomp"


class MlflowSettings(_Strict, frozen=True):
    enabled: bool = True
    store: str = ""  # tracking URI; "" = sqlite under ./runs


class Settings(_Strict, frozen=True):
    """Everything a run depends on besides its problem folder."""

    problem: str
    data: str = ""  # file or folder that the instances are made from; "" = they are generated
    seed: int = 1
    seeds: tuple[str, ...] = ()  # names of the seeds in the first population; () = all
    proposer: str = "genetic"
    models: tuple[str, ...] = ()  # openai:NAME, anthropic:NAME or URL#NAME, each with =WEIGHT if need be
    workers: int = 0  # evaluations at a time; 0 = as many as there are CPU cores, or as a cluster has slots
    backend: BackendSettings = BackendSettings()
    budget: BudgetSettings = BudgetSettings()
    archive: ArchiveSettings = ArchiveSettings()
    racing: RacingSettings = RacingSettings()
    bandit: BanditSettings = BanditSettings()
    llm: LlmSettings = LlmSettings()
    genetic: GeneticSettings = GeneticSettings()
    stagnation: StagnationSettings = StagnationSettings()
    cache: CacheSettings = CacheSettings()
    share: ShareSettings = ShareSettings()
    promotion: PromotionSettings = PromotionSettings()
    jail: JailSettings = JailSettings()
    mlflow: MlflowSettings = MlflowSettings()


DEFAULT_SECONDS = 60.0
MODEL_PROPOSERS = ("llm", "replay", "manual")
# where models propose, candidates are few, and it decides how many steps upon each other they make: an island gets
# its few hundred, or there is none beside the first
CANDIDATES_PER_ISLAND = 500


def available_cores() -> int:
    """CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve(problem: str, given: Mapping[str, Any], overrides: Sequence[str] = ()) -> Settings:
    """Settings from a nested mapping and `key=value` overrides, checked, with nothing left open.

    Raises:
        SettingsError: an unknown key, a wrong type, or a value out of range.
    """
    tree: dict[str, Any] = {"problem": problem, **given}
    for override in overrides:
        _apply(tree, override)
    settings = convert(tree)
    if settings.proposer in MODEL_PROPOSERS and "islands" not in tree.get("archive", {}):
        settings = _few_islands(settings)
    budget = settings.budget
    if budget == BudgetSettings():
        budget = BudgetSettings(seconds=DEFAULT_SECONDS)
    return on(msgspec.structs.replace(settings, budget=budget), settings.backend, settings.workers)


def _few_islands(settings: Settings) -> Settings:
    """The same settings with as many islands as the budget of a search with models feeds, up to the usual number."""
    fed = (settings.budget.evaluations or 0) // CANDIDATES_PER_ISLAND
    islands = min(max(1, fed), settings.archive.islands)
    return msgspec.structs.replace(
        settings, archive=msgspec.structs.replace(settings.archive, islands=islands)
    )


def on(settings: Settings, backend: BackendSettings, workers: int | None) -> Settings:
    """The same settings with another backend and so many workers; None or 0 = as many as it has."""
    # how many slots a cluster elsewhere has is known when it is used, and changes
    count = workers or (0 if backend.address else available_cores())
    return msgspec.structs.replace(settings, backend=backend, workers=count)


def convert(tree: Mapping[str, Any]) -> Settings:
    """Settings from a nested mapping, strictly."""
    check_keys(tree, Settings)
    check_choices(tree, Settings)
    try:
        settings = msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"setting {_path_of(error)}: {_text_of(error)}") from None
    _check_ranges(settings)
    return settings


def check_keys(
    tree: Mapping[str, Any], shape: type[msgspec.Struct], where: str = "setting", path: str = ""
) -> None:
    """Refuse unknown keys by name, with the nearest known one.

    Raises:
        SettingsError: naming `where`, the key and its nearest neighbour.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    for key, value in tree.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"did you mean '{path}{near[0]}'?" if near else f"there are: {', '.join(sorted(fields))}"
            raise SettingsError(f"{where}: unknown key '{path}{key}'; {hint}")
        inner = _struct(fields[key].type)
        if inner is not None:
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, Mapping):
                    check_keys(each, inner, where, f"{path}{key}.")


def check_choices(
    tree: Mapping[str, Any], shape: type[msgspec.Struct], where: str = "setting", path: str = ""
) -> None:
    """Refuse a value that is none of those that a setting may have.

    Raises:
        SettingsError: naming `where`, the key, the value and what is allowed.
    """
    for field in msgspec.structs.fields(shape):
        value, key = tree.get(field.encode_name), f"{path}{field.encode_name}"
        inner = _struct(field.type)
        if inner is not None and isinstance(value, Mapping):
            check_choices(value, inner, where, f"{key}.")
        choices = [part for part in (field.type, *get_args(field.type)) if get_origin(part) is Literal]
        for each in value if isinstance(value, list | tuple) else [value]:
            if choices and field.encode_name in tree and each not in get_args(choices[0]):
                allowed = ", ".join(get_args(choices[0]))
                raise SettingsError(f"{where} {key} is {each!r}; it has to be one of: {allowed}")


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that a field holds, holds some of, or may hold; None for plain values."""
    found = [part for part in (kind, *get_args(kind)) if isinstance(part, type)]
    return next((part for part in found if issubclass(part, msgspec.Struct)), None)


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SettingsError(f"--set {override}: expected key=value, for example --set archive.islands=4")
    *parents, last = key.strip().split(".")
    for parent in parents:
        below = tree.setdefault(parent, {})
        if not isinstance(below, dict):
            raise SettingsError(f"--set {override}: '{parent}' is a value, it has no keys below it")
        tree = below
    tree[last] = _literal(text.strip())


def _literal(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_ranges(settings: Settings) -> None:
    rules: list[tuple[str, float | None, float, float]] = [
        ("budget.evaluations", settings.budget.evaluations, 1, 10**9),
        ("budget.seconds", settings.budget.seconds, 0.1, 10**8),
        ("budget.tokens", settings.budget.tokens, 1, 10**13),
        ("budget.dollars", settings.budget.dollars, 0.0, 10**9),
        ("llm.in_flight", settings.llm.in_flight, 1, 1024),
        ("llm.reply_tokens", settings.llm.reply_tokens, 16, 10**6),
        ("llm.prompt_tokens", settings.llm.prompt_tokens, 1000, 10**6),
        ("llm.timeout_s", settings.llm.timeout_s, 0.1, 10**5),
        ("llm.retries", settings.llm.retries, 0, 100),
        ("llm.retry_s", settings.llm.retry_s, 0.001, 1000),
        ("llm.patience_s", settings.llm.patience_s, 0.0, 10**8),
        ("workers", settings.workers, 0, 100_000),
        ("archive.islands", settings.archive.islands, 1, 1000),
        ("archive.size", settings.archive.size, 1, 10**6),
        ("archive.tournament", settings.archive.tournament, 1, 10**6),
        ("archive.inspirations", settings.archive.inspirations, 0, 100),
        ("archive.patience", settings.archive.patience, 0, 10**9),
        ("bandit.decay", settings.bandit.decay, 0.5, 1.0),
        ("archive.migration", settings.archive.migration, 0, 10**9),
        ("genetic.simplification", settings.genetic.simplification, 0.0, 1.0),
        ("share.every", settings.share.every, 1, 10**9),
        ("share.count", settings.share.count, 1, 64),
        ("stagnation.patience", settings.stagnation.patience, 0, 10**9),
        ("stagnation.progress", settings.stagnation.progress, 0.0, 1.0),
        ("racing.confidence", settings.racing.confidence, 0.5, 0.9999),
        ("promotion.confidence", settings.promotion.confidence, 0.5, 0.9999),
        ("promotion.resamples", settings.promotion.resamples, 100, 10**6),
        ("promotion.share", settings.promotion.share, 0.0, 100.0),
        ("promotion.headroom", settings.promotion.headroom, 0.0001, 1.0),
    ]
    _check_archive(settings.archive.kind)
    if settings.backend.address and settings.backend.kind == "loky":
        raise SettingsError(
            f"setting backend.address is '{settings.backend.address}': only dask and ray have a cluster elsewhere; "
            f"say --dask or --ray {settings.backend.address}"
        )
    for name, value, low, high in rules:
        if value is not None and not low <= value <= high:
            raise SettingsError(f"setting {name} is {value:g}; it has to lie in {low:g} to {high:g}")
    if (
        list(settings.racing.stages) != sorted(set(settings.racing.stages))
        or min(settings.racing.stages, default=1) < 1
    ):
        raise SettingsError(
            f"setting racing.stages is {settings.racing.stages}; it has to rise, from 1 at least"
        )


def _check_archive(kind: str) -> None:
    if kind not in ARCHIVES:
        near = difflib.get_close_matches(kind, ARCHIVES, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(ARCHIVES)}"
        raise SettingsError(f"setting archive.kind is '{kind}': there is no such archive; {hint}")


def _path_of(error: msgspec.ValidationError) -> str:
    _, _, path = str(error).partition(" - at `$.")
    return path.rstrip("`") or "(top level)"


def _text_of(error: msgspec.ValidationError) -> str:
    return str(error).partition(" - at ")[0]


def save(settings: Settings, path: Path) -> None:
    """Write settings as TOML, wholly or not at all: a run that is killed here can still be resumed."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(tomli_w.dumps(_without_none(msgspec.to_builtins(settings))), encoding="utf-8")
    temporary.replace(path)


def load(path: Path) -> Settings:
    """Read settings that `save` wrote.

    Raises:
        SettingsError: the file is missing or breaks a rule.
    """
    try:
        return convert(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; is this the folder of a run?") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from None


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value
