"""What models are asked, what is made of their replies, and the other ways to get replies."""

import io
import json
import math
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evolve import account, prompts, run, settings, skills
from evolve.cli import main
from evolve.journal import Journal
from evolve.models.base import estimate
from evolve.models.panel import FIRST_PAUSE_S, IN_A_ROW, Panel, Seat
from evolve.models.prices import FREE, Price
from evolve.problem import Problem
from evolve.proposers.briefing import Briefing
from evolve.proposers.history import BROKEN, History
from evolve.proposers.llm import OPERATORS, idea, note_lines
from evolve.records import (
    Candidate,
    Evaluation,
    Exchange,
    Fault,
    Member,
    Prompt,
    Proposal,
    Request,
    Sample,
    Split,
    Status,
)
from evolve.replay import replay
from evolve.settings import Settings
from tests.model_server import Behaviour, ModelServer
from tests.test_several_files import write as write_two_files

QUICK = ["jail.minimum=rlimits", "llm.retry_s=0.01"]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(Behaviour()) as running:
        yield running


def resolved(problem: Path, proposer: str, *overrides: str, **given_: object) -> Settings:
    tree = {"proposer": proposer, "workers": 1, "budget": {"evaluations": 15}, **given_}
    return settings.resolve(str(problem), tree, [*QUICK, *overrides])


def search(folder: Path, the_settings: Settings) -> run.Result:
    made = run.start(folder, the_settings)
    try:
        return made.execute()
    finally:
        made.journal.close()


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def member(problem: Problem, seed: str, score: float) -> Member:
    count = len(problem.split(Split.TRAIN))
    scores = tuple(score + 0.001 * i for i in range(count))
    candidate = problem.seeds[seed]
    return Member(candidate, Evaluation(candidate.id, Split.TRAIN, Status.OK, scores, scores, count))


# ---- prompts


@pytest.mark.parametrize("name", [*OPERATORS, "note", "system"])
def test_every_prompt_declares_what_it_uses(name: str) -> None:
    template = prompts.template(name)
    filled = template.fill(**{variable: f"<{variable}>" for variable in template.variables})
    assert all(f"<{variable}>" in filled for variable in template.variables)
    assert "{{" not in filled


@pytest.mark.parametrize(
    "content", ["no head\n{{a}}", "variables: a\n{{b}}", "variables: a, b\n{{a}}", "variables:\n{{a}}"]
)
def test_a_prompt_that_declares_wrongly_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match="prompt x"):
        prompts.read("x", content)


def test_a_prompt_is_filled_with_exactly_its_variables() -> None:
    template = prompts.read("x", "variables: a\n{{a}}")
    assert template.fill(a="{{b}} {{a}}") == "{{b}} {{a}}\n"
    with pytest.raises(ValueError, match="differ in: b"):
        template.fill(a="1", b="2")
    with pytest.raises(ValueError, match="differ in: a"):
        template.fill()


def test_all_calls_begin_with_the_same_text(small: Problem) -> None:
    briefing = Briefing(small, 12_000, list(small.seeds.values()), ["sort by the ratio"])
    sample = Sample(member(small, "arrival", 0.1), (member(small, "spt", 0.4),))
    written = [briefing.write(name, sample, ["x: worse"], "") for name in OPERATORS if name != "repair"]
    assert len({prompt.system for prompt in written}) == 1
    assert len({prompt.user for prompt in written}) == len(written)
    assert small.spec.entry.function in written[0].system
    assert "- spt: " in written[0].system, "a seed is told by its docstring"
    assert "- sort by the ratio" in written[0].system


def test_a_prompt_names_worst_instances_but_holds_no_data(small: Problem) -> None:
    prompt = Briefing(small, 12_000).write("improve", Sample(member(small, "arrival", 0.1)), [], "")
    worst = small.split(Split.TRAIN)[0]
    assert worst.name in prompt.user
    for value in worst.arguments.values():
        assert ", ".join(map(str, value[:4])) not in prompt.user  # type: ignore[index]
    for hidden in (*small.split(Split.VALIDATION), *small.split(Split.HOLDOUT)):
        assert hidden.name not in prompt.system + prompt.user


@given(limit=st.integers(1000, 4000), tried=st.lists(st.text(max_size=300), max_size=20))
def test_what_matters_least_is_left_out_where_there_is_no_room(
    small: Problem, limit: int, tried: list[str]
) -> None:
    sample = Sample(member(small, "arrival", 0.1), (member(small, "spt", 0.4),) * 8)
    briefing = Briefing(small, limit)
    prompt = briefing.write("improve", sample, tried, "")
    alone = briefing.write("improve", Sample(sample.parent), [], "")
    size, least = (estimate(each.system) + estimate(each.user) for each in (prompt, alone))
    assert size <= max(limit, least) + 300  # headings
    assert "## The program" in prompt.user


# ---- replies


def test_the_idea_of_a_reply_is_its_note() -> None:
    assert idea("Sure!\n**Idea:** rate by w/p \x1b[31m\nmore") == "rate by w/p  [31m"
    assert idea("Idea: rate\rby p\r\nmore") == "rate"
    assert idea("no such line") == ""
    assert len(idea("Idea: " + "long " * 100)) <= 160


def test_notes_are_a_short_list() -> None:
    assert note_lines("Here:\n- one\n* two\nend") == "- one\n- two"
    assert len(note_lines("\n".join(f"- {i}" for i in range(50))).splitlines()) == 8


# ---- what is remembered


def judged(candidate: Candidate, score: float, status: Status = Status.OK) -> Evaluation:
    scores = (score,) if status is Status.OK else ()
    return Evaluation(candidate.id, Split.TRAIN, status, scores, scores, feedback="division by zero")


def child(name: str, parent: str, operator: str = "improve") -> Candidate:
    return Candidate(name, {"program.py": "x"}, (parent,), operator, f"idea {name}")


def test_a_broken_program_waits_for_repair_once() -> None:
    history = History()
    history.add(Candidate("seed", {}), judged(Candidate("seed", {}), 0.5))
    broken = child("a", "seed")
    history.add(broken, judged(broken, 0.0, Status.CRASHED))
    assert history.broken() == (broken, judged(broken, 0.0, Status.CRASHED))
    assert "division by zero" in history.tried("seed")[0]
    history.repaired("a")
    assert history.broken() is None
    again = child("b", "a", "repair")
    history.add(again, judged(again, 0.0, Status.CRASHED))
    assert history.broken() is None, "what a repair made is not repaired again"


def test_only_the_newest_broken_programs_are_kept() -> None:
    history = History()
    for number in range(3 * BROKEN):
        each = child(f"{number}", "seed")
        history.add(each, judged(each, 0.0, Status.INVALID))
    names = []
    while (found := history.broken()) is not None:
        names.append(found[0].id)
        history.repaired(found[0].id)
    assert names == [f"{number}" for number in reversed(range(2 * BROKEN, 3 * BROKEN))]


def test_a_change_that_helped_is_told_apart_from_one_that_did_not() -> None:
    history = History()
    history.add(Candidate("seed", {}), judged(Candidate("seed", {}), 0.5))
    for name, score in (("good", 0.6), ("bad", 0.4)):
        history.add(child(name, "seed"), judged(child(name, "seed"), score))
    assert list(history.improved) == ["idea good: score 0.6000 (+0.1000)"]
    assert list(history.failed) == ["idea bad: score 0.4000 (-0.1000)"]
    assert math.isnan(history.base(["unknown"]))


# ---- the panel of models


def panel(*names: str, patience_s: float = 600.0) -> Panel:
    return Panel([Seat(name, 1.0, FREE) for name in names], patience_s)


def failed(model: str, number: int, fault: Fault = Fault.OVERLOADED) -> Exchange:
    return Exchange(number, 1, model, fault=fault)


def test_a_model_that_fails_in_a_row_is_set_aside_for_longer_and_longer() -> None:
    models = panel("a", "b")
    for number in range(IN_A_ROW):
        models.exchanged(failed("a", number), at=1.0)
    chosen = {models.choose(random.Random(seed), 2.0, lambda _: True) for seed in range(30)}
    assert chosen == {"b"}
    back = 1.0 + FIRST_PAUSE_S
    assert {models.choose(random.Random(seed), back, lambda _: True) for seed in range(30)} == {"a", "b"}
    models.exchanged(failed("a", 9), at=back)
    assert {
        models.choose(random.Random(seed), back + 1.5 * FIRST_PAUSE_S, lambda _: True) for seed in range(30)
    } == {"b"}


def test_one_reply_makes_a_model_well() -> None:
    models = panel("a")
    for number in range(3 * IN_A_ROW):
        models.exchanged(
            failed("a", number) if number % IN_A_ROW else Exchange(number, 1, "a", reply="x"), at=1.0
        )
    assert not models.paused(2.0)


def test_all_models_given_up_is_silence_until_the_run_is_resumed() -> None:
    models = panel("a", "b")
    models.exchanged(failed("a", 1, Fault.UNKNOWN_MODEL), at=1.0)
    assert models.silence == ""
    models.exchanged(failed("b", 2, Fault.UNKNOWN_MODEL), at=1.0)
    assert "a: unknown-model" in models.silence
    assert models.choose(random.Random(1), 5.0, lambda _: True) is None
    models.renew()
    assert models.silence == ""


def test_a_model_that_is_too_dear_is_not_asked() -> None:
    models = Panel([Seat("cheap", 1.0, Price(0.1, 1.0)), Seat("dear", 50.0, Price(5.0, 50.0))], 600.0)
    chosen = {models.choose(random.Random(seed), 0.0, lambda price: price.output < 10) for seed in range(20)}
    assert chosen == {"cheap"}


def test_the_model_that_gains_more_per_dollar_is_asked_more() -> None:
    models = panel("good", "poor")
    for number in range(200):
        for name, gained in (("good", 1.0), ("poor", 0.1)):
            models.asked(Request(number, "improve", name, (), Prompt("", "")))
            models.tell(name, gained, 1.0)
    shares = models.bandit.shares()
    assert shares["good"] > 0.7


# ---- other sources of replies


@pytest.fixture(scope="module")
def recorded(server: ModelServer, small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "run"
    search(
        folder,
        resolved(
            small_folder, "llm", "llm.notes=true", models=[f"{server.url}#m"], budget={"evaluations": 50}
        ),
    )
    return folder


def test_the_replies_of_a_run_serve_another(recorded: Path, small_folder: Path, tmp_path: Path) -> None:
    the_settings = resolved(
        small_folder, "replay", f"llm.source={recorded}", "seed=5", budget={"evaluations": 500}
    )
    result = search(tmp_path / "run", the_settings)
    assert result.stopped is run.Stop.USED_UP
    texts = []
    for folder in (recorded, tmp_path / "run"):
        with Journal.open(folder, read_only=True) as journal:
            found = [e.record for e in journal.entries() if isinstance(e.record, Exchange)]
            texts.append(sorted(exchange.reply for exchange in found if exchange.fault is None))
    assert texts[0] == texts[1], "each reply is used once"
    assert replay(tmp_path / "run").differences == []


def test_a_changed_reply_is_found_by_a_replay(recorded: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(recorded, tmp_path / "copy"))
    with Journal.open(copy) as journal:
        proposals = [e.record for e in journal.entries() if isinstance(e.record, Proposal)]
        number = next(p.number for p in proposals if p.candidate and p.model)
        journal._database.execute(
            "UPDATE exchanges SET reply = ? WHERE number = ?", (journal._pack("nothing"), number)
        )
        journal._database.execute(
            "UPDATE evaluations SET scores = zeroblob(length(scores)) WHERE seq > 40 AND scores <> ''"
        )
    found = replay(copy)
    assert not found.same
    assert any(f"proposal {number}" in each.what or "candidate" in each.what for each in found.differences)
    shown = call("replay", copy)
    assert shown.exit_code == 1
    assert "Not the same" in shown.stdout


def test_the_account_of_a_run_adds_up(recorded: Path) -> None:
    with Journal.open(recorded, read_only=True) as journal:
        found = account.read(journal)
        exchanges = [e.record for e in journal.entries() if isinstance(e.record, Exchange)]
    assert found is not None
    for lines in (found.models, found.operators):
        assert sum(line.exchanges for line in lines.values()) == len(exchanges)
        assert sum(line.input for line in lines.values()) == sum(each.usage.input for each in exchanges)
    assert "note" in found.operators
    assert sum(line.programs for line in found.models.values()) == 48
    json.dumps(found.facts(), allow_nan=False)


@pytest.mark.parametrize(
    "name", ["openai:gpt-6-luna", "own", "anthropic+http://127.0.0.1:40321/v1#" + "long-name-" * 3]
)
def test_the_account_fits_into_80_columns_whatever_a_model_is_called(name: str) -> None:
    line = account.Line(name, 123_456, 98_765, 12_345, 10**9, 10**8, 10**8, 10**6, 1234.5, 10**6, 123_456)
    console = Console(width=80, file=io.StringIO())
    account.print_account(account.Account({name: line}, {"improve": line}, {}, 0), console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    assert sum(each.startswith(f" {name}") for each in lines) == 2, "in one piece, in both tables"
    heads = [each for each in lines if "programs" in each]
    rows = [each for each in lines if "98765" in each]
    assert [each.index("98765") + 5 for each in rows] == [each.index("programs") + 8 for each in heads]


def test_a_genetic_run_has_no_account(small_folder: Path, tmp_path: Path) -> None:
    assert search(tmp_path / "run", resolved(small_folder, "genetic")).account is None


def test_a_person_can_be_the_model(small_folder: Path, tmp_path: Path) -> None:
    made = run.start(
        tmp_path / "run", resolved(small_folder, "manual", "llm.in_flight=2", budget={"evaluations": 6})
    )
    place = tmp_path / "run" / "manual"
    stop = threading.Event()
    person = threading.Thread(target=answer_prompts, args=(place, stop))
    person.start()
    try:
        result = made.execute()
    finally:
        stop.set()
        person.join()
        made.journal.close()
    assert result.evaluations == 6
    assert "# The contract" in sorted(place.glob("*.prompt.md"))[0].read_text()
    assert replay(tmp_path / "run").differences == []


def answer_prompts(place: Path, stop: threading.Event) -> None:
    """Answers each prompt with a program of its own."""
    count = 0
    while not stop.wait(0.05):
        for prompt in place.glob("*.prompt.md"):
            reply = prompt.with_name(prompt.name.replace(".prompt.", ".reply."))
            if not reply.exists():
                count += 1
                key = f"lambda j: p[j] + {count} * w[j]"
                source = f"def order(p, w):\n    return sorted(range(len(p)), key={key})\n"
                temporary = place / ".reply.tmp"
                temporary.write_text(f"Idea: weigh {count}\n```python\n{source}```\n")
                temporary.replace(reply)
        time.sleep(0.05)


def by_ratio(_prompt: str, rng: random.Random) -> str:
    key = f"lambda j: p[j] / w[j] + {rng.random()} / 1e6"
    return f"Idea: by ratio\n```python\ndef order(p, w):\n    return sorted(range(len(p)), key={key})\n```\n"


def test_ideas_that_helped_are_carried_to_the_next_run_if_asked_for(
    small_folder: Path, tmp_path: Path
) -> None:
    with ModelServer(answer=by_ratio) as server:
        options = {"models": [f"{server.url}#m"], "budget": {"evaluations": 8}}
        first = search(tmp_path / "first", resolved(small_folder, "llm", "llm.skills=true", **options))
    with Journal.open(tmp_path / "first", read_only=True) as journal:
        digest = journal.meta("digest")
    cards = skills.load(digest)
    assert first.champion is not None
    assert cards
    assert all(card.gain > 0 and card.run == "first" and card.candidate for card in cards)
    for name, overrides, shown in (("with", ["llm.skills=true"], True), ("without", [], False)):
        made = run.start(tmp_path / name, resolved(small_folder, "llm", *overrides, **options))
        prompt = made.search.asker._briefing.system  # type: ignore[union-attr]
        made.journal.close()
        assert (cards[0].idea in prompt) == shown


# ---- the command line


def test_without_a_key_the_genetic_proposer_goes_on_and_says_so(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shown = call(
        "run", small_folder, "--proposer", "llm", "--evaluations", 5, "--no-mlflow", "--out", tmp_path / "run"
    )
    assert shown.exit_code == 0
    assert shown.stderr.splitlines()[0].endswith("going on with the genetic proposer")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "openai:gpt-6-luna"], "OPENAI_API_KEY"),
        (["--model", "http://127.0.0.1:9/v1#m", "--dollars", "1"], "--price m=INPUT/OUTPUT"),
        (["--model", "http://127.0.0.1:9/v1#m", "--price", "m"], "expected NAME=INPUT/OUTPUT"),
        (["--from", "x"], "only --proposer replay"),
        (["--proposer", "replay"], "--from RUN"),
        (["--model", "m"], "expected openai:NAME"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    shown = call("run", small_folder, *options, "--out", tmp_path / "run", "--no-mlflow")
    assert shown.exit_code == 2
    assert message in shown.stderr
    assert len(shown.stderr.strip().splitlines()) == 1


def test_run_prints_what_models_took(server: ModelServer, small_folder: Path, tmp_path: Path) -> None:
    options = ("--model", f"{server.url}#m", "--evaluations", 12, "--no-mlflow", "--out", tmp_path / "run")
    shown = call("run", small_folder, *options, "--price", "m=1/2", "--json", "--set", "jail.minimum=rlimits")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)["models"]
    assert found["models"][0]["dollars"] > 0
    assert found["unanswered"] == 0
    assert "under way" in shown.stderr or "proposer llm" in shown.stderr


def test_doctor_asks_each_model_once_if_told_to(server: ModelServer) -> None:
    before = server.counts["calls"]
    shown = call(
        "doctor", "--models", "--model", f"{server.url}#m", "--model", "http://127.0.0.1:9/v1#m", "--json"
    )
    facts = json.loads(shown.stdout)
    assert shown.exit_code == 1
    assert [bool(each["fault"]) for each in facts["models"]] == [False, True]
    assert server.counts["calls"] == before + 1
    assert any("127.0.0.1:9" in finding for finding in facts["findings"])


def test_of_several_files_the_one_that_may_change_is_changed(small_folder: Path, tmp_path: Path) -> None:
    folder = write_two_files(tmp_path / "two", small_folder, 'change = ["rule.py"]')
    with ModelServer(answer=another_rule) as server:
        the_settings = resolved(folder, "llm", models=[f"{server.url}#m"], budget={"evaluations": 12})
        search(tmp_path / "run", the_settings)
    with Journal.open(tmp_path / "run", read_only=True) as journal:
        found = [entry.record for entry in journal.entries()]
    asked = next(record for record in found if isinstance(record, Request))
    assert "Beside it lies program.py, which stays as it is" in asked.prompt.user
    assert "You write one Python file, rule.py" in asked.prompt.system
    made = [r.candidate for r in found if isinstance(r, Proposal) and r.model and r.candidate]
    assert len(made) == 10
    assert len({candidate.files["program.py"] for candidate in made}) == 1
    assert len({candidate.files["rule.py"] for candidate in made}) == 10


def another_rule(_prompt: str, rng: random.Random) -> str:
    return f"Idea: x\n```python\ndef priority(p, w, t):\n    return p - {rng.random()} * w\n```\n"
