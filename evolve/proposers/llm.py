"""The proposer that asks language models: improve, rewrite, merge, repair, simplify, explore.

Search by language models over programs follows FunSearch (Romera-Paredes et al., 2023) and AlphaEvolve (Novikov et
al., 2025); choosing among models and kinds of prompts by what they yield follows ShinkaEvolve (Lange et al., 2025).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from evolve import edits
from evolve import program as programs
from evolve.bandit import Bandit
from evolve.credit import gain
from evolve.errors import ProgramError
from evolve.models.base import estimate
from evolve.models.panel import Panel
from evolve.models.prices import Price
from evolve.proposers.base import Affords, ModelProposer
from evolve.proposers.briefing import Briefing
from evolve.proposers.history import NOTE, History
from evolve.records import Candidate, Evaluation, Exchange, Prompt, Proposal, Request, Sample
from evolve.settings import LlmSettings

OPERATORS: Mapping[str, float] = MappingProxyType(
    {"improve": 4.0, "rewrite": 1.0, "merge": 1.5, "repair": 1.5, "simplify": 0.5, "explore": 1.5}
)
"""How often each is tried while nothing is known of what it yields."""
TAKE_NOTES = "note"
STUCK = 3  # changes of a program without success after which something else may be tried
LONG = 30  # lines from which on a program may be simplified
NOTES_EVERY = 30  # children between two requests for notes
NOTE_LINES = 8
LEARNING = 0.99  # decay of what is known of an operator
PER_TOKEN = 1e-6  # cost of a token where nothing costs dollars

_IDEA = re.compile(r"^[\s*#_]*idea[\s*_]*:[\s*_]*(.+)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Contract:
    """What a program has to be. file: the one that models change; entry: what it defines, "" if another file does."""

    entry: str
    file: str


@dataclass
class _Spent:
    tokens: int = 0
    dollars: float = 0.0


class LlmProposer(ModelProposer):
    """Asks the models of a panel."""

    name = "llm"

    def __init__(
        self,
        contract: Contract,
        panel: Panel,
        briefing: Briefing,
        settings: LlmSettings,
        find: Callable[[str], Candidate],
        islands: int = 1,
    ) -> None:
        """
        Args:
            find: a candidate of this run by its id.
            islands: of the archive; a candidate's number says on which one it lives.
        """
        self.panel = panel
        self.operators = Bandit(OPERATORS, LEARNING)
        self.history = History()
        self.notes = ""
        self._contract = contract
        self._briefing = briefing
        self._settings = settings
        self._find = find
        self._islands = islands
        self._open: dict[int, Request] = {}
        self._spent: dict[int, _Spent] = {}
        self._awaited: dict[str, Request] = {}  # candidates under evaluation, by what made them
        self._pending: Counter[str] = Counter()
        self._noted = 0  # children when notes were last asked for

    # ---- asking

    def ask(
        self, sample: Sample, number: int, rng: random.Random, at: float, affords: Affords
    ) -> Request | None:
        limit, reply = self._settings.prompt_tokens, self._settings.reply_tokens

        def affordable(price: Price) -> bool:
            return affords(limit + reply, price.most(limit, reply))

        model = self.panel.choose(rng, at, affordable)
        if model is None:
            return None
        operator = TAKE_NOTES if self._notes_due() else self._operator(sample, rng)
        parents, prompt = self._prompt(operator, sample)
        size = estimate(prompt.system) + estimate(prompt.user)
        dollars = self.panel.seats[model].price.most(size, reply)
        return Request(number, operator, model, parents, prompt, size + reply, dollars)

    def paused(self, at: float) -> bool:
        return self.panel.paused(at)

    def aside(self, at: float) -> str:
        return self.panel.aside(at)

    @property
    def silence(self) -> str:
        return self.panel.silence

    def _notes_due(self) -> bool:
        return self._settings.notes and self.history.evaluated - self._noted >= NOTES_EVERY

    def _operator(self, sample: Sample, rng: random.Random) -> str:
        shares = self.operators.shares(self._pending)
        fit = [name for name in shares if self._fits(name, sample)]
        return rng.choices(fit, [shares[name] for name in fit])[0]

    def _fits(self, operator: str, sample: Sample) -> bool:
        """Whether there is an occasion for an operator."""
        parent = sample.parent.candidate
        match operator:
            case "merge":
                return bool(sample.inspirations)
            case "repair":
                return self.history.broken() is not None
            case "simplify":
                return parent.files[self._contract.file].count("\n") >= LONG
            case "explore":
                return len(self.history.tried(parent.id)) >= STUCK
        return True

    def _prompt(self, operator: str, sample: Sample) -> tuple[tuple[str, ...], Prompt]:
        """Parents of the program that may come back, and what to ask."""
        if operator == TAKE_NOTES:
            return (), self._briefing.note(self.history.improved, self.history.failed, self.notes)
        if operator == "repair" and (found := self.history.broken()) is not None:
            broken, evaluation = found
            return (broken.id, *broken.parents[:1]), self._briefing.repair(broken, evaluation)
        parents = [sample.parent.candidate.id]
        if operator == "merge":
            sample = self._from_elsewhere(sample)
            parents.append(sample.inspirations[0].candidate.id)
        tried = self.history.tried(parents[0])
        return tuple(parents), self._briefing.write(operator, sample, tried, self.notes)

    def _from_elsewhere(self, sample: Sample) -> Sample:
        """The same with an inspiration from another island in front, if there is one."""
        home = sample.parent.candidate.number % self._islands
        ranked = sorted(
            sample.inspirations, key=lambda member: member.candidate.number % self._islands == home
        )
        return replace(sample, inspirations=tuple(ranked))

    # ---- reading

    def read(self, request: Request, exchange: Exchange) -> Proposal:
        spent = self._spent.get(request.number, _Spent())
        empty = Proposal(
            request.number,
            request.operator,
            request.parents,
            None,
            model=request.model,
            tokens=spent.tokens,
            dollars=spent.dollars,
        )
        if exchange.fault is not None:
            return replace(empty, reason=f"{exchange.fault}: {exchange.detail}")
        if request.operator == TAKE_NOTES:
            return replace(empty, reason="notes were taken")
        try:
            return replace(empty, candidate=self._candidate(request, exchange))
        except (edits.EditError, ProgramError) as error:
            return replace(empty, reason=str(error))

    def _candidate(self, request: Request, exchange: Exchange) -> Candidate:
        file, parent = self._contract.file, self._find(request.parents[0])
        text = edits.program(exchange.reply, parent.files[file], exchange.cut, self._contract.entry)
        tree = programs.parse(text, file)
        if self._contract.entry and self._contract.entry not in programs.defined_functions(tree):
            raise ProgramError(f"the program does not define {self._contract.entry}")
        note = idea(edits.said(exchange.reply))
        files = {**parent.files, file: text}
        made = programs.make_candidate(files, request.parents, request.operator, note, {file: tree})
        if made.id == parent.id:
            raise ProgramError("the program is the same as its parent")
        return replace(made, number=request.number)

    # ---- being told

    def resumed(self) -> None:
        self.panel.renew()

    def asked(self, request: Request) -> None:
        self._open[request.number] = request
        self._spent[request.number] = _Spent()
        self._pending[request.operator] += 1
        self.panel.asked(request)
        if request.operator == TAKE_NOTES:
            self._noted = self.history.evaluated
        elif request.operator == "repair":
            self.history.repaired(request.parents[0])

    def exchanged(self, exchange: Exchange, at: float) -> None:
        self.panel.exchanged(exchange, at)
        spent = self._spent[exchange.number]
        spent.tokens += exchange.usage.total
        spent.dollars += exchange.dollars
        if self._open[exchange.number].operator == TAKE_NOTES and exchange.fault is None:
            self.notes = note_lines(exchange.reply) or self.notes

    def proposed(self, proposal: Proposal) -> None:
        request = self._open.pop(proposal.number, None)
        if request is None:
            return
        if proposal.candidate is not None:
            self._awaited[proposal.candidate.id] = request
            return
        self._tell(request, 0.0)
        if request.parents and not proposal.reason.startswith("notes"):
            self.history.useless(request.parents[0], proposal.reason)

    def evaluated(self, candidate: Candidate, evaluation: Evaluation, placed: bool) -> None:
        self.history.add(candidate, evaluation)
        request = self._awaited.pop(candidate.id, None)
        if request is not None:
            base = self.history.base(request.parents)
            self._tell(request, gain(evaluation.score, base) if placed else 0.0)

    def _tell(self, request: Request, gained: float) -> None:
        spent = self._spent.pop(request.number)
        cost = spent.dollars if self.panel.priced else spent.tokens * PER_TOKEN
        self._pending[request.operator] -= 1
        self.panel.tell(request.model, gained, cost)
        if request.operator in self.operators:
            self.operators.tell(request.operator, gained, cost)


def idea(reply: str) -> str:
    """What a reply says of itself, in one short line."""
    found = _IDEA.search("\n".join(reply.splitlines()))
    return _printable(found[1])[:NOTE].strip() if found else ""


def note_lines(reply: str) -> str:
    """The notes in a reply: its list, bounded."""
    lines = [line.strip() for line in reply.splitlines() if line.strip().startswith(("- ", "* "))]
    return "\n".join(f"- {_printable(line[2:])[:NOTE]}" for line in lines[:NOTE_LINES])


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
