"""A proof in words: the docstrings of the published module, and its README."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from evolve.publish import story, usage
from evolve.records import MIGRANT, Value

SHOWN_DIFF = 200  # lines of the diff from the seed that the README shows
ASKED = (
    "it is called each time that there is something to decide; its module was loaded anew for each instance, "
    "and may remember earlier calls"
)
Facts = Mapping[str, Any]


def about_package(proof: Facts) -> str:
    return f"{proof['problem']['title']}: a heuristic with its proof.\n\n{measured(proof)}"


def about_module(proof: Facts) -> str:
    """Docstring of the module."""
    return (
        f"{proof['problem']['title']}: {proof['entry']['signature']}.\n\n{measured(proof)}\n\n"
        f"Candidate {proof['candidate']['id']}; PROOF.json holds the figures, the settings and the lineage."
    )


def about_function(proof: Facts) -> str:
    """Docstring of the entry function."""
    limits = proof["problem"]["limits"]
    limit = (
        f"Measured with at most {limits['cpu_s']:g} s of CPU per instance (unless the instance allows more), "
        f"one thread and {limits['memory_mb']} MB of memory; the slowest instance took "
        f"{proof['holdout']['slowest']:.0%} of its time."
    )
    return "\n\n".join(
        [
            f"{proof['problem']['title']}: {proof['entry']['signature']}.",
            *([f"{_capital(ASKED)}."] if proof["entry"]["interactive"] else []),
            measured(proof),
            *(f"{comparison(rival, proof)}." for rival in proof["rivals"]),
            f"How it works, as it came about. {origin(proof)}:",
            "\n".join(story.steps(proof["lineage"])),
            " ".join(["When to use it.", *usage.when(proof)]),
            f"What it costs. {usage.cost(proof)} {limit}",
        ]
    )


def measured(proof: Facts) -> str:
    """The claim, in two sentences."""
    holdout, problem = proof["holdout"], proof["problem"]
    objective = problem["objective"]
    low, high = holdout["score_interval"]
    return (
        f"{_capital(objective['name'])} {number(holdout['objective'])} {objective['unit']} on average over "
        f"{holdout['instances']} instances that the search never saw. Normalised score "
        f"{holdout['score']:.5f}, {holdout['confidence']:.0%} interval {low:.5f} to {high:.5f}; "
        f"0 is {problem['score']['zero']}, 1 is {problem['score']['one']} that no answer can beat."
    )


def comparison(rival: Facts, proof: Facts) -> str:
    """How the heuristic compares with one rival."""
    unit = proof["problem"]["objective"]["unit"]
    name = f"{rival['name']} ({rival['role']})"
    difference = rival["difference"]
    if difference is None:
        return f"Against {name}: no figure, it fails on the holdout ({rival['status']})"
    low, high = difference["score_interval"]
    return (
        f"Against {name} with {number(rival['objective'])} {unit}: {_verdict(difference)}, "
        f"score {difference['score']:+.5f}, interval {low:+.5f} to {high:+.5f}"
    )


def origin(proof: Facts) -> str:
    search, line = proof["search"], proof["lineage"]
    count = len(line) - 1
    began = root(line[0])
    how = f"{count} step{'s' if count != 1 else ''} from {began}" if count else f"{began} itself"
    return f"Found by {search['proposer']} search, {how}, out of {search['evaluated']} programs evaluated"


def root(node: Facts) -> str:
    """What a lineage begins with."""
    return node["note"] if node["operator"] == MIGRANT else f"the seed {node['note']}"


def number(value: float | None) -> str:
    """Five digits, or all digits of a large number's integer part."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.5g}"


def score(value: float) -> str:
    """Five places, without a minus before zero."""
    return f"{round(value, 5) + 0.0:.5f}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def readme(proof: Facts, example: Mapping[str, Value], diff: str) -> str:
    """README.md of the package.

    Args:
        example: what the entry function was called with once, by parameter name.
        diff: from the seed, unified.
    """
    parts = [
        f"# {proof['module']}",
        f"{proof['problem']['title']}. {measured(proof)}",
        _use(proof, example),
        "## Proof\n\n" + _table(_results(proof)),
        _explanation(proof),
        "## When to use it\n\n" + " ".join(usage.when(proof)),
        *(_group_table(key, rows, proof) for key, rows in proof["holdout"]["groups"].items()),
        _summary(proof["holdout"]["summary"]),
        f"## What it costs\n\n{usage.cost(proof)}",
        "## How it was found\n\n" + f"{origin(proof)}:\n\n" + "\n".join(story.steps(proof["lineage"])),
        _diff(proof, diff),
        "## Conditions\n\n" + _table(_conditions(proof)),
        _check(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _diff(proof: Facts, diff: str) -> str:
    """What the search made of the seed; the beginning of a long one."""
    if not diff:
        return ""
    lines = diff.splitlines()
    left_out = len(lines) - SHOWN_DIFF
    more = f"\n\n{left_out} more lines are in `seed.diff`." if left_out > 0 else ""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", diff)), default=0))
    shown = "\n".join(lines[:SHOWN_DIFF])
    head = f"## Diff from {root(proof['lineage'][0])}\n\nWithout comments and layout:"
    return f"{head}\n\n{fence}diff\n{shown}\n{fence}{more}"


def _use(proof: Facts, example: Mapping[str, Value]) -> str:
    entry = proof["entry"]
    function = entry["function"]
    turns = f"\n\n{_capital(ASKED)}." if entry["interactive"] else ""
    return (
        f"## Use\n\n```sh\npip install .\n```\n\n```python\nfrom {proof['module']} import {function}\n\n"
        f"{function}({', '.join(entry['parameters'])})\n```\n\n{_arguments(entry, example)}{turns}"
    )


def _arguments(entry: Facts, example: Mapping[str, Value]) -> str:
    listed = "\n".join(f"- `{name}`: {_describe(value)}" for name, value in example.items())
    if not entry["harness"]:
        return f"{listed}\n- returns {entry['returns']}"
    names = ", ".join(entry["harness"]["parameters"])
    asked = (
        f"It is asked again and again for one instance: `decide([[{names}]])` in `tests/harness.py` does that"
    )
    if entry["harness"]["consults"]:
        asked = (
            f"An instance is decided by `decide([[{names}]], consult)` in `tests/harness.py`; what it asks on the way "
            f"is answered by `tests/evaluator.py`, as `tests/test_proof.py` shows. It is called once"
        )
    return (
        f"Returns {entry['returns']}. {asked} and gives a list with the decision. An instance has\n\n{listed}"
    )


def _describe(value: Value) -> str:
    """Type and shape of an argument, from an example."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array, for example of shape {value.shape}"
    return type(value).__name__ + (f", for example of length {len(value)}" if isinstance(value, list) else "")


def _table(rows: Iterable[Iterable[object]]) -> str:
    head, *body = [[_cell(cell) for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def _results(proof: Facts) -> Iterable[list[str]]:
    objective, holdout = proof["problem"]["objective"], proof["holdout"]
    yield [
        "program",
        f"{objective['name']} ({objective['unit']})",
        "score",
        "worst decile",
        f"our score minus its, {holdout['confidence']:.0%} interval",
        "ours is",
    ]
    yield [f"**{proof['module']}**", *_figures(holdout), "", ""]
    for rival in proof["rivals"]:
        yield [f"{rival['name']} ({rival['role']})", *_figures(rival), *_paired(rival)]
    yield ["the bound", number(holdout["bound"]), "1.00000", "1.00000", "", ""]


def _figures(figures: Facts) -> list[str]:
    if figures["status"] != "ok":
        return [figures["status"], "-", "-"]
    return [number(figures["objective"]), score(figures["score"]), score(figures["worst_decile"])]


def _paired(rival: Facts) -> list[str]:
    difference = rival["difference"]
    if difference is None:
        return ["-", "-"]
    low, high = difference["score_interval"]
    return [f"{difference['score']:+.5f} [{low:+.5f}, {high:+.5f}]", _verdict(difference)]


def _verdict(difference: Facts) -> str:
    return "better" if difference["better"] else "not shown to be better"


def _explanation(proof: Facts) -> str:
    holdout, problem = proof["holdout"], proof["problem"]
    times = len(holdout["openings"])
    opened = "once, for this package" if times == 1 else f"{times} times, for different choices or tries"
    opened += _elsewhere(holdout)
    return (
        f"{holdout['instances']} holdout instances, sealed during the search; holdout opened {opened}. "
        f"Intervals are bootstrap intervals of paired differences over instances. A score is computed per "
        f"instance, then averaged; on an instance where {problem['score']['zero']} reaches the bound it "
        f"scores 1 and not 0. The worst decile is the mean over the worst tenth. `tests/results.csv` holds "
        f"every single result."
    )


def _elsewhere(holdout: Facts) -> str:
    count = holdout["elsewhere"]
    return f", and {count} time{'s' * (count != 1)} outside this run" if count else ""


def _group_table(key: str, rows: list[Facts], proof: Facts) -> str:
    names = [rival["name"] for rival in proof["rivals"] if rival["status"] == "ok"]
    head = [key, "instances", f"**{proof['module']}**", *names, "score"]
    body = [
        [
            row["value"],
            row["instances"],
            number(row["objective"]),
            *(number(row["rivals"][name]) for name in names),
            f"{row['score']:.5f}",
        ]
        for row in rows
    ]
    objective = proof["problem"]["objective"]
    return f"By {key}, {objective['name']} in {objective['unit']}:\n\n" + _table([head, *body])


def _summary(summary: Facts) -> str:
    if not summary:
        return ""
    return _table([["on the holdout", ""], *([name, number(value)] for name, value in summary.items())])


def _conditions(proof: Facts) -> Iterable[list[object]]:
    search, limits = proof["search"], proof["problem"]["limits"]
    yield ["what", "value"]
    yield [
        "problem",
        f"{proof['problem']['name']}, version {proof['problem']['version']}, {proof['problem']['digest']}",
    ]
    yield ["candidate", proof["candidate"]["id"]]
    yield ["package", _version(proof)]
    yield ["CPU limit per instance", f"{limits['cpu_s']:g} s, unless the instance allows more"]
    yield ["memory limit", f"{limits['memory_mb']} MB"]
    yield ["jail", proof["holdout"]["jail"]]
    for split in ("train", "validation"):
        figures = proof[split]
        if figures and figures["status"] == "ok":
            yield [
                f"score on {split}",
                f"{figures['score']:.5f} over {figures['instances']} instances",
            ]
    yield ["promotion", _promoted(proof["promotion"])]
    if review := proof["review"]:
        yield ["review", f"{review['verdict']}{': ' if review['reason'] else ''}{review['reason']}"]
    yield ["search", f"seed {search['seed']}, {search['elapsed_s']:.0f} s, started {search['started']}"]
    yield ["versions of the search", _versions(search["versions"])]
    opening = _opening(proof)
    yield ["holdout opened", f"{opening['when']}; {_versions(opening['versions'])}"]


def _version(proof: Facts) -> str:
    registered = proof["registered"]
    if registered is None:
        return f"version {proof['version']}; the candidate is in no model registry"
    return f"version {proof['version']}: version {registered['version']} of the registered model {registered['model']}"


def _opening(proof: Facts) -> Facts:
    """The last opening for this candidate."""
    openings: list[Facts] = proof["holdout"]["openings"]
    return next(each for each in reversed(openings) if each["candidate"] == proof["candidate"]["id"])


def _promoted(promotion: Facts | None) -> str:
    if promotion is None:
        return "none: it was never tested against the champion"
    if not promotion["champion"]:
        return str(promotion["reason"])
    return (
        f"{promotion['reason']}, against {promotion['champion']}: score {promotion['difference']:+.5f} "
        f"[{promotion['low']:+.5f}, {promotion['high']:+.5f}] over {promotion['instances']} instances"
    )


def _versions(versions: Facts) -> str:
    return ", ".join(f"{name} {value}" for name, value in versions.items())


def _check() -> str:
    return (
        "## Check it\n\n```sh\npip install numpy pytest\npytest\n```\n\n"
        "recomputes the objective of some holdout instances with the judge that measured them "
        "(`tests/evaluator.py`), and the sums of the table. Another processor or version of numpy may round "
        "differently, and so break a tie between equal choices in another way."
    )
