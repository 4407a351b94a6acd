"""The value of a tree: a Fraction as long as that is exact, else a number of the given kind (floats, or mpmath's).

Everything is bounded: integers by :data:`MAX_BITS`, so that no tree of bounded size takes long.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, Protocol

from smc_decode.notation.tree import Node
from smc_decode.notation.units import scale

MAX_BITS = 40_000
MAX_EXPONENT = 10_000
MAX_FACTORIAL = 3_000
MAX_TERMS = 100_000

Number = Any
"""A Fraction, or a number of the arithmetic in use."""


class TooLarge(ValueError):
    """The number would be too large to be worked out here."""


class Undefined(ValueError):
    """The tree has no value: a variable without one, a division by zero, what this evaluator does not know."""


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
_RECIPROCALS = {"cot": "tan", "sec": "cos", "csc": "sin"}
_CIRCULAR = frozenset(["sin", "cos", "tan", "cot", "sec", "csc"])


@dataclass(frozen=True, slots=True)
class Reading:
    """How what is ambiguous is read. ``percent``: a hundredth, the number alone (``points``), or of what it is added
    to (``relative``). ``units``: left out, or converted within their dimension. ``log``: the base of ``log``; None:
    it has no value. ``degrees``: plain numbers in sines are degrees."""

    percent: Literal["hundredth", "points", "relative"] = "hundredth"
    units: bool = False
    log: Fraction | Literal["e"] | None = None
    degrees: bool = False


@dataclass(frozen=True)
class Evaluator:
    reals: Reals = field(default_factory=Floats)
    reading: Reading = Reading()
    variables: Mapping[str, Number] = field(default_factory=dict)

    def value(self, node: Node) -> Number:
        """Raises TooLarge and Undefined."""
        rule = _RULES.get(node.op)
        try:
            return rule(self, node) if rule is not None else self._function(node)
        except RecursionError as error:
            raise TooLarge("nested too deeply") from error
        except (ZeroDivisionError, OverflowError) as error:
            raise Undefined(str(error)) from error

    # -- leaves --

    def _num(self, node: Node) -> Number:
        return node.value

    def _var(self, node: Node) -> Number:
        if node.name not in self.variables:
            raise Undefined(node.name)
        return self.variables[node.name]

    def _const(self, node: Node) -> Number:
        return self.reals.constant(node.name)

    def _same(self, node: Node) -> Number:
        return self.value(node.args[0])

    # -- operations --

    def _neg(self, node: Node) -> Number:
        return -self.value(node.args[0])

    def _arithmetic(self, node: Node) -> Number:
        first, second = node.args
        left, right = self.value(first), self.value(second)
        if (
            self.reading.percent == "relative"
            and node.op in ("add", "sub")
            and second.op == "percent"
            and first.op != "percent"
        ):
            right = self._times(left, right)
        if node.op in ("mul", "of"):
            return self._times(left, right)
        if node.op == "div":
            return self._divide(left, right)
        left, right = self._alike(left, right)
        return small(left + right if node.op == "add" else left - right)

    def _alike(self, left: Number, right: Number) -> tuple[Number, Number]:
        if isinstance(left, Fraction) == isinstance(right, Fraction):
            return left, right
        return (self.reals.number(left), right) if isinstance(left, Fraction) else (left, self.reals.number(right))

    def _times(self, left: Number, right: Number) -> Number:
        left, right = self._alike(left, right)
        return small(left * right)

    def _divide(self, left: Number, right: Number) -> Number:
        left, right = self._alike(left, right)
        if right == 0:
            raise Undefined("a division by zero")
        return small(left / right)

    def _pow(self, node: Node) -> Number:
        return self._power(self.value(node.args[0]), self.value(node.args[1]))

    def _power(self, base: Number, exponent: Number) -> Number:
        if isinstance(base, Fraction) and isinstance(exponent, Fraction):
            if exponent.denominator == 1:
                return integer_power(base, int(exponent))
            exact = exact_root(base, exponent.denominator) if exponent.denominator <= 64 else None
            if exact is not None:
                return integer_power(exact, exponent.numerator)
        base, exponent = (self.reals.number(each) if isinstance(each, Fraction) else each for each in (base, exponent))
        return self.reals.power(base, exponent)

    def _root(self, node: Node) -> Number:
        degree = Fraction({"sqrt": 2, "cbrt": 3}.get(node.op, 0)) or self.value(node.args[1])
        base = self.value(node.args[0])
        if degree == 0:
            raise Undefined("a root of degree zero")
        odd = isinstance(degree, Fraction) and degree.denominator == 1 and degree.numerator % 2 == 1
        if odd and isinstance(base, (Fraction, float)) and base < 0:
            return -self._power(-base, 1 / degree)
        return self._power(base, 1 / degree)

    def _fact(self, node: Node) -> Number:
        n = self.value(node.args[0])
        if not isinstance(n, Fraction) or n.denominator != 1 or n < 0:
            raise Undefined("a factorial of no whole number")
        if n > MAX_FACTORIAL:
            raise TooLarge("the factorial is too large")
        return Fraction(math.factorial(int(n)))

    def _percent(self, node: Node) -> Number:
        value = self.value(node.args[0])
        return value if self.reading.percent == "points" else self._divide(value, Fraction(100))

    def _deg(self, node: Node) -> Number:
        return self.value(node.args[0])

    def _unit(self, node: Node) -> Number:
        value = self.value(node.args[0])
        known = scale(node.name) if self.reading.units else None
        return value if known is None else self._times(value, known[1])

    def _compound(self, node: Node) -> Number:
        """``2 hours 15 minutes``, always converted: without units in the unit that is named first."""
        first, second = node.args
        larger, smaller = scale(first.name), scale(second.name)
        assert larger is not None
        assert smaller is not None
        whole, part = self.value(first.args[0]), self.value(second.args[0])
        total = self._times(whole, larger[1]) + self._times(part, smaller[1])
        return total if self.reading.units else total / larger[1]

    def _mixed(self, node: Node) -> Number:
        return self.value(node.args[0]) + self.value(node.args[1])

    def _base(self, node: Node) -> Number:
        return node.value

    def _whole(self, node: Node) -> tuple[int, int]:
        first, second = (self.value(each) for each in node.args[:2])
        if not all(isinstance(each, Fraction) and each.denominator == 1 for each in (first, second)):
            raise Undefined("no whole numbers")
        return int(first), int(second)

    def _mod(self, node: Node) -> Number:
        left, right = self._whole(node)
        if right == 0:
            raise Undefined("modulo zero")
        return Fraction(left % right)

    def _choose(self, node: Node) -> Number:
        n, k = self._whole(node)
        if not 0 <= n <= MAX_FACTORIAL or k < 0:
            raise Undefined("no binomial coefficient")
        return Fraction(math.comb(n, k))

    def _series(self, node: Node) -> Number:
        *terms, last = (self.value(each) for each in node.args)
        if not all(isinstance(each, Fraction) for each in (*terms, last)) or len(terms) < 2:
            raise Undefined("no series of fractions")
        return series(terms, last, node.name)

    def _gcd(self, node: Node) -> Number:
        values = [self.value(each) for each in node.args]
        if not all(isinstance(each, Fraction) and each.denominator == 1 for each in values):
            raise Undefined("no whole numbers")
        whole = [int(each) for each in values]
        return Fraction(math.gcd(*whole) if node.op == "gcd" else math.lcm(*whole))

    def _extreme(self, node: Node) -> Number:
        values = [self.value(each) for each in node.args]
        if len(values) < 2 or not all(isinstance(each, (Fraction, float)) for each in values):
            raise Undefined("no numbers to compare")
        return max(values) if node.op == "max" else min(values)

    def _rounded(self, node: Node) -> Number:
        value = self.value(node.args[0])
        if not isinstance(value, (Fraction, float)):
            raise Undefined("no real number")
        return Fraction(math.floor(value) if node.op == "floor" else math.ceil(value))

    def _abs(self, node: Node) -> Number:
        return abs(self.value(node.args[0]))

    # -- functions --

    def _log(self, node: Node) -> Number:
        base: Number
        if len(node.args) > 1:
            base = self.value(node.args[1])
        elif node.op == "lg":
            base = Fraction(10)
        elif self.reading.log is None:
            raise Undefined("a logarithm of an unknown base")
        elif self.reading.log == "e":
            return self._natural_log(self.value(node.args[0]))
        else:
            base = self.reading.log
        value = self.value(node.args[0])
        if isinstance(value, Fraction) and isinstance(base, Fraction):
            exact = exact_log(value, base)
            if exact is not None:
                return exact
        return self._divide(self._natural_log(value), self._natural_log(base))

    def _natural_log(self, value: Number) -> Number:
        if value == 1:
            return Fraction(0)
        if value == 0:
            raise Undefined("a logarithm of zero")
        return self.reals.apply("ln", self.reals.number(value) if isinstance(value, Fraction) else value)

    def _function(self, node: Node) -> Number:
        if len(node.args) != 1:
            raise Undefined(node.op)
        argument = node.args[0]
        value = self.value(argument)
        if node.op in _CIRCULAR and (self.reading.degrees or _in_degrees(argument)):
            value = self._divide(self._times(value, self.reals.constant("pi")), Fraction(180))
        name = _RECIPROCALS.get(node.op, node.op)
        result = self.reals.apply(name, self.reals.number(value) if isinstance(value, Fraction) else value)
        return result if name == node.op else self._divide(Fraction(1), result)


def _in_degrees(node: Node) -> bool:
    return any(each.op == "deg" or (each.op == "unit" and each.name in ("degrees", "degree")) for each in node.walk())


_RULES: dict[str, Callable[[Evaluator, Node], Number]] = {
    "num": Evaluator._num,
    "var": Evaluator._var,
    "const": Evaluator._const,
    "group": Evaluator._same,
    "neg": Evaluator._neg,
    "add": Evaluator._arithmetic,
    "sub": Evaluator._arithmetic,
    "mul": Evaluator._arithmetic,
    "of": Evaluator._arithmetic,
    "div": Evaluator._arithmetic,
    "pow": Evaluator._pow,
    "sqrt": Evaluator._root,
    "cbrt": Evaluator._root,
    "root": Evaluator._root,
    "fact": Evaluator._fact,
    "percent": Evaluator._percent,
    "deg": Evaluator._deg,
    "unit": Evaluator._unit,
    "compound": Evaluator._compound,
    "mixed": Evaluator._mixed,
    "base": Evaluator._base,
    "mod": Evaluator._mod,
    "choose": Evaluator._choose,
    "series": Evaluator._series,
    "gcd": Evaluator._gcd,
    "lcm": Evaluator._gcd,
    "max": Evaluator._extreme,
    "min": Evaluator._extreme,
    "floor": Evaluator._rounded,
    "ceil": Evaluator._rounded,
    "abs": Evaluator._abs,
    "log": Evaluator._log,
    "lg": Evaluator._log,
}


def small(value: Number) -> Number:
    """The number itself, unless it has too many bits. Raises TooLarge."""
    if isinstance(value, Fraction):
        if value.numerator.bit_length() + value.denominator.bit_length() > 2 * MAX_BITS:
            raise TooLarge("the number is too large")
    elif isinstance(value, float) and not math.isfinite(value):
        raise TooLarge("the number is too large")
    return value


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
    guess = round((_log2(value)) / _log2(base))
    return Fraction(guess) if abs(guess) <= 4000 and integer_power(base, guess) == value else None


def _log2(value: Fraction) -> float:
    return math.log2(value.numerator) - math.log2(value.denominator)


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
            return _fraction(math.prod((terms[0] + step * k for k in range(int(count))), start=Fraction(1)))
    if operation == "add" and terms[0] != 0 and len(terms) > 1:
        return _geometric(terms, last)
    raise Undefined("no progression")


def _fraction(value: Fraction) -> Fraction:
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
