"""Tables for the terminal, Markdown and a plot of what the speed benchmark measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.table import Table

from .plots import ratio_plot
from .speed_cases import Measured
from .speed_sweep import AXES, TERMS, CostModel, Point

Rows = list[tuple[str, ...]]


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
    panels: dict[str, dict[int, list[float]]] = {axis: {} for axis in AXES}
    for point in points:
        panels[point.axis].setdefault(point.value, []).append(point.ratio)
    return ratio_plot({axis: dict(sorted(values.items())) for axis, values in panels.items() if values})
