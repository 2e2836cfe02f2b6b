from pathlib import Path

import pytest

from evolve import settings
from evolve.errors import SettingsError


def test_an_override_reaches_its_setting() -> None:
    resolved = settings.resolve("p", {}, ["archive.islands=7", "seeds=['edd']", "jail.minimum=rlimits"])
    assert (resolved.archive.islands, resolved.seeds, resolved.jail.minimum) == (7, ("edd",), "rlimits")


def test_without_a_budget_a_run_takes_the_default_time() -> None:
    assert settings.resolve("p", {}).budget.seconds == settings.DEFAULT_SECONDS
    assert settings.resolve("p", {"budget": {"evaluations": 5}}).budget.seconds is None


@pytest.mark.parametrize(
    ("given", "overrides", "islands"),
    [
        ({"proposer": "llm", "budget": {"evaluations": 200}}, (), 1),
        ({"proposer": "llm", "budget": {"evaluations": 1000}}, (), 2),
        ({"proposer": "replay", "budget": {"evaluations": 10**6}}, (), 4),
        ({"proposer": "llm", "budget": {"dollars": 1.0}}, (), 1),
        ({"budget": {"evaluations": 200}}, ("proposer=manual",), 1),
        ({"proposer": "llm", "archive": {"islands": 4}}, (), 4),
        ({"proposer": "llm"}, ("archive.islands=3", "archive.size=5"), 3),
        ({"proposer": "llm", "archive": {"kind": "islands-map-elites"}}, (), 1),
        ({"proposer": "genetic", "budget": {"evaluations": 200}}, (), 4),
    ],
)
def test_models_get_as_many_islands_as_their_budget_feeds_unless_it_is_said(
    given: dict[str, object], overrides: tuple[str, ...], islands: int
) -> None:
    assert settings.resolve("p", given, overrides).archive.islands == islands


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("archive.island=7", "unknown key 'archive.island'; did you mean 'archive.islands'?"),
        ("wrkers=2", "unknown key 'wrkers'; did you mean 'workers'?"),
        ("archive.kind=islnds", "there is no such archive; did you mean 'islands'?"),
        ("archive.kind=annealing", "there are: best-of-n, top-k, islands, map-elites, islands-map-elites"),
        ("racing.order=any", "setting racing.order is 'any'; it has to be one of: telling, given"),
        (
            'stagnation.answers=["widen", "wait"]',
            "stagnation.answers is 'wait'; it has to be one of: migrate, widen",
        ),
        ("workers=two", "setting workers: Expected `int`, got `str`"),
        ("workers=-1", "setting workers is -1; it has to lie in 0 to 100000"),
        ("budget.seconds=0", "budget.seconds is 0"),
        ("racing.stages=[24, 8]", "has to rise"),
        ("workers", "expected key=value"),
        ("workers.x.y=1", "unknown key|is a value|Expected `int`"),
    ],
)
def test_a_bad_override_names_the_value_and_the_rule(override: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.resolve("p", {}, [override])
    assert any(part in str(caught.value) for part in message.split("|"))


def test_saved_settings_are_read_back_the_same(tmp_path: Path) -> None:
    resolved = settings.resolve(
        "p", {"seeds": ["a", "b"], "budget": {"seconds": 3.5}}, ["racing.stages=[3, 5]"]
    )
    settings.save(resolved, tmp_path / "settings.toml")
    assert settings.load(tmp_path / "settings.toml") == resolved


def test_a_missing_settings_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        settings.load(tmp_path / "settings.toml")
