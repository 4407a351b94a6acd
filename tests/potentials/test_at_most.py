"""Reward.at_most: no continuation of a prefix has a higher reward, and what has failed for good is known early."""

from __future__ import annotations

import itertools

from smc_decode.potentials.base import RewardPotential
from smc_decode.potentials.code.stdin_tests import StdinTestOptions, StdinTests
from smc_decode.potentials.code.unit_tests import UnitTestOptions, create
from smc_decode.potentials.mathematics.arithmetic import Arithmetic
from smc_decode.potentials.options import RewardRequest
from smc_decode.potentials.text.json_schema import JsonSchema, JsonSchemaOptions
from tests.potentials.answers import answer

PROMPT = 'def double(x):\n    """Twice x."""\n'
TESTS = ("assert double(1) == 2", "assert double(0) == 0", "assert double(-3) == -6")
CODE = [
    "    return 2 * x\n\n\nprint(double(4))\n",
    "    if x == 1:\n        return 3\n    return 2 * x\n",
    "    return helper(x)\n\ndef helper(x):\n    return x + x\n",
    "    y = x +\n    return y\n",
]
MESSAGES = [
    "So:\n```python\ndef double(x):\n    return x * x\n```\nThis squares it, and\n```python\nprint(double(2))\n```\n",
    "```python\ndef double(x):\n    return x + x\n```\nDone.",
]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
JSON = ['{"a": 12}', '{"a": "twelve"}', '{"b": 1, "a": 2}', "{'a': 1}", "{}"]
SUMS = ["2 + 2 = 4, so 4 * 5 = 20 and 20 - 1 = 19.", "2 + 2 = 5, so 5 * 5 = 25 and 25 - 1 = 24.", "No sum is made."]


async def bounds(source, text, step):
    """The bounds of the prefixes of ``text``, and the reward of the whole."""
    cuts = range(0, len(text), step)
    prefixes = await source.rewards([answer(text[:cut], False) for cut in cuts])
    [whole] = await source.rewards([answer(text, True)])
    return [prefix.at_most for prefix in prefixes], whole.value


async def check(source, texts, step=3):
    early = 0
    for text in texts:
        most, reward = await bounds(source, text, step)
        assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(most))
        assert min(most) >= reward - 1e-12
        early += reward < 1.0 and most[-1] < 1.0
    assert early  # at least one failure showed before its end


async def test_an_error_in_the_continued_function_is_for_good_and_all_else_may_be_defined_anew(sandbox):
    source = create(UnitTestOptions(tests=TESTS, answer="continuation"), RewardRequest(PROMPT), sandbox)
    await check(source, CODE)
    most, reward = await bounds(source, CODE[1] + "\n\ndef double(x):\n    return x + x\n", 3)
    assert min(most) == reward == 1.0


async def test_a_message_may_correct_its_function_until_it_ends(sandbox):
    source = create(UnitTestOptions(tests=TESTS, answer="message"), RewardRequest(PROMPT), sandbox)
    for text in (*MESSAGES, MESSAGES[0] + "No:\n```python\ndef double(x):\n    return 2 * x\n```\n"):
        most, reward = await bounds(source, text, 3)
        assert min(most) >= reward


async def test_programs_that_print_are_bounded_by_the_cases_that_they_failed(sandbox):
    options = StdinTestOptions.model_validate({"cases": [{"stdin": "3\n", "stdout": "6\n"}], "answer": "continuation"})
    source = StdinTests(options, RewardRequest("n = int(input())\n"), sandbox)
    await check(source, ["print(n * n)\nprint('done')\n", "print(2 * n)\n"], step=2)


async def test_a_message_may_bring_a_better_program_until_it_ends(sandbox):
    options = StdinTestOptions.model_validate({"cases": [{"stdin": "3\n", "stdout": "6\n"}]})
    source = StdinTests(options, RewardRequest(""), sandbox)
    draft, better = (f"```python\nprint({n} * int(input()))\n```\n" for n in (3, 2))
    most, reward = await bounds(source, f"{draft}Better:\n{better}", 2)
    assert min(most) == reward == 1.0


async def test_a_wrong_sum_is_never_mended(workers):
    await check(Arithmetic(workers), SUMS)


async def test_json_that_violates_its_schema_does_so_for_good(workers):
    await check(
        JsonSchema(JsonSchemaOptions.model_validate({"schema": SCHEMA, "fenced": False}), workers), JSON, step=1
    )


async def test_json_in_a_fence_may_be_followed_by_a_better_one(workers):
    source = JsonSchema(JsonSchemaOptions.model_validate({"schema": SCHEMA, "fenced": True}), workers)
    text = '```json\n{"b": 1}\n```\nOr rather:\n```json\n{"a": 1}\n```\n'
    most, reward = await bounds(source, text, 4)
    assert reward == 1.0
    assert min(most) == 1.0


async def test_a_potential_passes_the_bound_on(workers):
    [evaluation] = await RewardPotential(Arithmetic(workers), 5.0).evaluate([answer(SUMS[1], False)])
    assert evaluation.at_most < 1.0
