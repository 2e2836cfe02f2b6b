"""The tables of a report: operators, failures, promotions, conditions. What comes from candidates is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from evolve.htmldiff import escaped
from evolve.records import MIGRANT, Promotion, Status
from evolve.report.history import History
from evolve.report.standings import Standings
from evolve.settings import Settings
from evolve.yields import SEED, Yields

EXAMPLES = 3  # of the feedback on each kind of failure
FINEST = 1e-12  # differences below this are rounding
STATUS_WORDS = {
    Status.OK: "evaluated in full",
    Status.RACED_OUT: "stopped early: already worse than what it had to beat",
    Status.DUPLICATE: "decides exactly as a known candidate, dropped",
    Status.INVALID: "a decision breaks a rule of the problem",
    Status.CRASHED: "raised an exception, or died",
    Status.TIMED_OUT: "passed its CPU or wall limit",
    Status.OUT_OF_MEMORY: "passed its memory limit",
    Status.FORBIDDEN: "tried what the jail refuses",
    Status.IMPOSSIBLE: "a score beyond the bound",
    Status.EVALUATOR_FAILED: "the evaluator's fault, not the candidate's",
}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table in a card that scrolls by itself; cells are HTML. The last column is text if `heads` says so by a `*`."""
    wide = heads[-1].endswith("*")
    head = "".join(f"<th{_wide(wide and name is heads[-1])}>{name.rstrip('*')}</th>" for name in heads)
    body = "".join(f"<tr>{_cells(row, wide)}</tr>" for row in rows)
    return f'<div class="card scroll {kind}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(row: Sequence[str], wide: bool) -> str:
    last = len(row) - 1
    return "".join(f"<td{_wide(wide and place == last)}>{cell}</td>" for place, cell in enumerate(row))


def _wide(wide: bool) -> str:
    return ' class="text"' if wide else ""


def opener(identity: str, text: str = "") -> str:
    """A button that shows a candidate."""
    return f'<button type="button" data-open="{escaped(identity)}">{escaped(text or identity[:10])}</button>'


def operators(history: History) -> str:
    together = "A proposal that several made together counts for each of them."
    seeds = (
        f"“{SEED}” stands for the programs that the search began with."
        if SEED in dict(history.yields)
        else ""
    )
    migrants = (
        f"“{MIGRANT}” stands for programs that came from other runs."
        if MIGRANT in dict(history.yields)
        else ""
    )
    about = f"What each operator's proposals came to, the most fruitful first. {together} {seeds} {migrants}"
    return f"<p>{about}</p>{_yields('operator', history.yields)}{_models(history)}"


def _models(history: History) -> str:
    """What was asked of models, and what it came to and took; "" where none was asked."""
    if not history.costs:
        return ""
    tokens: Counter[str] = Counter()
    dollars: dict[str, float] = {}
    for cost in history.costs:
        tokens[cost.model] += cost.tokens
        dollars[cost.model] = dollars.get(cost.model, 0.0) + cost.dollars
    taken = table(
        ("model", "tokens", "dollars"),
        [[escaped(name), f"{count:,}", f"{dollars[name]:.4f}"] for name, count in tokens.most_common()],
        "fixed",
    )
    return f'<h3>Models</h3>{_yields("model", history.models)}<div class="below">{taken}</div>'


def _yields(what: str, yields: Yields) -> str:
    rows = []
    for name, made in yields:
        share = made.share("archived")
        bar = f'<span class="bar"><i style="width:{100 * share:.2f}%"></i></span>'
        counts = [made.proposed, made.programs, made.sound, made.archived]
        last = [f"{share:.1%}{bar}", f"{made.bests:,}", f"{made.champions:,}"]
        rows.append([escaped(name), *(f"{count:,}" for count in counts), *last])
    heads = (
        what,
        "proposals",
        "new programs",
        "with a score",
        "entered archive",
        "share",
        "new best",
        "champions",
    )
    return table(heads, rows, "fixed")


def failures(history: History) -> str:
    total = max(1, history.evaluations)
    rows = [
        [str(status), f"{count:,}", f"{count / total:.1%}", STATUS_WORDS[status] + _examples(history, status)]
        for status, count in history.statuses.most_common()
    ]
    rows += [
        ["no program", f"{count:,}", "", escaped(reason)]
        for reason, count in history.fruitless.most_common(EXAMPLES)
    ]
    return (
        f"<p>How {history.proposals:,} proposals ended; shares are of the {history.evaluations:,} candidates that were "
        f"evaluated on train. {history.cached:,} evaluations came from the cache.</p>"
        f"{table(('status', 'candidates', 'share', 'what it means, and the most common feedback*'), rows)}"
    )


def _examples(history: History, status: Status) -> str:
    found = history.failures.get(status)
    common = found.most_common(EXAMPLES) if found else []
    return "".join(f"<small>{number:,} × {escaped(text)}</small>" for text, number in common if text)


def impossible(history: History) -> str:
    rows = [[opener(each.candidate), str(each.split), escaped(each.feedback)] for each in history.impossible]
    return (
        '<section id="impossible"><h2 class="lose">Impossible scores</h2><p>A score beyond the bound is a defect of '
        "the problem: its bound or the check of its evaluator is wrong, and no score of this run can be trusted.</p>"
        f"{table(('candidate', 'split', 'feedback*'), rows, 'loud')}</section>"
    )


def promotions(history: History) -> str:
    if not history.promotions:
        return "<p>No challenger was ever tested on validation.</p>"
    promoted = [(at, each) for at, each in history.promotions if each.promoted]
    refused = [(at, each) for at, each in history.promotions if not each.promoted]
    folded = (
        f"<details><summary>{len(refused)} that were not promoted</summary>{_promotions(refused)}</details>"
        if refused
        else ""
    )
    return (
        "<p>A challenger becomes champion if a paired test on validation says that it is better; a better mean is "
        f"not enough.</p>{_promotions(promoted) if promoted else ''}{folded}"
    )


def _promotions(listed: Iterable[tuple[float, Promotion]]) -> str:
    rows = [
        [
            opener(each.challenger),
            f"{at:.0f} s",
            _difference(each),
            str(each.instances),
            escaped(each.reason),
        ]
        for at, each in listed
    ]
    return table(("challenger", "at", "difference to the champion", "instances", "reason*"), rows)


def _difference(promotion: Promotion) -> str:
    low, high = promotion.low, promotion.high
    if not promotion.champion or max(abs(low or 0.0), abs(high or 0.0)) < FINEST:
        return '<span class="dim">–</span>'
    return f"{promotion.difference:+.5f}<small>{low:+.5f} to {high:+.5f}</small>"


def conditions(history: History, found: Standings, settings: Settings) -> str:
    levels = ", ".join(f"{level} ({count:,} evaluations)" for level, count in history.jails.items() if count)
    version = found.problem.spec.version if found.problem else None
    facts = [
        ("problem", f"{history.meta['problem']}, digest {history.meta['digest']}"),
        *([("version of the problem", str(version))] if version is not None else []),
        ("proposer", settings.proposer),
        ("seed of all randomness", str(settings.seed)),
        ("programs it began with", ", ".join(settings.seeds) or "all seeds of the problem"),
        ("workers", f"{settings.workers or 'all'} on {settings.backend.kind}"),
        ("jail level", levels),
        ("CPU time of candidates", f"{history.cpu_s:.0f} s"),
        ("ended", history.meta["ended"] or "it goes on, or was killed"),
        *history.versions.items(),
    ]
    return f'<div class="two">{_facts(facts)}{_facts(_settings(settings))}</div>'


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><td>{escaped(name)}</td><td class="text">{escaped(value or "–")}</td></tr>'
        for name, value in facts
    )
    return f'<div class="card"><table><tbody>{rows}</tbody></table></div>'


def _settings(settings: Settings) -> Iterable[tuple[str, str]]:
    for part, values in msgspec.to_builtins(settings).items():
        if isinstance(values, dict) and part != "mlflow":  # where the mirror lies is no fact of the search
            yield from ((f"{part}.{key}", _value(value)) for key, value in values.items())


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None or value == "" else str(value)
