"""What is defined on whole numbers only."""

from __future__ import annotations

from fractions import Fraction

import pytest

from smc_decode.notation.bounds import TooLarge, Undefined
from smc_decode.notation.whole_numbers import WHOLE_NUMBER_OPERATIONS


@pytest.mark.parametrize(
    ("operation", "values", "result"),
    [
        ("fact", [0], 1),
        ("fact", [5], 120),
        ("mod", [17, 5], 2),
        ("mod", [-1, 5], 4),
        ("choose", [5, 2], 10),
        ("choose", [2, 5], 0),
        ("gcd", [12, 18, 27], 3),
        ("lcm", [4, 6, 10], 60),
    ],
)
def test_whole_numbers_give_a_whole_number(operation: str, values: list[int], result: int) -> None:
    assert WHOLE_NUMBER_OPERATIONS[operation](list(map(Fraction, values))) == result


@pytest.mark.parametrize(
    ("operation", "values"),
    [("fact", ["1/2"]), ("fact", ["-1"]), ("mod", ["5", "0"]), ("choose", ["-3", "1"]), ("choose", ["5", "-1"]),
     ("gcd", ["4", "3/2"]), ("lcm", ["1/3", "2"])],
)  # fmt: skip
def test_other_numbers_give_nothing(operation: str, values: list[str]) -> None:
    with pytest.raises(Undefined):
        WHOLE_NUMBER_OPERATIONS[operation](list(map(Fraction, values)))


def test_floats_are_no_whole_numbers() -> None:
    for operation, count in (("fact", 1), ("mod", 2), ("choose", 2), ("gcd", 2), ("lcm", 2)):
        with pytest.raises(Undefined):
            WHOLE_NUMBER_OPERATIONS[operation]([4.0] * count)


def test_a_large_factorial_is_not_worked_out() -> None:
    with pytest.raises(TooLarge):
        WHOLE_NUMBER_OPERATIONS["fact"]([Fraction(10**6)])
