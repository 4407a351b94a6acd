"""Powers, roots and logarithms of fractions that are fractions again."""

from __future__ import annotations

import math
from fractions import Fraction

from smc_decode.notation.bounds import MAX_BITS, TooLarge, Undefined


def integer_power(base: Fraction, exponent: int) -> Fraction:
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits > 1 and (abs(exponent) > MAX_BITS or bits * abs(exponent) > MAX_BITS):
        raise TooLarge("the power is too large")
    if base == 0 and exponent < 0:
        raise Undefined("a division by zero")
    if abs(base) == 1:
        return base if exponent % 2 else Fraction(1)
    return base**exponent if base else Fraction(0 if exponent else 1)


def exact_root(value: Fraction, degree: int) -> Fraction | None:
    """The root of a fraction that has one, else None."""
    if value < 0 or max(value.numerator.bit_length(), value.denominator.bit_length()) > 4000:
        return None
    top, bottom = _integer_root(value.numerator, degree), _integer_root(value.denominator, degree)
    return None if top is None or bottom is None else Fraction(top, bottom)


def _integer_root(value: int, degree: int) -> int | None:
    if degree == 2:
        root = math.isqrt(value)
        return root if root * root == value else None
    if value < 2:
        return value
    low, high = 1, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
    return low if low**degree == value else None


def exact_log(value: Fraction, base: Fraction) -> Fraction | None:
    """log_base(value) where it is a whole number of small size."""
    if base <= 0 or base == 1 or value <= 0:
        return None
    if (
        value.numerator.bit_length() > 2000
        or value.denominator.bit_length() > 2000
        or base.numerator.bit_length() > 2000
    ):
        return None
    guess = round(_log2(value) / _log2(base))
    return Fraction(guess) if abs(guess) <= 4000 and integer_power(base, guess) == value else None


def _log2(value: Fraction) -> float:
    return math.log2(value.numerator) - math.log2(value.denominator)
