"""Unit tests as a reward, with a stand-in for the sandbox and with the real one."""

from __future__ import annotations

import pytest

from smc_decode.potentials import PotentialError, RewardFailure
from smc_decode.potentials.code.unit_tests import UnitTestOptions, create
from smc_decode.potentials.options import RewardRequest, RewardRequestError, validate
from smc_decode.sandbox import InvalidTest, SandboxError
from tests.potentials.answers import FakeSandbox, answer, report

PROMPT = 'def double(x):\n    """Twice x."""\n'
TEST = """
def check(candidate):
    assert candidate(1) == 2
    assert candidate(0) == 0
    assert candidate(-3) == -6
"""


def source(sandbox, **options):
    return create(UnitTestOptions(**{"test": TEST, **options}), RewardRequest(PROMPT), sandbox)


async def reward(sandbox, text, finished=True, **options):
    return (await source(sandbox, **options).rewards([answer(text, finished)]))[0]


async def test_the_share_of_assertions_counts_and_not_all_or_nothing(sandbox):
    assert (await reward(sandbox, "    return 2 * x\n")).value == pytest.approx(1.0)
    assert (await reward(sandbox, "    return 2 * abs(x)\n")).value == pytest.approx(0.3 + 0.7 * 2 / 3)
    assert (await reward(sandbox, "    return None\n")).value == pytest.approx(0.3)


@pytest.mark.parametrize(
    "text", ["    return 2 *", "    raise ValueError\n", "    while True: pass\n", "    import os; os._exit(0)\n"]
)
async def test_a_bad_candidate_scores_no_tests_and_raises_nothing(sandbox, text):
    assert (await reward(sandbox, text, timeout=1, call_timeout=0.2)).value in (0.0, pytest.approx(0.3))


async def test_assert_statements_are_taken_too(sandbox):
    tests = ["assert double(1) == 2", "assert double(2) == 5"]
    got = await reward(sandbox, "    return 2 * x\n", test=None, tests=tests)
    assert got.value == pytest.approx(0.65)
    assert got.detail["passed"] == 1


async def test_a_wrong_early_return_shows_before_the_function_ends(sandbox):
    undecided = await reward(sandbox, "    if x == 1:\n        return 2\n    y", False)
    right = await reward(sandbox, "    if x == 0:\n        return 0\n    if x == 1:\n        return 2\n    y", False)
    wrong = await reward(sandbox, "    if x == 1:\n        return 3\n    y", False)
    assert wrong.value < undecided.value < right.value
    assert wrong.detail["undecided"] == 2


async def test_an_unfinished_function_that_can_be_right_beats_a_finished_wrong_one(sandbox):
    unfinished = await reward(sandbox, "    y = x", False)
    finished = await reward(sandbox, "    return None\n")
    broken = await reward(sandbox, "    y = )\n", False)
    assert unfinished.value > finished.value > broken.value == 0.0


async def test_a_function_that_has_ended_has_its_final_score_already(sandbox):
    text = "    return 2 * x\n\n\nprint(double(4"
    assert (await reward(sandbox, text, False)).value == pytest.approx(1.0)


async def test_a_helper_that_is_still_to_come_is_no_failure(sandbox):
    assert (await reward(sandbox, "    return helper(x)\n\ndef hel", False)).detail["undecided"] == 3
    assert (await reward(sandbox, "    return helper(x)\n", True)).value == pytest.approx(0.3)


async def test_equal_programs_run_once():
    sandbox = FakeSandbox(lambda source: report(1, 2))
    made = source(sandbox)
    texts = ["    return x\n", "    return x\n", "    return x + x\n"]
    rewards = await made.rewards([answer(text) for text in texts])
    await made.rewards([answer(texts[0])])
    assert len(sandbox.sources) == 2
    assert (made.cache.calls, made.cache.hits) == (2, 2)
    assert [r.value for r in rewards] == [pytest.approx(0.65)] * 3


async def test_a_prefix_that_cannot_be_decided_costs_no_run():
    sandbox = FakeSandbox(lambda source: report(0, 1))
    await source(sandbox).rewards([answer("    y = x\n    for i in range(3):\n", False)])
    await source(sandbox, run_prefixes=False).rewards([answer("    if x:\n        return 1\n    y", False)])
    assert sandbox.sources == []


async def test_a_failure_of_the_sandbox_is_a_failure_and_no_score():
    with pytest.raises(RewardFailure, match="spawn"):
        await reward(FakeSandbox(lambda source: SandboxError("spawn failed")), "    return x\n")


async def test_a_test_that_cannot_be_run_is_the_requests_error():
    with pytest.raises(PotentialError, match=r"smc\.reward\.params\.test"):
        await reward(FakeSandbox(lambda source: InvalidTest("no check")), "    return x\n")


async def test_chat_answers_are_read_from_their_fence(sandbox):
    request = RewardRequest("<|user|>...", [{"role": "user", "content": f"Complete it:\n```python\n{PROMPT}```"}])
    made = create(UnitTestOptions(test=TEST, entry_point="double"), request, sandbox)
    text = "Sure!\n```python\ndef double(x):\n    return x + x\n```\nDone."
    assert (await made.rewards([answer(text)]))[0].value == pytest.approx(1.0)


async def test_an_answer_that_the_client_began_is_continued(sandbox):
    messages = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "```python\n" + PROMPT}]
    made = create(UnitTestOptions(test=TEST), RewardRequest("", messages), sandbox)
    assert (await made.rewards([answer("    return x + x\n```")]))[0].value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({}, "either test"),
        ({"test": "x", "tests": ["assert f()"]}, "either test"),
        ({"tests": []}, "tests must have"),
        ({"test": "x", "timeout": 0}, r"params\.timeout"),
        ({"test": "x", "time_out": 1}, "allowed: answer, call_timeout"),
        ({"test": "x", "entry_point": "a b"}, r"params\.entry_point"),
    ],
)
def test_wrong_options_name_the_field(params, match):
    with pytest.raises(RewardRequestError, match=match) as caught:
        validate(UnitTestOptions, params, "smc.reward.params")
    assert caught.value.param.startswith("smc.reward.params")


def test_tests_that_are_no_python_are_refused_before_anything_is_drawn():
    with pytest.raises(RewardRequestError, match="no valid Python"):
        create(UnitTestOptions(test="def check(:"), RewardRequest(PROMPT), FakeSandbox(None))
    with pytest.raises(RewardRequestError) as caught:
        create(UnitTestOptions(tests=["assert f()", "asert g("]), RewardRequest(PROMPT), FakeSandbox(None))
    assert caught.value.param == "smc.reward.params.tests.1"


def test_a_request_without_a_function_is_refused():
    with pytest.raises(RewardRequestError, match="entry_point"):
        create(
            UnitTestOptions(test="def check(candidate): assert candidate()"), RewardRequest("Hello"), FakeSandbox(None)
        )


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("def check(candidate):\n    pass\n", "never calls"),
        ("def check(candidate):\n    assert 2 > 1\n", "never calls"),
        ("def check(candidate):\n    assert callable(candidate)\n", "never calls"),
        ("async def check(candidate):\n    assert candidate(1) == 2\n", "coroutine"),
        ("def check(candidate):\n    assert candidate(1) == 2\n    yield\n", "generator"),
        ("def run(g):\n    assert g(1) == 2\n", "nothing runs"),
        ("if __name__ == '__main__':\n    assert double(1) == 2\n", "nothing runs"),
        ("def check(candidate):\n    assert near(candidate(1), 2)\n", "judge itself"),
    ],
)
def test_a_test_that_would_accept_every_program_is_refused_when_the_request_comes(test: str, why: str) -> None:
    with pytest.raises(RewardRequestError, match=why) as caught:
        create(UnitTestOptions(test=test, entry_point="double"), RewardRequest(PROMPT), FakeSandbox(None))
    assert (caught.value.param, caught.value.code) == ("smc.reward.params.test", "invalid_reward")


async def test_what_a_program_returns_cannot_change_how_many_assertions_there_are(sandbox):
    loop = "    for v in c(3):\n        assert v > 0\n"
    test = f"def check(c):\n{loop}    assert c(3) == [1, 2, 3]\n    assert c(1) == [1]\n"
    got = await reward(sandbox, "    return [1] * 2000\n", test=test)
    assert got.value == pytest.approx(0.3 + 0.7 / 3)
    test = f"def check(c):\n    assert c(3) == [1, 2, 3]\n{loop}"
    assert (await reward(sandbox, "    return [1] * 400\n", test=test)).value == pytest.approx(0.65)
    assert (await reward(sandbox, "    return []\n", test=test)).value == pytest.approx(0.3)


async def test_a_helper_of_an_earlier_block_of_the_message_is_not_the_programs(sandbox):
    text = f"Use\n```python\ndef same(a, b):\n    return a == b\n```\nand complete\n```python\n{PROMPT}```"
    test = "def check(candidate):\n    assert same(candidate(2), 4)\n"
    request = RewardRequest("", [{"role": "user", "content": text}])
    made = create(UnitTestOptions(test=test, entry_point="double"), request, sandbox)
    wrong = "```python\ndef double(x):\n    return 0\n\ndef same(a, b):\n    return True\n```"
    right = "```python\ndef double(x):\n    return x + x\n```"
    rewards = await made.rewards([answer(wrong), answer(right)])
    assert [got.value for got in rewards] == [pytest.approx(0.3), pytest.approx(1.0)]
