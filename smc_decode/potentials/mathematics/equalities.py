"""Finds the equalities that a worked solution claims, in plain text and in LaTeX, and checks the plain ones exactly.

Only claims about numbers are found: at least one side is an operation, and no side is cut off. ``x = 5``
defines, ``2x + 3 = 7`` is to be solved, ``1 hour = 60 minutes`` converts: none of these is a claim that
arithmetic could check.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from smc_decode.potentials.code.program import parse

MAX_SIDE = 300
MAX_BITS = 20_000
MAX_EXPONENT = 1_000

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_MATH = re.compile(
    r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|\$([^$\n]+?)\$"
    r"|\\begin\{(?:align|aligned|equation|gather|eqnarray)\*?\}(.+?)\\end\{",
    re.DOTALL,
)
_SPLIT = re.compile(
    r"\\\\|\\(?:implies|Rightarrow|Longrightarrow|iff|quad|qquad|therefore)\b|;|\n|\\(?:text|tag)\{[^}]*\}|,\s"
)
_RELATION = re.compile(r"(?<![<>!:=])(=|≈|\\approx\b|≃|\\simeq\b)(?![=>])")
_OTHER_RELATION = re.compile(r"[<>≤≥≠]|\\(?:leq?|geq?|neq?|lt|gt|equiv|sim|pmod|bmod|mod|in|to)\b")
_FUNCTIONS = frozenset(
    ["sin", "cos", "tan", "log", "ln", "exp", "sqrt", "mod", "max", "min", "gcd", "lcm", "abs", "choose"]
)
_SHORT_UNITS = frozenset(["of", "cm", "km", "kg", "mm", "ml", "oz", "lb", "lbs", "ft", "mi", "hr", "hrs"])
_UNIT = re.compile(r"(?<=[\d%)])\s*(?:-\s*)?([A-Za-z]+(?:\s+[A-Za-z]+)?)(?=\s*(?:[-+*/×÷=≈)(.,;:!?]|$))")
_RUN = re.compile(r"[\d\s.,+\-*/×÷·⋅^()%−–]*")
_OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Equality:
    """One claim. ``latex``: the sides are LaTeX that :func:`check` could not read. ``approximate``: claimed with ≈."""

    left: str
    right: str
    approximate: bool
    latex: bool = False


class TooLarge(ValueError):
    """The number would be too large to be worked out here."""


def find_equalities(text: str, finished: bool, limit: int = 100) -> list[Equality]:
    """The distinct claims of a text, in order. Of an unfinished text the last number may still grow, so a claim that
    touches its end is left out."""
    found: dict[Equality, None] = {}
    for equality in _all(text, finished):
        if equality.left.strip() != equality.right.strip():
            found.setdefault(equality)
        if len(found) >= limit:
            break
    return list(found)


def check(equality: Equality) -> bool | None:
    """Whether a claim holds, exactly; a decimal may be rounded or cut at its last digit. None: not plain arithmetic.

    Raises TooLarge.
    """
    left, right = evaluate(equality.left), evaluate(equality.right)
    if left is None or right is None:
        return None
    if left == right:
        return True
    places = _places(equality.right)
    if equality.approximate:
        last_digit = Fraction(1, 2 * 10 ** (places or 0))
        return abs(left - right) <= max(Fraction(1, 100) * abs(right or left), last_digit)
    if places is None and (places := _places(equality.left)) is not None:
        left, right = right, left
    if places is None or places == 0:
        return False
    unit = Fraction(1, 10**places)
    return (left / unit).denominator != 1 and abs(left - right) < unit


def evaluate(side: str) -> Fraction | None:
    """The value of plain arithmetic (or of LaTeX that is no more than that); None for anything else.

    Raises TooLarge.
    """
    tree = parse(f"({_plain(side)})") if len(side) <= MAX_SIDE else None
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return None
    try:
        return _value(tree.body[0].value)
    except (ZeroDivisionError, RecursionError):
        return None


# -- finding --------------------------------------------------------------------------------------------------------


def _all(text: str, finished: bool) -> Iterator[Equality]:
    rest: list[str] = []
    position = 0
    for match in _MATH.finditer(text):
        body = next(group for group in match.groups() if group is not None)
        if not _RELATION.search(body) or not _is_latex(body):
            continue
        rest.append(text[position : match.start()])
        position = match.end()
        yield from _in_latex(body)
    tail = text[position:]
    if not finished:
        tail = _without_open_end(tail)
    rest.append(tail)
    for piece in rest:
        for line in piece.split("\n"):
            yield from _in_text(line)


def _without_open_end(tail: str) -> str:
    """Drop the last line's end from the last relation on where it may still grow, and a formula that is still open."""
    opened = max(tail.rfind("\\["), tail.rfind("\\("), tail.rfind("\\begin{"))
    if opened >= 0:
        tail = tail[:opened]
    elif tail.count("$") % 2:
        dollar = tail.rfind("$")
        if not re.match(r"\$\s*\d", tail[dollar:]) or "\\" in tail[dollar:]:
            tail = tail[:dollar]
    head, line_break, line = tail.rpartition("\n")
    relations = list(_RELATION.finditer(line))
    if relations and re.fullmatch(r"[\s\d.,+\-*/×÷·^()%$−–]*", line[relations[-1].end() :]):
        line = line[: relations[-1].start()] + ";"
    return head + line_break + line


def _is_latex(body: str) -> bool:
    if "\\" in body or "^" in body or "_" in body:
        return True
    if re.search(r"[A-Za-z]{3,}", body):
        return False
    sides = [side.strip() for side in _RELATION.split(body)[::2]]
    return all(side and side[-1] not in "+-*/=" for side in sides)


def _in_latex(body: str) -> Iterator[Equality]:
    for part in _SPLIT.split(body.replace("&", " ")):
        pieces = _RELATION.split(part)
        if len(pieces) < 3 or _OTHER_RELATION.search(part):
            continue
        sides = [_tidy_latex(piece) for piece in pieces[::2]]
        for left, relation, right in zip(sides, pieces[1::2], sides[1:], strict=False):
            if not left or not right or len(left) > MAX_SIDE or len(right) > MAX_SIDE:
                continue
            if _is_name(left) or _is_name(right) or not (_operates(left) or _operates(right)):
                continue
            plain = _readable(left) and _readable(right)
            yield Equality(left, right, relation != "=", not plain)


def _tidy_latex(side: str) -> str:
    side = re.sub(r"\\(?:left|right|displaystyle|,|!|;|:)", lambda match: "" if match[0] != "\\;" else " ", side)
    side = re.sub(r"\\(?:boxed|mathbf)\{((?:[^{}]|\{[^{}]*\})*)\}", r"\1", side)
    return side.replace("\\%", "%").replace("\\$", "").replace("{,}", ",").strip().rstrip(".,;:")


def _is_name(side: str) -> bool:
    """A bare variable, or a function's name: what stands beside it is its definition."""
    return re.fullmatch(r"\\?[A-Za-z]+'*(?:_\{?\w+\}?)?(?:\([^()]*\))?", side.strip()) is not None


def _operates(side: str) -> bool:
    return (
        re.search(r"[\d)}%!]\s*[-+*/×÷·^!]|\\(?:frac|dfrac|tfrac|cdot|times|div|sqrt|binom)|[\d)]\s*\(", side)
        is not None
    )


def _readable(side: str) -> bool:
    try:
        return evaluate(side) is not None
    except TooLarge:
        return True


def _in_text(line: str) -> Iterator[Equality]:
    line = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", line).replace("$", "").replace("€", "").replace("£", "")
    line = re.sub(r"(?<=\d)\s*[xX]\s*(?=\d)", " * ", line)
    line = re.sub(r"<<[^<>]*>>", " ", line)  # a calculator's notes repeat what the text says
    marks = list(_RELATION.finditer(line))
    if not marks or "\\" in line:
        return
    bounds = [0, *(mark.end() for mark in marks)]
    ends = [*(mark.start() for mark in marks), len(line)]
    pieces = [line[start:end] for start, end in zip(bounds, ends, strict=True)]
    for index, mark in enumerate(marks):
        before, after = pieces[index], pieces[index + 1]
        # a piece between two signs is a link of a chain, or the end of one claim and the beginning of the next
        left = (None if index == 0 else _whole(before)) or _suffix(before)
        right = (None if index == len(marks) - 1 else _whole(after)) or _prefix(after)
        if left is None or right is None:
            continue
        if _operates(left) or (_operates(right) and not _has_unit(before)):
            yield Equality(left, right, mark[0] != "=")


def _has_unit(piece: str) -> bool:
    return re.search(r"[A-Za-z]\s*$", piece) is not None


def _bare(piece: str) -> str:
    """Without the units of its numbers."""

    def drop(match: re.Match[str]) -> str:
        words = match[1].lower().split()
        units = [len(word) > 2 or word in _SHORT_UNITS for word in words if word not in _FUNCTIONS and word != "and"]
        return " " if len(units) == len(words) and all(units) else match[0]

    return _UNIT.sub(drop, piece)


def _whole(piece: str) -> str | None:
    piece = _bare(piece).strip()
    return piece if piece and _readable(piece) else None


def _suffix(piece: str) -> str | None:
    """The longest expression at the end of a text."""
    piece = _bare(piece[-MAX_SIDE:]).rstrip()
    run = _RUN.match(piece[::-1])
    text = run[0][::-1] if run else ""
    outside = piece[: len(piece) - len(text)]
    text = re.split(r",\s", text)[-1]
    word = re.search(r"([A-Za-z]+)\s*$", outside + text[: len(text) - len(text.lstrip())])
    if word and word[1].lower() in _FUNCTIONS:
        return None
    if outside[-1:].isalpha() and text.lstrip().startswith(("+", "-", "*", "/", "^", "(", "×", "·")):
        return None  # a variable or function stands before it
    for start in range(len(text)):
        if text[start].isspace() or (
            start and re.match(r"[\d.,]", text[start]) and re.match(r"[\d.,]", text[start - 1])
        ):
            continue
        if text[start] in "+*/" or (
            start and text[start - 1 : start].strip() and text[start - 1] in "+-*/^" and start > 1
        ):
            continue
        candidate = text[start:].strip()
        if _readable(candidate):
            return candidate
    return None


def _prefix(piece: str) -> str | None:
    """The longest expression at the beginning of a text."""
    piece = _bare(piece[:MAX_SIDE]).lstrip()
    run = _RUN.match(piece)
    text = re.split(r",\s|\.\s|\.$", run[0] if run else "")[0]
    following = piece[len(text) :]
    for end in range(len(text), 0, -1):
        if end < len(text) and re.match(r"[\d.,]", text[end]) and re.match(r"[\d.,]", text[end - 1]):
            continue
        candidate = text[:end].strip()
        if not _readable(candidate):
            continue
        rest = (text[end:] + following).lstrip()
        letter = following[:1] if end == len(text) else ""
        if (letter.isalpha() and not text[end - 1].isspace()) or rest.startswith(("\\", "^", "_", "{")):
            return None  # 5x, or a power that could not be read
        return candidate
    return None


# -- evaluating -----------------------------------------------------------------------------------------------------


def _plain(side: str) -> str:
    """Python arithmetic for a side, where it is plain."""
    text = side.strip()
    text = re.sub(r"(?<![\d.])(\d+)\s*\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}", r"(\1+\2/\3)", text)  # a mixed number
    for _ in range(4):
        text = re.sub(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))", text)
    text = re.sub(r"\\[dt]?frac\s*(\d)\s*(\d)", r"(\1/\2)", text)
    text = re.sub(r"\\(?:cdot|times|ast)(?![A-Za-z])|[×·⋅∗]", "*", text)
    text = re.sub(r"\\div(?![A-Za-z])|÷", "/", text)
    text = re.sub(r"(?<=[\d)])\s*[xX]\s*(?=[\d(])", "*", text)
    text = re.sub(r"[−–]", "-", text)
    text = re.sub(r"\^\s*\{([^{}]*)\}", r"**(\1)", text).replace("^", "**")
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<![\d.*/(])(\d+)\s+(\d+)/(\d+)(?![\d.])", r"(\1+\2/\3)", text)  # a mixed number
    text = re.sub(rf"({_NUMBER}|\))\s*%", r"(\1/100)", text)
    text = re.sub(r"(?<=[\d)])\s*\(", "*(", text)
    text = re.sub(r"\)\s*(?=\d)", ")*", text)
    return re.sub(r"(?<![\d.])0+(?=\d)", "", text.replace("{", "(").replace("}", ")"))


def _value(node: ast.expr) -> Fraction | None:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            if isinstance(value, float):
                return Fraction(ast.unparse(node)) if abs(value) < 1e300 else None
            if value.bit_length() > MAX_BITS:
                raise TooLarge("the number is too large")
            return Fraction(value)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            operand = _value(inner)
            return None if operand is None else -operand if isinstance(sign, ast.USub) else operand
        case ast.BinOp(left=first, op=ast.Pow(), right=second):
            base, exponent = _value(first), _value(second)
            return None if base is None or exponent is None else _power(base, exponent)
        case ast.BinOp(left=first, op=op, right=second) if type(op) in _OPERATIONS:
            left, right = _value(first), _value(second)
            if left is None or right is None:
                return None
            result: Fraction = _OPERATIONS[type(op)](left, right)
            if result.numerator.bit_length() + result.denominator.bit_length() > 2 * MAX_BITS:
                raise TooLarge("the number is too large")
            return result
    return None


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return None
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if (abs(exponent) > MAX_EXPONENT and bits > 1) or bits * abs(exponent) > MAX_BITS:
        raise TooLarge("the power is too large")
    return base ** int(exponent)


def _places(side: str) -> int | None:
    """The decimals of a bare decimal number (a per cent has two more); None for anything else."""
    match = re.fullmatch(r"-?\s*(?:\d[\d,]*)?\.(\d+)\s*(\\?%)?", side.strip())
    return None if match is None else len(match[1]) + (2 if match[2] else 0)
