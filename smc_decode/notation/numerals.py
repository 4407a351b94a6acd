"""Numbers of more than one token: mixed ones such as ``2 1/2``, and those in another base, ``101_2``."""

from __future__ import annotations

from fractions import Fraction

from smc_decode.notation.cursor import Cursor, Unreadable
from smc_decode.notation.tokens import Token
from smc_decode.notation.tree import Node

_BASES = {"two": 2, "binary": 2, "eight": 8, "octal": 8, "ten": 10}


def read_number(cursor: Cursor, token: Token) -> Node:
    """The number that ``token``, which was just taken, begins. Raises Unreadable."""
    node = Node("num", value=token.value, places=token.places, name=token.text)
    if cursor.sees("op", "_"):
        return _in_base(cursor, token)
    following = cursor.peek()
    if (
        following.kind == "num"
        and following.text.isalnum()
        and not following.text.isdecimal()
        and len(following.text) == 1
    ):
        cursor.at += 1  # 2½
        return Node("mixed", (node, Node("num", value=following.value, name=following.text)))
    return _mixed(cursor, node, token)


def _mixed(cursor: Cursor, node: Node, token: Token) -> Node:
    """``2 1/2`` and ``2\\frac{1}{2}``: a whole number and a fraction of whole numbers below one."""
    if token.places is not None or not token.text.isdecimal():
        return node
    first, slash, second = cursor.peek(), cursor.peek(1), cursor.peek(2)
    whole = [each.kind == "num" and each.text.isdecimal() for each in (first, second)]
    if all(whole) and slash.kind == "op" and slash.text == "/" and first.spaced and first.value < second.value:
        cursor.at += 3
        part = Node("div", (Node("num", value=first.value), Node("num", value=second.value)))
        return Node("mixed", (node, part))
    if first.kind == "func" and first.text == "frac":
        digits = [cursor.peek(2), cursor.peek(5)]
        closed = [cursor.peek(ahead).text for ahead in (1, 3, 4, 6)] == ["{"] * 4
        if closed and all(each.text.isdecimal() for each in digits) and digits[0].value < digits[1].value:
            cursor.at += 7
            return Node("mixed", (node, Node("div", tuple(Node("num", value=each.value) for each in digits))))
    return node


def _in_base(cursor: Cursor, token: Token) -> Node:
    cursor.at += 1
    braced = cursor.sees("open", "{")
    cursor.at += braced
    base = cursor.take()
    if braced:
        cursor.expect("close", "{")
    if base.kind == "word" and base.text.lower() in _BASES:
        size = _BASES[base.text.lower()]
    elif base.kind == "num" and base.text.isdecimal():
        size = int(base.value)
    else:
        raise Unreadable("no base")
    if size == 10:
        return Node("num", value=token.value, places=token.places, name=token.text)
    digits = token.text.replace(" ", "").replace(",", "")
    if not 2 <= size <= 36 or not digits.isdecimal() or any(int(digit) >= size for digit in digits):
        raise Unreadable("no number of this base")
    return Node("base", value=Fraction(int(digits, size) if len(digits) < 400 else 0), name=f"{digits}_{size}")
