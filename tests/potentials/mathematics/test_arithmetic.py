"""Equalities in worked steps: which claims are found, and whether they hold."""

from __future__ import annotations

import pytest

from smc_decode.potentials.mathematics.arithmetic import Arithmetic, ArithmeticOptions
from smc_decode.potentials.mathematics.equalities import TooLarge, check, evaluate, find_equalities
from tests.potentials.answers import answer
from tests.work import work


def verdicts(text: str, finished: bool = True) -> list[bool | None]:
    return [None if claim.latex else check(claim) for claim in find_equalities(text, finished)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The total is 5 + 3 * 2 = 11 apples.", [True]),
        ("5 + 3 = 9", [False]),
        ("- 5 + 3 = 8\n1. 2 + 2 = 4\n* 1 + 1 = 3", [True, True, False]),
        ("In 2020, 5 + 3 = 8.", [True]),
        ("$5 + $3 = $8", [True]),
        ("She pays $5 * 3 = $15 and then 15 - 2 = 13 dollars.", [True, True]),
        ("5 dogs + 3 cats = 8 animals", [True]),
        ("12/4 = 3 = 1 + 2", [True, True]),
        ("1,000 + 2,000 = 3,000", [True]),
        ("2 1/2 + 1/2 = 3", [True]),
        ("5 x 3 = 15 and 3(4) = 12", [True, True]),
        ("50 * 20% = 10", [True]),
        ("48/2 = <<48/2=24>>24 clips", [True]),
        ("9 * $2 = $<<9*2=18>>18 every day", [True]),
        ("2/3 = 0.67 or 2/3 = 0.66", [True, True]),
        ("0.1 * 5 = 0.6", [False]),
        ("10/3 = 3", [False]),
        ("10/3 ≈ 3.3", [True]),
        ("10/3 ≈ 4.3", [False]),
        ("f(2) = 3 + 4 = 7", [True]),
        ("x + 3 = 8 - 2 = 6", [True]),
        ("\\[ \\frac{1}{2} + \\frac{1}{3} = \\frac{5}{6} \\]", [True]),
        ("$2^{10} = 1024$ and $\\frac{5}{4} = 1\\frac{1}{4}$", [True, True]),
        ("\\begin{align*} 2 \\cdot 3 &= 6 \\\\ 6 + 1 &= 8 \\end{align*}", [True, False]),
        ("$\\sqrt{16} = 4$", [None]),
    ],
)
def test_claims_are_found_and_checked(text, expected):
    assert verdicts(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "x = 5",
        "2x + 3 = 7",
        "1 hour = 60 minutes",
        "20% of 50 = 10",
        "a == 3+4",
        "3 + 4 <= 8",
        "y - 3 = 4",
        "2 * 3 = 6x",
        "sin(3) + 2 = 4",
        "log 8 = 2 + 1",
        "f(x) = 3",
        "$x = 7$",
        "no numbers",
        "= = =",
        "5 +",
        "",
    ],
)
def test_what_claims_nothing_is_left(text):
    assert verdicts(text) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("7 + 5 = 1", 0),
        ("7 + 5 = 12", 0),
        ("7 + 5 = 12\n", 1),
        ("7 + 5 = 12 so", 1),
        ("$7+5 = 1", 0),
        ("$7+5=12$", 1),
        ("2+2=4, 7 + 5 = 1", 1),
        ("\\[ 7 + 5 = 1", 0),
    ],
)
def test_a_claim_that_may_still_grow_waits(text, count):
    assert len(find_equalities(text, finished=False)) == count


@pytest.mark.parametrize("side", ["9**9**9", "9^{9^{9}}", "2^100000", "(((9^999)^999)^999)", "1" * 290 + "^" + "9" * 9])
def test_numbers_that_are_too_large_are_not_worked_out(side):
    with pytest.raises(TooLarge):
        evaluate(side)


@pytest.mark.parametrize(
    "text",
    [
        "1+" * 50_000 + "1 = 2",
        "(" * 50_000 + "= 1",
        "=" * 50_000,
        "1 = " * 20_000,
        "$" * 50_000,
        "5" * 100_000 + " + 1 = 2",
    ],
)
def test_hostile_text_is_read_in_bounded_time(text):
    part = work(find_equalities, text[:20_000], finished=True)
    assert part.steps < 500 * 20_000
    assert part.cpu_seconds < 60
    whole = work(find_equalities, text[:40_000], finished=True)
    assert whole.steps < 2.5 * part.steps + 1_000  # twice the text is twice the work


async def test_the_share_of_claims_that_hold(workers):
    source = Arithmetic(workers)
    right, half, wrong, none = await source.rewards(
        [answer("2 + 2 = 4\n"), answer("2 + 2 = 4\n4 + 1 = 6\n"), answer("1 + 1 = 3\n"), answer("Let me think.")]
    )
    assert (right.value, half.value, wrong.value, none.value) == (1.0, 0.5, 0.0, 0.5)
    assert half.detail == {"basis": "equalities", "held": 1, "total": 2, "first_wrong": "4 + 1 = 6"}


async def test_latex_goes_to_a_worker(workers):
    source = Arithmetic(workers)
    text = "$\\sqrt{16} + 1 = 5$, $(x+1)^2 = x^2 + 2x + 1$, $\\sqrt{x} + 1 = 3$ and $\\sqrt{4} + 1 = 4$"
    got = (await source.rewards([answer(text)]))[0]
    assert (got.detail["held"], got.detail["total"]) == (2, 3)
    assert got.detail["first_wrong"] == "\\sqrt{4} + 1 = 4"


async def test_a_claim_that_is_too_large_or_too_slow_does_not_hold(workers):
    source = Arithmetic(workers, ArithmeticOptions(timeout=0.3))
    text = "9**9**9 + 1 = 2\n$\\sqrt{9^{9^{9^{9}}}} + 1 = 2$"
    got = await source.rewards([answer(text), answer("$\\sqrt{4} + 1 = 3$")])
    assert got[0].value == 0.0
    assert got[1].value == 1.0


async def test_a_claim_is_checked_once(workers):
    source = Arithmetic(workers)
    await source.rewards([answer("2 + 2 = 4\n"), answer("2 + 2 = 4\n3 + 3 = 6\n")])
    await source.rewards([answer("3 + 3 = 6\n")])
    assert (source.cache.calls, source.cache.hits) == (2, 1)
