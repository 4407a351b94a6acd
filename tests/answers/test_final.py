"""Where the final answer of a text stands."""

from __future__ import annotations

import pytest

from smc_decode.answers.final import final_answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so it is $\\boxed{\\frac{1}{2}}$", "\\frac{1}{2}"),
        ("$\\boxed 7$", "7"),
        ("\\boxed{1} then \\boxed{\\frac{1}{2}} and \\boxed{3", "\\frac{1}{2}"),
        ("so\n#### 42\n", "42"),
        ("The answer is: **7**.", "7"),
        ("no answer here", None),
        ("The answer is $12$ dollars.", "12"),
        ("**Final Answer**\n\n$$12$$", "12"),
        ("so $x=\\boxed{1}$ or $x=\\boxed{-2}$", "1, -2"),
        ("Answer: 42", "42"),
        ("Final Answer: 42", "42"),
        ("### Final Answer\n42", "42"),
        ("Therefore, the final answer is 3.14.", "3.14"),
        ("The answer is therefore 5.", "5"),
        ("Thus the answer is\n\\[ 5 \\]", "5"),
        ("the answer would be 7 apples", "7 apples"),
        ("is the answer: 8?", "8"),
        ("\\boxed{}", None),
        ("\\boxed{ }", None),
        ("x = \\boxed{3}, y = \\boxed{4}", "3, 4"),
        ("**Answer:** \\(\\frac12\\)", "\\frac12"),
        ("The final answer is $\\frac{3}{4}$. I hope it is correct.", "\\frac{3}{4}"),
        ("Hence\n$$x = 4$$", "x = 4"),
        ("The answer is 1,000.", "1,000"),
        ("The answer is 3.5", "3.5"),
        ("Answer\n\n7", None),
        ("The answer is 8. That is what was to be shown.", "8"),
        ("The answer is $(4,-9)$, since both hold.", "(4,-9)"),
        ("it is $\\fbox{6}$.", "6"),
        ("\\boxed{9}, in the form \\boxed{}", "9"),
        ("The answer is \\$32,\\!348.", "\\$32,\\!348"),
        ("The answer is $\\$5$.", "\\$5"),
    ],
)
def test_the_final_answer_is_found(text: str, expected: str | None) -> None:
    assert final_answer(text) == expected
