"""What a final answer says, however it is written: numbers, expressions, tuples, sets, intervals, equations, words.

:func:`key` is one text for all ways to write an answer (for votes). :func:`same` also finds equal what no common key
shows, such as a decimal of six figures beside a fraction (for marks). Numbers are compared exactly as fractions, or to
40 significant figures; expressions with variables by their values at fixed points. What is no mathematics is compared
as words. Runs in a worker process: a value that a model wrote can be too large to work out.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from smc_decode.answers.forms import Form, read_form
from smc_decode.answers.numbers import fingerprint, number_of
from smc_decode.notation.bounds import TooLarge, Undefined
from smc_decode.notation.tree import Node

MAX_LENGTH = 2_000
_FIGURES = 6
"""Significant figures from which on a decimal counts as the number that it rounds."""


def key(latex: str) -> str:
    """One text for all ways to write an answer."""
    return form_key(read_form(latex[:MAX_LENGTH]))


def same(reference: str, answer: str) -> bool:
    """Whether two answers say the same."""
    first, second = read_form(reference[:MAX_LENGTH]), read_form(answer[:MAX_LENGTH])
    return form_key(first) == form_key(second) or _near(first, second)


def form_key(form: Form) -> str:
    parts = [form_key(part) for part in form.parts]
    if form.kind == "list":
        parts = sorted(set(parts))
        return parts[0] if len(parts) == 1 and form.text != "set" else "{" + "; ".join(parts) + "}"
    if form.kind == "union":
        return " ∪ ".join(sorted(set(parts)))
    if form.kind == "interval":
        return f"{form.text[0]}{parts[0]}; {parts[1]}{form.text[1]}"
    if form.kind == "words":
        return f"“{form.text}”"
    if form.kind in ("tuple", "matrix", "complement"):
        return f"{form.kind if form.kind != 'tuple' else ''}{form.text or '('}" + "; ".join(parts) + ")"
    if form.kind == "equation":
        assert form.node is not None
        return _equation_key(form.node)
    assert form.node is not None
    return _value_key(form.node, form.text)


def _value_key(node: Node, text: str) -> str:
    inner = node
    while inner.op in ("unit", "group"):
        inner = inner.args[0]
    if inner.op == "base":
        return inner.name
    try:
        return fingerprint(node)
    except (TooLarge, Undefined):
        return f"“{text}”"


def _equation_key(node: Node) -> str:
    """left - right = 0, up to a factor."""
    try:
        return f"0 = {fingerprint(node, up_to_factor=True)}"
    except (TooLarge, Undefined):
        return f"“{node!r}”"


def _near(first: Form, second: Form) -> bool:
    """Whether one is a decimal that rounds the other, part by part."""
    if (
        first.kind != second.kind
        or len(first.parts) != len(second.parts)
        or (first.text[:2] != second.text[:2] and first.parts)
    ):
        return False
    if first.parts:
        if first.kind in ("list", "union"):
            return False
        return all(form_key(a) == form_key(b) or _near(a, b) for a, b in zip(first.parts, second.parts, strict=True))
    if first.kind != "value" or first.node is None or second.node is None:
        return False
    return _rounds(first.node, second.node) or _rounds(second.node, first.node)


def _rounds(decimal: Node, exact: Node) -> bool:
    sign = 1
    while decimal.op in ("neg", "group", "unit"):
        sign = -sign if decimal.op == "neg" else sign
        decimal = decimal.args[0]
    if decimal.op != "num" or not decimal.places:
        return False
    figures = len(re.sub(r"^0+", "", re.sub(r"\D", "", decimal.name)))
    if figures < _FIGURES:
        return False
    try:
        value: Any = number_of(exact)
    except (TooLarge, Undefined):
        return False
    if value is None:
        return False
    return bool(abs(value - sign * decimal.value) < Fraction(1, 10**decimal.places))
