"""Text and LaTeX to tokens, in one pass from left to right.

What only lays out (spaces, sizes, colours, emphasis) leaves no token, and many spellings of one sign become one
token, so that a parser sees one notation.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from smc_decode.notation.signs import (
    ALSO_UNITS,
    ARGUMENT_DROPPED,
    CLOSERS,
    COMMAND_CLOSERS,
    COMMAND_OPENERS,
    COMMAND_OPERATORS,
    COMMAND_RELATIONS,
    CONSTANTS,
    CURRENCY,
    FUNCTIONS,
    KNOWN_VARIABLES,
    LAYOUT,
    OPENERS,
    OPERATOR_WORDS,
    RELATIONS,
    SEPARATORS,
    SIGNS,
    SUPERSCRIPTS,
    TRANSPARENT,
    TWO_LETTER_UNITS,
    WORDY,
)

Kind = Literal["num", "op", "word", "var", "func", "const", "rel", "sep", "open", "close", "dots", "unread"]


_SPACE = re.compile(r"[\s~\u00a0\u2009\u202f]+")
_NUMBER = re.compile(
    r"\d{1,3}(?:(?:,|\{,\}|,\\!|,\\!\s|\\,|\\ |\\:|\\;|[ \u00a0\u2009\u202f'’])\d{3})+(?!\d)(?:\.\d+)?"
    r"|\d+(?:\.\d+)?(?:[eE][+-]?\d+(?![\w.]))?|\.\d+"
)
_REPEATING = re.compile(r"(\d{0,30})\.(\d{0,30})\\(?:overline|bar)\s*\{?(\d{1,30})\}?")
_BULLET = re.compile(r"[ \t]*(?:[-*•+]|\d{1,3}[.)]|\(?[a-z\d]\))[ \t]+")
_COMMAND = re.compile(r"\\(?:[A-Za-z]+\*?|.)", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]+")
_DOTS = re.compile(r"\.\.\.+|…+")
_RELATION = re.compile(r":=|==+|=>|->|<=|>=|!=(?!=)|[=＝≈≃≅<>≤≥⩽⩾≠∈≡→⇒∼≔∝]")
_SUPER = re.compile("⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_LONE_DIGITS = re.compile(r"\s*(\d)\s*(?:(\d)|(?=\{)|(?=\\))")


@dataclass(frozen=True, slots=True)
class Token:
    """``start`` and ``end``: where it stands in the text. ``spaced``: space stands before it. ``places``: the decimals
    of a number as it is written (None: no decimal point)."""

    kind: Kind
    text: str
    start: int
    end: int
    spaced: bool
    value: Fraction = Fraction(0)
    places: int | None = None


class Tokenizer:
    """``latex``: letters are variables, each its own, and a line's end is a space."""

    def __init__(self, text: str, start: int = 0, end: int | None = None, *, latex: bool = False) -> None:
        self._text = text
        self._at = start
        self._end = len(text) if end is None else end
        self._latex = latex
        self._spaced = False
        self._braces: list[str] = []
        self._wordy = 0
        self.tokens: list[Token] = []

    def run(self) -> list[Token]:
        if self._at == 0 or self._text[self._at - 1] == "\n":
            self._bullet()
        while self._at < self._end:
            self._step()
        return self.tokens

    def _step(self) -> None:
        text, at = self._text, self._at
        char = text[at]
        if (char.isspace() or char == "~") and (space := _SPACE.match(text, at, self._end)):
            if "\n" in space[0] and not self._latex:
                self._add("sep", "\n", at, space.end())
            self._at, self._spaced = space.end(), True
            if "\n" in space[0]:
                self._bullet()
        elif char.isdecimal() or char == ".":
            self._number_or_dots(char)
        elif char == "\\":
            self._command()
        elif char.isalpha():
            self._word()
        elif (relation := _RELATION.match(text, at, self._end)) is not None:
            self._add("rel", RELATIONS.get(relation[0], "=="), at, relation.end())
        else:
            self._sign(char)

    def _bullet(self) -> None:
        """Skip what begins an item of a list."""
        bullet = None if self._latex else _BULLET.match(self._text, self._at, self._end)
        if bullet is not None:
            self._at, self._spaced = bullet.end(), True

    def _add(
        self, kind: Kind, text: str, start: int, end: int, value: Fraction = Fraction(0), places: int | None = None
    ) -> None:
        self.tokens.append(Token(kind, text, start, end, self._spaced, value, places))
        self._at, self._spaced = max(end, self._at), False

    # -- kinds of text --

    def _number_or_dots(self, char: str) -> None:
        at = self._at
        if dots := _DOTS.match(self._text, at, self._end):
            return self._add("dots", "...", at, dots.end())
        if repeating := _REPEATING.match(self._text, at, self._end):
            return self._add("num", repeating[0], at, repeating.end(), _repeating(repeating))
        number = _NUMBER.match(self._text, at, self._end)
        if number is None:
            cut = self._text.startswith(("\\overline", "\\bar", "\\dot"), at + 1)
            return self._add("sep" if char == "." and not cut else "unread", char, at, at + 1)
        value, places = read_number(number[0])
        glued = self.tokens and self.tokens[-1].kind == "num" and not self._spaced
        return self._add("unread" if glued else "num", number[0], at, number.end(), value, places)

    def _word(self) -> None:
        match = _WORD.match(self._text, self._at, self._end)
        assert match is not None
        word, at = match[0], self._at
        if word in CONSTANTS:
            self._add("const", CONSTANTS[word], at, match.end())
        elif word[0] == "π":
            self._add("const", "pi", at, at + 1)
        elif word in FUNCTIONS and not (word in ALSO_UNITS and not self._applied(match.end())):
            self._add("func", word, at, match.end())
        elif word.lower() in OPERATOR_WORDS and (not self._latex or self._wordy or len(word) > 2):
            self._add("op", OPERATOR_WORDS[word.lower()], at, match.end())
        elif word.lower() == "equals" and not self._latex:
            self._add("rel", "=", at, match.end())
        elif self._latex and not self._wordy and (len(word) < 3 or not word.isascii()) and not self._is_unit(word):
            for index, letter in enumerate(word):
                self._add("var", letter, at + index, at + index + 1)
        else:
            self._add("word", word, at, match.end())

    def _is_unit(self, word: str) -> bool:
        return word in TWO_LETTER_UNITS and bool(self.tokens) and self.tokens[-1].kind == "num"

    def _applied(self, end: int) -> bool:
        return self._text[end : end + 1] in ("(", "{") and not self._wordy

    def _sign(self, char: str) -> None:
        at = self._at
        if char in OPENERS:
            self._open(char)
        elif char in CLOSERS:
            self._close(char)
        elif char in CURRENCY or char in "&`":
            self._at, self._spaced = at + 1, True
        elif char in SUPERSCRIPTS or char == "⁻":
            self._superscript()
        elif self._text.startswith("**", at):
            self._add("op", "**", at, at + 2)
        elif char in SIGNS:
            self._add(*_sign_token(SIGNS[char]), at, at + 1)
        else:
            self._other(char, at)

    def _other(self, char: str, at: int) -> None:
        if char in ";:。，；：？?":
            ratio = (
                char == ":" and at > 0 and self._text[at - 1].isdecimal() and self._text[at + 1 : at + 2].isdecimal()
            )
            self._add("unread" if ratio else "sep", char, at, at + 1)
        elif (numeric := unicodedata.numeric(char, None)) is not None:
            self._add("num", char, at, at + 1, Fraction(numeric).limit_denominator(1000))
        else:
            self._add("unread", char, at, at + 1)

    def _superscript(self) -> None:
        match = _SUPER.match(self._text, self._at, self._end)
        if match is None:
            return self._add("unread", "⁻", self._at, self._at + 1)
        digits = "".join(str(SUPERSCRIPTS[sign]) for sign in match[0] if sign != "⁻")
        value = Fraction(int(digits[:6])) * (-1 if match[0][0] == "⁻" else 1)
        return self._add("op", "sup", self._at, match.end(), value)

    def _open(self, char: str) -> None:
        if char == "{":
            self._braces.append("{")
        self._add("open", OPENERS[char], self._at, self._at + 1)

    def _close(self, char: str) -> None:
        if char == "}" and self._braces:
            kind = self._braces.pop()
            if kind != "{":
                self._wordy -= kind == "wordy"
                self._at, self._spaced = self._at + 1, True
                return
        sign = "]" if char == "]" else CLOSERS[char]
        self._add("close", sign, self._at, self._at + 1)

    # -- commands --

    def _command(self) -> None:
        match = _COMMAND.match(self._text, self._at, self._end)
        if match is None:
            return self._add("unread", "\\", self._at, self._at + 1)
        name, at, end = match[0][1:].rstrip("*"), self._at, match.end()
        if name in ("left", "right") and (dot := re.compile(r"\s*\.(?!\d)").match(self._text, end, self._end)):
            self._at = dot.end()
        elif name in LAYOUT or name in CURRENCY:
            self._at, self._spaced = end, True
        elif name in SEPARATORS or name in ("begin", "end"):
            self._separator(name, at, end)
        elif name in TRANSPARENT:
            self._transparent(name, end)
        elif name in ARGUMENT_DROPPED:
            dropped = re.compile(r"\s*(?:\{[^{}]*\})?").match(self._text, end, self._end)
            self._at, self._spaced = dropped.end() if dropped else end, True
        else:
            self._sign_command(name, at, end)
        return None

    def _separator(self, name: str, at: int, end: int) -> None:
        if name in ("begin", "end") and (
            group := re.compile(r"\{[^{}]*\}(?:\{[clr|]*\})?").match(self._text, end, self._end)
        ):
            end = group.end()
            name = f"{name}{group[0]}"
        elif name == "\\" and (
            gap := re.compile(r"\s*\[\s*-?[\d.]*\s*(?:pt|em|ex|mm|cm)\s*\]").match(self._text, end, self._end)
        ):
            end = gap.end()
        self._add("sep", name, at, end)

    def _transparent(self, name: str, end: int) -> None:
        brace = re.compile(r"\s*\{").match(self._text, end, self._end)
        self._at, self._spaced = end, True
        if brace is not None:
            wordy = name in WORDY
            self._braces.append("wordy" if wordy else "boxed")
            self._wordy += wordy
            self._at = brace.end()

    def _sign_command(self, name: str, at: int, end: int) -> None:
        kind, text = _COMMANDS.get(name, ("unread", "\\" + name))
        self._add(kind, text, at, end)
        if text in ("frac", "binom"):
            self._lone_digits(end)

    def _lone_digits(self, end: int) -> None:
        r"""``\frac12``: each argument is one digit."""
        match = _LONE_DIGITS.match(self._text, end, self._end)
        if match is None:
            return
        for group in (1, 2):
            if match[group]:
                start = match.start(group)
                self._add("open", "{", start, start)
                self._add("num", match[group], start, start + 1, Fraction(int(match[group])))
                self._add("close", "{", start + 1, start + 1)


def _sign_token(sign: str) -> tuple[Kind, str]:
    """The kind and the text of a sign's token."""
    return ("const", sign) if sign in ("inf", "empty") else ("op", sign)


_FRACTIONS: dict[str, str] = {
    **dict.fromkeys(["frac", "dfrac", "tfrac", "cfrac"], "frac"),
    **dict.fromkeys(["binom", "dbinom", "tbinom"], "binom"),
}
_COMMANDS: dict[str, tuple[Kind, str]] = {
    **{name: ("var", "\\" + name) for name in KNOWN_VARIABLES},
    **dict.fromkeys(["emptyset", "varnothing"], ("const", "empty")),
    **{name: ("const", text) for name, text in CONSTANTS.items()},
    **{name: ("func", name) for name in FUNCTIONS},
    **dict.fromkeys(["ldots", "cdots", "dots", "dotsb", "dotsc", "dotsm"], ("dots", "...")),
    **{name: ("close", text) for name, text in COMMAND_CLOSERS.items()},
    **{name: ("open", text) for name, text in COMMAND_OPENERS.items()},
    **{name: ("op", text) for name, text in COMMAND_OPERATORS.items()},
    **{name: ("rel", text) for name, text in COMMAND_RELATIONS.items()},
    **{name: ("func", text) for name, text in _FRACTIONS.items()},
}


def tokenize(text: str, start: int = 0, end: int | None = None, *, latex: bool = False) -> list[Token]:
    """The tokens of ``text[start:end]``."""
    return Tokenizer(text, start, end, latex=latex).run()


def _repeating(match: re.Match[str]) -> Fraction:
    """``0.1\\overline{6}``."""
    head, period = match[1] + match[2], match[3]
    tail = Fraction(int(period), 10 ** len(period) - 1)
    return (int(head or "0") + tail) / Fraction(10) ** len(match[2])


_MAX_DIGITS = 4000


def read_number(written: str) -> tuple[Fraction, int | None]:
    """The value of a number as it is written, exactly, and its decimals."""
    plain = re.sub(r"[^\d.eE+-]", "", written)
    mantissa, _, exponent = plain.lower().partition("e")
    whole, point, decimals = mantissa.partition(".")
    digits = (whole + decimals)[:_MAX_DIGITS] or "0"
    places = len(decimals)
    power = int(exponent[:6] or "0") if exponent else 0
    shift = max(-_MAX_DIGITS, min(_MAX_DIGITS, power - places))
    value = Fraction(int(digits)) * (Fraction(10) ** shift)
    return value, (places if point and not exponent else None)
