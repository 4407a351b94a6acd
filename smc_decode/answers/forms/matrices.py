"""Matrices, vectors and determinants in LaTeX's environments."""

from __future__ import annotations

import itertools
import re

from smc_decode.answers.forms.form import Form
from smc_decode.answers.forms.spans import Read, Span, read_all


def matrix(span: Span, read: Read) -> Form | None:
    """``\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}``."""
    if not (re.match(r"begin\{[pbvBV]?(?:matrix|array)\}", span.first.text) and span.last.text.startswith("end{")):
        return None
    inner = span.inner()
    breaks = [place for place in range(inner.start, inner.end) if span.tokens[place].text == "\\"]
    lines = []
    for row in inner.split(breaks):
        cells = read_all(_cells(row), read)
        if cells is None:
            return None
        lines.append(Form("tuple", tuple(cells), "["))
    return Form("matrix", tuple(lines), "v" if span.first.text[6] in "vV" else "[")


def _cells(row: Span) -> list[Span]:
    """Between the ampersands, which leave no token."""
    tokens = row.tokens
    breaks = [
        place
        for place in range(row.start + 1, row.end)
        if "&" in row.source[tokens[place - 1].end : tokens[place].start]
    ]
    return [row.part(a, b) for a, b in itertools.pairwise([row.start, *breaks, row.end])]
