"""What an answer gives a value to: the ``x`` of ``x = 3``, the ``f(x)`` of ``f(x) = 2x``."""

from __future__ import annotations

from smc_decode.answers.forms.spans import Span
from smc_decode.notation.tokens import Token


def is_relation(token: Token) -> bool:
    return token.kind == "rel"


def named(span: Span) -> tuple[str, Span]:
    """The variable that a piece ``x = ...`` is about and its value; without one no name, and the span itself."""
    marks = span.at_margin(is_relation)
    if len(marks) == 1 and span.tokens[marks[0]].text in ("=", "in", ":=", "~"):
        left = span.part(span.start, marks[0])
        if is_name(left):
            return "".join(token.text for token in left.shown()), span.part(marks[0] + 1, span.end)
    return "", span


def is_name(span: Span) -> bool:
    """A variable, with subscripts and arguments: ``x``, ``x_1``, ``f(x)``, ``(x, y)``."""
    tokens = span.shown()
    if not tokens or not any(token.kind in ("var", "word") for token in tokens):
        return False
    if tokens[0].kind == "num" or sum(token.kind == "var" for token in tokens) > 8:
        return False
    if tokens[0].kind == "word":
        return all(token.kind == "word" for token in tokens)
    if len(tokens) > 1 and tokens[0].kind == tokens[1].kind == "var":
        return False
    return all(
        token.kind in ("var", "open", "close")
        or (token.kind == "op" and token.text in ("_", ",", "'"))
        or (token.kind == "num" and index > 0)
        for index, token in enumerate(tokens)
    )
