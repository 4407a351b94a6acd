"""Test files as people write them: pytest's functions, fixtures and parameters, and imports of the program."""

from __future__ import annotations

import asyncio

import pytest

from smc_decode.potentials import Evaluation, Prefix
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.options import RewardRequest
from smc_decode.sandbox import InvalidTest, Sandbox

PROGRAM = """
class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        if not self.items:
            raise IndexError("the stack is empty")
        return self.items.pop()

    def __len__(self):
        return len(self.items)


def double(x):
    return 2 * x


def total(numbers):
    return sum(numbers)
"""
FILE = """
import pytest
from solution import Stack, double, total as add_up


@pytest.fixture
def stack():
    made = Stack()
    made.push(1)
    return made


@pytest.mark.parametrize("given, wanted", [(1, 2), (2, 4), pytest.param(0, 0, id="nothing")])
def test_double(given, wanted):
    assert double(given) == wanted


def test_an_empty_stack_says_so():
    with pytest.raises(IndexError, match="empty") as info:
        Stack().pop()
    assert "stack" in str(info.value)


def test_pop(stack):
    assert stack.pop() == 1
    assert len(stack) == 0


class TestTotal:
    def test_of_floats(self):
        assert add_up([0.1, 0.2]) == pytest.approx(0.3)
"""


def share(sandbox: Sandbox, program: str, tests: str | list[str], entry_point: str = "") -> tuple[float, int]:
    report = sandbox.run_assertions(program, tests, entry_point, 5.0)
    return report.passed, report.total


def test_a_right_program_passes_a_file_as_pytest_has_them(sandbox: Sandbox) -> None:
    assert share(sandbox, PROGRAM, FILE) == (6.0, 6)


@pytest.mark.parametrize(
    ("right", "wrong", "held"),
    [
        ("2 * x", "x + 1", 5 + 1 / 3),  # one of three sets of parameters still holds
        ('raise IndexError("the stack is empty")', "return None", 4.0),
        ('raise IndexError("the stack is empty")', 'raise IndexError("no")', 4.0),
        ("sum(numbers)", "sum(numbers) + 0.1", 5.0),
        ("self.items.append(item)", "pass", 5.0),
    ],
)
def test_each_written_assertion_has_its_share(sandbox: Sandbox, right: str, wrong: str, held: float) -> None:
    passed, total = share(sandbox, PROGRAM.replace(right, wrong), FILE)
    assert total == 6
    assert passed == pytest.approx(held)


def test_a_test_that_raises_does_not_keep_the_others_from_running(sandbox: Sandbox) -> None:
    file = "from solution import f, g\n\ndef test_f():\n    x = f()\n    assert x == 1\n\n"
    file += "def test_g():\n    assert g() == 2\n"
    assert share(sandbox, "def f():\n    raise ValueError\n\ndef g():\n    return 2\n", file) == (1.0, 2)


def test_fixtures_use_each_other_live_as_long_as_they_say_and_clear_up(sandbox: Sandbox) -> None:
    file = """
import pytest
import solution as s
log = []

@pytest.fixture(scope="module")
def once():
    log.append("made")
    yield [1]
    log.append("gone")

@pytest.fixture
def two(once):
    yield once + [2]
    log.append("closed")

@pytest.fixture(autouse=True)
def always():
    log.append("auto")

@pytest.mark.parametrize("a", [1, 2])
@pytest.mark.parametrize(("b", "c"), [(1, 2), (2, 4)])
def test_product(a, b, c):
    assert s.double(b) == c
    assert log.count("auto") >= 1

def test_two(two):
    assert s.total(two) == 3

def test_after(two):
    assert s.total(two) == 3
    assert log.count("made") == 1
    assert log.count("closed") == 1
"""
    passed, total = share(sandbox, PROGRAM, file)
    assert passed == total == 6


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("import pytest\n@pytest.mark.skip\ndef test_f():\n    assert f() == 1\n", "may not run"),
        ("import pytest\n@pytest.mark.xfail\ndef test_f():\n    assert f() == 1\n", "may not run"),
        ("import pytest\n@pytest.mark.parametrize('x', [])\ndef test_f(x):\n    assert f() == x\n", "without values"),
        ("def test_f(monkeypatch, capsys):\n    assert f() == 1\n", "nothing here gives it"),
        (
            "import pytest\ndef test_f():\n    pytest.importorskip('os')\n    assert f() == 1\n",
            "importorskip is not known",
        ),
        (
            "import pytest\n@pytest.fixture\ndef a(a):\n    return 1\ndef test_f(a):\n    assert f() == a\n",
            "needs itself",
        ),
    ],
)
def test_what_would_not_run_is_no_test(sandbox: Sandbox, test: str, why: str) -> None:
    with pytest.raises(InvalidTest, match=why):
        sandbox.run_assertions("def f():\n    return 1\n", test, "f", 5.0)


@pytest.mark.parametrize(
    ("expected", "holds"),
    [
        ("pytest.approx(1.0000001)", True), ("pytest.approx(1.001)", False), ("pytest.approx(1.1, abs=0.2)", True),
        ("pytest.approx(1.1, rel=0.01)", False), ("pytest.approx(float('inf'))", False),
    ],
)  # fmt: skip
def test_approx_is_near_as_pytest_has_it(sandbox: Sandbox, expected: str, holds: bool) -> None:
    test = f"import pytest\ndef test_f():\n    assert f() == {expected}\n"
    assert share(sandbox, "def f():\n    return 1.0\n", test, "f") == (float(holds), 1)


def test_approx_looks_into_lists_and_dicts(sandbox: Sandbox) -> None:
    test = "import pytest\ndef test_f():\n    assert f() == pytest.approx({'a': 0.3, 'b': 1})\n"
    test += "    assert [0.3] != pytest.approx([f()['b']])\n"
    assert share(sandbox, "def f():\n    return {'a': 0.1 + 0.2, 'b': 1}\n", test, "f") == (2.0, 2)


def test_a_program_cannot_pass_by_what_it_returns_to_approx_or_raises(sandbox: Sandbox) -> None:
    program = """
class Always:
    def __eq__(self, other):
        return True
    __hash__ = None

class Near(float):
    def __eq__(self, other):
        return True
    __hash__ = None

def f():
    return Always()

def g():
    return Near(5.0)
"""
    test = "import pytest\ndef test():\n    assert f() == pytest.approx(1.0)\n    assert g() == pytest.approx(1.0)\n"
    assert share(sandbox, program, test)[0] == 0.0


def test_lists_may_be_about_several_functions(sandbox: Sandbox) -> None:
    tests = [
        "assert double(2) == 4",
        "assert total([1, 2]) == 3",
        "s = Stack()\ns.push(2)\nassert s.pop() == double(1)",
    ]
    assert share(sandbox, PROGRAM, tests) == (3.0, 3)
    assert share(sandbox, PROGRAM.replace("2 * x", "3 * x"), tests) == (1.0, 3)


def test_where_several_functions_are_under_test_none_judges_another_that_is_not_tested_itself(sandbox: Sandbox) -> None:
    program = "def close(a, b):\n    return True\n\ndef f(x):\n    return x\n"
    with pytest.raises(InvalidTest, match="judge itself"):
        sandbox.run_assertions(program, "def test():\n    assert close(f(7), 8)\n", "", 5.0)
    tested = "def test():\n    assert close(f(7), 8)\n    assert not close(1, 2)\n"
    assert share(sandbox, program, tested) == (1.0, 2)


def test_without_one_entry_point_an_argument_is_still_compared_as_it_was(sandbox: Sandbox) -> None:
    program = "def order(xs):\n    xs.clear()\n    return []\n\ndef other():\n    return 1\n"
    test = "def test():\n    xs = [2, 1]\n    assert order(xs) == sorted(xs)\n    assert other() == 1\n"
    assert share(sandbox, program, test)[0] == 1.0


ANSWER = "```python" + PROGRAM + "```"


def rewarded(sandbox: Sandbox, params: dict[str, object], *texts: str, finished: bool) -> list[Evaluation]:
    catalogue = RewardCatalogue.default(sandbox=sandbox)
    request = RewardRequest("", [{"role": "user", "content": "Write a stack and two functions."}], client_is_local=True)

    async def evaluated() -> list[Evaluation]:
        potential = catalogue.build("unit_tests", params, reward_scale=1.0, request=request)
        prefixes = [
            Prefix(tuple(map(ord, text)), finished, decode=lambda ids: "".join(map(chr, ids))) for text in texts
        ]
        found = await potential.evaluate(prefixes)
        await catalogue.aclose()
        return list(found)

    return asyncio.run(evaluated())


def statuses(evaluation: Evaluation) -> dict[str, str]:
    return {each["name"]: each["status"] for each in evaluation.detail["tests"]}


def test_the_reward_takes_a_pytest_file_and_says_which_tests_hold(sandbox: Sandbox) -> None:
    right, wrong = rewarded(
        sandbox, {"test": FILE}, ANSWER, ANSWER.replace("sum(numbers)", "max(numbers)"), finished=True
    )
    assert right.reward == pytest.approx(1.0)
    assert set(statuses(right).values()) == {"passed"}
    assert wrong.reward == pytest.approx(0.3 + 0.7 * 5 / 6)
    assert statuses(wrong)["TestTotal.test_of_floats"] == "failed"
    assert statuses(wrong)["test_pop"] == "passed"


def test_a_definition_that_is_complete_is_tested_while_the_next_is_written(sandbox: Sandbox) -> None:
    tests = {"tests": ["assert double(2) == 4", "assert total([1, 2]) == 3"]}
    begun = "```python\ndef double(x):\n    return 2 * x\n\ndef total(num"
    right, wrong, other_way = rewarded(
        sandbox, tests, begun, begun.replace("2 * x", "x"),
        "```python\ndef total(xs):\n    return sum(xs)\n\ndef dou", finished=False,
    )  # fmt: skip
    assert statuses(right) == {"assert double(2) == 4": "passed", "assert total([1, 2]) == 3": "open"}
    assert statuses(wrong) == {"assert double(2) == 4": "failed", "assert total([1, 2]) == 3": "open"}
    assert statuses(other_way) == {"assert double(2) == 4": "open", "assert total([1, 2]) == 3": "passed"}
    assert wrong.reward < right.reward
    assert right.reward == other_way.reward


def test_what_an_answer_never_defines_fails_and_costs_only_its_own_tests(sandbox: Sandbox) -> None:
    tests = {"tests": ["assert double(2) == 4", "assert total([1, 2]) == 3"]}
    (found,) = rewarded(sandbox, tests, "```python\ndef total(xs):\n    return sum(xs)\n```", finished=True)
    assert statuses(found) == {"assert double(2) == 4": "failed", "assert total([1, 2]) == 3": "passed"}
    assert found.reward == pytest.approx(0.3 + 0.7 / 2)


MISSING = [
    "from solution import Stack\n\ndef test_a():\n    s = Stack()\n    assert s.pop() == 1\n",
    "from solution import double\n\ndef test_b():\n    assert double(1) == 2\n",
]


@pytest.mark.parametrize(
    "tests", [MISSING, "\n".join(MISSING), "\n".join(MISSING[::-1])], ids=["list", "file", "swapped"]
)
@pytest.mark.parametrize(
    ("program", "held"), [("def double(x):\n    return 2 * x\n", 1.0), ("def other():\n    return 1\n", 0.0)]
)
def test_what_a_program_leaves_out_is_a_test_that_fails_and_no_fault_of_the_test(
    sandbox: Sandbox, tests: str | list[str], program: str, held: float
) -> None:
    assert share(sandbox, program, tests) == (held, 2)


def test_each_test_is_charged_with_its_own_error(sandbox: Sandbox) -> None:
    test = """
def test_a():
    x = f()
    assert x == 1

def test_b():
    y = g()
    assert y == 2

class TestC:
    def test_c(self):
        z = f()
        assert z == 3

    def test_d(self):
        assert h() == 4
"""
    report = sandbox.run_assertions("def f():\n    raise ValueError\n\ndef h():\n    return 4\n", test, "", 5.0)
    assert [(each.line, each.detail.partition(":")[0]) for each in report.outcomes] == [
        (4, "ValueError"), (8, "NameError"), (13, "ValueError"), (16, ""),
    ]  # fmt: skip
    assert (report.passed, report.total, report.all_passed) == (1.0, 4, False)


def test_a_call_that_takes_too_long_costs_only_the_test_that_makes_it(sandbox: Sandbox) -> None:
    program = "def f():\n    while True: pass\n\ndef g():\n    return 2\n"
    test = "def test_a():\n    x = f()\n    assert x == 1\n\ndef test_b():\n    assert g() == 2\n    assert g() > 1\n"
    report = sandbox.run_assertions(program, test, "", 5.0, call_timeout=0.2)
    assert [each.kind for each in report.outcomes] == ["timeout", "passed", "passed"]


def test_each_set_of_parameters_is_run_whatever_becomes_of_the_others(sandbox: Sandbox) -> None:
    program = "def f(x):\n    return 1 // x\n"
    test = "import pytest\n@pytest.mark.parametrize('x', [0, 1, -1])\ndef test(x):\n    y = f(x)\n    assert y == x\n"
    assert share(sandbox, program, test, "f") == (pytest.approx(2 / 3), 1)


def test_a_class_that_cannot_be_set_up_fails_all_its_tests_and_no_others(sandbox: Sandbox) -> None:
    test = """
import unittest

class A(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.x = f()

    def test_a(self):
        self.assertEqual(self.x, 1)

class B(unittest.TestCase):
    def test_b(self):
        self.assertEqual(g(), 2)
"""
    program = "def f():\n    raise ValueError\n\ndef g():\n    return 2\n"
    report = sandbox.run_assertions(program, test, "", 5.0)
    assert [(each.line, each.kind) for each in report.outcomes] == [(10, "raised"), (14, "passed")]


def test_fixtures_of_one_file_are_not_those_of_the_next(sandbox: Sandbox) -> None:
    shared = "import pytest\n\n@pytest.fixture\ndef one():\n    return 1\n"
    first = "import pytest\n\n@pytest.fixture(autouse=True)\ndef always():\n    assert f() == 2\n\n"
    first += "def test_f(one):\n    assert f() == one\n"
    second = "def test_f(one):\n    assert f() == one\n"
    assert share(sandbox, "def f():\n    return 1\n", [shared, first, second]) == (2.0, 3)
