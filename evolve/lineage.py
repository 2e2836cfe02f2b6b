"""The read-only ancestry view of a journal: who came from whom, and how each was judged.

Programs are unpacked only when they are asked for: a journal of many thousand candidates reads in a moment.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from rich.text import Text
from rich.tree import Tree

from evolve.errors import JournalError
from evolve.journal import TABLES, Journal
from evolve.records import MIGRANT, SPLITS, Candidate, Evaluation, Promotion, Remedy, Repeats, Split, Status

PROMOTED = "bold green"


@dataclass(frozen=True)
class Node:
    """A candidate without its program. The fields are those of `Candidate`."""

    id: str
    parents: tuple[str, ...]
    operator: str
    note: str
    number: int

    @property
    def step(self) -> str:
        """What made it, in words."""
        return f"{self.operator}: {self.note}" if self.note else self.operator


@dataclass(frozen=True)
class Verdict:
    """An evaluation without its figures per instance; score and objective are nan unless the status is OK."""

    status: Status
    score: float
    objective: float
    instances: int


@dataclass(frozen=True)
class Trial:
    """A child's evaluation on train. score: nan unless the status is OK. placed: it entered the archive."""

    candidate: str
    operator: str
    parents: tuple[str, ...]
    score: float
    instances: int
    cpu_s: float
    placed: bool


@dataclass(frozen=True)
class Cost:
    """What a proposal took of a model. at: seconds of running time at which it was made."""

    number: int
    at: float
    model: str
    tokens: int
    dollars: float


class Lineage:
    """The ancestry in a journal as it was when first looked at.

    An identity may be given by its first digits wherever they are unique.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        # a connection of its own: readers never wait for the writer in WAL mode
        self._database = sqlite3.connect(f"{journal.path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Lineage:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---- who came from whom

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """All candidates by id, in the order in which they were proposed."""
        rows = self._database.execute(
            "SELECT candidate, parents, operator, note, number FROM proposals"
            " WHERE candidate IS NOT NULL ORDER BY seq"
        )
        return {row[0]: Node(row[0], tuple(json.loads(row[1])), row[2], row[3] or "", row[4]) for row in rows}

    def resolve(self, identity: str) -> str:
        """The whole id that begins with `identity`.

        Raises:
            JournalError: no candidate has it, or several have.
        """
        if identity in self.nodes:
            return identity
        found = [known for known in self.nodes if identity and known.startswith(identity)]
        if not found:
            where = self._journal.path.parent
            raise JournalError(
                f"{where}: no candidate '{identity}'; `evolve lineage {where}` shows what there is"
            )
        if len(found) > 1:
            raise JournalError(
                f"'{identity}' is ambiguous: {', '.join(found[:3])}{', ...' if found[3:] else ''}"
            )
        return found[0]

    def node(self, identity: str) -> Node:
        """A candidate without its program."""
        return self.nodes[self.resolve(identity)]

    def parents(self, identity: str) -> tuple[str, ...]:
        return self.node(identity).parents

    def repeats(self, reason: str) -> Repeats:
        """What the run did not have to run.

        Args:
            reason: that a proposal of a known program was given.
        """
        proposals = "SELECT count(*) FROM proposals WHERE candidate IS NULL AND reason = ?"
        evaluations = "SELECT count(*) FROM evaluations WHERE status = ? AND split = ?"
        columns = {row[1] for row in self._database.execute("PRAGMA table_info(evaluations)")}
        cached = "SELECT count(*) FROM evaluations WHERE cached" if "cached" in columns else "SELECT 0"
        queries = ((proposals, (reason,)), (evaluations, (Status.DUPLICATE, Split.TRAIN)), (cached, ()))
        return Repeats(*(self._database.execute(*query).fetchone()[0] for query in queries))

    @cached_property
    def children(self) -> Mapping[str, int]:
        """How many candidates each candidate is a parent of."""
        return Counter(parent for node in self.nodes.values() for parent in set(node.parents))

    def line(self, identity: str) -> list[Node]:
        """From the seed to a candidate along first parents, without programs."""
        return list(reversed(list(self._upwards(self.resolve(identity)))))

    def ancestry(self, identity: str) -> list[Candidate]:
        """From the seed to a candidate along first parents."""
        return [self._journal.candidate(node.id) for node in self.line(identity)]

    def ancestors(self, identity: str) -> set[str]:
        """Ids of all ancestors, through all parents; the candidate itself is not among them."""
        found: set[str] = set()
        waiting = list(self.parents(identity))
        while waiting:
            parent = waiting.pop()
            if parent not in found and parent in self.nodes:
                found.add(parent)
                waiting += self.nodes[parent].parents
        return found

    def _upwards(self, identity: str) -> Iterator[Node]:
        passed: set[str] = set()
        while identity in self.nodes and identity not in passed:
            passed.add(identity)
            node = self.nodes[identity]
            yield node
            identity = node.parents[0] if node.parents else ""

    # ---- how each was judged

    @cached_property
    def verdicts(self) -> Mapping[tuple[str, Split], Verdict]:
        """The last evaluation of each candidate on each split, in short."""
        rows = self._database.execute(
            "SELECT candidate, split, status, score, objective, instances FROM evaluations ORDER BY seq"
        )
        return {(row[0], Split(row[1])): _verdict(*row[2:]) for row in rows}

    def verdict(self, identity: str, split: Split) -> Verdict | None:
        """How a candidate did on a split; None if it was not evaluated there."""
        return self.verdicts.get((identity, split))

    def trials(self) -> Iterator[Trial]:
        """All evaluations on train in the order in which they were taken, each with what made its candidate."""
        rows = self._database.execute(
            "SELECT e.candidate, p.operator, p.parents, e.score, e.instances, e.cpu_s,"
            " e.candidate IN (SELECT candidate FROM placements)"
            " FROM evaluations AS e JOIN proposals AS p ON p.candidate = e.candidate"
            " WHERE e.split = 'train' ORDER BY e.seq"
        )
        for identity, operator, parents, score, instances, cpu_s, placed in rows:
            known = float("nan") if score is None else score
            yield Trial(identity, operator, tuple(json.loads(parents)), known, instances, cpu_s, bool(placed))

    def evaluation(self, identity: str, split: Split) -> Evaluation | None:
        """The last evaluation of a candidate on a split with all its figures; None if there is none."""
        row = self._database.execute(
            "SELECT max(seq) FROM evaluations WHERE candidate = ? AND split = ?", (identity, split)
        ).fetchone()
        if row[0] is None:
            return None
        record = next(self._journal.entries(after=row[0] - 1)).record
        assert isinstance(record, Evaluation)
        return record

    def costs(self) -> list[Cost]:
        """What proposals took of models, in order; none in a run that asked no model."""
        columns = {row[1] for row in self._database.execute("PRAGMA table_info(proposals)")}
        if not {"model", "tokens", "dollars"} <= columns:
            return []
        rows = self._database.execute(
            "SELECT number, at, model, tokens, dollars FROM proposals WHERE model != '' ORDER BY seq"
        )
        return [Cost(*row) for row in rows]

    def trained(self) -> list[tuple[float, float]]:
        """Of each evaluation on train, in order: running time in seconds, and score (nan unless OK)."""
        rows = self._database.execute(
            "SELECT at, score FROM evaluations WHERE split = ? ORDER BY seq", (Split.TRAIN,)
        )
        return [(at, float("nan") if score is None else score) for at, score in rows]

    @cached_property
    def promotions(self) -> tuple[Promotion, ...]:
        """All verdicts of the promotion test, in order."""
        rows = self._database.execute(
            "SELECT challenger, champion, promoted, difference, low, high, confidence, instances, reason"
            " FROM promotions ORDER BY seq"
        )
        return tuple(Promotion(row[0], row[1], bool(row[2]), *row[3:]) for row in rows)

    @cached_property
    def interventions(self) -> Mapping[Remedy, int]:
        """How often the search did something about being stuck, by what it did."""
        rows = self._database.execute(
            "SELECT remedy, count(*) FROM interventions GROUP BY remedy ORDER BY remedy"
        )
        return {Remedy(name): count for name, count in rows}

    @property
    def champion(self) -> str:
        """Id of the last one that was promoted; "" if there is none."""
        return next((p.challenger for p in reversed(self.promotions) if p.promoted), "")

    @property
    def elapsed_s(self) -> float:
        """Running time of the search at its last record, in seconds."""
        union = " UNION ALL ".join(f"SELECT max(at) AS at FROM {table}" for table in TABLES)
        row = self._database.execute(f"SELECT coalesce(max(at), 0.0) FROM ({union})").fetchone()
        return float(row[0])

    # ---- to look at

    def tree(self, identity: str | None = None) -> Tree:
        """The steps from the seed to a candidate, each with its further parents; or the run at a glance.

        Without a candidate: the seeds, and what came from other runs and has descendants, each with the champions
        that descend from it along first parents.
        """
        return self._overview() if identity is None else self._steps(identity)

    def _steps(self, identity: str) -> Tree:
        line = self.line(identity)
        tree = Tree(f"{_count(len(line) - 1, 'step')} to [bold]{line[-1].id}[/bold]")
        for node in line:
            branch = tree.add(self.label(node))
            for parent in node.parents[1:]:
                if parent in self.nodes:
                    branch.add(Text("with ").append_text(self.label(self.nodes[parent])))
        return tree

    def _overview(self) -> Tree:
        descendants = self._descendants()
        migrants = sum(node.operator == MIGRANT for node in self.nodes.values())
        came = f", from other runs: {migrants}" if migrants else ""
        tree = Tree(f"{_count(len(self.nodes), 'candidate')}, champions: {len(self._promoted)}{came}")
        branches = {}
        for node in self.nodes.values():
            fruitless = (
                node.operator == MIGRANT and not descendants[node.id] and node.id not in self._promoted
            )
            if not node.parents and not fruitless:
                label = self.label(node).append(f"  {_count(descendants[node.id], 'descendant')}", "dim")
                branches[node.id] = tree.add(label)
        for champion in self._promoted:
            line = self.line(champion)
            if len(line) > 1:
                branches[line[0].id].add(
                    self.label(line[-1]).append(f"  {_count(len(line) - 1, 'step')}", "dim")
                )
        return tree

    def _descendants(self) -> Counter[str]:
        roots: dict[str, str] = {}
        for node in self.nodes.values():  # a parent is proposed before its children
            first = node.parents[0] if node.parents else node.id
            roots[node.id] = roots.get(first, node.id)
        return Counter(root for identity, root in roots.items() if root != identity)

    @cached_property
    def _promoted(self) -> dict[str, None]:
        return dict.fromkeys(
            p.challenger for p in self.promotions if p.promoted and p.challenger in self.nodes
        )

    def label(self, node: Node) -> Text:
        """One line on a candidate: id, how it was made, and its scores."""
        text = Text(node.id[:10], PROMOTED if node.id in self._promoted else "cyan")
        text.append(f"  {node.step}")
        for split in SPLITS:
            verdict = self.verdict(node.id, split)
            if verdict is not None:
                shown = f"{verdict.score:.5f}" if verdict.status is Status.OK else str(verdict.status)
                text.append(f"  {split} {shown}", "dim")
        return text


def _verdict(status: str, score: float | None, objective: float | None, instances: int) -> Verdict:
    nan = float("nan")
    return Verdict(
        Status(status), nan if score is None else score, nan if objective is None else objective, instances
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
