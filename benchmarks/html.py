"""The HTML page and its plots, drawn as SVG: no scripts, no fonts, no network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from .summary import Curve, Row

COLOURS = (
    *("#1b6ca8", "#c8442e", "#2f8f4e", "#8a4fae", "#b5831d", "#3b3f46"),
    *("#c2578c", "#4aa3a2", "#7a6a53", "#7fae2f", "#5b3fd1", "#e08a5b"),
)
_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}thead th{border-bottom-width:2px}
svg{max-width:100%;height:auto;font:12px system-ui,sans-serif;fill:currentColor}
svg .grid{stroke:var(--line);stroke-width:1}pre{background:var(--soft);padding:1rem;overflow:auto;max-height:30rem}
"""
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 400, 56, 16, 16, 44

Table = tuple[str, list[str], list[list[str]]]


def page(
    title: str,
    facts: Sequence[str],
    legend: str,
    tables: Sequence[Table],
    rows: Sequence[Row],
    curves: Sequence[Curve],
    config: str,
) -> str:
    """The whole page."""
    items = "".join(f"<li>{_inline(fact)}</li>" for fact in facts)
    plots = ""
    if any(len(curve.points) for curve in curves):
        plots = (
            f"<h2>Accuracy against tokens</h2>{curve_plot(curves)}"
            f"<h2>pass@1 with 95% intervals</h2>{bar_plot(rows, curves)}"
        )
    shown = "".join(
        f"<h2>{escape(heading)}</h2>{_table(heads, cells)}{f'<p>{escape(legend)}</p>' if number == 0 else ''}"
        f"{plots if number == 0 else ''}"
        for number, (heading, heads, cells) in enumerate(tables)
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><ul>{items}</ul>{shown}"
        f"<h2>Configuration and versions</h2><pre>{escape(config)}</pre></body></html>\n"
    )


def curve_plot(curves: Sequence[Curve]) -> str:
    """Share solved against mean tokens a problem (logarithmic), a line a method, with 95% intervals."""
    points = [point for curve in curves for point in curve.points]
    low = math.log10(max(min(point.tokens for point in points), 1.0)) - 0.1
    high = math.log10(max(max(point.tokens for point in points), 2.0)) + 0.1
    top = min(1.0, max(point.high for point in points) + 0.05)

    def x(tokens: float) -> float:
        return _LEFT + (math.log10(max(tokens, 1.0)) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(share: float) -> float:
        return _HEIGHT - _BOTTOM - share / top * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_shares(y, top), _decades(x, low, high)]
    colours = _colours(curves)
    for curve in curves:
        colour = colours[curve.spec]
        path = " ".join(f"{x(p.tokens):.1f},{y(p.rate):.1f}" for p in curve.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for p in curve.points:
            name = escape(f"{curve.spec}, N={p.n}: {p.rate:.1%} ({p.low:.1%} to {p.high:.1%}), {p.tokens:.0f} tokens")
            parts.append(
                f'<line x1="{x(p.tokens):.1f}" x2="{x(p.tokens):.1f}" y1="{y(p.low):.1f}" y2="{y(p.high):.1f}" '
                f'stroke="{colour}" stroke-opacity=".35"/><circle cx="{x(p.tokens):.1f}" cy="{y(p.rate):.1f}" r="4" '
                f'fill="{colour}"><title>{name}</title></circle>'
            )
    parts.append(_key(colours))
    parts.append(_text((_LEFT + _WIDTH) / 2, _HEIGHT - 8, "tokens drawn, a problem", "middle"))
    return _svg(parts, _HEIGHT + 18 * len(curves), "accuracy against tokens")


def bar_plot(rows: Sequence[Row], curves: Sequence[Curve]) -> str:
    """pass@1 of every method with its interval, in the colours of their curves."""
    height = 26 * len(rows) + 40
    left = 16 + 7 * max((len(row.label) for row in rows), default=0)
    left = min(left, 420)

    def x(share: float) -> float:
        return left + share * (_WIDTH - left - 50)

    colours = _colours(curves)
    parts = []
    for tick in range(0, 101, 20):
        parts.append(
            f'<line class="grid" x1="{x(tick / 100):.1f}" x2="{x(tick / 100):.1f}" y1="8" y2="{height - 28}"/>'
        )
        parts.append(_text(x(tick / 100), height - 12, f"{tick}%", "middle"))
    for number, row in enumerate(rows):
        middle = 22 + 26 * number
        colour = colours[row.spec]
        parts.append(_text(left - 8, middle + 4, row.label, "end"))
        parts.append(
            f'<rect x="{x(0):.1f}" y="{middle - 8}" width="{x(row.rate) - x(0):.1f}" height="16" fill="{colour}" '
            f'fill-opacity=".75"/><line x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{middle}" y2="{middle}" '
            f'stroke="currentColor" stroke-width="1.5"/>'
        )
        parts.append(_text(x(row.high) + 6, middle + 4, f"{row.rate:.0%}", "start"))
    return _svg(parts, height, "pass@1 by method")


def _svg(parts: Sequence[str], height: float, name: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" role="img" aria-label="{escape(name)}">'
        f"{''.join(parts)}</svg>"
    )


def _shares(y: Callable[[float], float], top: float) -> str:
    step = 0.1 if top > 0.35 else 0.05
    parts = []
    for number in range(int(top / step + 1e-9) + 1):
        height = y(number * step)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(_text(_LEFT - 8, height + 4, f"{number * step:.0%}", "end"))
    return "".join(parts)


def _decades(x: Callable[[float], float], low: float, high: float) -> str:
    parts = []
    for decade in range(math.floor(low), math.ceil(high) + 1):
        for digit in (1, 2, 5):
            tokens = digit * 10.0**decade
            if low <= math.log10(tokens) <= high:
                parts.append(_text(x(tokens), _HEIGHT - _BOTTOM + 16, f"{tokens:,.0f}", "middle"))
    return "".join(parts)


def _colours(curves: Sequence[Curve]) -> dict[str, str]:
    return {curve.spec: COLOURS[number % len(COLOURS)] for number, curve in enumerate(curves)}


def _key(colours: Mapping[str, str]) -> str:
    return "".join(
        f'<rect x="{_LEFT}" y="{_HEIGHT + 18 * i - 4}" width="12" height="4" fill="{colour}"/>'
        + _text(_LEFT + 20, _HEIGHT + 18 * i + 2, name, "start")
        for i, (name, colour) in enumerate(colours.items())
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _table(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(each)}</td>" for each in line) + "</tr>" for line in cells)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _inline(text: str) -> str:
    """Markdown's `code` and **bold** as HTML."""
    shown = escape(text)
    for mark, tag in (("**", "strong"), ("`", "code")):
        pieces = shown.split(mark)
        if len(pieces) % 2:
            shown = "".join(
                piece if number % 2 == 0 else f"<{tag}>{piece}</{tag}>" for number, piece in enumerate(pieces)
            )
    return shown
