"""Answers that are one expression: a number, a term with variables, two values behind a ±."""

from __future__ import annotations

from dataclasses import replace

from smc_decode.answers.forms.form import Form
from smc_decode.answers.forms.spans import Read, Span
from smc_decode.notation.cursor import Unreadable
from smc_decode.notation.parser import Parser, Style
from smc_decode.notation.tree import Node, has

_STYLE = Style(units=True, variables=True)


def value(span: Span, _: Read) -> Form | None:
    """The form of one expression, which has no parts to read."""
    node = expression(span)
    if node is None:
        return None
    if has(node, "pm"):
        both = (_signed(node, "add"), _signed(node, "sub"))
        return Form("list", tuple(Form("value", node=each, text=plain(span)) for each in both))
    return Form("value", node=node, text=plain(span))


def expression(span: Span) -> Node | None:
    """The tree, if it is all one expression with nothing but words behind it, else None."""
    parser = Parser(span.tokens, span.start, span.end, _STYLE)
    try:
        node = parser.expression()
    except Unreadable:
        return None
    while parser.at < span.end and span.tokens[parser.at].kind == "word":  # what it is of, in words
        parser.at += 1
    return node if parser.at >= span.end else None


def plain(span: Span) -> str:
    """An expression's text without words and spaces; what a value that cannot be worked out is compared by."""
    joined = "".join(token.text for token in span.shown() if token.kind != "word")
    return "inf" if joined == "+inf" else joined


def _signed(node: Node, sign: str) -> Node:
    """A tree with ± read one way."""
    args = tuple(_signed(arg, sign) for arg in node.args)
    return replace(node, op=sign if node.op == "pm" else node.op, args=args)
