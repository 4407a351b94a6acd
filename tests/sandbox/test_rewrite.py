"""How tests are rewritten: counted assertions, and arguments as the candidate left them."""

from __future__ import annotations

import pytest

from smc_decode.sandbox.inbox.rewrite import AFTER, CAUGHT, FAILED, MARK, rewrite


def count(source: str) -> list[tuple[int, object]]:
    """Run a rewritten test and list what it met: line, and truth or exception type."""
    met: list[tuple[int, object]] = []
    names = {
        MARK: lambda line, value: met.append((line, bool(value))),
        FAILED: lambda line, error: met.append((line, type(error).__name__)),
        CAUGHT: Exception,
    }
    exec(rewrite(source, "<test 0>", "f", counting=True).code, names)  # type: ignore[call-overload]
    return met


def test_a_failed_assertion_does_not_stop_the_next() -> None:
    assert count("assert 1 == 2\nassert 1 == 1\nassert 1 / 0\nassert []") == [
        (1, False), (2, True), (3, "ZeroDivisionError"), (4, False),
    ]  # fmt: skip


def test_assertions_in_loops_branches_and_functions_are_counted_each_time() -> None:
    source = "def g(x):\n    assert x < 2\nfor i in range(3):\n    if i != 1:\n        assert i\n    else: g(i)\ng(5)"
    assert count(source) == [(5, False), (2, True), (5, True), (2, False)]


def test_a_try_statement_counts_as_one_test() -> None:
    source = "try:\n    {}\n    assert False\nexcept ValueError:\n    pass"
    assert count(source.format("int('x')")) == [(1, True)]
    assert count(source.format("int('1')")) == [(1, "AssertionError")]


def test_an_assertion_of_a_true_constant_is_not_evidence() -> None:
    assert count("assert True, 'for debugging'\nassert 1\nassert False") == [(3, False)]


def test_written_assertions_and_undefined_names_are_reported() -> None:
    result = rewrite(
        "import math\ndef check(c):\n    assert c(1) == helper(math.pi)\n    assert other", "<t>", "f", False
    )
    assert result.assertions == 2
    assert result.free == ["helper", "other"]


@pytest.mark.parametrize(
    ("body", "reads_after"),
    [
        ("candidate(x)\nassert x == [1, 2]", True),
        ("assert candidate(x) is None and x == [1, 2]", True),
        ("candidate(k=x)\nassert x[0] == 1", True),
        ("assert candidate(x) == sorted(x)", False),
        ("y = candidate(x)\nassert y == sorted(x)", False),
        ("for y in candidate(x):\n    assert y in x", False),
        ("assert candidate([2, 1]) == [1, 2]", False),
    ],
)
def test_arguments_are_read_after_the_call_only_where_nothing_else_comes_from_the_candidate(
    body: str, reads_after: bool
) -> None:
    assert rewrite("x = [2, 1]\n" + body, "<t>", "f", False).reads_after is reads_after


def test_the_view_of_an_argument_is_taken_inside_expressions() -> None:
    left = {"x": [1, 2, 3]}
    source = "x = [2, 1]\ncandidate(x)\nassert len(x) == 3 and not [v for v in x if v > 3]"
    code = rewrite(source, "<t>", "f", False).code
    exec(code, {AFTER: lambda value: left["x"], "candidate": lambda value: None})  # type: ignore[call-overload]


@pytest.mark.parametrize("source", ["assert (", "x = '\0'", "return 1", "(" * 500])
def test_what_is_no_python_is_refused(source: str) -> None:
    with pytest.raises((SyntaxError, ValueError, RecursionError, MemoryError)):
        rewrite(source, "<t>", "f", True)
