"""The head of a report and its figures, as HTML. Whatever comes from candidates passes through `escaped`."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from evolve.htmldiff import escaped
from evolve.records import Split
from evolve.report.charts import Curve, chart, left
from evolve.report.control import Control
from evolve.report.data import Packed
from evolve.report.history import History, Step
from evolve.report.standings import Standing, Standings
from evolve.report.tables import opener
from evolve.statistics import Interval
from evolve.yields import SEED


def title(history: History, standings: Standings) -> str:
    return standings.problem.spec.title if standings.problem else history.meta["problem"] or "A search"


def claim(standings: Standings) -> str:
    """What the run has shown, in a sentence or two."""
    champion, best = standings.champion, standings.best
    if champion is None:
        return "No program has passed validation: there is no champion."
    if best is None or champion.candidate == best.candidate:
        name = best.name if best else champion.role
        return f"No program was shown to beat the best baseline, {name}; it is the champion itself."
    split = Split.HOLDOUT if standings.lead(best, Split.HOLDOUT) else Split.VALIDATION
    lead = standings.lead(best, split)
    if lead is None:
        return f"The champion passed the promotion test; {best.name}, the best baseline, was not measured beside it."
    verdict = "is better than" if lead.low > 0 else "was not shown to be better than"
    where = "the sealed holdout" if split is Split.HOLDOUT else "validation instances that no proposer saw"
    return (
        f"On {where} the champion {verdict} {best.name}, the best of the baselines: "
        f"score {lead.mean:+.5f}, {standings.confidence:.0%} interval [{lead.low:+.5f}, {lead.high:+.5f}]."
    )


def tiles(history: History, standings: Standings) -> Iterable[tuple[str, str]]:
    """Key figures, each with what it is."""
    champion = standings.champion
    split = next((each for each in (Split.HOLDOUT, Split.VALIDATION) if champion and champion.ok(each)), None)
    if champion and split:
        found = champion.found[split]
        yield f"{found.score:.5f}", f"champion's score on {split}; 0 is the baseline, 1 the bound"
        if standings.problem:
            objective = standings.problem.spec.objective
            yield f"{found.objective:.5g} {objective.unit}", f"{objective.name} on {split}"
        yield from _closed(standings, split)
    yield f"{history.evaluations:,}", f"candidates evaluated in {_duration(history.elapsed_s)}"
    champions = sum(each.promoted for _, each in history.promotions)
    yield f"{champions} of {len(history.promotions)}", "challengers promoted"
    yield ", ".join(history.jails) or "none", "jail"


def _closed(standings: Standings, split: Split) -> Iterable[tuple[str, str]]:
    """How much of the best baseline's gap to the bound is gone."""
    best = standings.best.ok(split) if standings.best else None
    ours = standings.champion.ok(split) if standings.champion else None
    if best and ours and best.score < 1 and standings.best and best.candidate != ours.candidate:
        share = (ours.score - best.score) / (1 - best.score)
        yield f"{share:.0%}", f"of {standings.best.name}'s gap to the bound closed on {split}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


# ---- the headline table


def standings(found: Standings) -> str:
    splits = found.splits
    if not splits:
        return '<p class="dim">Nothing was evaluated in full.</p>'
    unit = found.problem.spec.objective if found.problem else None
    raw = f"{unit.name} {unit.unit}" if unit else "objective"
    groups = "".join(f'<th class="split over" colspan="3">{split}</th>' for split in splits)
    heads = f'<th class="split">{escaped(raw)}</th><th>score</th><th>champion\'s lead</th>' * len(splits)
    head = f'<tr><th rowspan="2">program</th>{groups}</tr><tr class="under">{heads}</tr>'
    shown = [*([found.champion] if found.champion else []), *found.baselines]
    rows = "".join(_standing(each, found, splits) for each in shown)
    without = f'<p class="lose">{escaped(found.without)}.</p>' if found.without else ""
    return (
        f"<p>A score is 0 where the baseline is and 1 at a bound that no answer can beat. Intervals are "
        f"{found.confidence:.0%} bootstrap intervals over instances; leads are paired by instance.</p>{without}"
        f'<div class="card scroll fixed"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
    )


def _standing(standing: Standing, found: Standings, splits: Sequence[Split]) -> str:
    own = standing is found.champion
    role = f"<small>{escaped(standing.role)}</small>" if standing.role else ""
    name = f"★ {escaped(standing.name)}" if own else escaped(standing.name)
    if own:
        role = f"<small>{opener(standing.candidate, 'show it')}</small>"
    cells = "".join(_split_cells(standing, found, split) for split in splits)
    kind = ' class="champion"' if own else ""
    return f"<tr{kind}><td>{name}{role}</td>{cells}</tr>"


def _split_cells(standing: Standing, found: Standings, split: Split) -> str:
    evaluation, interval = standing.found.get(split), found.interval(standing, split)
    if evaluation is None or interval is None:
        status = str(evaluation.status) if evaluation else "not measured"
        return f'<td class="split dim">{status}</td><td class="dim">–</td><td class="dim">–</td>'
    lead = None if standing is found.champion else found.lead(standing, split)
    return (
        f'<td class="split">{evaluation.objective:.5g}</td>'
        f"<td>{_score(evaluation.score)}<small>{_score(interval.low)} to {_score(interval.high)}</small></td>"
        f"{_lead(lead)}"
    )


def _score(value: float) -> str:
    return f"{round(value, 5) + 0.0:.5f}"  # without a minus before zero


def _lead(lead: Interval | None) -> str:
    if lead is None:
        return "<td></td>"
    kind = "win" if lead.low > 0 else "lose" if lead.high < 0 else "dim"
    return f'<td class="{kind}">{lead.mean:+.5f}<small>{lead.low:+.5f} to {lead.high:+.5f}</small></td>'


# ---- progress


@dataclass(frozen=True)
class _Axis:
    """What a chart draws against. at: where a step lies. shared: whether other runs' steps can lie there, too."""

    label: str
    last: float
    at: Callable[[Step], float]
    shared: bool = True


def progress(history: History, found: Standings, controls: Sequence[Control]) -> str:
    axes = [
        _Axis("evaluations", float(history.evaluations), lambda step: float(step.evaluations)),
        _Axis("seconds", history.elapsed_s, lambda step: step.at),
        *_dollars(history),
    ]
    charts = [_chart(history, found, controls, axis) for axis in axes]
    if not charts[0]:
        return '<p class="dim">No candidate was evaluated in full.</p>'
    cards = "".join(f'<div class="card">{each}</div>' for each in charts if each)
    return (
        "<p>What is left to the bound: 1 is the baseline, 0 would be the bound. Lower is better.</p>"
        f'<div class="two">{cards}</div>{_key(history, found, controls)}'
    )


def _dollars(history: History) -> Iterable[_Axis]:
    """What models took, where a run asked any that is paid."""
    times = [cost.at for cost in history.costs]
    spent = [0.0, *accumulate(cost.dollars for cost in history.costs)]
    if spent[-1] > 0:
        yield _Axis("dollars", spent[-1], lambda step: spent[bisect(times, step.at)], shared=False)


def _chart(history: History, found: Standings, controls: Sequence[Control], axis: _Axis) -> str:
    seeds = sum(member.operator == SEED for member in history.members.values())
    curves = []
    if found.best and (train := found.best.ok(Split.TRAIN)):
        curves.append(Curve(f"{found.best.name} on train", "seed", [(0.0, left(train.score))]))
    for control in controls if axis.shared else ():
        within = [point for point in _points(control.best, seeds, axis) if point[0] <= axis.last]
        curves.append(Curve(f"{control.name}: best so far on train", "control", within))
    curves.append(Curve("best so far on train", "best", _points(history.best, seeds, axis)))
    curves.append(Curve("champion on validation", "champ", _points(history.champions, 0, axis), dots=True))
    return chart(curves, axis.last, axis.label)


def _points(steps: Sequence[Step], seeds: int, axis: _Axis) -> list[tuple[float, float]]:
    """Where a curve steps; it begins with the best of the seeds, whatever their order."""
    first = max((place for place, step in enumerate(steps) if step.evaluations <= seeds), default=0)
    return [(axis.at(step), left(step.score)) for step in steps[first:]]


def _key(history: History, found: Standings, controls: Sequence[Control]) -> str:
    names = [("best", "best so far on train")]
    names += [("champ", "champion on validation")] if history.champions else []
    names += [("control", f"{escaped(control.name)}, best so far on train") for control in controls]
    names += [("seed", f"{escaped(found.best.name)}, the best baseline, on train")] if found.best else []
    return (
        '<ul class="key">'
        + "".join(f'<li class="{kind}"><i></i>{text}</li>' for kind, text in names)
        + "</ul>"
    )


# ---- what the script fills


def groups() -> str:
    return (
        "<p>The champion's mean difference in score by group of instances: green where it wins.</p>"
        '<div class="card"><div class="controls" id="heat-controls"></div><div id="heat"></div></div>'
    )


def lineage() -> str:
    return (
        "<p>Every candidate is a dot: to the right the later ones, lower what is closer to the bound, failures on the "
        "ground; those that entered the archive are coloured, and the golden line leads to the champion. "
        "Choose a dot or a name to see its program, what changed, and its scores.</p>"
        '<div class="controls"><label>Find <input id="find" type="search" placeholder="number or id" size="14" '
        'autocomplete="off"></label><button id="to-champion" type="button" hidden>★ champion</button></div>'
        '<div class="explorer"><div class="card"><canvas id="map" role="img" aria-label="map of all candidates">'
        '</canvas><div id="tree"></div></div><div class="card" id="detail"></div></div>'
    )


def footer(data: Packed) -> str:
    programs = (
        f"All {data.total:,} programs are in this file."
        if data.shown == data.total
        else f"{data.shown:,} of {data.total:,} programs are in this file, which would be too large with all of them; "
        "<code>evolve show RUN ID</code> prints any."
    )
    made = "Made by <code>evolve report</code> from the run's journal."
    return f"<p>{made} {programs} The page loads nothing from anywhere.</p>"
