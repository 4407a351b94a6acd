"""The HTML page of a report, complete in itself: no scripts, no fonts, no network."""

from __future__ import annotations

import re
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from .plots import bar_plot, curve_plot
from .summary import Curve, Row

Table = tuple[str, list[str], list[list[str]]]
"""Heading, heads of the columns, cells."""


def page(
    title: str,
    facts: Sequence[str],
    legend: str,
    tables: Sequence[Table],
    rows: Sequence[Row],
    curves: Sequence[Curve],
    config: str,
) -> str:
    """The whole page; the plots follow the first table."""
    plots = []
    if any(len(curve.points) for curve in curves):
        plots = [
            ("Accuracy against tokens", curve_plot(curves)),
            ("pass@1 with 95% intervals", bar_plot(rows, curves)),
        ]
    environment = Environment(loader=PackageLoader(__package__, ""), autoescape=True)
    environment.filters["marked"] = _marked
    return environment.get_template("report.html").render(
        title=title, facts=facts, legend=legend, tables=tables, plots=plots, config=config
    )


def _marked(text: str) -> Markup:
    """Markdown's `code` and **bold** as HTML."""
    shown = str(escape(text))
    shown = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", shown)
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", shown))
