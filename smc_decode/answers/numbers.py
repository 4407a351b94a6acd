"""Values to many figures, by mpmath: numbers, and expressions with variables at fixed points."""

from __future__ import annotations

import zlib
from fractions import Fraction
from typing import Any

from smc_decode.notation.bounds import TooLarge, Undefined
from smc_decode.notation.evaluation import Evaluator, Reading
from smc_decode.notation.tree import Node, variables

_DIGITS = 120
_FIGURES = 40
_SIMPLE = 10**12
"""The denominator up to which an irrational tree's value is tried as a fraction."""
_MAX_MAGNITUDE = 10**7
"""Bits of a number's size; a larger one is not worked out."""
_POINTS = 3
_READING = Reading(log="e")
_FUNCTIONS = {
    "sin": "sin", "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "ln": "ln", "exp": "exp",
}  # fmt: skip


class HighPrecision:
    """mpmath's complex numbers, for :class:`~smc_decode.notation.evaluation.Evaluator`."""

    def __init__(self) -> None:
        import mpmath

        self._mp: Any = mpmath

    def number(self, value: Any) -> Any:
        if isinstance(value, Fraction):
            return self._mp.mpf(value.numerator) / self._mp.mpf(value.denominator)
        return value

    def constant(self, name: str) -> Any:
        if name not in ("pi", "e", "i"):
            raise Undefined(name)
        return self._mp.mpc(0, 1) if name == "i" else +getattr(self._mp, name)

    def power(self, base: Any, exponent: Any) -> Any:
        base, exponent = self.number(base), self.number(exponent)
        if base == 0:
            raise Undefined("a power of zero")
        if self._mp.fabs(exponent) * (abs(self._mp.mag(base)) + 1) > _MAX_MAGNITUDE:
            raise TooLarge("the power is too large")
        return self._finite(self._mp.power(base, exponent))

    def apply(self, name: str, value: Any) -> Any:
        if name not in _FUNCTIONS:
            raise Undefined(name)
        if value != 0 and self._mp.mag(value) > 200 and name != "ln":
            raise TooLarge("the argument is too large")
        return self._finite(getattr(self._mp, _FUNCTIONS[name])(self.number(value)))

    def _finite(self, value: Any) -> Any:
        if not self._mp.isfinite(value):
            raise Undefined("no finite number")
        return value


def number_of(node: Node) -> Fraction | None:
    """The real number that a tree without variables is, to 60 decimals; None: a complex one. Raises TooLarge,
    Undefined."""
    import mpmath

    if variables(node) - {"e", "i"}:
        raise Undefined("it has variables")
    with mpmath.workdps(_DIGITS):
        value = _evaluate(node, {})
        if isinstance(value, Fraction):
            return value
        value = _tidied(value)
        if value.imag != 0 or mpmath.mag(value.real) > 200:
            return None
        return Fraction(int(mpmath.nint(value.real * mpmath.mpf(10) ** 60)), 10**60)


def fingerprint(node: Node, up_to_factor: bool = False) -> str:
    """One text for all trees with the same values (``up_to_factor``: that are multiples of each other). Raises
    TooLarge, Undefined."""
    import mpmath

    names = sorted(variables(node) - {"e", "i"})
    if len(names) > 30:
        raise TooLarge("too many variables")
    with mpmath.workdps(_DIGITS):
        points = [{name: _point(name, number) for name in names} for number in range(_POINTS if names else 1)]
        values = [_evaluate(node, point) for point in points]
        if up_to_factor and values[0] != 0:
            precise = HighPrecision()
            first = values[0]
            exact = all(isinstance(value, Fraction) for value in values)
            values = [value / first if exact else precise.number(value) / precise.number(first) for value in values]
        texts = [_text(value) for value in values]
    if len(set(texts)) == 1 and not up_to_factor:
        return texts[0]  # a number, or the variables cancel
    return f"f({', '.join(texts)})"


def _point(name: str, number: int) -> Fraction:
    """A value for a variable, which depends on its name and not on what else there is."""
    seed = zlib.crc32(f"{name}/{number}".encode())
    return Fraction(1_000 + seed % 7_919, 1_013 + number)


def _evaluate(node: Node, values: dict[str, Fraction]) -> Any:
    import mpmath

    value = _once(node, values)
    if not isinstance(value, Fraction) and value != 0 and mpmath.mag(value) < -200:
        with mpmath.workdps(2 * _DIGITS):  # what is left of a zero changes with the precision
            again = _once(node, values)
        if abs(again - value) > abs(value) * mpmath.mpf(10) ** -10:
            return Fraction(0)
    return value


def _once(node: Node, values: dict[str, Fraction]) -> Any:
    precise = HighPrecision()
    constants = {"e": precise.constant("e"), "i": precise.constant("i")}
    try:
        return Evaluator(precise, _READING, {**constants, **values}).value(node)
    except (TypeError, ValueError, ArithmeticError) as error:
        if isinstance(error, (TooLarge, Undefined)):
            raise
        raise Undefined(str(error)) from error


def _tidied(value: Any) -> Any:
    """A complex number without what rounding left in a part that is zero."""
    import mpmath

    value = mpmath.mpc(value)
    tiny = abs(value) * mpmath.mpf(10) ** (8 - _DIGITS)
    real, imaginary = (mpmath.mpf(0) if abs(part) <= tiny else part for part in (value.real, value.imag))
    return mpmath.mpc(real, imaginary)


def _text(value: Any) -> str:
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) <= 4_000:
            return str(value)
        return _real_text(HighPrecision().number(value))
    value = _tidied(value)
    real, imaginary = _real_text(value.real), _real_text(value.imag)
    return real if imaginary == "0" else f"{real} + {imaginary}i"


def _real_text(value: Any) -> str:
    import mpmath

    if value == 0:
        return "0"
    simple = _simple(value) if abs(mpmath.mag(value)) < 60 else None
    return str(simple) if simple is not None else str(mpmath.nstr(value, _FIGURES, min_fixed=0, max_fixed=0))


def _simple(value: Any) -> Fraction | None:
    """The fraction of small denominator that a number is to 90 figures: an irrational tree with a rational value."""
    import mpmath

    exact = Fraction(int(mpmath.nint(value * mpmath.mpf(10) ** 110)), 10**110)
    near = exact.limit_denominator(_SIMPLE)
    return near if near != 0 and abs(exact - near) <= abs(exact) / 10**90 else None
