"""The words behind a number that are its unit: ``3 cups``, ``60 km/h``, ``1 hour 30 minutes``."""

from __future__ import annotations

from smc_decode.notation.cursor import Cursor
from smc_decode.notation.tokens import Token
from smc_decode.notation.tree import Node
from smc_decode.notation.units import SHORT, scale

_NO_UNITS = frozenset(
    ["r", "remainder", "rem", "equals", "is", "with", "so", "then", "by", "divided", "multiplied", "x"]
)


def read_unit(cursor: Cursor, node: Node) -> Node | None:
    """Up to three words behind a number that are its unit; a further ``per hour`` or ``/hour`` belongs to them."""
    length = 0
    while length < 4 and cursor.peek(length).kind == "word" and not _is_remainder(cursor, length):
        length += 1
    following = cursor.peek(length)
    first = cursor.peek().text
    if length == 4 or (len(first) == 1 and not _is_short_unit(cursor, first, following)):
        return None
    if following.kind == "word" or following.kind in ("var", "unread", "const", "func"):
        return None
    name = cursor.peek(0 if scale(first) else length - 1).text
    if following.kind == "num":
        return _compound(cursor, node, name, length)
    cursor.at += length
    return Node("unit", (node,), name=name + _unit_power(cursor) + _per(cursor))


def _is_remainder(cursor: Cursor, ahead: int) -> bool:
    return cursor.peek(ahead).text.lower() in _NO_UNITS


def _is_short_unit(cursor: Cursor, letter: str, following: Token) -> bool:
    return letter in SHORT and (following.kind == "num" or cursor.peek().spaced)


def _compound(cursor: Cursor, node: Node, name: str, length: int) -> Node | None:
    """``1 hour 30 minutes``: a further quantity of the same dimension is added."""
    if _is_and(cursor, length - 1):
        length -= 1
        name = cursor.peek(0).text
        ahead = length + 1
    else:
        ahead = length
    unit, following = scale(name), cursor.peek(ahead + 1)
    part = "min" if following.text == "m" and unit is not None and unit[0] == "time" else following.text
    smaller = scale(part) if following.kind == "word" else None
    if unit is None or smaller is None or unit[0] != smaller[0] or smaller[1] >= unit[1]:
        return None
    cursor.at += ahead
    number = cursor.take()
    cursor.at += 1
    rest = Node("unit", (Node("num", value=number.value, places=number.places),), name=part)
    return Node("compound", (Node("unit", (node,), name=name), rest))


def _is_and(cursor: Cursor, ahead: int) -> bool:
    return ahead > 0 and cursor.peek(ahead).text.lower() == "and"


def _unit_power(cursor: Cursor) -> str:
    """``cm^2`` and ``cm²``."""
    token, following = cursor.peek(), cursor.peek(1)
    if token.kind == "op" and token.text == "sup":
        cursor.at += 1
        return f"^{token.value}"
    if token.kind == "op" and token.text == "^" and following.kind == "num":
        cursor.at += 2
        return f"^{following.text}"
    return ""


def _per(cursor: Cursor) -> str:
    per = cursor.peek()
    slash = per.kind == "op" and per.text == "/"
    if (slash or per.text in ("per", "a", "an")) and cursor.peek(1).kind == "word":
        cursor.at += 2
        return "/" + cursor.peek(-1).text
    return ""
