"""Searches through models that are dying, talkative or wrong for ever; and budgets with many calls in flight."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evolve import run
from evolve.records import Exchange, Proposal, Request
from evolve.replay import replay
from tests.model_server import Behaviour, Genetics, ModelServer
from tests.test_llm_run import check_complete, openai, records, resolved, search

LONG = 1_000_000  # characters


@pytest.fixture
def second() -> Iterator[ModelServer]:
    with ModelServer(Behaviour()) as running:
        yield running


def rule(rng: random.Random) -> str:
    return f"def order(p, w):\n    return sorted(range(len(p)), key=lambda j: p[j] + {rng.random()} * w[j])\n"


@pytest.mark.parametrize(
    "reply",
    [
        lambda rng: f"Idea: {'long ' * (LONG // 5)}\n```python\n{rule(rng)}```\n",
        lambda rng: f"Idea: \ufeff\u202e\U0001f600\x1b[31m\r\n```python\r\n# é\u2028\n{rule(rng)}```\r\n",
    ],
    ids=["a megabyte", "unicode"],
)
def test_replies_of_any_length_and_letters_are_read(
    small_folder: Path, tmp_path: Path, reply: Callable[[random.Random], str]
) -> None:
    with ModelServer(answer=lambda _, rng: reply(rng)) as server:
        the_settings = resolved(
            small_folder, [openai(server)], "llm.reply_tokens=1000000", budget={"evaluations": 4}
        )
        assert search(tmp_path / "run", the_settings).evaluations == 4
    made = [p.candidate for p in records(tmp_path / "run", Proposal) if p.candidate and p.model]
    assert all(len(candidate.note) <= 160 and candidate.note.isprintable() for candidate in made)
    check_complete(tmp_path / "run")
    assert replay(tmp_path / "run").differences == []


def test_a_model_whose_edits_never_apply_ends_the_run(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FRUITLESS_CALLS", 30)
    edit = "Idea: x\n<<<<<<< SEARCH\nnot in there {}\n=======\ny = 1\n>>>>>>> REPLACE\n"
    with ModelServer(answer=lambda _, rng: edit.format(rng.random())) as server:
        result = search(tmp_path / "run", resolved(small_folder, [openai(server)]))
        assert 30 <= server.counts["calls"] < 30 + 8
    assert result.stopped is run.Stop.EXHAUSTED
    assert result.account is not None
    assert result.account.reasons == {"an edit does not apply": server.counts["calls"]}
    asked = records(tmp_path / "run", Request)[-1]
    assert "its search text is not in the program" in asked.prompt.user, "later prompts tell what failed"


def test_a_model_that_goes_down_for_good_is_left_and_the_other_one_goes_on(
    second: ModelServer, small_folder: Path, tmp_path: Path
) -> None:
    with ModelServer(Behaviour()) as dying:
        genetics = Genetics()

        def answer(prompt: str, rng: random.Random) -> str:
            if dying.counts["calls"] > 5:
                dying.behaviour.rate, dying.behaviour.faults = 1.0, ["server-error"]
            return genetics(prompt, rng)

        dying.answer = answer
        names = [openai(dying), openai(second)]
        result = search(tmp_path / "run", resolved(small_folder, names, "llm.retries=1", "llm.in_flight=4"))
        assert result.evaluations == 25
        assert dying.counts["calls"] < 40
    answered = Counter(e.model for e in records(tmp_path / "run", Exchange) if e.fault is None)
    assert answered[openai(dying)] >= 5
    assert answered[openai(second)] > 5
    check_complete(tmp_path / "run")
    assert replay(tmp_path / "run").differences == []


@pytest.mark.parametrize(("budget", "unit"), [("tokens", 60_000), ("dollars", 0.15)])
def test_no_budget_is_passed_with_64_calls_in_flight(
    second: ModelServer, small_folder: Path, tmp_path: Path, budget: str, unit: float
) -> None:
    second.behaviour.latency_s = 0.3
    overrides = ["llm.in_flight=64", "llm.paced=false", "llm.reply_tokens=1000", "llm.prompt_tokens=4000"]
    the_settings = resolved(
        small_folder, [openai(second)], *overrides, "llm.prices.stand-in=2/10", budget={budget: unit}
    )
    result = search(tmp_path / "run", the_settings)
    exchanges = records(tmp_path / "run", Exchange)
    spent = sum(e.usage.total if budget == "tokens" else e.dollars for e in exchanges)
    assert result.stopped is run.Stop.BUDGET
    assert 0.7 * unit < spent <= unit
    assert second.most_in_flight > 8
    check_complete(tmp_path / "run")
