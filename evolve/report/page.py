"""The report as one HTML page. It asks the network for nothing, and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from evolve.htmldiff import escaped
from evolve.report import sections, tables
from evolve.report.control import Control
from evolve.report.data import Packed
from evolve.report.history import History
from evolve.report.standings import Standings
from evolve.settings import Settings

HERE = Path(__file__).parent
PARTS = (
    ("standings", "Against the baselines"),
    ("progress", "Progress"),
    ("groups", "Where it wins and loses"),
    ("lineage", "Lineage"),
    ("operators", "Operators"),
    ("failures", "Failures"),
    ("promotions", "Promotions"),
    ("conditions", "Conditions"),
)


def page(
    history: History,
    standings: Standings,
    controls: Sequence[Control],
    settings: Settings,
    name: str,
    data: Packed,
) -> str:
    """All of it. name: of the run."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    style = (HERE / "page.css").read_text(encoding="utf-8")
    title = escaped(sections.title(history, standings))
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}: {escaped(name)}</title><style>{style}</style></head><body>",
            _header(history, standings, name),
            _navigation(),
            "<main>",
            *_sections(history, standings, controls, settings),
            "</main>",
            f"<footer><main>{sections.footer(data)}</main></footer>",
            f'<script type="application/octet-stream" id="data">{data.text}</script>',
            f"<script>{script}</script></body></html>\n",
        ]
    )


def _policy(script: str) -> str:
    """No connection anywhere; the one script is known by its digest, so that no text can become another."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _header(history: History, standings: Standings, name: str) -> str:
    tiles = "".join(
        f'<div class="tile"><b>{escaped(value)}</b><span>{escaped(label)}</span></div>'
        for value, label in sections.tiles(history, standings)
    )
    return (
        f'<header><div><p class="eyebrow">Search report</p><h1>{escaped(sections.title(history, standings))}</h1>'
        f'<p class="sub">Run {escaped(name)}, started {escaped(history.meta["started"] or "at an unknown time")}</p>'
        f'<p class="claim">{escaped(sections.claim(standings))}</p><div class="tiles">{tiles}</div>'
        f'<p id="fault" class="lose" hidden></p></div></header>'
    )


def _navigation() -> str:
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in PARTS)
    return f'<nav aria-label="Parts of the report"><div>{links}</div></nav>'


def _sections(
    history: History, standings: Standings, controls: Sequence[Control], settings: Settings
) -> Iterable[str]:
    bodies = {
        "standings": sections.standings(standings),
        "progress": sections.progress(history, standings, controls),
        "groups": sections.groups(),
        "lineage": sections.lineage(),
        "operators": tables.operators(history),
        "failures": tables.failures(history),
        "promotions": tables.promotions(history),
        "conditions": tables.conditions(history, standings, settings),
    }
    for name, title in PARTS:
        yield f'<section id="{name}"><h2>{title}</h2>{bodies[name]}</section>'
        if name == "standings" and history.impossible:
            yield tables.impossible(history)
