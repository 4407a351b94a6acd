"""Answers with a relation in them: a named value, an inequality as the numbers that it holds for, an equation."""

from __future__ import annotations

from collections.abc import Sequence

from smc_decode.answers.forms.expressions import expression, plain
from smc_decode.answers.forms.form import Form, interval
from smc_decode.answers.forms.names import is_name, is_relation, named
from smc_decode.answers.forms.spans import Read, Span
from smc_decode.notation.tree import Node

_ORDERINGS = {"<": False, ">": False, "<=": True, ">=": True}
"""Whether the bound belongs to it."""


def relation(span: Span, read: Read) -> Form | None:
    """``x = 3`` is 3, ``x > 2`` an interval, ``x + y = 1`` an equation."""
    marks = span.at_margin(is_relation)
    if not marks:
        return None
    name, value = named(span)
    if name:
        return read(value)
    texts = [span.tokens[place].text for place in marks]
    if all(text in _ORDERINGS for text in texts):
        return _ordering(span, marks, read)
    if texts == ["!="] and is_name(span.part(span.start, marks[0])):
        return _all_but(read(span.part(marks[0] + 1, span.end)))
    if texts[0] == "=" and len(set(texts)) == 1:
        return _equation(span, marks, read)
    return None


def _all_but(hole: Form | None) -> Form | None:
    """``x != 2``: what is below and what is above."""
    if hole is None:
        return None
    return Form("union", (interval(None, hole, False, False), interval(hole, None, False, False)))


def _equation(span: Span, marks: Sequence[int], read: Read) -> Form | None:
    first, rest = span.part(span.start, marks[0]), span.part(marks[0] + 1, span.end)
    if len(marks) > 1 and (is_name(first) or len(marks) == 2):
        return read(span.part(marks[-1] + 1, span.end))  # a chain ends in the answer
    left, right = expression(first), expression(rest)
    if left is None or right is None:
        return None
    if right.op == "var" and left.op in ("num", "neg", "div"):
        return Form("value", node=left, text=plain(first))
    return Form("equation", node=Node("sub", (left, right)))


def _ordering(span: Span, marks: Sequence[int], read: Read) -> Form | None:
    """``x > 2`` and ``-2 <= x < 7`` as intervals."""
    sides = span.split(marks)
    if len(sides) != len(marks) + 1 or len(marks) > 2:
        return None
    middle = next((index for index, side in enumerate(sides) if is_name(side)), None)
    if middle is None or (len(marks) == 2 and middle != 1):
        return None
    low: tuple[Form | None, bool] = (None, False)
    high: tuple[Form | None, bool] = (None, False)
    for index, side in enumerate(sides):
        if index == middle:
            continue
        bound = read(side)
        sign = span.tokens[marks[min(index, middle)]].text
        if bound is None:
            return None
        if (sign[0] == "<") == (index < middle):
            low = (bound, _ORDERINGS[sign])
        else:
            high = (bound, _ORDERINGS[sign])
    return interval(low[0], high[0], low[1], high[1])
