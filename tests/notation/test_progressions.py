"""Series with dots, worked out from their first terms and their last one."""

from __future__ import annotations

from fractions import Fraction

import pytest

from smc_decode.notation.bounds import TooLarge, Undefined
from smc_decode.notation.progressions import series


@pytest.mark.parametrize(
    ("terms", "last", "operation", "value"),
    [
        ([1, 2], 100, "add", 5050),
        ([3, 5, 7], 21, "add", 120),
        ([10, 8], -2, "add", 28),
        ([1, 2, 4], 64, "add", 127),
        ([1, 2, 3], 6, "mul", 720),
        ([2, 4], 8, "mul", 384),
    ],
)
def test_a_progression_has_its_sum_or_product(terms: list[int], last: int, operation: str, value: int) -> None:
    assert series(list(map(Fraction, terms)), Fraction(last), operation) == value


@pytest.mark.parametrize(
    ("terms", "last", "operation"),
    [
        ([1, 2], 2, "add"),  # no term is left out
        ([1, 3], 10, "add"),  # not on the way
        ([1, 2, 4, 7], 11, "add"),
        ([5, 5], 5, "add"),
        ([1, -1], 1, "add"),
        ([1, 2, 4], 64, "mul"),
    ],
)
def test_what_is_no_progression_has_no_value(terms: list[int], last: int, operation: str) -> None:
    with pytest.raises(Undefined):
        series(list(map(Fraction, terms)), Fraction(last), operation)


def test_a_product_of_too_many_terms_is_not_worked_out() -> None:
    with pytest.raises(TooLarge):
        series([Fraction(1), Fraction(2)], Fraction(5000), "mul")
