"""How large a number may become here, so that no tree of bounded size takes long to work out; and what has no value."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

MAX_BITS = 40_000
MAX_FACTORIAL = 3_000

Number = Any
"""A Fraction, or a number of the arithmetic in use."""


class TooLarge(ValueError):
    """The number would be too large to be worked out here."""


class Undefined(ValueError):
    """The tree has no value: a variable without one, a division by zero, what this evaluator does not know."""


def small(value: Number) -> Number:
    """The number itself, unless it has too many bits. Raises TooLarge."""
    if isinstance(value, Fraction):
        if value.numerator.bit_length() + value.denominator.bit_length() > 2 * MAX_BITS:
            raise TooLarge("the number is too large")
    elif isinstance(value, float) and not math.isfinite(value):
        raise TooLarge("the number is too large")
    return value
