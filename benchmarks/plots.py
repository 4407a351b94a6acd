"""The plots, drawn by matplotlib as SVG that needs no font, script or network."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator, PercentFormatter

from .summary import Curve, Row

COLOURS = (
    *("#1b6ca8", "#c8442e", "#2f8f4e", "#8a4fae", "#b5831d", "#3b3f46"),
    *("#c2578c", "#4aa3a2", "#7a6a53", "#7fae2f", "#5b3fd1", "#e08a5b"),
)
INK = "#010203"
"""Stands for the reader's own text colour, light or dark: matplotlib has no ``currentColor``."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "smc-decode",  # the same figures give the same file
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar sign in a method's name is a dollar sign
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_UNUSED_IDS = re.compile(r' id="[A-Za-z0-9]+_\d+"')
_NAMESPACES = re.compile(r' xmlns(:xlink)?="[^"]*"')


def curve_plot(curves: Sequence[Curve]) -> str:
    """Share solved against mean tokens a problem (logarithmic), a line a method, with 95% intervals."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(7.0, max(4.2, 0.6 + 0.2 * len(curves)))
        colours = _colours(curves)
        for curve in curves:
            points = curve.points
            axes.errorbar(
                [max(point.tokens, 1.0) for point in points],
                [point.rate for point in points],
                yerr=_errors([(point.low, point.rate, point.high) for point in points]),
                color=colours[curve.spec], ecolor=(colours[curve.spec], 0.35), marker="o", label=curve.spec,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: f"{tokens:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("tokens drawn, a problem")
        axes.set_ylim(0.0, min(1.0, max(point.high for curve in curves for point in curve.points) + 0.05))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8)
        return inline(figure, "accuracy against tokens")


def bar_plot(rows: Sequence[Row], curves: Sequence[Curve]) -> str:
    """pass@1 of every method with its interval, in the colours of their curves."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(8.0, 0.6 + 0.3 * len(rows))
        colours = _colours(curves)
        places = range(len(rows))
        axes.barh(
            places, [row.rate for row in rows], height=0.6, color=[(colours[row.spec], 0.75) for row in rows],
            xerr=_errors([(row.low, row.rate, row.high) for row in rows]), ecolor=INK,
        )  # fmt: skip
        for place, row in zip(places, rows, strict=True):
            axes.annotate(
                f"{row.rate:.0%}", (row.high, place), (5, 0), textcoords="offset points", va="center", ha="left"
            )
        axes.set_yticks(places, [row.label for row in rows])
        axes.invert_yaxis()
        axes.set_xlim(0.0, 1.0)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.grid(visible=False)
        return inline(figure, "pass@1 by method")


def ratio_plot(panels: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    """Tokens a second as a share of plain sampling: a panel an axis, at each value the median and the range.

    Returns a whole SVG file on a white ground.
    """
    with mpl.rc_context({**_STYLE, "axes.edgecolor": "#222", "text.color": "#222"}):
        figure = Figure(figsize=(9.0, 5.6), layout="constrained")
        for axes, (axis, values) in zip(figure.subplots(2, 2).flat, panels.items(), strict=False):
            _ratios(axes, axis, values)
        figure.suptitle("tokens a second of SMC, as a share of plain sampling", fontsize=10)
        return _svg(figure, "white").replace(INK, "#222222")


def size_plot(lines: Mapping[str, Mapping[int, tuple[float, float, float]]]) -> str:
    """(low, share, high) by size, a line a method. Returns a whole SVG file on a white ground."""
    with mpl.rc_context({**_STYLE, "axes.edgecolor": "#222", "text.color": "#222"}):
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        axes = figure.add_subplot()
        sizes = sorted({size for line in lines.values() for size in line})
        for number, (name, line) in enumerate(lines.items()):
            colour = COLOURS[number % len(COLOURS)]
            places = [sizes.index(size) + 0.04 * (number - len(lines) / 2) for size in line]
            axes.errorbar(
                places, [middle for _, middle, _ in line.values()], yerr=_errors(list(line.values())),
                color=colour, ecolor=(colour, 0.35), marker="o", label=name,
            )  # fmt: skip
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        axes.set_xlabel("functions in the module")
        axes.set_ylabel("all of them right")
        axes.set_ylim(0.0, 1.0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.legend(loc="upper right", fontsize=8)
        return _svg(figure, "white").replace(INK, "#222222")


def _ratios(axes: Axes, axis: str, values: Mapping[int, Sequence[float]]) -> None:
    places = range(len(values))
    ordered = [sorted(ratios) for ratios in values.values()]
    middles = [ratios[len(ratios) // 2] for ratios in ordered]
    drawn = axes.errorbar(
        places, middles, color=COLOURS[0], ecolor=(COLOURS[0], 0.4), elinewidth=3, marker="o",
        yerr=_errors([(ratios[0], middle, ratios[-1]) for ratios, middle in zip(ordered, middles, strict=True)]),
    )  # fmt: skip
    drawn.lines[0].set_gid(f"points-{axis}")
    axes.axhline(1.0, color="#888", linewidth=1)
    axes.set_xticks(places, [str(value) for value in values])
    axes.set_xlabel(axis)
    axes.set_ylim(0.0, max([1.2, *(ratios[-1] for ratios in ordered)]))
    axes.xaxis.grid(visible=False)


def inline(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element of an HTML page, in the page's own text colour."""
    element = _UNUSED_IDS.sub("", _svg(figure, "none"))
    element = _NAMESPACES.sub("", element, count=2)
    return element.replace("<svg", f'<svg role="img" aria-label="{name}"', 1).replace(INK, "currentColor")


def _svg(figure: Figure, ground: str) -> str:
    for artist in figure.findobj():
        artist.set_clip_on(False)  # clipping paths would be one more kind of reference in the file
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=_NO_METADATA, facecolor=ground, bbox_inches="tight")
    drawing = out.getvalue()
    return drawing[drawing.index("<svg") :]


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    return figure, axes


def _errors(triples: Sequence[tuple[float, float, float]]) -> tuple[list[float], list[float]]:
    """Distances to both ends of intervals; rounding must not make one negative."""
    return [max(mid - low, 0.0) for low, mid, _ in triples], [max(high - mid, 0.0) for _, mid, high in triples]


def _colours(curves: Sequence[Curve]) -> dict[str, str]:
    return {curve.spec: COLOURS[number % len(COLOURS)] for number, curve in enumerate(curves)}
