"""Arithmetic of numbers that are no fractions: what an evaluator asks of one, and Python's floats as one."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

from smc_decode.notation.bounds import Number, TooLarge, Undefined


class Reals(Protocol):
    """Arithmetic of numbers that are no fractions."""

    def number(self, value: Fraction) -> Number: ...

    def constant(self, name: str) -> Number: ...

    def power(self, base: Number, exponent: Number) -> Number: ...

    def apply(self, name: str, value: Number) -> Number: ...


class Floats:
    """Python's floats, for claims about real numbers."""

    def number(self, value: Fraction) -> float:
        try:
            return float(value)
        except OverflowError as error:
            raise TooLarge(str(error)) from error

    def constant(self, name: str) -> float:
        if name != "pi":
            raise Undefined(name)
        return math.pi

    def power(self, base: float, exponent: float) -> float:
        try:
            value = self.number(base) ** self.number(exponent)  # type: ignore[arg-type]
        except (OverflowError, ZeroDivisionError) as error:
            raise TooLarge(str(error)) from error
        if isinstance(value, complex):
            raise Undefined("no real number")
        return float(value)

    def apply(self, name: str, value: float) -> float:
        function = _FLOAT_FUNCTIONS.get(name)
        if function is None:
            raise Undefined(name)
        try:
            return function(self.number(value))  # type: ignore[arg-type]
        except (ValueError, OverflowError) as error:
            raise Undefined(str(error)) from error


_FLOAT_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "arcsin": math.asin,
    "arccos": math.acos,
    "arctan": math.atan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
    "ln": math.log,
    "exp": math.exp,
}
