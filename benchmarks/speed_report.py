"""Tables for the terminal, Markdown and a plot of what the speed benchmark measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rich.table import Table

from .speed_cases import Measured
from .speed_sweep import AXES, TERMS, CostModel, Point

Rows = list[tuple[str, ...]]
_WIDTH, _HEIGHT, _PAD = 380, 240, 44


def median_and_spread(values: Sequence[float], digits: int = 3) -> str:
    """``median (least to most)``."""
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def where_time_went(measured: Sequence[Measured]) -> str:
    """Shares of the wall clock: engine, reward alone, own CPU, the rest."""
    spent = [each.spent for each in measured if each.spent is not None]
    if not spent:
        return "–"
    wall = sum(each.seconds for each in spent)
    engine = sum(each.engine for each in spent) / wall
    reward = sum(each.both - each.engine for each in spent) / wall
    other = sum(each.other for each in spent) / wall
    cpu = sum(each.cpu for each in spent) / wall
    return f"engine {engine:.1%}, reward {reward:.1%}, neither {other:.1%}; own CPU {cpu:.1%}"


def table(title: str, heads: Sequence[str], rows: Rows) -> Table:
    """A table for the terminal."""
    shown = Table(title=title, title_justify="left")
    for number, head in enumerate(heads):
        shown.add_column(head, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    return shown


def markdown(heads: Sequence[str], rows: Rows) -> str:
    """The same table in Markdown."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


SWEEP_HEADS = (
    "setting",
    "tokens/s",
    "of plain",
    "plain's time",
    "drawn",
    "prefix tokens sent",
    "computed",
    "model / measured",
)


def sweep_rows(points: Sequence[Point], model: CostModel) -> Rows:
    """One row a setting, medians over repeats."""
    rows: Rows = []
    for axis, values in AXES.items():
        for value in values:
            here = [point for point in points if (point.axis, point.value) == (axis, value)]
            if not here:
                continue
            work = here[0].work
            fitted = statistics.median(model.seconds(point.work) / point.seconds for point in here)
            rows.append(
                (
                    f"{axis} = {value}",
                    f"{statistics.median(point.rate for point in here):.0f}",
                    median_and_spread([point.ratio for point in here], 2),
                    f"{statistics.median(point.seconds / point.plain['seconds'] for point in here):.2f} times",
                    f"{work.drawn:,}",
                    f"{work.sent:,}",
                    f"{work.computed:,}",
                    f"{fitted:.2f}",
                )
            )
    return rows


def model_text(model: CostModel) -> str:
    """The cost model in a line."""
    prices = " + ".join(f"{model.milliseconds[term]:.3g} ms · {term}" for term in TERMS if model.milliseconds[term])
    return f"{prices}; median error {model.error:.1%}"


def plot(points: Sequence[Point]) -> str:
    """The ratio to plain sampling along each axis, as one SVG."""
    panels = [_panel(axis, points, 20 + number % 2 * _WIDTH, 10 + number // 2 * _HEIGHT) for number, axis in
              enumerate(AXES)]  # fmt: skip
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _WIDTH + 40} {2 * _HEIGHT + 20}" role="img" '
        'aria-label="tokens a second of SMC as a share of plain sampling" font-family="system-ui, sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="#fff"/>{"".join(panels)}</svg>\n'
    )


def _panel(axis: str, points: Sequence[Point], left: float, top: float) -> str:
    values = [value for value in AXES[axis] if any((p.axis, p.value) == (axis, value) for p in points)]
    inner_width, inner_height = _WIDTH - 2 * _PAD, _HEIGHT - 2 * _PAD

    def x(number: int) -> float:
        return left + _PAD + inner_width * (number / max(len(values) - 1, 1))

    highest = max(1.2, *(p.ratio for p in points if p.axis == axis))

    def y(ratio: float) -> float:
        return top + _HEIGHT - _PAD - inner_height * ratio / highest

    parts = []
    for tick in (0.0, 0.5, 1.0, *(0.5 * n for n in range(3, int(2 * highest) + 1))):
        colour = "#888" if tick == 1.0 else "#ddd"
        parts.append(
            f'<line x1="{x(0):.1f}" x2="{left + _WIDTH - _PAD:.1f}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" '
            f'stroke="{colour}"/>' + _text(x(0) - 8, y(tick) + 4, f"{tick:g}", "end")
        )
    middles = []
    for number, value in enumerate(values):
        ratios = [p.ratio for p in points if (p.axis, p.value) == (axis, value)]
        middle = statistics.median(ratios)
        middles.append(f"{x(number):.1f},{y(middle):.1f}")
        parts.append(
            f'<line x1="{x(number):.1f}" x2="{x(number):.1f}" y1="{y(min(ratios)):.1f}" y2="{y(max(ratios)):.1f}" '
            f'stroke="#1b6ca8" stroke-opacity=".4" stroke-width="3"/><circle cx="{x(number):.1f}" '
            f'cy="{y(middle):.1f}" r="4" fill="#1b6ca8"><title>{axis} = {value}: {middle:.2f}</title></circle>'
            + _text(x(number), top + _HEIGHT - _PAD + 16, str(value), "middle")
        )
    parts.append(f'<polyline points="{" ".join(middles)}" fill="none" stroke="#1b6ca8" stroke-width="2"/>')
    parts.append(_text(left + _WIDTH / 2, top + _HEIGHT - 8, axis, "middle"))
    parts.append(_text(left + _PAD, top + 22, "tokens/s of SMC, as a share of plain sampling", "start"))
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222">{escape(text)}</text>'


def provenance(facts: Mapping[str, Any]) -> str:
    """Facts of the machine and the versions, in a line."""
    return ", ".join(f"{name} {value}" for name, value in facts.items())
