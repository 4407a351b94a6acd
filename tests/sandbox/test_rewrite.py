"""How tests are rewritten: a slot for each written assertion, and expected values computed from arguments."""

from __future__ import annotations

import pytest

from smc_decode.sandbox.inbox.rewrite import BEFORE, CAUGHT, ENTER, EXPECTED, FAILED, LEAVE, MARK, rewrite


def met(source: str) -> list[tuple[int, object]]:
    """Run a rewritten test and list what it met: slot, and truth or exception type."""
    found: list[tuple[int, object]] = []
    entered: list[int] = []

    def failed(slot: int, error: object) -> None:
        found.append((slot, error.__name__ if isinstance(error, type) else type(error).__name__))

    def leave(slot: int, _: object) -> None:
        if len(found) == entered.pop():
            found.append((slot, True))

    names = {
        MARK: lambda slot, value: found.append((slot, bool(value))),
        FAILED: failed,
        ENTER: lambda slot, _: entered.append(len(found)),
        LEAVE: leave,
        CAUGHT: Exception,
    }
    exec(rewrite(source, "<test 0>", "f").code, names)  # type: ignore[call-overload]
    return found


def test_a_failed_assertion_does_not_stop_the_next() -> None:
    assert met("x = 1\nassert x == 2\nassert x == 1\nassert x / 0\nassert not x") == [
        (0, False), (1, True), (2, "ZeroDivisionError"), (3, False),
    ]  # fmt: skip


def test_an_assertion_has_one_slot_however_often_it_is_evaluated() -> None:
    source = "def g(x):\n    assert x < 2\nfor i in range(3):\n    if i != 1:\n        assert i\n    else: g(i)\ng(5)"
    assert met(source) == [(1, False), (0, True), (1, True), (0, False)]


def test_a_try_statement_is_one_assertion_and_holds_when_it_is_left_without_an_error() -> None:
    source = "try:\n    {}\n    assert False\nexcept ValueError:\n    pass"
    assert met(source.format("int('x')")) == [(0, True)]
    assert met(source.format("int('1')")) == [(0, "AssertionError")]
    returning = (
        "def check():\n    try:\n        int('x')\n    except ValueError:\n        return\n    assert False\ncheck()"
    )
    assert met(returning) == []
    held = (
        "def check():\n    try:\n        assert int('1') == x\n    except ValueError:\n        pass\n"
        "    else:\n        return\nx = 1\ncheck()"
    )
    assert met(held) == [(0, True)]


def test_what_must_never_be_reached_has_a_slot() -> None:
    source = "x = 1\nif x:\n    assert False\nassert x\nif x:\n    raise AssertionError('no')\n"
    result = rewrite(source, "<t>", "f")
    assert [(slot.line, slot.never) for slot in result.slots] == [(3, True), (4, False), (6, True)]
    assert met("x = 1\nif x:\n    assert False\nassert x") == [(0, "AssertionError"), (1, True)]


def test_an_assertion_of_constants_is_not_evidence() -> None:
    assert met("x = 0\nassert True, 'for debugging'\nassert len('a') == 1\nassert x") == [(0, False)]


def test_unittests_assertions_have_slots_and_so_have_their_contexts() -> None:
    source = (
        "import unittest\nt = unittest.TestCase()\nx = 1\nt.assertEqual(x, 2)\nt.assertTrue(x)\n"
        "with t.assertRaises(ValueError):\n    int('x')\nwith t.assertRaises(ValueError):\n    int('1')\n"
    )
    assert met(source) == [(0, "AssertionError"), (1, True), (2, True), (3, "AssertionError")]


def test_assertions_that_nothing_runs_have_none() -> None:
    assert len(rewrite("x = 1\nassert x\nassert x == 1", "<t>", "f", {3}).slots) == 1


def test_written_assertions_and_undefined_names_are_reported() -> None:
    result = rewrite("import math\ndef check(c):\n    assert c(1) == helper(math.pi)\n    assert other", "<t>", "f")
    assert [slot.line for slot in result.slots] == [3, 4]
    assert result.free == {"helper", "other"}


@pytest.mark.parametrize(
    ("body", "reads_before"),
    [
        ("assert candidate(x) == sorted(x)", True),
        ("assert sorted(x) == candidate(x)", True),
        ("y = candidate(x)\nassert y == [v + 1 for v in x]", True),
        ("y = candidate(x)\nassert y == sorted(x) and y is not x", True),
        ("candidate(x)\nassert x == sorted(x)", False),
        ("y = candidate(x)\nassert y == x", False),
        ("n = candidate(x)\nassert sorted(x[:n]) == [1, 2]", False),
        ("y = candidate(x)\nassert y == sorted(x)\nassert x == [2, 1]", False),
        ("assert candidate([2, 1]) == [1, 2]", False),
    ],
)
def test_an_expected_value_that_is_computed_from_an_argument_alone_is_seen(body: str, reads_before: bool) -> None:
    assert rewrite("x = [2, 1]\n" + body, "<t>", "f").reads_before is reads_before


def test_such_a_value_is_computed_again_from_the_argument_as_it_was() -> None:
    compared = []
    names = {
        BEFORE: lambda value: [3, 1, 2],
        EXPECTED: lambda value, again: compared.append((value, again())) or value,
        MARK: lambda slot, value: None,
        CAUGHT: Exception,
        "candidate": lambda value: value.clear() or [],
    }
    exec(rewrite("x = [3, 1, 2]\nassert candidate(x) == sorted(x)", "<t>", "f").code, names)  # type: ignore[call-overload]
    assert compared == [([], [1, 2, 3])]


@pytest.mark.parametrize("source", ["assert (", "x = '\0'", "return 1", "(" * 500])
def test_what_is_no_python_is_refused(source: str) -> None:
    with pytest.raises((SyntaxError, ValueError, RecursionError, MemoryError)):
        rewrite(source, "<t>", "f")
