"""Powers, roots and logarithms of fractions that stay fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest

from smc_decode.notation.bounds import MAX_BITS, TooLarge, Undefined
from smc_decode.notation.exact import exact_log, exact_root, integer_power


@pytest.mark.parametrize(
    ("base", "exponent", "power"),
    [
        ("2", 10, "1024"),
        ("2/3", -2, "9/4"),
        ("0", 0, "1"),
        ("0", 5, "0"),
        ("-1", 10**30 + 1, "-1"),
        ("1", -(10**9), "1"),
    ],
)
def test_a_fraction_to_a_whole_power_is_a_fraction(base: str, exponent: int, power: str) -> None:
    assert integer_power(Fraction(base), exponent) == Fraction(power)


def test_zero_has_no_negative_power() -> None:
    with pytest.raises(Undefined):
        integer_power(Fraction(0), -1)


@pytest.mark.parametrize(("base", "exponent"), [("2", MAX_BITS + 1), ("1/2", -MAX_BITS - 1), ("12345", MAX_BITS // 4)])
def test_a_power_of_too_many_bits_is_not_worked_out(base: str, exponent: int) -> None:
    with pytest.raises(TooLarge):
        integer_power(Fraction(base), exponent)


@pytest.mark.parametrize(
    ("value", "degree", "root"),
    [
        ("16", 2, "4"),
        ("8/27", 3, "2/3"),
        ("0", 5, "0"),
        ("1", 64, "1"),
        ("2", 2, None),
        ("9", 3, None),
        ("-8", 3, None),
    ],
)
def test_a_root_is_a_fraction_or_none(value: str, degree: int, root: str | None) -> None:
    assert exact_root(Fraction(value), degree) == (None if root is None else Fraction(root))


def test_roots_of_large_powers_are_exact() -> None:
    base = Fraction(10**60 + 7, 10**40 + 9)
    for degree in (2, 3, 5, 7):
        assert exact_root(base**degree, degree) == base
        assert exact_root(base**degree + 1, degree) is None


@pytest.mark.parametrize(
    ("value", "base", "logarithm"),
    [
        ("8", "2", 3),
        ("1/9", "3", -2),
        ("1", "7", 0),
        ("4", "1/2", -2),
        ("10", "2", None),
        ("8", "1", None),
        ("0", "2", None),
    ],
)
def test_a_logarithm_is_a_whole_number_or_none(value: str, base: str, logarithm: int | None) -> None:
    assert exact_log(Fraction(value), Fraction(base)) == logarithm
