"""Answers that agree have one key, whatever they look like."""

from __future__ import annotations

import pytest

from smc_decode import SMCConfig
from smc_decode.answers import extractors
from smc_decode.answers.extractors import EXTRACTORS, boxed, canonical_value
from smc_decode.answers.selection import answer_key

text, box, code = (EXTRACTORS[name] for name in ("text", "boxed", "code"))


def test_text_agrees_over_spaces_case_and_unicode_forms():
    assert text("Ｈello  World\n") == text("hello world")
    assert text("  ") is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("\\frac{1}{2}", "0.5"),
        ("\\dfrac12", "1/2"),
        ("1,000", "1000.0"),
        ("-\\frac{3}{6}", "-1/2"),
        ("50\\%", "0.5"),
        ("3\\sqrt{2}", "\\sqrt{18}"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\pi/2)"),
        ("x^2 + 2x + 1", "(x+1)^2"),
        ("\\{2, 1\\}", "\\{1,2\\}"),
        ("x = 5", "5"),
        ("\\text{Tuesday}", "tuesday"),
        ("(C)", "\\text{C}"),
        ("\\$18.90", "18.9"),
        ("10\\text{ cm}", "10"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ \\frac{4}{2}\\end{pmatrix}"),
    ],
)
def test_boxed_values_agree_however_they_are_written(first, second):
    assert box(f"so \\boxed{{{first}}}.") == box(f"\\boxed{{{second}}}") is not None


@pytest.mark.parametrize(
    ("first", "second"), [("1", "2"), ("(1,2)", "(2,1)"), ("[1,2)", "[1,2]"), ("x", "2x"), ("A", "B")]
)
def test_boxed_values_that_differ_do_not_agree(first, second):
    assert box(f"\\boxed{{{first}}}") != box(f"\\boxed{{{second}}}")


def test_the_last_complete_box_counts():
    assert boxed("\\boxed{1} then \\boxed{\\frac{1}{2}} and \\boxed{3") == "\\frac{1}{2}"
    assert boxed("so\n#### 42\n") == "42"
    assert boxed("The answer is: **7**.") == "7"
    assert box("no answer here") is None


@pytest.mark.parametrize(
    "latex", ["9^{9^{9^{9}}}", "\\frac{1}{0}", "{" * 500, "\\sqrt{" * 300, "(" * 1500, "1" * 1900, "10000000000!"]
)
def test_hostile_values_end_within_the_limit(latex, monkeypatch):
    monkeypatch.setattr(extractors, "LATEX_SECONDS", 0.3)
    assert isinstance(canonical_value(latex), str)


def test_code_agrees_over_layout_comments_and_docstrings():
    first = "def f(x):\n    '''Doc.'''\n    return (x+1)  # one more\n"
    second = "Sure:\n```python\ndef f( x ):\n\n    return x + 1\n```"
    assert code(first) == code(second) is not None
    assert code("    return x+1\n") == code("    return (x + 1)\n") is not None
    assert code("def f(x):\n    return x - 1\n") != code(first)
    assert code("Not code at all (") is None


def test_an_extractor_of_ones_own_is_taken_by_a_configuration_and_an_unknown_one_is_not():
    EXTRACTORS.register("first word")(lambda answer: answer.split()[0] if answer.split() else None)
    try:
        assert SMCConfig(extractor="first word").extractor == "first word"
        assert answer_key("first word", lambda ids: "yes indeed")((1, 2)) == "yes"
    finally:
        EXTRACTORS.remove("first word")
    with pytest.raises(
        ValueError, match="unknown extractor 'first word'; allowed: behaviour, boxed, code, text, tokens"
    ):
        SMCConfig(extractor="first word")
