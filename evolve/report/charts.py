"""Curves as SVG, coloured by the page's style sheet, so that they follow the reader's dark mode."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 42
SMALLEST = 1e-6  # of a share on the logarithmic axis
SPREAD = 4.0  # ratio of the largest to the smallest value from which the axis is logarithmic


@dataclass(frozen=True)
class Curve:
    """A step curve. kind: class of the style sheet. points: x and what is left to the bound, in order of x."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


def left(score: float) -> float:
    """What is left to the bound (1 = the baseline), fit for a logarithmic axis."""
    return max(1.0 - score, SMALLEST)


def chart(curves: Sequence[Curve], last: float, label: str) -> str:
    """An SVG; "" if there is nothing to draw.

    Args:
        last: where the x axis ends, and curves with it.
    """
    drawn = [curve for curve in curves if curve.points]
    values = [value for curve in drawn for _, value in curve.points]
    if not values or last <= 0:
        return ""
    scale = _Scale.around(values)
    body = [_grid(scale, last), *(_curve(curve, scale, last) for curve in drawn)]
    middle = (LEFT + WIDTH - RIGHT) / 2
    body.append(f'<text class="label" x="{middle:g}" y="{HEIGHT - 6}" text-anchor="middle">{label}</text>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="what is left to the bound against {label}">'
        f"{''.join(body)}</svg>"
    )


@dataclass(frozen=True)
class _Scale:
    """The y axis, from `low` at the bottom to `high` at the top."""

    low: float
    high: float
    log: bool

    @classmethod
    def around(cls, values: Sequence[float]) -> _Scale:
        low, high = min(values), max(values)
        if low > 0 and high / low >= SPREAD:
            return cls(low / 1.25, high * 1.25, True)
        room = (high - low) * 0.1 or abs(high) * 0.1 or 1.0
        return cls(low - room, high + room, False)

    def y(self, value: float) -> float:
        ends = [self.low, self.high, value]
        low, high, at = map(math.log, ends) if self.log else ends
        return HEIGHT - BOTTOM - (at - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def ticks(self) -> list[float]:
        if not self.log:
            return _round_ticks(self.low, self.high)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1, 2, 5) if self.high / self.low < 50 else (1, 3) if self.high / self.low < 1000 else (1,)
        marks = [step * 10.0**decade for decade in decades for step in steps]
        return [mark for mark in marks if self.low <= mark <= self.high]


def _round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from low to high, about `count`."""
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(each * unit for each in (1, 2, 5, 10) if each * unit >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _x(value: float, last: float) -> float:
    return LEFT + min(value, last) / last * (WIDTH - LEFT - RIGHT)


def _grid(scale: _Scale, last: float) -> str:
    parts = []
    for mark in scale.ticks():
        y = scale.y(mark)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{mark:.3g}</text>')
    for mark in _round_ticks(0.0, last):
        x = _x(mark, last)
        place = f'x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}"'
        anchor = "end" if x > WIDTH - RIGHT - 15 else "middle"
        parts.append(f'<text {place} text-anchor="{anchor}">{_short(mark)}</text>')
    floor = HEIGHT - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>')
    return "".join(parts)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _curve(curve: Curve, scale: _Scale, last: float) -> str:
    places = [(_x(x, last), scale.y(value)) for x, value in curve.points]
    path = f"M{places[0][0]:.1f} {places[0][1]:.1f}"
    path += "".join(f"H{x:.1f}V{y:.1f}" for x, y in places[1:])
    path += f"H{_x(last, last):.1f}"
    title = f"<title>{html.escape(curve.name)}</title>"
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>' for x, y in places) if curve.dots else ""
    return f'<g class="curve {curve.kind}">{title}<path d="{path}"/>{dots}</g>'
