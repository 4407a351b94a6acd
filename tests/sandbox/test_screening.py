"""Tests that would accept every program are told apart before anything runs."""

from __future__ import annotations

import time

import pytest

from smc_decode.sandbox import InvalidTest, Sandbox, refuse_tests

VACUOUS = {
    "empty": ("def check(candidate):\n    pass\n", "never calls"),
    "docstring": ("def check(candidate):\n    'To do.'\n", "never calls"),
    "constants": ("def check(candidate):\n    assert 1 + 1 == 2\n", "never calls"),
    "looked at": ("def check(candidate):\n    assert candidate is not None and callable(candidate)\n", "never calls"),
    "its name": ("def check(candidate):\n    assert candidate.__name__ == 'f'\n", "never calls"),
    "printed": ("def check(candidate):\n    print(candidate)\n    assert print\n", "never calls"),
    "coroutine": ("async def check(candidate):\n    assert candidate(7) == 8\n", "coroutine function"),
    "generator": ("def check(candidate):\n    assert candidate(7) == 8\n    yield\n", "generator function"),
    "coroutine test": ("async def test_a():\n    assert f(7) == 8\n", "coroutine function"),
    "generator method": ("class TestF:\n    def test_a(self):\n        yield f(7) == 8\n", "generator function"),
    "uncalled": ("def verify():\n    assert f(7) == 8\n", "nothing runs"),
    "uncalled inside": (
        "def check(candidate):\n    def one(x):\n        assert candidate(x) == x\n    candidate(1)\n",
        "nothing runs",
    ),
    "thrown coroutine": (
        "async def go(c):\n    assert c(7) == 8\ndef check(candidate):\n    go(candidate)\n",
        "nothing runs",
    ),
    "other class": ("class Checks:\n    def test_a(self):\n        assert f(7) == 8\n", "nothing runs"),
    "main guard": ("if __name__ == '__main__':\n    assert f(7) == 8\n", "nothing runs"),
    "never taken": ("def check(candidate):\n    if False:\n        assert candidate(7) == 8\n", "nothing runs"),
    "after return": ("def check(candidate):\n    return\n    assert candidate(7) == 8\n", "nothing runs"),
    "judge": ("def check(candidate):\n    assert near(candidate(7), 8)\n", "judge itself"),
    "judge denied": ("def check(candidate):\n    assert not differ(candidate(7), 8)\n", "judge itself"),
    "reference": (
        "def check(candidate):\n    for x in range(9):\n        assert candidate(x) == want(x)\n",
        "judge itself",
    ),
    "reference before": ("def check(candidate):\n    w = want(7)\n    assert candidate(7) == w\n", "judge itself"),
    "no python": ("def check(candidate:\n", "no Python"),
}
SOUND = {
    "check": "def check(candidate):\n    assert candidate(7) == 8\n",
    "alias": "def check(candidate):\n    g = candidate\n    assert g(7) == 8\n",
    "passed on": "def run(g):\n    assert g(7) == 8\ndef check(candidate):\n    run(candidate)\n",
    "mapped": "def check(candidate):\n    assert list(map(candidate, [7])) == [8]\n",
    "script": "assert f(7) == 8\n",
    "called by the module": "def verify():\n    assert f(7) == 8\nverify()\n",
    "pytest": "def test_a():\n    assert f(7) == 8\n",
    "class": "class TestF:\n    def test_a(self):\n        assert f(7) == 8\n",
    "awaited": "import asyncio\nasync def go():\n    assert f(7) == 8\ndef check(candidate):\n    asyncio.run(go())\n",
    "calls only": "def check(candidate):\n    candidate(7)\n",
    "other function of the program": "def check(candidate):\n    assert candidate(7) == 8 and other(1) > 4\n",
    "round trip": "def check(candidate):\n    assert candidate(encode(7)) == 7\n",
    "class of the program": "def check(candidate):\n    assert candidate(7) == Point(7)\n",
    "module": "def check(candidate):\n    assert math.isclose(candidate(7), 8)\n",
    "decorated": "CASES = []\ndef case(g):\n    CASES.append(g)\n@case\ndef one():\n    assert f(7) == 8\nCASES[0]()\n",
}


@pytest.mark.parametrize(("test", "why"), VACUOUS.values(), ids=VACUOUS)
def test_it_is_refused(sandbox: Sandbox, test: str, why: str) -> None:
    refused = refuse_tests(test, "f")
    assert refused is not None
    assert (refused[0], why in refused[1]) == (0, True), refused
    program = (
        "def f(x=0): return 8\ndef near(a, b): return True\ndef differ(a, b): return False\ndef want(x): return 8\n"
    )
    assert sandbox.run_tests("", program, test, "f", 3.0).status == "infrastructure"
    with pytest.raises(InvalidTest):
        sandbox.run_assertions(program, test, "f", 3.0)


@pytest.mark.parametrize("test", SOUND.values(), ids=SOUND)
def test_it_is_not_refused(test: str) -> None:
    assert refuse_tests(test, "f") is None


def test_tests_of_a_list_may_define_what_others_use() -> None:
    assert refuse_tests(["import math", "got = f(7)", "assert math.sqrt(got) == 3"], "f") is None
    assert refuse_tests(["assert f(7) == 8", "import math\nassert math.pi > 3"], "f") == (
        1, "the test would accept every program: it never calls the candidate",
    )  # fmt: skip
    assert refuse_tests(["x = 1", "y = 2"], "f") is not None


def test_helpers_of_the_prompt_are_no_judges_and_may_call_the_function() -> None:
    prompt = "def near(a, b):\n    return abs(a - b) < 1e-6\n\ndef twice(x):\n    return f(f(x))\n\ndef f(x):\n"
    assert refuse_tests("def check(candidate):\n    assert near(candidate(7), 8)\n", "f", prompt) is None
    assert refuse_tests("def check(candidate):\n    assert twice(7) == 9\n", "f", prompt) is None
    assert refuse_tests("def check(candidate):\n    assert near(7, 7)\n", "f", prompt) is not None


@pytest.mark.parametrize(
    "piece",
    [
        "    x{0} = candidate({0})\n    assert x{0} == {0}\n", "    x{0} = x{1}\n", "    def g{0}():\n        g{1}()\n",
        "    assert candidate({0}) == h{0}(1)\n", "    assert math{0}.pi\n",
    ],
)  # fmt: skip
def test_the_time_grows_with_the_length_and_not_with_its_square(piece: str) -> None:
    def seconds(count: int) -> float:
        test = "def check(candidate):\n" + "".join(piece.format(n, n + 1) for n in range(count))
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            refuse_tests(test, "f")
            best = min(best, time.process_time() - start)
        return best

    assert seconds(1600) < 6 * seconds(400) + 0.05
