"""Searches that ask a model, over real HTTP: budgets, faults, stops and resumes, replay."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolve import run, settings
from evolve.errors import ModelError, SettingsError, UsageError
from evolve.journal import Entry, Journal
from evolve.records import Evaluation, Exchange, Fault, Proposal, Request, Split
from evolve.replay import replay
from evolve.settings import BudgetSettings, Settings
from tests.model_server import Behaviour, ModelServer

QUICK = ("jail.minimum=rlimits", "llm.retry_s=0.01", "llm.timeout_s=20")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(Behaviour(hang_s=20.0)) as running:
        yield running


def resolved(
    problem: Path, names: list[str], *overrides: str, budget: object = None, workers: int = 1
) -> Settings:
    given = {
        "proposer": "llm",
        "models": names,
        "budget": budget or {"evaluations": 25},
        "workers": workers,
    }
    return settings.resolve(str(problem), given, [*QUICK, *overrides])


def search(folder: Path, the_settings: Settings) -> run.Result:
    made = run.start(folder, the_settings)
    try:
        return made.execute()
    finally:
        made.journal.close()


def records(folder: Path, kind: type) -> list[object]:
    with Journal.open(folder, read_only=True) as journal:
        return [entry.record for entry in journal.entries() if isinstance(entry.record, kind)]


def entries(folder: Path) -> list[Entry]:
    with Journal.open(folder, read_only=True) as journal:
        return list(journal.entries())


def openai(server: ModelServer) -> str:
    return f"{server.url}#stand-in"


def anthropic(server: ModelServer) -> str:
    return f"anthropic+{server.root}#stand-in"


def check_complete(folder: Path) -> None:
    """Every request became one proposal, every candidate was evaluated once, and numbers have no gap."""
    found = entries(folder)
    proposals = [entry.record for entry in found if isinstance(entry.record, Proposal)]
    assert sorted(proposal.number for proposal in proposals) == list(range(1, len(proposals) + 1))
    asked = [entry.record.number for entry in found if isinstance(entry.record, Request)]
    assert asked == sorted(asked)
    assert set(asked) == {proposal.number for proposal in proposals if proposal.model}
    finals = [e.record.number for e in found if isinstance(e.record, Exchange) and e.record.final]
    assert sorted(finals) == sorted(asked)
    candidates = [proposal.candidate.id for proposal in proposals if proposal.candidate]
    trained = [
        entry.record.candidate
        for entry in found
        if isinstance(entry.record, Evaluation) and entry.record.split is Split.TRAIN
    ]
    assert Counter(trained) == Counter(candidates)


def test_a_search_through_a_model_improves_and_replays_bit_for_bit(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    the_settings = resolved(small_folder, [openai(server)], budget={"evaluations": 60}, workers=2)
    result = search(tmp_path / "run", the_settings)
    assert result.evaluations == 60
    assert result.validation is not None
    with Journal.open(tmp_path / "run", read_only=True) as journal:
        seeds = [e.record.score for e in journal.entries() if isinstance(e.record, Evaluation)][:2]
    assert result.validation.score > max(seeds)
    check_complete(tmp_path / "run")
    calls = server.counts["calls"]
    again = replay(tmp_path / "run")
    assert again.differences == []
    assert again.steps["request"] == calls
    assert server.counts["calls"] == calls, "a replay asks no model"


def test_calls_are_in_flight_together_but_no_more_than_allowed(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    server.behaviour.latency_s = 0.2
    search(tmp_path / "run", resolved(small_folder, [openai(server)], "llm.in_flight=5", "llm.paced=false"))
    assert server.most_in_flight == 5


def test_two_models_of_two_providers_take_part(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    search(tmp_path / "run", resolved(small_folder, [f"{openai(server)}=2", anthropic(server)]))
    asked = Counter(request.model for request in records(tmp_path / "run", Request))
    assert set(asked) == {openai(server), anthropic(server)}
    assert {call.path for call in server.calls} == {"/v1/chat/completions", "/v1/messages"}


def test_every_fault_is_journaled_and_nothing_is_lost(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    server.behaviour.rate, server.behaviour.hang_s = 0.4, 1.0
    the_settings = resolved(
        small_folder, [openai(server)], "llm.timeout_s=0.5", "llm.retries=8", budget={"evaluations": 40}
    )
    result = search(tmp_path / "run", the_settings)
    assert result.evaluations == 40
    check_complete(tmp_path / "run")
    faults = [exchange.fault for exchange in records(tmp_path / "run", Exchange) if exchange.fault]
    caused = sum(server.counts.values()) - server.counts["calls"] - server.counts["answered"]
    assert len(faults) >= caused > 5  # a busy machine may add a time-out
    assert replay(tmp_path / "run").differences == []


def test_the_budget_of_tokens_is_kept_with_calls_in_flight(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    server.behaviour.latency_s = 0.05
    overrides = ("llm.reply_tokens=1500", "llm.prompt_tokens=6000", "llm.in_flight=6")
    result = search(
        tmp_path / "run", resolved(small_folder, [openai(server)], *overrides, budget={"tokens": 40_000})
    )
    spent = sum(exchange.usage.total for exchange in records(tmp_path / "run", Exchange))
    assert result.stopped is run.Stop.BUDGET
    assert 25_000 < spent <= 40_000


def test_the_budget_of_dollars_is_kept_at_the_price_given(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    given = {
        "proposer": "llm",
        "models": [anthropic(server)],
        "budget": {"dollars": 0.25},
        "workers": 1,
        "llm": {"prices": {"stand-in": "2/10/0.2"}, "reply_tokens": 1500, "prompt_tokens": 6000},
    }
    search(tmp_path / "run", settings.resolve(str(small_folder), given, QUICK))
    exchanges = records(tmp_path / "run", Exchange)
    spent = sum(exchange.dollars for exchange in exchanges)
    assert 0.15 < spent <= 0.25
    usage = exchanges[-1].usage
    cost = (usage.input - usage.cached) * 2 + usage.cached * 0.2 + usage.output * 10
    assert exchanges[-1].dollars == pytest.approx(cost / 1e6)


def test_dollars_without_a_price_are_refused_before_anything_begins(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    the_settings = resolved(small_folder, [openai(server)], budget={"dollars": 1.0})
    with pytest.raises(ModelError, match="--price stand-in=INPUT/OUTPUT"):
        run.start(tmp_path / "run", the_settings)
    assert not (tmp_path / "run").exists()


def test_a_budget_too_small_for_one_call_asks_nobody(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    result = search(tmp_path / "run", resolved(small_folder, [openai(server)], budget={"tokens": 100}))
    assert result.stopped is run.Stop.BUDGET
    assert result.champion is not None, "the seeds are evaluated all the same"
    assert server.counts["calls"] == 0


def test_a_refused_key_stops_the_run_and_names_its_variable(
    server: ModelServer, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sk-test-abcdef0123456789"
    monkeypatch.setenv("EVOLVE_MODEL_KEY", secret)
    server.behaviour.script = ["wrong-key"] * 50
    made = run.start(tmp_path / "run", resolved(small_folder, [openai(server)]))
    with pytest.raises(ModelError, match="refuses the key in EVOLVE_MODEL_KEY") as caught:
        made.execute()
    made.journal.close()
    assert secret not in str(caught.value)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file())
    assert secret.encode() not in stored
    server.behaviour.script = []
    again = run.reopen(tmp_path / "run")
    assert again.execute().evaluations == 25
    again.journal.close()


def test_a_provider_that_is_down_is_set_aside_and_the_run_goes_on(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    dead = "http://127.0.0.1:9/v1#dead"
    the_settings = resolved(small_folder, [dead, openai(server)], "llm.retries=0", "llm.in_flight=2")
    result = search(tmp_path / "run", the_settings)
    assert result.evaluations == 25
    asked = Counter(request.model for request in records(tmp_path / "run", Request))
    assert asked[dead] < 8 < asked[openai(server)]


def test_when_no_model_answers_the_run_stops_and_can_be_resumed(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    server.behaviour.rate, server.behaviour.faults = 1.0, ["overloaded"]
    overrides = ("llm.retries=1", "llm.patience_s=0")
    result = search(tmp_path / "run", resolved(small_folder, [openai(server)], *overrides))
    assert result.stopped is run.Stop.SILENT
    assert "overloaded" in result.silence
    server.behaviour.rate = 0.0
    again = run.reopen(tmp_path / "run")
    assert again.execute().evaluations == 25
    again.journal.close()


def test_what_a_model_refuses_is_a_proposal_with_its_reason(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    server.behaviour.script = ["refused", "too-long", "filtered", "empty"]
    search(tmp_path / "run", resolved(small_folder, [openai(server)]))
    reasons = {proposal.reason.partition(":")[0] for proposal in records(tmp_path / "run", Proposal)}
    assert reasons >= {Fault.REFUSED, Fault.TOO_LONG, Fault.FILTERED, Fault.EMPTY}


def test_an_interrupted_run_goes_on_with_what_was_asked(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    """Killed with calls in flight, several times: nothing lost, nothing evaluated twice, and it replays."""
    server.behaviour.latency_s = 0.1
    folder = tmp_path / "run"
    first = ["run", str(small_folder), "--out", str(folder), "--model", openai(server), "--workers", "1"]
    for override in QUICK:
        first += ["--set", override]
    options = ["--no-mlflow", "--json", "--evaluations", "40"]
    moments = random.Random(3)
    for _ in range(2):
        arguments = ["resume", str(folder)] if (folder / "journal.db").exists() else first
        process = subprocess.Popen(
            [sys.executable, "-m", "evolve.cli", *arguments, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
        )
        before = len(requests_in(folder))
        wait_for(lambda known=before: len(requests_in(folder)) > known + 4)
        time.sleep(moments.uniform(0.0, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    again = run.reopen(folder)
    result = again.execute()
    again.journal.close()
    assert result.evaluations == 40
    check_complete(folder)
    assert replay(folder).differences == []


def requests_in(folder: Path) -> list[object]:
    return records(folder, Request) if (folder / "journal.db").exists() else []


def wait_for(condition: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_resumed_search_stands_where_the_live_one_stood(
    server: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    overrides = ("llm.notes=true",)
    made = run.start(
        tmp_path / "run", resolved(small_folder, [openai(server)], *overrides, budget={"evaluations": 45})
    )
    made.execute()
    made.journal.close()
    again = run.reopen(tmp_path / "run", BudgetSettings(evaluations=90))
    again.journal.close()
    live, folded = made.search.asker, again.search.asker
    assert live.operators.shares() == folded.operators.shares()  # type: ignore[union-attr]
    assert live.panel.bandit.shares() == folded.panel.bandit.shares()  # type: ignore[union-attr]
    assert live.notes == folded.notes  # type: ignore[union-attr]
    assert (made.search.budget.tokens, made.search.proposals) == (
        again.search.budget.tokens,
        again.search.proposals,
    )
    assert [m.candidate for m in made.search.archive.members()] == [
        m.candidate for m in again.search.archive.members()
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["proposer=replay", "models=[]"], "--from RUN"),
        (["proposer=manual"], "leave out --model"),
        (["models=[]"], "name a model"),
        (["models=['openai:gpt-99']"], "price is not known"),
        (["models=['smart']"], "expected openai:NAME"),
        (["llm.in_flight=0"], "llm.in_flight is 0"),
        (["llm.notess=true"], "did you mean 'llm.notes'"),
        (["proposer=magic"], "there are: genetic, llm, replay, manual"),
    ],
)
def test_wrong_settings_are_refused_with_the_next_step(
    small_folder: Path, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises((ModelError, UsageError, SettingsError), match=message):
        run.start(tmp_path / "run", resolved(small_folder, ["http://127.0.0.1:9/v1#m"], *overrides))
