"""The report over sizes of modules: the curve, what a solved module costs, and where populations thin out."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from .plots import size_plot
from .records import RunFile, read_run
from .statistics import paired_bootstrap, wilson

Record = Mapping[str, Any]
REFERENCE = "best-of-n"
"""What the others are compared with: the temperature of this that does better at a size."""


@dataclass(frozen=True)
class Cell:
    """One method at one size. ``passed``, ``shares``: by module, whether it is right and the share of its functions
    that are; ``rows`` and ``tokens`` a module."""

    method: str
    size: int
    passed: Mapping[str, float]
    shares: Mapping[str, float]
    rows: float
    tokens: float
    seconds: float
    found: float
    lineages: float | None

    @property
    def n(self) -> int:
        return len(self.passed)

    @property
    def rate(self) -> float:
        return fmean(self.passed.values())

    @property
    def functions(self) -> float:
        return fmean(self.shares.values())

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(sum(self.passed.values()), self.n)


def cells(runs: Sequence[RunFile]) -> list[Cell]:
    """A cell for each size and method, sizes in order, methods as they were planned."""
    found = []
    for run in sorted(runs, key=_size):
        for label in run.methods:
            group = [record for record in run.records if record["method"] == label]
            if group:
                found.append(_cell(label, _size(run), group))
    return found


def _size(run: RunFile) -> int:
    return int(str(run.header["benchmark"]).rpartition("-")[2])


def _cell(label: str, size: int, group: Sequence[Record]) -> Cell:
    def mean(name: str) -> float:
        return fmean(record["account"].get(name, 0) for record in group)

    passed: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    for record in group:
        passed.setdefault(record["problem"], []).append(float(record["passed"]))
        shares.setdefault(record["problem"], []).append(float(record.get("share", record["passed"])))
    lineages = [record["lineages"] for record in group if record.get("lineages") is not None]
    return Cell(
        label, size, {problem: fmean(each) for problem, each in passed.items()},
        {problem: fmean(each) for problem, each in shares.items()},
        mean("computed_rows"), mean("drawn"), mean("seconds"),
        fmean(any(particle["passed"] for particle in record["population"]) for record in group),
        fmean(lineages) if lineages else None,
    )  # fmt: skip


def reference_of(size: int, table: Sequence[Cell]) -> Cell | None:
    """Best-of-n at the temperature at which more modules, and then more functions, are right."""
    known = [cell for cell in table if cell.size == size and cell.method.startswith(REFERENCE)]
    return max(known, key=lambda cell: (cell.rate, cell.functions), default=None)


def ratio(cell: Cell, reference: Cell, draws: int = 10_000) -> tuple[float, float, float] | None:
    """How many times as often, on the modules that both tried, and its 95 % percentile interval (modules resampled in
    pairs); None where the reference solved none."""
    common = [problem for problem in cell.passed if problem in reference.passed]
    pairs = np.array([(cell.passed[problem], reference.passed[problem]) for problem in common])
    if not len(pairs) or not pairs[:, 1].sum():
        return None
    chosen = np.random.default_rng(0).integers(len(pairs), size=(draws, len(pairs)))
    sums = pairs[chosen].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.inf)
    low, high = np.quantile(ratios, [0.025, 0.975], method="inverted_cdf")
    return float(pairs[:, 0].sum() / pairs[:, 1].sum()), float(low), float(high)


HEAD = (
    "functions", "method", "modules right", "95%", "functions right", "a right one in the population",
    "modules against best-of-n", "times as often", "functions against best-of-n",
    "tokens", "rows", "rows a right module", "lineages",
)  # fmt: skip


def table_rows(table: Sequence[Cell]) -> list[list[str]]:
    """The cells as text."""
    return [_row(cell, reference_of(cell.size, table)) for cell in table]


def _row(cell: Cell, reference: Cell | None) -> list[str]:
    low, high = cell.interval
    solved = sum(cell.passed.values())
    return [
        str(cell.size), f"`{cell.method}`", f"{solved:g}/{cell.n} = {cell.rate:.0%}", f"{low:.0%} to {high:.0%}",
        f"{cell.functions:.0%}", f"{cell.found:.0%}", *_against(cell, reference), f"{cell.tokens:.0f}",
        f"{cell.rows:.0f}", f"{cell.rows / cell.rate:.0f}" if cell.rate else "-",
        "-" if cell.lineages is None else f"{cell.lineages:.1f}",
    ]  # fmt: skip


def _against(cell: Cell, reference: Cell | None) -> tuple[str, str, str]:
    if reference is None or reference is cell:
        return "-", "-", "-"
    times = ratio(cell, reference)
    said = "-" if times is None else f"{times[0]:.1f} ({times[1]:.1f} to {times[2]:.1f})"
    return _difference(reference.passed, cell.passed), said, _difference(reference.shares, cell.shares)


def _difference(reference: Mapping[str, float], values: Mapping[str, float]) -> str:
    """In points, on the modules that both tried, with its 95 % interval."""
    common = [problem for problem in reference if problem in values]
    if not common:
        return "-"
    found = paired_bootstrap([reference[problem] for problem in common], [values[problem] for problem in common])
    difference, low, high = (100 * each for each in found)
    return f"{difference:+.0f} ({low:+.0f} to {high:+.0f})"


BLOCK_HEAD = ("functions", "method", "least ESS of a run, mean", "runs that resampled", "reward after each quarter")


def block_rows(runs: Sequence[RunFile]) -> list[list[str]]:
    """How the populations fared on the way: effective sample sizes, and the mean reward after each quarter of a run."""
    found = []
    for run in sorted(runs, key=_size):
        for label in run.methods:
            group = [record for record in run.records if record["method"] == label and record.get("ess")]
            if group:
                least = fmean(min(record["ess"]) for record in group)
                resampled = fmean(any(record.get("resampled") or ()) for record in group)
                found.append([str(_size(run)), f"`{label}`", f"{least:.1f}", f"{resampled:.0%}", _quarters(group)])
    return found


def _quarters(group: Sequence[Record]) -> str:
    known = [record["rewards"] for record in group if record.get("rewards")]
    if not known:
        return "-"
    means = [fmean(each[min(len(each) - 1, len(each) * part // 4)][1] for each in known) for part in range(1, 4)]
    return ", ".join(f"{mean:.2f}" for mean in [*means, fmean(each[-1][1] for each in known)])


def write_module_report(paths: Sequence[Path], out: Path) -> Path:
    """Write ``out.md``, ``out.svg`` and ``out.html``; the first's path. Raises RecordsError."""
    runs = [read_run(path) for path in paths]
    table = cells(runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    drawing = size_plot({
        name: {cell.size: (cell.interval[0], cell.rate, cell.interval[1]) for cell in table if cell.method == name}
        for name in dict.fromkeys(cell.method for cell in table)
    })  # fmt: skip
    out.with_suffix(".svg").write_text(drawing, encoding="utf-8")
    header = runs[0].header
    lead = (
        f"Modules of K functions, {header['model']} (SHA-256 `{header['digest']}`), reward `{header['reward']}`, "
        f"marked by hidden tests: a module is right when all its functions are. Seed {header['seed']}."
    )
    sections = [
        ("How often all functions are right", HEAD, table_rows(table)),
        ("On the way", BLOCK_HEAD, block_rows(runs)),
    ]
    markdown = [f"# Modules: {header['model']}", "", lead, "", f"![share of right modules]({out.name}.svg)", ""]
    page = [f"<h1>Modules: {html.escape(str(header['model']))}</h1><p>{html.escape(lead)}</p>", drawing]
    for heading, head, rows in sections:
        markdown += [f"## {heading}", "", _markdown(head, rows), ""]
        page.append(f"<h2>{heading}</h2>{_html(head, rows)}")
    out.with_suffix(".md").write_text("\n".join(markdown), encoding="utf-8")
    style = "body{font:15px system-ui;margin:2rem auto;max-width:80rem}td,th{padding:.2rem .6rem;text-align:left}"
    out.with_suffix(".html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Modules</title><style>{style}</style>'
        + "".join(page) + "</html>\n",
        encoding="utf-8",
    )  # fmt: skip
    return out.with_suffix(".md")


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line('th', head)}{''.join(line('td', row) for row in rows)}</table>"
