"""A stretch of an answer's tokens, and how it comes apart into shorter ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from smc_decode.answers.forms.form import Form
from smc_decode.notation.tokens import Token


@dataclass(frozen=True, slots=True)
class Span:
    """``tokens[start:end]`` of the answer ``source``. ``depth``: how many forms it is in. Places of tokens are counted
    from the answer's beginning, not the span's."""

    tokens: Sequence[Token]
    source: str
    start: int
    end: int
    depth: int = 0

    @property
    def first(self) -> Token:
        return self.tokens[self.start]

    @property
    def last(self) -> Token:
        return self.tokens[self.end - 1]

    def __len__(self) -> int:
        return max(0, self.end - self.start)

    def shown(self) -> Sequence[Token]:
        """Its tokens."""
        return self.tokens[self.start : self.end]

    def part(self, start: int, end: int) -> Span:
        """The tokens between two places."""
        return replace(self, start=start, end=end)

    def inner(self) -> Span:
        """Without its first and last token."""
        return self.part(self.start + 1, self.end - 1)

    def trimmed(self) -> Span:
        """Without separators around it."""
        start, end = self.start, self.end
        while start < end and self.tokens[start].kind == "sep" and not self.tokens[start].text.startswith("begin"):
            start += 1
        while end > start and self.tokens[end - 1].kind == "sep" and not self.tokens[end - 1].text.startswith("end"):
            end -= 1
        return replace(self, start=start, end=end)

    def at_margin(self, wanted: Callable[[Token], bool]) -> list[int]:
        """The places of wanted tokens that stand in no brackets. An interval's brackets need not match each other."""
        depth, margin = 0, []
        for place in range(self.start, self.end):
            token = self.tokens[place]
            depth -= token.kind == "close"
            if depth == 0 and token.kind not in ("open", "close") and wanted(token):
                margin.append(place)
            depth += token.kind == "open"
        return margin

    def split(self, places: Sequence[int]) -> list[Span]:
        """What stands between these places, as far as anything does."""
        bounds = [self.start - 1, *places, self.end]
        return [self.part(a + 1, b) for a, b in itertools.pairwise(bounds) if b > a + 1]


Read = Callable[[Span], Form | None]
"""Reads a part of an answer, whatever form it has; None for what is no mathematics."""


def read_all(spans: Sequence[Span], read: Read) -> list[Form] | None:
    """The forms of all; None if one has none."""
    forms = [form for span in spans if (form := read(span)) is not None]
    return forms if len(forms) == len(spans) else None
