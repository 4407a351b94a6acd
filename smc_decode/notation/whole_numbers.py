"""What is defined on whole numbers only, from factorials to common divisors, as functions of the operands' values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from smc_decode.notation.bounds import MAX_FACTORIAL, Number, TooLarge, Undefined


def factorial(values: Sequence[Number]) -> Fraction:
    (n,) = values
    if not _is_whole(n) or n < 0:
        raise Undefined("a factorial of no whole number")
    if n > MAX_FACTORIAL:
        raise TooLarge("the factorial is too large")
    return Fraction(math.factorial(int(n)))


def modulo(values: Sequence[Number]) -> Fraction:
    left, right = _whole(values)
    if right == 0:
        raise Undefined("modulo zero")
    return Fraction(left % right)


def choose(values: Sequence[Number]) -> Fraction:
    n, k = _whole(values)
    if not 0 <= n <= MAX_FACTORIAL or k < 0:
        raise Undefined("no binomial coefficient")
    return Fraction(math.comb(n, k))


def greatest_divisor(values: Sequence[Number]) -> Fraction:
    return Fraction(math.gcd(*_whole(values)))


def least_multiple(values: Sequence[Number]) -> Fraction:
    return Fraction(math.lcm(*_whole(values)))


def _whole(values: Sequence[Number]) -> list[int]:
    if not all(map(_is_whole, values)):
        raise Undefined("no whole numbers")
    return [int(each) for each in values]


def _is_whole(value: Number) -> bool:
    return isinstance(value, Fraction) and value.denominator == 1


WHOLE_NUMBER_OPERATIONS: dict[str, Callable[[Sequence[Number]], Fraction]] = {
    "fact": factorial,
    "mod": modulo,
    "choose": choose,
    "gcd": greatest_divisor,
    "lcm": least_multiple,
}
