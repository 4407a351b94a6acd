"""Several functions in one answer: each is judged by its own examples."""

from __future__ import annotations

import asyncio

import pytest

from smc_decode.potentials.code.modules import ModuleTests
from smc_decode.potentials.code.program import CUT, read_program
from smc_decode.potentials.code.prompt_code import asked_functions
from smc_decode.potentials.code.prompt_examples import PromptExampleOptions, create
from smc_decode.potentials.code.unit_tests import UnitTests
from smc_decode.potentials.options import RewardRequest
from tests.potentials.answers import FakeSandbox, answer, report

PROMPT = '''Write both.

```python
from math import sqrt

def double(x):
    """Twice x.
    >>> double(2)
    4
    """

def total(xs):
    """The sum.
    >>> total([1, 2])
    3
    >>> total([])
    0
    """
```
'''
DOUBLE = "```python\ndef double(x):\n    return 2 * x\n"
TOTAL = "\ndef total(xs):\n    return sum(xs)\n"

CALLS = {"a": "b()", "b": "c()", "c": "1", "d": "a()"}


def judge(source: str) -> object:
    """As if ``total`` had two assertions and ``double`` one, which hold where the right line is there."""
    if "total" in source:
        return report(2 if "sum(xs)" in source else 0, 2)
    return report(int("2 * x" in source), 1)


def made(sandbox: FakeSandbox, **params: object) -> object:
    request = RewardRequest(PROMPT, [{"role": "user", "content": PROMPT}])
    return create(PromptExampleOptions(probes=0, **params), request, sandbox)


def rewards(source: object, *texts: str, finished: bool = False) -> list:
    return asyncio.run(source.rewards([answer(text, finished=finished) for text in texts]))


def test_functions_that_a_prompt_leaves_to_be_written_are_found_with_their_docstrings():
    code = 'import os\n\ndef given():\n    return 1\n\ndef asked(x):\n    """Do it."""\n\ndef other(): ...\n'
    assert [name for name, _ in asked_functions(code)] == ["asked", "other"]
    assert "Do it" in asked_functions(code)[0][1]


def test_a_prompt_with_two_open_functions_is_judged_by_the_examples_of_both():
    source = made(FakeSandbox(judge))
    assert isinstance(source, ModuleTests)
    (found,) = rewards(source, DOUBLE + TOTAL + "```", finished=True)
    assert found.value == pytest.approx(1.0)
    assert found.detail["passed"] == found.detail["total"] == 3


def test_an_entry_point_means_one_of_them():
    assert isinstance(made(FakeSandbox(judge), entry_point="total"), UnitTests)


def test_the_reward_moves_part_by_part_and_says_which_part():
    source = made(FakeSandbox(judge), pending=0.5)
    begun = "\ndef to"
    nothing, half, wrong = rewards(source, "```python\n", DOUBLE + begun, DOUBLE.replace("2 * x", "x") + begun)
    assert wrong.value < nothing.value < half.value < 1.0
    assert [each["status"] for each in half.detail["tests"]] == ["passed", "open"]
    assert [each["status"] for each in wrong.detail["tests"]] == ["failed", "open"]


def test_what_is_not_decided_counts_as_held_so_that_it_is_no_merit_to_be_further_on():
    source = made(FakeSandbox(judge))
    begun = "\ndef to"
    nothing, half, wrong = rewards(source, "```python\n", DOUBLE + begun, DOUBLE.replace("2 * x", "x") + begun)
    assert nothing.value == half.value == 1.0
    assert wrong.value == pytest.approx(0.3 + 0.7 * 2 / 3)
    (alone,) = rewards(made(FakeSandbox(judge), entry_point="double"), "```python\n")
    assert alone.value == pytest.approx(0.3 + 0.7 / 2)


def test_a_part_counts_as_often_as_it_has_assertions():
    first, second = rewards(
        made(FakeSandbox(judge)), DOUBLE + TOTAL.replace("sum(xs)", "1") + "```", DOUBLE.replace("2 * x", "x") + TOTAL,
        finished=True,
    )  # fmt: skip
    assert first.value == pytest.approx(0.3 + 0.7 * 1 / 3)
    assert second.value == pytest.approx(0.3 + 0.7 * 2 / 3)
    assert first.at_most == pytest.approx(first.value)


def test_a_part_that_is_lost_bounds_the_whole_once_no_more_text_comes():
    text = DOUBLE.replace("2 * x", "x")
    open_, ended = (rewards(made(FakeSandbox(judge)), text, finished=finished)[0] for finished in (False, True))
    assert open_.at_most == 1.0  # it may be defined anew
    assert ended.at_most == pytest.approx(ended.value)


def test_a_function_is_run_once_while_others_are_written_beside_it():
    sandbox = FakeSandbox(judge)
    source = made(sandbox)
    for length in range(len(DOUBLE) + 1, len(DOUBLE + TOTAL) + 1):
        rewards(source, (DOUBLE + TOTAL)[:length])
    assert sum("2 * x" in each and CUT not in each for each in sandbox.sources) == 1


@pytest.mark.parametrize("helper", ["eval('total(x)')", "globals()['total'](x)"])
def test_functions_that_may_be_called_by_a_name_in_a_string_are_kept(helper):
    text = f"def total(x):\n    return 1\n\ndef double(x):\n    return {helper}\n"
    assert "def total" in read_program("", text, finished=True, entry_point="double").source


def test_functions_that_nothing_calls_are_left_out_and_those_that_are_called_through_others_stay():
    text = "".join(f"def {name}():\n    return {value}\n\n" for name, value in CALLS.items())
    source = read_program("", text, finished=True, entry_point="a").source
    assert all(f"def {name}" in source for name in "abc")
    assert "def d" not in source
