"""Series with dots, ``1 + 2 + ... + 10``: arithmetic and geometric progressions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

from smc_decode.notation.bounds import MAX_FACTORIAL, TooLarge, Undefined, small
from smc_decode.notation.exact import exact_log

MAX_TERMS = 100_000


def series(terms: list[Fraction], last: Fraction, operation: str) -> Fraction:
    """The sum or product of an arithmetic progression, or the sum of a geometric one, that runs through to ``last``."""
    step = terms[1] - terms[0]
    arithmetic = all(b - a == step for a, b in itertools.pairwise(terms))
    if arithmetic and step != 0:
        count = (last - terms[0]) / step + 1
        if count.denominator == 1 and len(terms) < count <= MAX_TERMS:
            if operation == "add":
                return count * (terms[0] + last) / 2
            if count > MAX_FACTORIAL:
                raise TooLarge("the product is too large")
            return _bounded(math.prod((terms[0] + step * k for k in range(int(count))), start=Fraction(1)))
    if operation == "add" and terms[0] != 0 and len(terms) > 1:
        return _geometric(terms, last)
    raise Undefined("no progression")


def _bounded(value: Fraction) -> Fraction:
    small(value)
    return value


def _geometric(terms: list[Fraction], last: Fraction) -> Fraction:
    ratio = terms[1] / terms[0]
    if any(a * ratio != b for a, b in itertools.pairwise(terms)) or abs(ratio) in (0, 1):
        raise Undefined("no progression")
    power = exact_log(last / terms[0], ratio) if ratio > 0 else None
    if power is None or power < len(terms):
        raise Undefined("no progression")
    return (last * ratio - terms[0]) / (ratio - 1)
