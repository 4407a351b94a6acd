"""The form of a final answer: a value, a list or set, a tuple, an interval, a union, a matrix, an equation, words."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from smc_decode.notation.cursor import Unreadable
from smc_decode.notation.parser import Parser, Style
from smc_decode.notation.tokens import Token, tokenize
from smc_decode.notation.tree import Node, has

Kind = Literal["value", "list", "tuple", "interval", "union", "matrix", "equation", "words"]

_STYLE = Style(units=True, variables=True)
_WRAPPERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
_ENDINGS = " \t\n.,;:"
_BOLD = re.compile(r"\\(?:textbf|mathbf|boldsymbol|bm|displaystyle|boxed|fbox|ensuremath)\s*\{(.*)\}", re.DOTALL)
_WORDS = re.compile(
    r"(?<![A-Za-z\\{])(and|or|cm|mm|km|kg|mg|ml|ft|oz|lb|hr|yd|mi|am|pm|AM|PM|sq)(?![A-Za-z(}])", re.ASCII
)
_INFINITE = Node("const", name="inf")
_EMPTY = frozenset(
    ["emptyset", "empty set", "the empty set", "no solution", "no solutions", "no real solution", "no real solutions"]
)
_REALS = frozenset(["all real numbers", "all reals", "the real numbers", "all real x"])
_ORDERINGS = {"<": False, ">": False, "<=": True, ">=": True}
_JOINING = frozenset(["and", "or"])
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Form:
    """``text``: the words, the brackets of an interval, tuple or matrix, or what a value that cannot be worked out is
    compared by. ``node``: of a value; of an equation the left side minus the right one."""

    kind: Kind
    parts: tuple[Form, ...] = ()
    text: str = ""
    node: Node | None = None


def read_form(latex: str) -> Form:
    """The form of a final answer; what is no mathematics is words."""
    text = _unwrapped(unicodedata.normalize("NFC", latex))
    words = _Words.of(text)
    if words is not None:
        return words
    text = re.sub(r"(?<=\d)[ ]?:[ ]?(?=\d)", ":", text)
    tokens = tokenize(_WORDS.sub(r"\\text{ \1 }", text), latex=True)
    form = _Reader(tokens, text).read(0, len(tokens), 0)
    return form if form is not None else Form("words", text=plain_words(text))


def plain_words(text: str) -> str:
    """Words without layout, case and punctuation; other text without spaces."""
    text = re.sub(
        r"\\(?:text\w*|mathrm|mathbf|mathit|mbox|operatorname|left|right|displaystyle|boxed|fbox)(?![A-Za-z])",
        " ",
        text,
    )
    text = re.sub(r"\\[,;:! ]|[{}$~]", " ", text).casefold()
    text = re.sub(r"(?<=[a-z])\.(?=[a-z\s]|$)|(?<=\d)(?:st|nd|rd|th)\b", "", text)
    if re.search(r"[\\^_=<>+*/]", text):
        return re.sub(r"\s+", "", text)
    return " ".join(re.sub(r"[^\w\s.:/%-]", " ", text).split()).strip(" .:-")


def _unwrapped(text: str) -> str:
    """Without the signs around a formula and the full stop behind it."""
    before = None
    while before != text:
        before = text
        text = text.strip().strip("*`").rstrip(_ENDINGS).removesuffix("\\").lstrip(":;, ")
        bold = _BOLD.fullmatch(text)
        text = bold[1] if bold is not None and _balanced(bold[1]) else text
        for opening, closing in _WRAPPERS:
            inner = text[len(opening) : -len(closing)]
            enclosed = text.startswith(opening) and text.endswith(closing) and len(text) > len(opening + closing)
            if enclosed and opening not in inner:
                text = inner
                break
    return text


def _balanced(text: str) -> bool:
    depth = 0
    for char in text:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth < 0:
            return False
    return depth == 0


class _Words:
    """Answers in words: a name, a choice, a date."""

    @staticmethod
    def of(text: str) -> Form | None:
        plain = plain_words(text)
        if plain in _EMPTY or re.fullmatch(r"\\(?:emptyset|varnothing)|∅|\\\{\s*\\\}", text):
            return Form("words", text="∅")
        if plain in _REALS or re.fullmatch(r"(?:[a-z]\s*(?:\\in|∈)\s*)?(?:\\mathbb\s*\{?R\}?|ℝ)", text):
            return _interval(None, None, False, False)
        if (
            re.fullmatch(r"[A-Za-z]", plain)
            and text not in ("i", "e")
            and not re.search(r"[=+*/^\\]", text.replace("\\text", "").replace("\\math", ""))
        ):
            return Form("words", text=plain)
        first = re.match(r"[^\W\d_]+", plain)
        if first is None or re.search(r"[\\^_=<>+*/]", plain) or (len(plain) < 3 and "text" not in text):
            return None
        return Form("words", text=plain) if _is_prose(plain, text) else None


def _is_prose(plain: str, text: str) -> bool:
    """Whether it begins with a word, and not with a product of variables or a function."""
    first = re.split(r"[^\w']", plain, maxsplit=1)[0]
    if "\\text" in text or "\\mbox" in text or "\\mathrm" in text:
        return text.lstrip(" ({").startswith(("\\text", "\\mbox", "\\mathrm")) and first not in ("or", "and")
    return len(first) >= 3 and "\\" not in text and first not in ("sin", "cos", "tan", "log", "sqrt")


class _Reader:
    def __init__(self, tokens: Sequence[Token], text: str) -> None:
        self._tokens = tokens
        self._text = text

    def read(self, start: int, end: int, depth: int) -> Form | None:
        """The form of some tokens; None for what is no mathematics."""
        start, end = self._trimmed(start, end)
        if start >= end or depth > _MAX_DEPTH:
            return None
        for reader in (self._matrix, self._list, self._relation, self._union, self._bracketed, self._value):
            form = reader(start, end, depth)
            if form is not None:
                return form
        return None

    def _trimmed(self, start: int, end: int) -> tuple[int, int]:
        while start < end and self._tokens[start].kind == "sep" and not self._tokens[start].text.startswith("begin"):
            start += 1
        while end > start and self._tokens[end - 1].kind == "sep" and not self._tokens[end - 1].text.startswith("end"):
            end -= 1
        return start, end

    def _at_margin(self, start: int, end: int) -> list[int]:
        """The tokens that stand in no brackets. An interval's brackets need not match each other."""
        depth, margin = 0, []
        for index in range(start, end):
            token = self._tokens[index]
            depth -= token.kind == "close"
            if depth == 0 and token.kind not in ("open", "close"):
                margin.append(index)
            depth += token.kind == "open"
        return margin

    def _split(self, start: int, end: int, at: Sequence[int]) -> list[tuple[int, int]]:
        bounds = [start - 1, *at, end]
        return [(a + 1, b) for a, b in itertools.pairwise(bounds) if b > a + 1]

    # -- matrices --

    def _matrix(self, start: int, end: int, depth: int) -> Form | None:
        first, last = self._tokens[start], self._tokens[end - 1]
        if not (re.match(r"begin\{[pbvBV]?(?:matrix|array)\}", first.text) and last.text.startswith("end{")):
            return None
        rows = [index for index in range(start + 1, end - 1) if self._tokens[index].text == "\\"]
        lines = []
        for a, b in self._split(start + 1, end - 1, rows):
            cells = [self.read(c, d, depth + 1) for c, d in self._cells(a, b)]
            if any(cell is None for cell in cells):
                return None
            lines.append(Form("tuple", tuple(cell for cell in cells if cell is not None), "["))
        return Form("matrix", tuple(lines), "v" if first.text[6] in "vV" else "[")

    def _cells(self, start: int, end: int) -> list[tuple[int, int]]:
        """Between the ampersands, which leave no token."""
        if start >= end:
            return []
        breaks = [
            index
            for index in range(start + 1, end)
            if "&" in self._source(self._tokens[index - 1].end, self._tokens[index].start)
        ]
        bounds = [start, *breaks, end]
        return list(itertools.pairwise(bounds))

    def _source(self, start: int, end: int) -> str:
        return _WORDS.sub(r"\\text{ \1 }", self._text)[start:end]

    # -- lists --

    def _list(self, start: int, end: int, depth: int) -> Form | None:
        marks = [index for index in self._at_margin(start, end) if self._separates(self._tokens[index])]
        if not marks:
            return None
        pieces = self._split(start, end, marks)
        named = [self._named(a, b) for a, b in pieces]
        names = [name for name, _ in named]
        forms = [self.read(a, b, depth + 1) for a, b in pieces]
        if not forms or any(form is None for form in forms):
            return None
        found = [form for form in forms if form is not None]
        if len(set(names)) == len(names) > 1 and all(names):
            return Form(
                "tuple", tuple(form for _, form in sorted(zip(names, found, strict=True), key=lambda each: each[0]))
            )
        if any(form.kind in ("interval", "union") for form in found):
            return self._joined(found, marks)
        return Form("list", tuple(_flat(found)))

    def _joined(self, found: list[Form], marks: Sequence[int]) -> Form | None:
        """Conditions: ``x < 1 or x > 2`` is a union, ``x > 1 and x < 2`` one interval."""
        if all(self._tokens[index].text == "or" or self._tokens[index].text == "," for index in marks):
            return Form("union", tuple(_flat(found)))
        ends = {form.text[0] == "(" and form.parts[0].text == "-inf" for form in found if form.kind == "interval"}
        if len(found) == 2 and ends == {True, False}:
            lower = next(form for form in found if form.parts[0].text != "-inf")
            upper = next(form for form in found if form.parts[0].text == "-inf")
            return Form("interval", (lower.parts[0], upper.parts[1]), lower.text[0] + upper.text[1])
        return None

    def _separates(self, token: Token) -> bool:
        if token.kind == "word":
            return token.text.lower() in _JOINING
        return (token.kind == "op" and token.text == ",") or (
            token.kind == "sep" and not token.text.startswith(("begin", "end"))
        )

    def _named(self, start: int, end: int) -> tuple[str, int]:
        """The variable that a piece ``x = ...`` is about, and where its value begins."""
        marks = [index for index in self._at_margin(start, end) if self._tokens[index].kind == "rel"]
        if len(marks) == 1 and self._tokens[marks[0]].text in ("=", "in", ":=", "~") and self._is_name(start, marks[0]):
            return "".join(token.text for token in self._tokens[start : marks[0]]), marks[0] + 1
        return "", start

    def _is_name(self, start: int, end: int) -> bool:
        """A variable, with subscripts and arguments: ``x``, ``x_1``, ``f(x)``, ``(x, y)``."""
        tokens = self._tokens[start:end]
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

    # -- relations --

    def _relation(self, start: int, end: int, depth: int) -> Form | None:
        marks = [index for index in self._at_margin(start, end) if self._tokens[index].kind == "rel"]
        if not marks:
            return None
        name, value = self._named(start, end)
        if name:
            return self.read(value, end, depth + 1)
        texts = [self._tokens[index].text for index in marks]
        if all(text in _ORDERINGS for text in texts):
            return self._ordering(start, end, marks, depth)
        if texts == ["!="] and self._is_name(start, marks[0]):
            hole = self.read(marks[0] + 1, end, depth + 1)
            return (
                None
                if hole is None
                else Form("union", (_interval(None, hole, False, False), _interval(hole, None, False, False)))
            )
        if texts[0] == "=" and len(set(texts)) == 1:
            return self._equation(start, end, marks)
        return None

    def _equation(self, start: int, end: int, marks: Sequence[int]) -> Form | None:
        if len(marks) > 1 and (self._is_name(start, marks[0]) or len(marks) == 2):
            return self.read(marks[-1] + 1, end, 1)  # a chain ends in the answer
        left, right = self._node(start, marks[0]), self._node(marks[0] + 1, end)
        if left is None or right is None:
            return None
        if right.op == "var" and left.op in ("num", "neg", "div"):
            return Form("value", node=left, text=self._plain(start, marks[0]))
        return Form("equation", node=Node("sub", (left, right)))

    def _ordering(self, start: int, end: int, marks: Sequence[int], depth: int) -> Form | None:
        """``x > 2`` and ``-2 <= x < 7`` as intervals."""
        sides = self._split(start, end, marks)
        if len(sides) != len(marks) + 1 or len(marks) > 2:
            return None
        middle = next((index for index, (a, b) in enumerate(sides) if self._is_name(a, b)), None)
        if middle is None or (len(marks) == 2 and middle != 1):
            return None
        low: tuple[Form | None, bool] = (None, False)
        high: tuple[Form | None, bool] = (None, False)
        for index, (a, b) in enumerate(sides):
            if index == middle:
                continue
            bound = self.read(a, b, depth + 1)
            relation = self._tokens[marks[min(index, middle)]].text
            if bound is None:
                return None
            if (relation[0] == "<") == (index < middle):
                low = (bound, _ORDERINGS[relation])
            else:
                high = (bound, _ORDERINGS[relation])
        return _interval(low[0], high[0], low[1], high[1])

    # -- sets --

    def _union(self, start: int, end: int, depth: int) -> Form | None:
        marks = [
            index
            for index in self._at_margin(start, end)
            if self._tokens[index].kind == "op" and self._tokens[index].text == "cup"
        ]
        if not marks:
            return None
        parts = [self.read(a, b, depth + 1) for a, b in self._split(start, end, marks)]
        if any(part is None for part in parts):
            return None
        return Form("union", tuple(_flat([part for part in parts if part is not None])))

    def _bracketed(self, start: int, end: int, depth: int) -> Form | None:
        first, last = self._tokens[start], self._tokens[end - 1]
        if first.kind != "open" or last.kind != "close" or not self._encloses(start, end):
            return None
        if end - start == 3 and (pair := _without_thousands(self._tokens[start + 1])) and first.text in "([set":
            return Form("list", pair) if first.text == "set" else _pair(pair, first.text, last.text)
        if first.text == "set":
            return self._set(start + 1, end - 1, depth)
        commas = [index for index in self._at_margin(start + 1, end - 1) if self._tokens[index].text == ","]
        if not commas or first.text not in "([":
            return self.read(start + 1, end - 1, depth + 1) if first.text == "{" else None
        parts = [self.read(a, b, depth + 1) for a, b in self._split(start + 1, end - 1, commas)]
        if any(part is None for part in parts) or len(parts) != len(commas) + 1:
            return None
        return _pair(tuple(part for part in parts if part is not None), first.text, last.text)

    def _encloses(self, start: int, end: int) -> bool:
        depth = 0
        for index in range(start, end):
            depth += {"open": 1, "close": -1}.get(self._tokens[index].kind, 0)
            if depth == 0:
                return index == end - 1
        return False

    def _set(self, start: int, end: int, depth: int) -> Form | None:
        """``{1, 2}``, and ``{x | x > 2}``, whose condition counts."""
        bar = next(
            (
                index
                for index in self._at_margin(start, end)
                if self._tokens[index].text in ("mid", "|", ":") and index > start
            ),
            None,
        )
        if bar is not None and self._tokens[start].kind == "var":
            return self.read(bar + 1, end, depth + 1)
        inner = self.read(start, end, depth + 1)
        if inner is None or inner.kind == "list":
            return inner
        return Form("list", (inner,)) if inner.kind == "value" else Form("list", (inner,), "set")

    # -- values --

    def _value(self, start: int, end: int, depth: int) -> Form | None:
        node = self._node(start, end)
        if node is None:
            return None
        if has(node, "pm"):
            signs = [_signed(node, "add"), _signed(node, "sub")]
            return Form("list", tuple(Form("value", node=each, text=self._plain(start, end)) for each in signs))
        return Form("value", node=node, text=self._plain(start, end))

    def _node(self, start: int, end: int) -> Node | None:
        parser = Parser(self._tokens, start, end, _STYLE)
        try:
            node = parser.expression()
        except Unreadable:
            return None
        while parser.at < end and self._tokens[parser.at].kind == "word":  # what it is of, in words
            parser.at += 1
        return node if parser.at >= end else None

    def _plain(self, start: int, end: int) -> str:
        texts = [token.text for token in self._tokens[start:end] if token.kind != "word"]
        joined = "".join(texts)
        return {"inf": "inf", "-inf": "-inf", "+inf": "inf"}.get(joined, joined)


def _flat(forms: Sequence[Form]) -> list[Form]:
    """Lists in a list are one."""
    return [part for form in forms for part in (form.parts if form.kind in ("list", "union") else (form,))]


def _pair(parts: tuple[Form, ...], opening: str, closing: str) -> Form:
    """A tuple, or an interval if the brackets say so; an open interval and a pair look the same, and are."""
    brackets = opening + (")" if closing == "(" else "]")
    if len(parts) == 2 and brackets != "()":
        return Form("interval", parts, brackets)
    return Form("tuple", parts, opening)


def _without_thousands(token: Token) -> tuple[Form, ...]:
    """``12,102`` in brackets is two numbers, ``12,000`` one."""
    digits = token.text.split(",")
    if token.kind != "num" or len(digits) < 2 or not all(each.isdecimal() and each[0] != "0" for each in digits):
        return ()
    return tuple(Form("value", node=Node("num", value=Fraction(int(each)), name=each), text=each) for each in digits)


def _interval(low: Form | None, high: Form | None, closed_low: bool, closed_high: bool) -> Form:
    minus = Form("value", node=Node("neg", (_INFINITE,)), text="-inf")
    plus = Form("value", node=_INFINITE, text="inf")
    brackets = ("[" if closed_low else "(") + ("]" if closed_high else ")")
    return Form("interval", (low or minus, high or plus), brackets)


def _signed(node: Node, sign: str) -> Node:
    """A tree with ± read one way."""
    args = tuple(_signed(arg, sign) for arg in node.args)
    return replace(node, op=sign if node.op == "pm" else node.op, args=args)
