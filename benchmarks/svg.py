"""Two kinds of pictures as SVG: bars beside names, and lines over a logarithmic axis.

Written here because a picture in a repository must not change unless its data does, must have no script in it and
must be readable on light and dark pages: chart libraries put random ids, dates and a script into each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.figures import number

WIDTH = 760
_CHAR = 7.0  # about the width of a letter at 13 pixels

_STYLE = """
svg { --ink: #1f2328; --soft: #d8dee4; --paper: #ffffff; --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6edf3; --soft: #3d444d; --paper: #0d1117; --c0: #58a6ff; --c1: #f0883e; --c2: #3fb950; --c3: #bc8cff }
}
text { font: 13px system-ui, sans-serif; fill: var(--ink) }
.title { font-size: 15px; font-weight: 600 }
.paper { fill: var(--paper) }
.grid { stroke: var(--soft); stroke-width: 1 }
.axis { stroke: var(--ink); stroke-width: 1 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
"""


def bars(title: str, unit: str, rows: Sequence[tuple[str, float]], *, ours: str) -> str:
    """One bar a row, its figure behind it; rows whose name begins with `ours` have a colour of their own."""
    left = 24 + _CHAR * max((len(name) for name, _ in rows), default=0)
    room = WIDTH - left - 90
    most = max((value for _, value in rows), default=1.0) or 1.0
    height = 66 + 30 * len(rows) + 22
    parts = []
    for at, (name, value) in enumerate(rows):
        y = 46 + 30 * at
        long = max(1.0, room * value / most)
        colour = "var(--c0)" if name.startswith(ours) else "var(--c1)"
        parts += [
            _text(left - 8, y + 16, name, anchor="end"),
            f'<rect x="{left:.1f}" y="{y}" width="{long:.1f}" height="22" rx="2" style="fill:{colour}"/>',
            _text(left + long + 6, y + 16, number(value)),
        ]
    parts.append(f'<line class="axis" x1="{left:.1f}" y1="40" x2="{left:.1f}" y2="{height - 36}"/>')
    parts.append(_text(left + room / 2, height - 12, unit, anchor="middle"))
    return _document(title, height, parts)


def lines(
    title: str,
    x_title: str,
    y_title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    y_most: float | None = None,
    dots: bool = False,
) -> str:
    """One line a series; x is logarithmic, y begins at 0 and ends at `y_most` or a little above the largest."""
    left, right, top, bottom, height = 80, 44, 70, 60, 400
    points = [point for each in series.values() for point in each]
    x_low = math.floor(math.log10(min(x for x, _ in points)))
    x_high = max(math.ceil(math.log10(max(x for x, _ in points))), x_low + 1)
    step = _step(y_most or max(y for _, y in points))
    y_high = y_most or step * math.ceil(max(y for _, y in points) / step)

    def place(x: float, y: float) -> tuple[float, float]:
        along = (math.log10(x) - x_low) / (x_high - x_low)
        return left + (WIDTH - left - right) * along, height - bottom - (height - top - bottom) * y / y_high

    parts = []
    for power in range(x_low, x_high + 1):
        x, floor = place(10.0**power, 0)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{floor:.1f}"/>')
        parts.append(_text(x, floor + 18, number(10.0**power), anchor="middle"))
    for tick in range(round(y_high / step) + 1):
        x, y = place(10.0**x_low, tick * step)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{WIDTH - right}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, number(tick * step), anchor="end"))
    at_legend = float(left)
    for index, (name, each) in enumerate(series.items()):
        colour = f"var(--c{index % 4})"
        places = [place(x, y) for x, y in each]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="line" points="{path}" style="stroke:{colour}"/>')
        if dots:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" style="fill:{colour}"/>' for x, y in places]
        parts.append(f'<rect x="{at_legend:.1f}" y="44" width="14" height="4" style="fill:{colour}"/>')
        parts.append(_text(at_legend + 20, 51, name))
        at_legend += 40 + _CHAR * len(name)
    middle = (top + height - bottom) / 2
    parts.append(_text((left + WIDTH - right) / 2, height - 14, x_title, anchor="middle"))
    turned = f'transform="rotate(-90 18 {middle:.1f})"'
    parts.append(f'<text x="18" y="{middle:.1f}" text-anchor="middle" {turned}>{escape(y_title)}</text>')
    return _document(title, height, parts)


def _step(most: float) -> float:
    """A round distance that divides an axis up to `most` into four to eight."""
    power = 10.0 ** math.floor(math.log10(most / 4))
    return next(power * by for by in (1, 2, 2.5, 5, 10) if most / (power * by) <= 8)


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _document(title: str, height: int, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img"><title>{escape(title)}</title>\n<style>{_STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>\n'
        f'<text class="title" x="16" y="26">{escape(title)}</text>\n{body}\n</svg>\n'
    )
