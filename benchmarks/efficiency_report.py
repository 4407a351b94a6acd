"""The report of the study of efficiency, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .efficiency import Cell

Grid = Mapping[str, Mapping[str, "Cell"]]


def grid(cells: Sequence[Cell]) -> Grid:
    """Cells by method and model, in the order in which they are listed."""
    from .efficiency import ABLATIONS, METHODS

    known = {m.name: {c.toy: c for c in cells if c.method == m.name} for m in (*METHODS, *ABLATIONS)}
    return {name: row for name, row in known.items() if row}


def relative(rows: Grid, method: str, toy: str) -> tuple[float, float] | None:
    """(RMSE as a share of independent draws', its standard error); None where one is missing."""
    from .efficiency import INDEPENDENT

    mine, theirs = rows[method].get(toy), rows.get(INDEPENDENT, {}).get(toy)
    if mine is None or theirs is None or theirs.rmse == 0.0:
        return None
    ratio = mine.rmse / theirs.rmse
    return ratio, ratio * math.hypot(mine.rmse_error / max(mine.rmse, 1e-300), theirs.rmse_error / theirs.rmse)


def report(cells: Sequence[Cell]) -> str:
    """Three tables: errors against independent draws, and what is behind them."""
    rows = grid(cells)
    models = list(dict.fromkeys(cell.toy for cell in sorted(cells, key=lambda cell: _place(cell.toy))))
    head = "| | " + " | ".join([*models, "mean", "largest"]) + " |\n" + "|---" * (len(models) + 3) + "|"
    parts = [
        "# Efficiency at equal computed rows",
        "The error (RMSE over runs) of the posterior of the best answer as a share of independent draws' (± one "
        "standard error), each method with as many particles as cost the same rows of a forward pass. Below 1 is "
        "better.",
        "\n".join([head, *(_relative_row(rows, name, models) for name in rows)]),
        "The errors themselves:",
        "\n".join([head, *(_row(rows[name], models, _rmse) for name in rows)]),
        "sd(Z^ / Z):",
        "\n".join([head, *(_row(rows[name], models, _spread) for name in rows)]),
        "Size (particles, or moves of a chain) and rows a run:",
        "\n".join([head, *(_row(rows[name], models, _size) for name in rows)]),
    ]
    return "\n\n".join(parts) + "\n"


def _place(toy: str) -> int:
    from .toy_models import CHAINS

    return list(CHAINS).index(toy) if toy in CHAINS else len(CHAINS)


def _relative_row(rows: Grid, method: str, models: Sequence[str]) -> str:
    found = [relative(rows, method, model) for model in models]
    known = [ratio for ratio in found if ratio is not None]
    if not known:
        return f"| {method} | " + " | ".join([""] * (len(models) + 2)) + " |"
    cells = ["" if one is None else f"{one[0]:.2f} ± {one[1]:.2f}" for one in found]
    mean = sum(ratio for ratio, _ in known) / len(known)
    error = math.sqrt(sum(error**2 for _, error in known)) / len(known)
    return f"| {method} | " + " | ".join([*cells, f"{mean:.2f} ± {error:.2f}", f"{max(known)[0]:.2f}"]) + " |"


def _row(row: Mapping[str, Cell], models: Sequence[str], show: object) -> str:
    assert callable(show)
    some = next(iter(row.values()))
    return f"| {some.method} | " + " | ".join([show(row[m]) if m in row else "" for m in models] + ["", ""]) + " |"


def _rmse(cell: Cell) -> str:
    return f"{cell.rmse:.4f} ± {cell.rmse_error:.4f}"


def _spread(cell: Cell) -> str:
    return "" if cell.spread is None else f"{cell.spread:.2f} ± {cell.spread_error:.2f}"


def _size(cell: Cell) -> str:
    return f"{cell.size}, {cell.rows:.0f}"
