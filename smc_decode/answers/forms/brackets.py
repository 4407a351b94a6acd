"""Answers in brackets and what they are joined by: tuples, intervals, sets, unions."""

from __future__ import annotations

from fractions import Fraction

from smc_decode.answers.forms.form import Form, flat, tuple_or_interval
from smc_decode.answers.forms.spans import Read, Span, read_all
from smc_decode.notation.tokens import Token
from smc_decode.notation.tree import Node


def union(span: Span, read: Read) -> Form | None:
    """``(1, 2) \\cup [3, 4]``."""
    marks = span.at_margin(lambda token: token.kind == "op" and token.text == "cup")
    parts = read_all(span.split(marks), read) if marks else None
    return None if parts is None else Form("union", flat(parts))


def bracketed(span: Span, read: Read) -> Form | None:
    """``(1, 2)``, ``[1, 2)``, ``{1, 2}``, and a LaTeX group by what is in it."""
    opening, closing = span.first.text, span.last.text
    if not _in_one_pair(span):
        return None
    if len(span) == 3 and (pair := _without_thousands(span.tokens[span.start + 1])) and opening in "([set":
        return Form("list", pair) if opening == "set" else tuple_or_interval(pair, opening, closing)
    inner = span.inner()
    if opening == "set":
        return _set(inner, read)
    commas = inner.at_margin(lambda token: token.text == ",")
    if not commas or opening not in "([":
        return read(inner) if opening == "{" else None
    parts = read_all(inner.split(commas), read)
    if parts is None or len(parts) != len(commas) + 1:
        return None
    return tuple_or_interval(tuple(parts), opening, closing)


def _in_one_pair(span: Span) -> bool:
    """Whether its first token is a bracket that its last one closes."""
    if span.first.kind != "open" or span.last.kind != "close":
        return False
    depth = 0
    for place in range(span.start, span.end):
        depth += {"open": 1, "close": -1}.get(span.tokens[place].kind, 0)
        if depth == 0:
            return place == span.end - 1
    return False


def _without_thousands(token: Token) -> tuple[Form, ...]:
    """``12,102`` in brackets is two numbers, ``12,000`` one."""
    digits = token.text.split(",")
    if token.kind != "num" or len(digits) < 2 or not all(each.isdecimal() and each[0] != "0" for each in digits):
        return ()
    return tuple(Form("value", node=Node("num", value=Fraction(int(each)), name=each), text=each) for each in digits)


def _set(inner: Span, read: Read) -> Form | None:
    """``{1, 2}``, and ``{x | x > 2}``, whose condition counts."""
    bars = [place for place in inner.at_margin(lambda token: token.text in ("mid", "|", ":")) if place > inner.start]
    if bars and inner.first.kind == "var":
        return read(inner.part(bars[0] + 1, inner.end))
    form = read(inner)
    if form is None or form.kind == "list":
        return form
    return Form("list", (form,)) if form.kind == "value" else Form("list", (form,), "set")
