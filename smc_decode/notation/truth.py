"""Whether an equality holds. What is ambiguous holds if it does in one of its usual readings, and what cannot be said
is no claim."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal

from smc_decode.notation.bounds import TooLarge, Undefined
from smc_decode.notation.evaluation import Evaluator, Reading
from smc_decode.notation.reals import Floats
from smc_decode.notation.tree import Node, bare, has, variables
from smc_decode.notation.units import scale, singular

Verdict = Literal["holds", "fails", "no claim", "other"]

_POINTS = ((2, 3, 5, 7), (11, 4, 3, 2), (1, 6, 8, 9))
_CLOSE = 1e-9


def verdict(left: Node, right: Node, approximate: bool) -> Verdict:
    """What is to be said of ``left = right``; ``other``: only a reader who knows more could say."""
    names = variables(left) | variables(right)
    if names:
        return _identity(left, right, sorted(names))
    if right.op == "remainder":
        return _division(left, right)
    if has(left, "pm") or has(right, "pm") or (_sets(left) or _sets(right)):
        return "no claim"
    known = False
    for reading in _readings(left, right):
        for other in _spellings(right):
            try:
                if _holds(left, other, reading, approximate):
                    return "holds"
                known = True
            except TooLarge:
                known = True
            except Undefined:
                continue
    if not known:
        return "no claim"
    return "no claim" if _unsure(left, right) else "fails"


def _sets(node: Node) -> bool:
    return has(node, "cup", "cap", "setminus")


def _readings(left: Node, right: Node) -> Iterator[Reading]:
    yield Reading()
    if has(left, "unit", "compound") or has(right, "unit", "compound"):
        yield Reading(units=True)
    if has(left, "percent") or has(right, "percent"):
        yield Reading(percent="relative")
        if _in_points(left, right):
            yield Reading(percent="points")
    if has(left, "log") or has(right, "log"):
        yield Reading(log=Fraction(10))
        yield Reading(log="e")
        yield Reading(log=Fraction(2))
    if _circular(left) or _circular(right):
        yield Reading(degrees=True)


def _circular(node: Node) -> bool:
    return has(node, "sin", "cos", "tan", "cot", "sec", "csc")


def _in_points(left: Node, right: Node) -> bool:
    """``15 / 60 * 100 = 25%``: the per cent sign names the unit of the result."""
    return right.op == "percent" and bare(right).op == "num" and not has(left, "percent") and bare(right).value >= 1


def _spellings(right: Node) -> Iterator[Node]:
    yield right
    shout = right.args[0] if right.op == "unit" else right
    if shout.op == "fact":  # an exclamation mark
        yield shout.args[0]


def _holds(left: Node, right: Node, reading: Reading, approximate: bool) -> bool:
    evaluator = Evaluator(reading=reading)
    first, second = evaluator.value(left), evaluator.value(right)
    if reading.units:
        first, second = _in_one_unit(left, right, first, second)
    if _equal(first, second):
        return True
    places, percent = _places(right)
    if approximate:
        last_digit = Fraction(1, 2 * 10 ** (places or 0))
        return bool(abs(first - second) <= max(abs(second or first) / 100, last_digit))
    if places is None:
        first, second = second, first
        places, percent = _places(left)
    if not places:
        return False
    unit = Fraction(1, 10 ** (places + (2 if percent and reading.percent != "points" else 0)))
    if reading.units:
        return False
    return _has_more_digits(first, unit) and bool(abs(first - second) < unit)


def _in_one_unit(left: Node, right: Node, first: Any, second: Any) -> tuple[Any, Any]:
    """Both values, if they can be compared once their units are converted. Raises Undefined."""
    if has(right, "unit", "compound") == has(left, "unit", "compound") or _plain(left) or _plain(right):
        return first, second
    raise Undefined("only one side has units")


def _plain(node: Node) -> bool:
    """Whether its units are sums of money or numbers of pieces, so that a bare number has the same unit."""
    units = [scale(each.name) for each in node.walk() if each.op == "unit"]
    return bool(units) and all(each is not None and each[0] in ("money", "count") for each in units)


def _has_more_digits(value: Any, unit: Fraction) -> bool:
    return not isinstance(value, Fraction) or (value / unit).denominator != 1


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Fraction) and isinstance(second, Fraction):
        return first == second
    difference = abs(float(first) - float(second))
    return difference <= _CLOSE * max(abs(float(first)), abs(float(second)), 1e-12)


def _places(node: Node) -> tuple[int | None, bool]:
    percent = node.op == "percent"
    node = bare(node)
    return (node.places if node.op == "num" else None), percent


def _division(left: Node, right: Node) -> Verdict:
    """``17 / 5 = 3 R 2``."""
    node = left
    while node.op in ("group", "unit"):
        node = node.args[0]
    if node.op != "div":
        return "no claim"
    evaluator = Evaluator()
    try:
        dividend, divisor, quotient, rest = (evaluator.value(each) for each in (*node.args, *right.args))
    except (TooLarge, Undefined):
        return "fails"
    return "holds" if dividend == quotient * divisor + rest and 0 <= rest < abs(divisor) else "fails"


def _identity(left: Node, right: Node, names: list[str]) -> Verdict:
    """An identity holds wherever it is tried; any other equation with variables claims nothing of numbers."""
    if right.op == "remainder" or len(names) > 12:
        return "no claim"
    for point in _POINTS:
        values = {name: Fraction(10 * point[index % 4] + index, 7) for index, name in enumerate(names)}
        evaluator = Evaluator(Floats(), Reading(), values)
        try:
            first, second = evaluator.value(left), evaluator.value(right)
            if not _equal(first, second):
                return "no claim"
        except (TooLarge, Undefined, OverflowError):
            return "no claim"
    return "holds"


def _unsure(left: Node, right: Node) -> bool:
    """Whether a sum that does not come out may yet be right: a base or an angle that is not said, or quantities of
    different units, of which one is the result's."""
    if (has(left, "log") or has(right, "log")) and _ambiguous_log(left, right):
        return True
    if (_circular(left) or _circular(right)) and not (has(left, "deg", "const") or has(right, "deg", "const")):
        return True
    if not has(left, "add", "sub", "compound"):
        return False
    units = {_kind(each) for each in left.walk() if each.op in ("unit", "compound")}
    result = {_kind(each) for each in right.walk() if each.op in ("unit", "compound")}
    return len(units) > 1 and bool(units & result) and not _convertible(left, right)


def _ambiguous_log(left: Node, right: Node) -> bool:
    return any(each.op == "log" and len(each.args) == 1 for node in (left, right) for each in node.walk())


@functools.lru_cache(maxsize=1000)
def _kind_of(name: str) -> str:
    return singular(name.partition("/")[0])


def _kind(node: Node) -> str:
    return _kind_of(node.name or (node.args[0].name if node.args else ""))


def _convertible(left: Node, right: Node) -> bool:
    units = [each.name for node in (left, right) for each in node.walk() if each.op == "unit"]
    scales = [scale(name) for name in units]
    return all(each is not None for each in scales) and len({each[0] for each in scales if each is not None}) == 1
