"""Where a text is prose and where it is LaTeX: one pass, each closing sign is searched for once."""

from __future__ import annotations

import re
from collections.abc import Iterator

_OPEN = re.compile(
    r"\\\[|\\\(|\$\$|\$|\\begin\{(?:align|aligned|equation|gather|gathered|eqnarray|multline|split|array)\*?\}"
)
_CLOSERS = {"\\[": "\\]", "\\(": "\\)", "$$": "$$", "$": "$"}
_NOTE = re.compile(r"<<[^<>\n]{0,200}>>")
_MONEY = re.compile(r"\$\s*\d[\d,.]*(?![\d,.])")


def regions(text: str, finished: bool) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether it is LaTeX), in order. A formula that is still open in an unfinished text is left out."""
    finder = _Closers(text)
    position = prose = 0
    while (match := _OPEN.search(text, position)) is not None:
        end = finder.end_of(match)
        if end is None:
            if not finished and not _is_money(text, match):
                yield prose, match.start(), False
                return
            position = match.end()
            continue
        body_end, region_end = end
        if match[0] == "$" and not is_formula(text[match.end() : body_end]):
            position = match.end()
            continue
        yield prose, match.start(), False
        yield match.end(), body_end, True
        position = prose = region_end
    yield prose, len(text), False


class _Closers:
    """The next closing sign of each kind; what is not there is not searched for again."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next: dict[str, int] = {}

    def end_of(self, opened: re.Match[str]) -> tuple[int, int] | None:
        closer = _CLOSERS.get(opened[0], "\\end{")
        at = self._find(closer, opened.end())
        if at < 0:
            return None
        if closer == "$":
            line_end = self._find("\n", opened.end())
            if 0 <= line_end < at:
                return None
        return at, at + len(closer)

    def _find(self, sign: str, start: int) -> int:
        known = self._next.get(sign, -2)
        if known == -1 or known >= start:
            return known
        self._next[sign] = self._text.find(sign, start)
        return self._next[sign]


def _is_money(text: str, match: re.Match[str]) -> bool:
    return match[0] == "$" and re.compile(r"\$\s*\d").match(text, match.start()) is not None


def is_formula(body: str) -> bool:
    """Whether what stands between two dollar signs is LaTeX, and not the prose between two prices."""
    if "\\" in body or "^" in body or "_" in body or "{" in body:
        return True
    if not body.strip() or re.search(r"[^\W\d_]{3,}", body):
        return False
    sides = re.split(r"[=≈<>]", body)
    return all(side.strip() and side.strip()[-1] not in "+-*/=(" for side in sides)
