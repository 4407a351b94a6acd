"""Which form an answer is found to have."""

from __future__ import annotations

import pytest

from smc_decode.answers.forms import read_form


@pytest.mark.parametrize(
    ("latex", "kind", "parts"),
    [
        ("\\frac{3}{4}", "value", 0),
        ("$x = 7$.", "value", 0),
        ("1, 2 and 3", "list", 3),
        ("\\{4, 5\\}", "list", 2),
        ("2 \\pm \\sqrt{3}", "list", 2),
        ("(1, 2, 3)", "tuple", 3),
        ("y = 2, x = 1", "tuple", 2),
        ("[0, 1)", "interval", 2),
        ("x \\ge 5", "interval", 2),
        ("-1 < x \\le 4", "interval", 2),
        ("x > 1 \\text{ and } x < 2", "interval", 2),
        ("(0, 1) \\cup [3, 4]", "union", 2),
        ("x \\ne 2", "union", 2),
        ("\\begin{bmatrix} 1 & 2 \\\\ 3 & 4 \\\\ 5 & 6 \\end{bmatrix}", "matrix", 3),
        ("x^2 + y^2 = 1", "equation", 0),
        ("\\text{Tuesday}", "words", 0),
        ("all real numbers", "interval", 2),
        ("no solution", "words", 0),
    ],
)
def test_an_answer_has_its_form(latex: str, kind: str, parts: int) -> None:
    form = read_form(latex)
    assert (form.kind, len(form.parts)) == (kind, parts)


def test_named_values_are_in_the_order_of_their_names() -> None:
    assert [part.text for part in read_form("y = 2, x = 1").parts] == ["1", "2"]


def test_signs_and_bold_type_around_an_answer_say_nothing() -> None:
    plain = read_form("\\frac{1}{2}")
    for wrapped in (
        "$\\frac{1}{2}$",
        "\\[\\frac{1}{2}\\].",
        "**$\\frac{1}{2}$**",
        "\\boxed{\\frac{1}{2}}",
        "\\(\\mathbf{\\frac{1}{2}}\\)",
    ):
        assert read_form(wrapped) == plain
