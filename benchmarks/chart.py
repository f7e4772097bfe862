"""The chart of a run's result: CPU for each delivered message, on a logarithmic scale."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

from report import COLUMNS, LINES, Result, median
from servers import SERVERS

__all__ = ["draw"]

FIGURES = ("fan_small_cpu", "saturated_cpu")
COLOURS = {
    **dict.fromkeys(("wsredis", "wsredis2"), "#0b7a75"),
    **dict.fromkeys(("floor", "floor_join", "floor2"), "#9a9a9a"),
}
OTHERS = "#c9b27c"
BAR, GAP, LEFT, WIDTH, HEAD = 18, 6, 190, 760, 34


def draw(result: Result) -> str:
    """Return the chart as SVG, with a panel for each figure, the cheapest server first."""
    parts: list[str] = []
    y = 10
    for figure in FIGURES:
        found = {key: median(result, key, figure) for key in COLUMNS}
        values = {key: value * 1e6 for key, value in found.items() if value}
        if not values:
            continue
        text, y = _panel(LINES[figure].text.format(**result.sizes), values, y)
        parts += text
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
        f'viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(title: str, values: dict[str, float], y: int) -> tuple[list[str], int]:
    """Draw one panel below `y`; return its elements and the y where it ends."""
    low = 10 ** math.floor(math.log10(min(values.values())) - 0.1)
    high = max(values.values())
    room = WIDTH - LEFT - 70
    titles = {server.key: server.title for server in SERVERS}
    parts = [_text(10, y + 18, f"{title}, logarithmic", weight="bold")]
    y += HEAD
    for key, value in sorted(values.items(), key=lambda item: item[1]):
        length = max(1.0, room * math.log(value / low) / math.log(high / low)) if high > low else 1
        colour = COLOURS.get(key, OTHERS)
        parts += [
            _text(LEFT - 8, y + 14, titles[key], anchor="end"),
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            _text(LEFT + length + 6, y + 14, f"{value:,.2f}"),
        ]
        y += BAR + GAP
    return parts, y + 16


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text {place} fill="#222222">{escape(text)}</text>'
