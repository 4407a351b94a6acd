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

Kind = Literal["num", "op", "word", "var", "func", "const", "rel", "sep", "open", "close", "unit", "dots", "unread"]

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp sqrt cbrt root gcd lcm max min abs det"
    " binom frac floor ceil arg".split()
)
OPERATOR_WORDS = {
    "mod": "mod", "modulo": "mod", "choose": "choose", "plus": "+", "minus": "-", "times": "*", "of": "of", "over": "/",
    "squared": "squared", "cubed": "cubed", "percent": "%",
}  # fmt: skip
_OPERATORS = {
    "+": "+", "-": "-", "−": "-", "–": "-", "*": "*", "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "/": "/",
    "÷": "/", "∕": "/", "⁄": "/", "^": "^", "!": "!", "%": "%", "_": "_", "|": "|", "±": "±", "∓": "±", ",": ",",
    "**": "**", "°": "deg", "º": "deg", "√": "√", "∛": "∛", "'": "'", "′": "'", "‰": "unread",
}  # fmt: skip
_COMMAND_OPERATORS = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "slash": "/", "pm": "±", "mp": "±", "bmod": "mod",
    "mod": "mod", "choose": "choose", "circ": "deg", "degree": "deg", "vert": "|", "lvert": "|", "rvert": "|", "%": "%",
    "_": "_", "prime": "'", "cup": "cup", "cap": "cap", "setminus": "setminus", "over": "over",
}  # fmt: skip
_RELATIONS = {
    "=": "=", "＝": "=", "==": "==", "≈": "~", "≃": "~", "≅": "~", "<": "<", ">": ">", "≤": "<=", "≥": ">=", "⩽": "<=", "⩾": ">=",
    "≠": "!=", "∈": "in", "≡": "≡", "→": "to", "⇒": "to", "∼": "sim", ":=": ":=", "=>": "to", "->": "to", "<=": "<=",
    ">=": ">=", "!=": "!=", "≔": ":=", "∝": "sim",
}  # fmt: skip
_COMMAND_RELATIONS = {
    "approx": "~", "simeq": "~", "cong": "~", "doteq": "~", "approxeq": "~", "lt": "<", "gt": ">", "le": "<=", "leq": "<=",
    "leqslant": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=", "ne": "!=", "neq": "!=", "equiv": "≡", "sim": "sim",
    "in": "in", "to": "to", "rightarrow": "to", "mapsto": "to", "propto": "sim", "notin": "sim", "mid": "mid",
}  # fmt: skip
_LAYOUT = frozenset(
    "left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr middle displaystyle textstyle scriptstyle"
    " limits nolimits mathstrut strut , ! ; : > thinspace medspace negthinspace enspace displaylines nonumber notag hfill"
    " allowbreak space".split()
) | {" ", "\n"}
_SEPARATORS = frozenset(
    "\\ implies Rightarrow Longrightarrow iff Leftrightarrow quad qquad therefore because newline hline and"
    " land lor wedge vee".split()
)
_TRANSPARENT = frozenset(
    "text textbf textit textrm textsf texttt textnormal mathrm mathbf mathit mathsf mathnormal mbox hbox boxed fbox bm"
    " boldsymbol pmb emph operatorname underline bf rm it underbrace overbrace cancel mathop ensuremath".split()
)
_WORDY = frozenset("text textbf textit textrm textsf texttt textnormal mathrm mbox hbox emph operatorname mathop".split())
_ARGUMENT_DROPPED = frozenset("tag label color phantom hphantom vphantom hspace vspace textcolor hskip".split())
_ALSO_UNITS = frozenset(["min", "sec", "arg", "max"])
_CONSTANTS = {"pi": "pi", "π": "pi", "infty": "inf", "∞": "inf", "infinity": "inf"}
_CURRENCY = frozenset("$€£¥₹₽₩₺¢฿₪")
_CURRENCY_WORDS = frozenset(["Rs", "USD", "EUR", "GBP", "INR", "RM", "US", "HK", "CAD", "AUD"])
_ROOTS = {"√": "sqrt", "∛": "cbrt"}

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
_SUPERSCRIPTS = {sign: digit for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_SUPER = re.compile("⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_LONE_DIGITS = re.compile(r"\s*(\d)\s*(?:(\d)|(?=\{)|(?=\\))")
_OPENERS = {"(": "(", "[": "[", "{": "{", "⌊": "floor", "⌈": "ceil"}
_CLOSERS = {")": "(", "]": "[", "}": "{", "⌋": "floor", "⌉": "ceil"}
_COMMAND_OPENERS = {"lfloor": "floor", "lceil": "ceil", "{": "set", "lbrace": "set", "lbrack": "[", "langle": "(", "lparen": "("}
_COMMAND_CLOSERS = {"rfloor": "floor", "rceil": "ceil", "}": "set", "rbrace": "set", "rbrack": "]", "rangle": "(", "rparen": "("}
_KNOWN_VARIABLES = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi"
    " varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar".split()
)


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
            self._add("rel", _RELATIONS.get(relation[0], "=="), at, relation.end())
        else:
            self._sign(char)

    def _bullet(self) -> None:
        """Skip what begins an item of a list."""
        bullet = None if self._latex else _BULLET.match(self._text, self._at, self._end)
        if bullet is not None:
            self._at, self._spaced = bullet.end(), True

    def _add(self, kind: Kind, text: str, start: int, end: int, value: Fraction = Fraction(0), places: int | None = None) -> None:
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
        if word in _CONSTANTS:
            self._add("const", _CONSTANTS[word], at, match.end())
        elif word[0] == "π":
            self._add("const", "pi", at, at + 1)
        elif word in FUNCTIONS and not (word in _ALSO_UNITS and not self._applied(match.end())):
            self._add("func", word, at, match.end())
        elif word.lower() in OPERATOR_WORDS and (not self._latex or self._wordy or len(word) > 2):
            self._add("op", OPERATOR_WORDS[word.lower()], at, match.end())
        elif word.lower() == "equals" and not self._latex:
            self._add("rel", "=", at, match.end())
        elif self._latex and not self._wordy and (len(word) < 3 or not word.isascii()):
            for index, letter in enumerate(word):
                self._add("var", letter, at + index, at + index + 1)
        else:
            self._add("word", word, at, match.end())

    def _applied(self, end: int) -> bool:
        return self._text[end : end + 1] in ("(", "{") and not self._wordy

    def _sign(self, char: str) -> None:
        text, at = self._text, self._at
        if char in _OPENERS:
            self._open(char)
        elif char in _CLOSERS:
            self._close(char)
        elif char in _CURRENCY or char == "&":
            self._at, self._spaced = at + 1, True
        elif char in _SUPERSCRIPTS or char == "⁻":
            self._superscript()
        elif text.startswith("**", at):
            self._add("op", "**", at, at + 2)
        elif char in _OPERATORS:
            sign = _OPERATORS[char]
            self._add("unread" if sign == "unread" else "op", sign, at, at + 1)
        elif char in ";:" or char in "。，；：？?":
            ratio = char == ":" and at > 0 and text[at - 1].isdecimal() and text[at + 1 : at + 2].isdecimal()
            self._add("unread" if ratio else "sep", char, at, at + 1)
        elif char == "`":
            self._at, self._spaced = at + 1, True
        elif (numeric := unicodedata.numeric(char, None)) is not None:
            self._add("num", char, at, at + 1, Fraction(numeric).limit_denominator(1000))
        elif char == "∅":
            self._add("const", "empty", at, at + 1)
        elif char in "∪∩":
            self._add("op", "cup" if char == "∪" else "cap", at, at + 1)
        else:
            self._add("unread", char, at, at + 1)

    def _superscript(self) -> None:
        match = _SUPER.match(self._text, self._at, self._end)
        if match is None:
            return self._add("unread", "⁻", self._at, self._at + 1)
        digits = "".join(str(_SUPERSCRIPTS[sign]) for sign in match[0] if sign != "⁻")
        value = Fraction(int(digits[:6])) * (-1 if match[0][0] == "⁻" else 1)
        return self._add("op", "sup", self._at, match.end(), value)

    def _open(self, char: str) -> None:
        if char == "{":
            self._braces.append("{")
        self._add("open", _OPENERS[char], self._at, self._at + 1)

    def _close(self, char: str) -> None:
        if char == "}" and self._braces:
            kind = self._braces.pop()
            if kind != "{":
                self._wordy -= kind == "wordy"
                self._at, self._spaced = self._at + 1, True
                return
        sign = "]" if char == "]" else _CLOSERS[char]
        self._add("close", sign, self._at, self._at + 1)

    # -- commands --

    def _command(self) -> None:
        match = _COMMAND.match(self._text, self._at, self._end)
        if match is None:
            return self._add("unread", "\\", self._at, self._at + 1)
        name, at, end = match[0][1:].rstrip("*"), self._at, match.end()
        if name in ("left", "right") and (dot := re.compile(r"\s*\.(?!\d)").match(self._text, end, self._end)):
            self._at = dot.end()
        elif name in _LAYOUT or name in _CURRENCY:
            self._at, self._spaced = end, True
        elif name in _SEPARATORS or name in ("begin", "end"):
            self._separator(name, at, end)
        elif name in _TRANSPARENT:
            self._transparent(name, end)
        elif name in _ARGUMENT_DROPPED:
            dropped = re.compile(r"\s*(?:\{[^{}]*\})?").match(self._text, end, self._end)
            self._at, self._spaced = dropped.end() if dropped else end, True
        else:
            self._sign_command(name, at, end)
        return None

    def _separator(self, name: str, at: int, end: int) -> None:
        if name in ("begin", "end") and (group := re.compile(r"\{[^{}]*\}(?:\{[clr|]*\})?").match(self._text, end, self._end)):
            end = group.end()
            name = f"{name}{group[0]}"
        elif name == "\\" and (gap := re.compile(r"\s*\[\s*-?[\d.]*\s*(?:pt|em|ex|mm|cm)\s*\]").match(self._text, end, self._end)):
            end = gap.end()
        self._add("sep", name, at, end)

    def _transparent(self, name: str, end: int) -> None:
        brace = re.compile(r"\s*\{").match(self._text, end, self._end)
        self._at, self._spaced = end, True
        if brace is not None:
            wordy = name in _WORDY
            self._braces.append("wordy" if wordy else "boxed")
            self._wordy += wordy
            self._at = brace.end()

    def _sign_command(self, name: str, at: int, end: int) -> None:
        if name in ("frac", "dfrac", "tfrac", "cfrac"):
            self._add("func", "frac", at, end)
            self._lone_digits(end)
        elif name in ("binom", "dbinom", "tbinom"):
            self._add("func", "binom", at, end)
            self._lone_digits(end)
        elif name in _COMMAND_RELATIONS:
            self._add("rel", _COMMAND_RELATIONS[name], at, end)
        elif name in _COMMAND_OPERATORS:
            self._add("op", _COMMAND_OPERATORS[name], at, end)
        elif name in _COMMAND_OPENERS:
            self._add("open", _COMMAND_OPENERS[name], at, end)
        elif name in _COMMAND_CLOSERS:
            self._add("close", _COMMAND_CLOSERS[name], at, end)
        elif name in ("ldots", "cdots", "dots", "dotsb", "dotsc"):
            self._add("dots", "...", at, end)
        elif name in FUNCTIONS:
            self._add("func", name, at, end)
        elif name in _CONSTANTS:
            self._add("const", _CONSTANTS[name], at, end)
        elif name in ("emptyset", "varnothing"):
            self._add("const", "empty", at, end)
        elif name in _KNOWN_VARIABLES:
            self._add("var", "\\" + name, at, end)
        else:
            self._add("unread", "\\" + name, at, end)

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
