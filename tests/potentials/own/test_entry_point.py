"""Functions of the operator's."""

from __future__ import annotations

import asyncio
import time

import pytest

from smc_decode.potentials import PotentialError, RewardFailure
from smc_decode.potentials.options import RewardConfigError, RewardRequest
from smc_decode.potentials.own.entry_point import EntryPoint, EntryPointOptions, Runner, load
from tests.potentials.answers import answer

HERE = "tests.potentials.own.test_entry_point"


def length(prompt, text, finished, scale=10):
    return len(text) / scale


async def slow_length(prompt, text, finished):
    await asyncio.sleep(0)
    return len(text) / 10, {"prompt": prompt, "finished": finished}


def lengths(prompt, texts, finished):
    return [len(text) / 10 for text in texts]


def broken(prompt, text, finished):
    raise RuntimeError("no luck")


def hangs(prompt, text, finished):
    time.sleep(0.3)
    return 1.0


def too_much(prompt, text, finished):
    return 1.5


def nothing(prompt, text, finished):
    return None


async def ask(name, **options):
    settings = EntryPointOptions(function=f"{HERE}:{name}", **options)
    runner = Runner(settings.function, settings.parallel)
    try:
        return await EntryPoint(settings, RewardRequest("Q"), runner).rewards([answer("ab"), answer("abcd", False)])
    finally:
        runner.close()


@pytest.mark.parametrize(("name", "options"), [("length", {}), ("slow_length", {}), ("lengths", {"batched": True})])
async def test_functions_may_be_sync_async_or_batched(name, options):
    assert [reward.value for reward in await ask(name, **options)] == [0.2, 0.4]


async def test_params_and_details_are_handed_on():
    assert [reward.value for reward in await ask("length", params={"scale": 20})] == [0.1, 0.2]
    assert (await ask("slow_length"))[1].detail["finished"] is False


async def test_what_a_function_raises_is_a_failure():
    with pytest.raises(RewardFailure, match="no luck"):
        await ask("broken")


async def test_a_function_that_takes_too_long_is_a_failure():
    with pytest.raises(RewardFailure, match=r"more than 0\.05 s"):
        await ask("hangs", timeout=0.05)


@pytest.mark.parametrize("name", ["too_much", "nothing"])
async def test_what_is_no_reward_is_an_error(name):
    with pytest.raises(PotentialError, match=r"number in \[0, 1\]"):
        await ask(name)


@pytest.mark.parametrize("path", ["no.such.module:f", f"{HERE}:missing", f"{HERE}:HERE"])
def test_a_function_that_cannot_be_loaded_is_an_error_of_the_configuration(path):
    with pytest.raises(RewardConfigError):
        load(path)
