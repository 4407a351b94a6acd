"""Programs on standard input and output."""

from __future__ import annotations

import pytest

from smc_decode.potentials import RewardFailure
from smc_decode.potentials.code.stdin_tests import StdinTestOptions, StdinTests, begins, same_output
from smc_decode.potentials.options import RewardRequest
from smc_decode.sandbox import SandboxError
from tests.potentials.answers import answer

CASES = [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "5 5\n", "stdout": "10\n"}]
PROGRAM = "a, b = map(int, input().split())\nprint(a + b)\n"


async def reward(sandbox, text, finished=True, **options):
    source = StdinTests(StdinTestOptions(cases=CASES, **options), RewardRequest("Add two numbers."), sandbox)
    return (await source.rewards([answer(text, finished)]))[0]


async def test_the_share_of_cases_counts(sandbox):
    assert (await reward(sandbox, f"```python\n{PROGRAM}```\n")).value == pytest.approx(1.0)
    assert (await reward(sandbox, "```python\nprint(3)\n```")).value == pytest.approx(0.65)
    assert (await reward(sandbox, "```python\nprint(\n```")).value == 0.0
    assert (await reward(sandbox, "```python\nraise SystemExit(1)\n```")).value == pytest.approx(0.3)


async def test_output_that_cannot_be_mended_shows_in_a_prefix(sandbox):
    start = "```python\na, b = map(int, input().split())\n"
    assert (await reward(sandbox, start, False)).detail.get("total") is None
    hopeless = await reward(sandbox, start + "print('Hello')\nx", False)
    open_ = await reward(sandbox, start + "print(a + b, end='')\nx", False)
    assert hopeless.value == pytest.approx(0.3)
    assert open_.value == pytest.approx(0.65)


async def test_a_failure_of_the_sandbox_is_a_failure():
    class Broken:
        async def arun_stdin(self, *_):
            raise SandboxError("no box")

    with pytest.raises(RewardFailure, match="no box"):
        await reward(Broken(), f"```\n{PROGRAM}```")


def test_outputs_agree_over_trailing_space_and_within_a_tolerance():
    assert same_output("1 \n2\n\n", "1\n2")
    assert not same_output("1\n2", "1\n3")
    assert not same_output("1\n2\n3", "1\n2")
    assert same_output("0.33333 yes", "0.333334 yes", 1e-3)
    assert not same_output("0.3 yes", "0.333334 yes", 1e-3)
    assert not same_output("x", "1", 1e-3)


def test_an_output_begins_another():
    assert begins("", "1\n2")
    assert begins("1\n", "1\n2")
    assert begins("1\n2", "1\n23")
    assert not begins("1\n2\n", "1\n23")
    assert not begins("2", "1\n2")
    assert not begins("1\n2\n3\n", "1\n2")
