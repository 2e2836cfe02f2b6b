"""Models are asked over real HTTP with the providers' own packages; every fault has one meaning."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolve.errors import ModelError
from evolve.models import keys, prices
from evolve.models.base import Failure, Model, estimate, without_keys
from evolve.models.connect import connect
from evolve.models.prices import Price
from evolve.models.retry import LONGEST_WAIT_S, VERDICTS, Policy
from evolve.models.spec import parse
from evolve.records import Fault, Prompt, Usage
from tests.model_server import Behaviour, ModelServer

PROGRAM = """def rate(p, w, t):
    slack = max(0.0, 2.0 * p - t)
    return w / p + 0.5 * slack


def order(p, w):
    return sorted(range(len(p)), key=lambda j: rate(p[j], w[j], 1.0))
"""
PROMPT = Prompt("You write order(p, w). " + "The rules are long. " * 400, f"```python\n{PROGRAM}```")
FAULTS = {
    "rate-limited": Fault.RATE_LIMITED,
    "rate-limited-after": Fault.RATE_LIMITED,
    "server-error": Fault.SERVER_ERROR,
    "overloaded": Fault.OVERLOADED,
    "empty": Fault.EMPTY,
    "refused": Fault.REFUSED,
    "malformed": Fault.MALFORMED,
    "wrong-key": Fault.WRONG_KEY,
    "too-long": Fault.TOO_LONG,
    "no-credit": Fault.NO_CREDIT,
    "unknown-model": Fault.UNKNOWN_MODEL,
}
Ask = tuple[ModelServer, Model]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(Behaviour(hang_s=20.0)) as running:
        yield running


@pytest.fixture(params=["openai", "openai-stream", "anthropic", "anthropic-stream"])
def ask(request: pytest.FixtureRequest, server: ModelServer) -> Iterator[Ask]:
    interface, _, stream = request.param.partition("-")
    model = connect(parse(name(server, interface)), 20.0, bool(stream))
    yield server, model
    model.close()


def name(server: ModelServer, interface: str) -> str:
    return f"{server.url}#stand-in" if interface == "openai" else f"anthropic+{server.root}#stand-in"


def test_a_reply_comes_with_its_usage(ask: Ask) -> None:
    _, model = ask
    reply = model.ask(PROMPT, 4000)
    assert "def order" in reply.text
    assert not reply.cut
    assert reply.usage.input > 2000
    assert 0 < reply.usage.output < 1000
    assert not reply.usage.estimated


def test_a_model_is_made_ready_without_being_asked(ask: Ask) -> None:
    server, model = ask
    calls = server.counts["calls"]
    model.warm()
    assert server.counts["calls"] == calls
    assert "def order" in model.ask(PROMPT, 4000).text


def test_the_second_call_is_served_from_the_cache(ask: Ask) -> None:
    _, model = ask
    model.ask(PROMPT, 4000)
    usage = model.ask(PROMPT, 4000).usage
    assert usage.cached > 0.7 * usage.input
    assert usage.cached + usage.written <= usage.input


def test_calls_one_after_the_other_share_a_connection(ask: Ask) -> None:
    server, model = ask
    before = server.connections
    for _ in range(3):
        model.ask(PROMPT, 4000)
    assert server.connections == before + 1


def test_a_reply_at_its_limit_is_marked_as_cut(ask: Ask) -> None:
    _, model = ask
    reply = model.ask(PROMPT, 5)
    assert reply.cut
    assert reply.usage.output == 5


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_recognised(ask: Ask, fault: str) -> None:
    server, model = ask
    server.behaviour.script = [fault]
    with pytest.raises(Failure) as caught:
        model.ask(PROMPT, 4000)
    assert caught.value.fault is FAULTS[fault]
    assert (caught.value.retry_after_s is not None) == (fault == "rate-limited-after")


def test_a_connection_that_breaks_loses_the_reply_but_not_its_cost(ask: Ask) -> None:
    server, model = ask
    server.behaviour.script = ["cut"]
    with pytest.raises(Failure) as caught:
        model.ask(PROMPT, 4000)
    assert caught.value.fault in (Fault.CUT_STREAM, Fault.UNREACHABLE)
    assert (caught.value.usage.total > 0) == (caught.value.fault is Fault.CUT_STREAM)


@pytest.mark.parametrize("interface", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_says_nothing_times_out(server: ModelServer, interface: str, stream: bool) -> None:
    model = connect(parse(name(server, interface)), 0.3, stream)
    server.behaviour.script = ["timeout"]
    with pytest.raises(Failure) as caught:
        model.ask(PROMPT, 4000)
    model.close()
    assert caught.value.fault is Fault.TIMED_OUT


@pytest.mark.parametrize("prefix", ["http://127.0.0.1:9/v1", "anthropic+http://127.0.0.1:9"])
def test_a_server_that_is_not_there_is_unreachable(prefix: str) -> None:
    model = connect(parse(f"{prefix}#stand-in"), 5.0, True)
    with pytest.raises(Failure) as caught:
        model.ask(PROMPT, 10)
    assert caught.value.fault is Fault.UNREACHABLE


def test_a_key_that_a_provider_quotes_is_not_passed_on(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sk-proj-0123456789abcdefXYZ"
    monkeypatch.setenv("EVOLVE_MODEL_KEY", secret)
    for interface in ("openai", "anthropic"):
        model = connect(parse(name(server, interface)), 5.0, True)
        server.behaviour.script = ["wrong-key"]
        with pytest.raises(Failure) as caught:
            model.ask(PROMPT, 10)
        assert "[key]" in caught.value.detail
        assert secret not in f"{caught.value} {caught.value.detail} {caught.value.__cause__}"


def test_keys_of_other_forms_are_taken_out_too() -> None:
    assert (
        without_keys("Incorrect API key provided: sk-ab12********wxyz") == "Incorrect API key provided: [key]"
    )
    assert without_keys("value 17 of the field") == "value 17 of the field"
    assert without_keys("is no-prefix-at-all", "no-prefix-at-all") == "is [key]"


def test_models_are_read_with_their_weights() -> None:
    spec = parse("http://127.0.0.1:8000/v1#qwen2.5:7b=3")
    assert (spec.interface, spec.url, spec.name, spec.weight) == (
        "openai",
        "http://127.0.0.1:8000/v1",
        "qwen2.5:7b",
        3,
    )
    assert (spec.local, spec.needs_key, spec.text) == (True, False, "http://127.0.0.1:8000/v1#qwen2.5:7b")
    spec = parse("anthropic:claude-haiku-5-5")
    assert (spec.interface, spec.name, spec.weight, spec.needs_key) == (
        "anthropic",
        "claude-haiku-5-5",
        1.0,
        True,
    )
    assert not parse("https://gateway.example/v1#m").local


@pytest.mark.parametrize(
    "text",
    [
        "gpt-5",
        "mistral:x",
        "openai:",
        "http://127.0.0.1:80/v1",
        "http://#x",
        "openai:x=0",
        "https://me:pw@h/v1#x",
        "https://me:pw@h/v1#",
        "https://me:pw@h:99999/v1#x",
        "https://me:pw@h/v1#x=0",
        "me:pw@h/v1#x",
        "https://h/v1?key=pw#x",
        "http://127.0.0.1:0/v1#x",
        "http://[::1/v1#x",
    ],
)
def test_a_name_of_another_form_is_refused_with_the_right_ones(text: str) -> None:
    with pytest.raises(ModelError, match="--model") as caught:
        parse(text)
    assert "pw" not in str(caught.value)


def test_every_listed_price_is_complete_and_dated() -> None:
    table = prices.table()
    assert table.date.year >= 2026
    for found in (*table.openai.values(), *table.anthropic.values()):
        assert 0 < found.input < found.output
        assert found.cached is not None
        assert 0 < found.cached < found.input


def test_cached_tokens_cost_what_the_provider_takes_for_them() -> None:
    price = Price(2.0, 10.0, cached=0.2, written=2.5)
    usage = Usage(input=1_000_000, output=100_000, cached=600_000, written=100_000)
    assert price.dollars(usage) == pytest.approx(0.3 * 2 + 0.6 * 0.2 + 0.1 * 2.5 + 1.0)
    assert price.most(1_000_000, 100_000) >= price.dollars(usage)


def test_a_snapshot_costs_what_its_model_costs() -> None:
    assert prices.price(parse("anthropic:claude-haiku-4-5-20251001"), {}, True).input == 1.0


def test_an_unknown_price_is_an_error_that_says_how_to_give_it() -> None:
    with pytest.raises(ModelError, match=r"--price gpt-99=INPUT/OUTPUT"):
        prices.price(parse("openai:gpt-99"), {}, False)
    assert prices.price(parse("openai:gpt-99"), {"gpt-99": "1/2"}, True) == Price(1.0, 2.0)
    with pytest.raises(ModelError, match="dollars per million"):
        prices.price(parse("openai:gpt-99"), {"gpt-99": "cheap"}, True)


def test_a_server_on_this_machine_needs_a_price_only_where_dollars_count() -> None:
    local = parse("http://127.0.0.1:8000/v1#m")
    assert prices.price(local, {}, counted=False) == Price(0.0, 0.0)
    with pytest.raises(ModelError, match="price is not known"):
        prices.price(local, {}, counted=True)


def test_pauses_double_up_to_a_limit_and_end() -> None:
    policy, rng = Policy(retries=4, first_s=1.0, longest_s=3.0), random.Random(1)
    failure = Failure(Fault.OVERLOADED)
    longest = [
        max(policy.pause_s(failure, attempt, rng) or 0 for _ in range(300)) for attempt in (1, 2, 3, 4)
    ]
    assert [round(value) for value in longest] == [1, 2, 3, 3]
    assert policy.pause_s(failure, 5, rng) is None


def test_a_provider_that_names_a_time_is_given_it() -> None:
    policy, rng = Policy(), random.Random(1)
    pause = policy.pause_s(Failure(Fault.RATE_LIMITED, retry_after_s=7.0), 1, rng)
    assert pause is not None
    assert 7.0 <= pause <= 7.7
    assert policy.pause_s(Failure(Fault.RATE_LIMITED, retry_after_s=LONGEST_WAIT_S + 1), 1, rng) is None


def test_what_was_billed_or_cannot_change_is_not_tried_again() -> None:
    policy, rng = Policy(), random.Random(1)
    assert policy.pause_s(Failure(Fault.EMPTY, usage=Usage(5, 5)), 1, rng) is None
    assert policy.pause_s(Failure(Fault.TOO_LONG), 1, rng) is None
    assert set(VERDICTS) == set(Fault)


def test_a_key_comes_from_the_environment_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert keys.find("OPENAI_API_KEY") == ""
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-file\n")
    assert keys.find("OPENAI_API_KEY") == "from-file"
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    assert keys.find("OPENAI_API_KEY") == "from-environment"


@pytest.mark.parametrize("written", ['export {}="{}"', "{}='{}'  # mine", "  {} = {}  "])
def test_a_file_of_keys_is_read_as_a_shell_would(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / ".env").write_text(written.format("OPENAI_API_KEY", "sk-abc123") + "\n", newline="\r\n")
    assert keys.find("OPENAI_API_KEY") == "sk-abc123"


def test_what_cannot_be_a_key_is_refused_and_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOLVE_MODEL_KEY", " sk-with-an-end-of-line\n")
    assert keys.find("EVOLVE_MODEL_KEY") == "sk-with-an-end-of-line"
    for value in ("sk-two\nlines", "schlüssel"):
        monkeypatch.setenv("EVOLVE_MODEL_KEY", value)
        with pytest.raises(ModelError, match="EVOLVE_MODEL_KEY holds") as caught:
            connect(parse("http://127.0.0.1:9/v1#m"), 5.0, True)
        assert value not in str(caught.value)


def test_a_file_of_keys_that_git_would_commit_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    subprocess.run(["git", "init", "--quiet"], check=True)
    (tmp_path / ".env").write_text("OPENAI_API_KEY=x\n")
    with pytest.raises(ModelError, match="gitignore"):
        keys.find("OPENAI_API_KEY")
    (tmp_path / ".gitignore").write_text(".env\n")
    assert keys.find("OPENAI_API_KEY") == "x"


def test_without_a_key_the_variable_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ModelError, match="ANTHROPIC_API_KEY"):
        connect(parse("anthropic:claude-haiku-5-5"), 5.0, True)


def test_tokens_are_estimated_rather_too_high() -> None:
    assert estimate("") == 0
    assert estimate("x = 1\n") == 2
    assert estimate("é" * 3) == 2
