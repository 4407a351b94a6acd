"""Finds the equalities that a worked solution claims, in prose and in LaTeX, and says whether they hold.

A claim is an equality of which at least one side is an operation on numbers. ``x = 5`` defines, ``2x + 3 = 7`` is to
be solved, ``1 hour = 60 minutes`` converts: none of these is one. One pass over the text, and each side is read a
bounded number of times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from smc_decode.notation.cursor import Unreadable
from smc_decode.notation.parser import Parser, Style
from smc_decode.notation.regions import regions
from smc_decode.notation.tokens import Token, tokenize
from smc_decode.notation.tree import Node, has, is_number, variables
from smc_decode.notation.truth import Verdict, verdict

MAX_SIDE = 120
"""Tokens of one side; a longer one is not read."""

MAX_STARTS = 8
"""Places that are tried as the beginning of a left side that stands in prose."""

MAX_TEXT = 200_000
"""Characters that are looked at, from the first one on."""

Outcome = Literal["holds", "fails", "no claim", "other"]


@dataclass(frozen=True, slots=True)
class Claim:
    """``left`` and ``right`` as they are written. ``outcome``: ``other`` is LaTeX that this reader does not know."""

    left: str
    right: str
    approximate: bool
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Side:
    start: int
    end: int
    node: Node | None


def find_claims(text: str, finished: bool, limit: int = 100) -> list[Claim]:
    """The distinct claims of a text, in order, each with what is to be said of it.

    Of an unfinished text the last number may still grow, so a claim that touches its end is left out.
    """
    text = text[:MAX_TEXT]
    found: dict[tuple[str, str], Claim] = {}
    for start, end, latex in regions(text, finished):
        open_end = not finished and end == len(text)
        for claim in _Clauses(text, start, end, latex, open_end).claims():
            if claim.outcome != "no claim":
                found.setdefault((claim.left, claim.right), claim)
                if len(found) >= limit:
                    return list(found.values())
    return list(found.values())


class _Clauses:
    """One region of a text: prose, or the LaTeX of one formula."""

    def __init__(self, text: str, start: int, end: int, latex: bool, open_end: bool) -> None:
        self._text = text
        self._latex = latex
        self._open_end = open_end
        self._style = Style(units=True, variables=latex)
        # what an expression may begin behind; in a formula only words stand outside of it
        self._outside = ("word",) if latex else ("word", "unread", "dots", "close")
        tokens = tokenize(text, start, end, latex=latex)
        self._tokens = tokens if latex else without_emphasis(tokens)

    def claims(self) -> Iterator[Claim]:
        start = 0
        for end in [*self._separators(), len(self._tokens)]:
            if end > start:
                yield from self._clause(start, end)
            start = end + 1

    def _separators(self) -> Iterator[int]:
        depth = 0
        for index, token in enumerate(self._tokens):
            if token.kind == "open":
                depth += 1
            elif token.kind == "close":
                depth = max(depth - 1, 0)
            elif token.kind == "sep":
                depth = 0
                yield index
            elif token.kind == "op" and (
                (token.text == "," and depth == 0 and not self._decimal_comma(index))
                or (token.text == "|" and not self._latex)
            ):
                yield index

    def _decimal_comma(self, index: int) -> bool:
        around = self._tokens[index - 1 : index + 2] if index else []
        return (
            len(around) == 3
            and around[0].kind == around[2].kind == "num"
            and not (around[1].spaced or around[2].spaced)
        )

    def _relations(self, start: int, end: int) -> list[int]:
        """Where relations stand, those in braces (the bounds of a sum) left out."""
        depth, marks = 0, []
        for index in range(start, end):
            token = self._tokens[index]
            if token.text == "{":
                depth = max(depth + (1 if token.kind == "open" else -1), 0)
            elif token.kind == "rel" and depth == 0:
                marks.append(index)
        return marks

    def _clause(self, start: int, end: int) -> Iterator[Claim]:
        marks = self._relations(start, end)
        if not any(self._tokens[index].text in ("=", "~") for index in marks):
            return
        if any(token.text == "\\pmod" or token.text == "\\pod" for token in self._tokens[start:end]):
            return
        bounds = [start - 1, *marks, end]
        for before, mark, after in zip(bounds, marks, bounds[2:], strict=False):
            if self._tokens[mark].text not in ("=", "~"):
                continue
            left = self._left(before + 1, mark)
            right = self._right(mark + 1, after, after == end)
            if left is not None and right is not None:
                claim = self._claim(left, right, self._tokens[mark].text == "~")
                if claim is not None:
                    yield claim

    # -- sides --

    def _left(self, start: int, end: int) -> _Side | None:
        """The longest expression that ends where the relation begins."""
        if start >= end:
            return None
        first = max(start, end - MAX_SIDE)
        for position in self._starts(first, end):
            node = self._parse(position, end)
            if node is not None:
                return None if self._cut_off(position, start) else _Side(position, end, node)
        return self._unread(start, end)

    def _starts(self, first: int, end: int) -> list[int]:
        """Where an expression may begin: at the piece's beginning, and behind whatever is no part of one."""
        starts = [first] if self._begins(first) else []
        for index in range(end - 1, first, -1):
            token, before = self._tokens[index], self._tokens[index - 1]
            if self._begins(index) and (before.kind in self._outside or _breaks(before, token)):
                starts.append(index)
            if len(starts) > MAX_STARTS:
                break
        return sorted(starts)

    def _begins(self, index: int) -> bool:
        token = self._tokens[index]
        if token.kind in ("num", "func", "const", "open", "var"):
            return True
        return token.kind == "op" and token.text in ("-", "√", "∛", "|", "+")

    def _cut_off(self, position: int, start: int) -> bool:
        """Whether an operator or a variable before it belongs to the expression."""
        if position == start:
            return False
        before, token = self._tokens[position - 1], self._tokens[position]
        if before.kind == "op":
            return before.text not in ("!", "*", "**")
        if before.kind in ("func", "var", "const", "rel", "num", "close"):
            return before.kind != "close" or not token.spaced
        if before.kind == "word" and len(before.text) == 1 and before.text not in "aAI":
            return not token.spaced or token.kind in ("op", "open")
        return before.kind == "word" and (not token.spaced or before.text in ("of", "log", "by"))

    def _right(self, start: int, end: int, last: bool) -> _Side | None:
        """The longest expression that begins behind the relation."""
        if start >= end:
            return None
        parser = Parser(self._tokens, start, min(end, start + MAX_SIDE), self._style)
        try:
            node = parser.expression()
        except Unreadable:
            return self._unread(start, end)
        remainder = self._remainder(parser, node)
        if remainder is not None:
            node = remainder
        stop = parser.at
        if stop < end and self._goes_on(stop):
            return self._unread(start, end)
        if self._open_end and self._may_grow(stop, node):
            return None
        return _Side(start, stop, node)

    def _remainder(self, parser: Parser, node: Node) -> Node | None:
        """``3 R 2`` and ``3 with a remainder of 2``."""
        at = parser.at
        words = 0
        while (
            words < 5
            and parser.peek(words).kind in ("word", "op")
            and parser.peek(words).text.lower() in _REMAINDER_WORDS
        ):
            words += 1
        number = parser.peek(words)
        said = [parser.peek(index).text.lower() for index in range(words)]
        if number.kind != "num" or not _REMAINDER.intersection(said):
            parser.at = at
            return None
        parser.at = at + words + 1
        return Node("remainder", (node, Node("num", value=number.value)))

    def _goes_on(self, index: int) -> bool:
        """Whether the token belongs to an expression that could not be read to its end."""
        token, before = self._tokens[index], self._tokens[index - 1]
        if token.kind == "word":
            return not token.spaced and before.kind == "num"
        if token.kind in ("var", "const", "func", "open", "unread"):
            return self._latex or not token.spaced
        if token.kind == "op" and token.text in ("^", "_", "/", "'", ","):
            return True
        if token.kind == "op" and token.text in "+-*×" and index + 1 < len(self._tokens):
            following = self._tokens[index + 1]
            return following.kind != "word" or len(following.text) == 1
        return False

    def _may_grow(self, stop: int, node: Node) -> bool:
        rest = [token.text.lower() for token in self._tokens[stop : stop + 8]]
        if not rest:
            return True
        if stop + len(rest) < len(self._tokens):
            return False
        tail = " ".join(rest)
        return any(phrase.startswith(tail) for phrase in _GROWING) or (
            rest[0] in ("*", "**", "(", "%", ",", ".") and len(rest) == 1
        )

    def _parse(self, start: int, end: int) -> Node | None:
        parser = Parser(self._tokens, start, end, self._style)
        try:
            node = parser.expression()
        except Unreadable:
            return None
        return node if parser.at == end else None

    def _unread(self, start: int, end: int) -> _Side | None:
        """A side of a formula that is left to a reader who knows more LaTeX."""
        if not self._latex or end - start > MAX_SIDE or any(token.kind == "word" for token in self._tokens[start:end]):
            return None
        return _Side(start, end, None)

    # -- claims --

    def _claim(self, left: _Side, right: _Side, approximate: bool) -> Claim | None:
        texts = [self._text[self._tokens[side.start].start : self._tokens[side.end - 1].end] for side in (left, right)]
        if texts[0].strip() == texts[1].strip():
            return None
        if left.node is None or right.node is None:
            return self._other(texts, approximate, left, right)
        if not self._operates(left.node, right.node):
            return None
        outcome: Verdict = verdict(left.node, right.node, approximate)
        return Claim(texts[0], texts[1], approximate, outcome)

    def _other(self, texts: Sequence[str], approximate: bool, left: _Side, right: _Side) -> Claim | None:
        names = [side.node is not None and side.node.op == "var" for side in (left, right)]
        if any(names) or any(len(text) > 400 or not text.strip() for text in texts):
            return None
        if not any("\\" in text for text in texts) or "\\text" in "".join(texts):
            return None
        return Claim(texts[0], texts[1], approximate, "other")

    def _operates(self, left: Node, right: Node) -> bool:
        if not is_number(left) and (left.op != "var"):
            return True
        return not is_number(right) and left.op != "var" and not has(left, "unit") and not variables(right)


def _breaks(before: Token, token: Token) -> bool:
    return before.kind == "num" and token.kind == "num"


_REMAINDER = frozenset(["r", "remainder", "rem"])
_REMAINDER_WORDS = _REMAINDER | {"with", "and", "a", "of", "the", "is"}
_GROWING = ("with a remainder of", "and a remainder of", "remainder of", "rem ", "r ", "and a half", "hours and")


def without_emphasis(tokens: list[Token]) -> list[Token]:
    """Without the stars and underscores of Markdown: such a sign is an operator between operands only."""
    kept: list[Token] = []
    for index, token in enumerate(tokens):
        if token.kind == "op" and token.text in ("*", "**", "_"):
            following = tokens[index + 1] if index + 1 < len(tokens) else None
            if not (kept and _ends_operand(kept[-1]) and following is not None and _begins_operand(following)):
                continue
        kept.append(token)
    return kept


def _ends_operand(token: Token) -> bool:
    if token.kind == "word":
        return True
    return token.kind in ("num", "close", "var", "const") or (
        token.kind == "op" and token.text in ("%", "!", "deg", "sup", "'")
    )


def _begins_operand(token: Token) -> bool:
    if token.kind == "op":
        return token.text in ("-", "√", "∛", "|")
    return token.kind in ("num", "open", "var", "const", "func", "word")
