"""Equalities in worked steps: which claims are found, and whether they hold."""

from __future__ import annotations

import pytest

from smc_decode.notation.claims import find_claims

HOLD = [
    "The total is 5 + 3 * 2 = 11 apples.",
    "In 2020, 5 + 3 = 8.",
    "$5 + $3 = $8",
    "She pays $5 * 3 = $15 and then 15 - 2 = 13 dollars.",
    "5 dogs + 3 cats = 8 animals",
    "12/4 = 3 = 1 + 2",
    "1,000 + 2,000 = 3,000",
    "2 1/2 + 1/2 = 3",
    "5 x 3 = 15 and 3(4) = 12",
    "50 * 20% = 10",
    "48/2 = <<48/2=24>>24 clips",
    "9 * $2 = $<<9*2=18>>18 every day",
    "2/3 = 0.67 or 2/3 = 0.66",
    "10/3 ≈ 3.3",
    "f(2) = 3 + 4 = 7",
    "x + 3 = 8 - 2 = 6",
    "\\[ \\frac{1}{2} + \\frac{1}{3} = \\frac{5}{6} \\]",
    "$2^{10} = 1024$ and $\\frac{5}{4} = 1\\frac{1}{4}$",
    "$\\sqrt{16} = 4$",
    "20% of 50 = 10",
    "log 8 = 2 + 1",
    "so 2 + 3 = 5! Great",
    "3 feet + 6 inches = 42 inches",
    "$5 + 50 cents = $5.50",
    "60 miles per hour * 2 hours = 120 miles",
    "17 divided by 5 = 3 R 2",
    "1/2 of 30 = 15",
    "$\\sin 30^\\circ = \\frac{1}{2}$",
    "$\\log_2 8 = 3$",
    "$(x+1)^2 = x^2+2x+1$",
    "$|3-5| = 2$",
    "$1+2+\\cdots+10 = 55$",
    "gcd(12, 18) = 6",
    "$\\gcd(12,18) = 6$",
    "lcm(4, 6) = 12",
    "2 weeks + 3 days = 17 days",
    "1 + 2 + 3 + ... + 100 = 5050",
    "She has 5 - 3 = 2 apples left",
    "2**3 = 8",
    "2 ** 3 = 8",
    "$\\frac12 + \\frac13 = \\frac56$",
    "10^-2 = 0.01",
    "$5 \\cdot 3 = 15 > 14$",
    "The area = 3 * 4 = 12 cm²",
    "12 cm * 3 cm = 36 cm²",
    "speed = 60 km / 2 h = 30 km/h",
    "10 + 20% = 12",
    "200 - 15% = 170",
    "1/4 = 25%",
    "$\\sqrt{2} \\cdot \\sqrt{8} = 4$",
    "$\\sqrt{2} = 1.41$",
    "$\\pi \\approx 3.14$",
    "\\(3! = 6\\)",
    "5 - 3 = 2 - this is the answer",
    "1.5e2 + 1 = 151",
    "3 dozen + 4 = 40",
    "90 minutes - 1 hour = 30 minutes",
    "1h 30min + 45min = 2h 15min",
    "2 hours and 15 minutes + 45 minutes = 3 hours",
    "Total cost: $3.50 × 4 = $14.00",
    "7 − 2 = 5",
    "5 squared = 25",
    "-3 + 5 = 2",
    "3 - -5 = 8",
    "-3^2 = -9",
    "2x3=6",
    "10 / 4 = 2 remainder 2",
    "20 * 30 percent = 6",
    "10 is 5 + 6 = 11",
    "\\[ \\frac{3}{4} \\div \\frac{1}{2} = \\frac{3}{2} \\]",
    "\\( 15\\% \\times 200 = 30 \\)",
    "25 = 5^2",
    "$\\frac{1}{3} = 0.\\overline{3}$",
    "√25 − 2 = 3",
    "(9 / 36) * 100 = 25%",
    "29 ÷ 6 = 4 with a remainder of 5",
    "29 / 6 = 4 R 5",
    "2 400 + 600 = 3 000",
    "2.5e2 + 50 = 300",
    "2 hours 50 minutes + 20 minutes = 3 hours 10 minutes",
    "80 - 25% = 60",
    "$\\frac{9}{36} \\times 100 = 25\\%$",
]

FAIL = [
    "5 + 3 = 9",
    "0.1 * 5 = 0.6",
    "10/3 = 3",
    "10/3 ≈ 4.3",
    "17 divided by 5 = 3 R 3",
    "1/2 of 30 = 16",
    "\\(\\binom{5}{2} = 11\\)",
    "$\\sin 30^\\circ = \\frac{1}{3}$",
    "$\\log_{2} 8 = 4$",
    "$\\lfloor 7/2 \\rfloor = 4$",
    "gcd(12, 18) = 5",
    "2 weeks + 3 days = 18 days",
    "3 apples + 4 oranges = 8 fruits",
    "2^3 = 9",
    "**Total:** 3 + 4 = 8",
    "- **Step**: 3 × 4 = **13**",
    "`3 + 4 = 8`",
    "3 · 4 = 11",
    "(3 + 4)(2) = 15",
    "$3 \\cdot 4 \\text{ cm} = 11 \\text{ cm}$",
    "$2\\frac12 \\cdot 2 = 6$",
    "5 x 3 = 16",
    "12 cm * 3 cm = 37 cm^2",
    "speed = 60 km / 2 h = 31 km/h",
    "200 - 15% = 175",
    "1/4 = 20%",
    "x = 2 * 3 = 7",
    "$x = 2 \\cdot 3 = 7$",
    "\\(3! = 7\\)",
    "2 hours and 15 minutes + 45 minutes = 4 hours",
    "\\[ 5 \\times 4 = \\boxed{21} \\]",
    "\\[ \\text{Total} = 3 + 4 = 8 \\]",
    "\\[ \\text{Cost} = 3 \\times \\$4 = \\$13 \\]",
    "$3.50 * 4 = $15",
    "(1) 3 + 4 = 8",
    "a) 3 + 4 = 8",
    "£20 − £5 = £16",
    "5 squared = 26",
    "Alice has 3 + 2 = 6 apples and Bob 2",
    "$0.15 \\times 200 = 31$",
    "26 = 5^2",
    "6 + 7 = **14**",
    "__6 + 7 = 14__",
    "\\[ 6 \\text{ pens} + 7 \\text{ pens} = 14 \\text{ pens} \\]",
    "\\[ 6 \\times 7 \\;=\\; 43 \\]",
    "30% of 60 = 20",
    "\\[ 30\\% \\text{ of } 60 = 20 \\]",
    "4 hours * 60 minutes/hour = 250 minutes",
    "5² + 6² = 60",
    "⅓ + ⅙ = 1",
    "45° + 90° = 145°",
    "$90^\\circ - 30^\\circ = 50^\\circ$",
    "4! = 20",
    "23 mod 7 = 3",
    "6 + 7 equals 14",
    "6 \\times 7 = 43",
    "[6 + 1] * 3 = 20",
    "₹600 + ₹700 = ₹1400",
    "2 + 4 + ... + 20 = 100",
    "\\[ 10 < 3 \\cdot 5 = 16 \\]",
    "\\[ \\boxed{6 + 7 = 14} \\]",
    "\\[ 3\\bigl(6+7\\bigr)=40 \\]",
    "\\[ 6 \\ast 7 = 43 \\]",
    "\\[ 110_2 = 7 \\]",
    "9 choose 2 = 35",
]

MIXED = [
    ("- 5 + 3 = 8\n1. 2 + 2 = 4\n* 1 + 1 = 3", [True, True, False]),
    ("\\begin{align*} 2 \\cdot 3 &= 6 \\\\ 6 + 1 &= 8 \\end{align*}", [True, False]),
    ("Step 1: 2 + 3 = 5, so 5 * 2 = 11.", [True, False]),
    ("2 + 2 = 4 and 3 + 3 = 7 as well", [True, False]),
    ("area is 3*4=12, perimeter 2*(3+4)=15", [True, False]),
    ("3 + 4 = 7 (since 3 + 4 = 8)", [True, False]),
    ("5 + 3 = 8 * 2 = 16", [False, True]),
    ("- 5 + 3 = 8\n1. 2 + 2 = 4\n* 1 + 1 = 3", [True, True, False]),
]
NO_CLAIM = [
    "x = 5",
    "2x + 3 = 7",
    "1 hour = 60 minutes",
    "a == 3+4",
    "3 + 4 <= 8",
    "y - 3 = 4",
    "2 * 3 = 6x",
    "sin(3) + 2 = 4",
    "f(x) = 3",
    "$x = 7$",
    "no numbers",
    "= = =",
    "5 +",
    "",
    "C(5,2) = 10",
    "$(x+1)^2 = x^2+2x+2$",
    "3 pizzas - 5 slices = 19 slices",
    "the ratio 2:30 + 1:15 = 3:45",
    "$2^5 = 32 \\equiv 2 \\pmod{5}$",
    "$3 \\cdot 5 = 1 \\pmod 7$",
    "Half of 10 = 5",
    "0.5 = 50%",
    "3 + 4 = seven",
    "$$x = \\frac{-3 \\pm 5}{2}$$",
    "1,5 + 1 = 2",
    "5m + 3m = 8m",
    "3 ÷ 0 = 5",
    "3 + 5 is equal to 9",
]


def outcomes(text: str, finished: bool = True) -> list[str]:
    return [claim.outcome for claim in find_claims(text, finished)]


@pytest.mark.parametrize("text", HOLD)
def test_a_true_sum_holds(text: str) -> None:
    assert set(outcomes(text)) == {"holds"}


@pytest.mark.parametrize("text", FAIL)
def test_a_false_sum_is_seen(text: str) -> None:
    assert set(outcomes(text)) == {"fails"}


@pytest.mark.parametrize(("text", "expected"), MIXED)
def test_every_claim_of_a_text_is_judged_on_its_own(text: str, expected: list[bool]) -> None:
    assert outcomes(text) == ["holds" if each else "fails" for each in expected]


@pytest.mark.parametrize("text", NO_CLAIM)
def test_what_claims_nothing_is_left(text: str) -> None:
    assert outcomes(text) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("7 + 5 = 1", 0),
        ("7 + 5 = 12", 0),
        ("7 + 5 = 12\n", 1),
        ("7 + 5 = 12 so", 1),
        ("7 + 5 = **12", 0),
        ("7 + 5 = 12.", 0),
        ("7 + 5 = 12. Th", 1),
        ("$7+5 = 1", 0),
        ("$7+5=12$", 1),
        ("2+2=4, 7 + 5 = 1", 1),
        ("\\[ 7 + 5 = 1", 0),
        ("29 / 6 = 4 with a rem", 0),
    ],
)
def test_a_claim_that_may_still_grow_waits(text: str, count: int) -> None:
    assert len(outcomes(text, finished=False)) == count


@pytest.mark.parametrize(
    "side", ["9**9**9", "9^{9^{9}}", "2^1000000", "(((9^999)^999)^999)", "9000!", "1e4000 * 1e4000 * 1e9999"]
)
def test_what_is_too_large_to_be_worked_out_does_not_hold(side: str) -> None:
    assert outcomes(f"{side} + 1 = 2") == ["fails"]


def test_the_remaining_latex_is_left_to_another_reader() -> None:
    assert outcomes("$\\int_0^1 x\\,dx = \\frac{1}{2}$") == ["other"]


def test_only_so_many_claims_are_looked_at() -> None:
    text = "\n".join(f"{n} + 1 = {n + 1}" for n in range(50))
    assert len(find_claims(text, True, limit=7)) == 7
