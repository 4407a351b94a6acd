"""The value of a tree: a Fraction as long as that is exact, else a number of the given kind (floats, or mpmath's)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from smc_decode.notation.bounds import Number, TooLarge, Undefined, small
from smc_decode.notation.exact import exact_log, exact_root, integer_power
from smc_decode.notation.progressions import series
from smc_decode.notation.reals import Floats, Reals
from smc_decode.notation.tree import Node
from smc_decode.notation.units import scale
from smc_decode.notation.whole_numbers import WHOLE_NUMBER_OPERATIONS

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
    """Works out trees: ``variables`` gives letters their values, ``reals`` does what leaves the fractions."""

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

    def _series(self, node: Node) -> Number:
        *terms, last = (self.value(each) for each in node.args)
        if not all(isinstance(each, Fraction) for each in (*terms, last)) or len(terms) < 2:
            raise Undefined("no series of fractions")
        return series(terms, last, node.name)

    def _whole_numbers(self, node: Node) -> Number:
        return WHOLE_NUMBER_OPERATIONS[node.op]([self.value(each) for each in node.args])

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
    "percent": Evaluator._percent,
    "deg": Evaluator._deg,
    "unit": Evaluator._unit,
    "compound": Evaluator._compound,
    "mixed": Evaluator._mixed,
    "base": Evaluator._base,
    "series": Evaluator._series,
    "max": Evaluator._extreme,
    "min": Evaluator._extreme,
    "floor": Evaluator._rounded,
    "ceil": Evaluator._rounded,
    "abs": Evaluator._abs,
    "log": Evaluator._log,
    "lg": Evaluator._log,
    **dict.fromkeys(WHOLE_NUMBER_OPERATIONS, Evaluator._whole_numbers),
}
