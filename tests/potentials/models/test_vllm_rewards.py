"""Rewards that ask a model, on the real engine."""

from __future__ import annotations

import math

import pytest

from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.options import RewardRequest
from tests.engines.test_pooling import STEP, process_reward_model  # noqa: F401 - a fixture
from tests.potentials.answers import answer

pytestmark = pytest.mark.vllm


async def test_the_generator_judges_its_own_answers(vllm_engine):
    made = RewardCatalogue.default(engine=vllm_engine)
    source = made.source("verifier", {}, RewardRequest("What is 2 + 2?"))
    first, second, again = await source.rewards([answer("4"), answer("The answer is 77."), answer("4")])
    assert 0.0 < first.value < 1.0
    assert first.value != second.value
    assert again.value == first.value
    assert first.value == pytest.approx(1 / (1 + math.exp(-first.detail["log_odds"])), abs=1e-4)
    await made.aclose()


async def test_a_suffix_asks_about_the_answers_own_tokens(vllm_engine):
    made = RewardCatalogue.default(engine=vllm_engine)
    source = made.source("verifier", {"layout": "suffix"}, RewardRequest("What is 2 + 2?"))
    tokens = vllm_engine.tokenizer.encode("What is 2 + 2? 4")
    prefix = answer("4")
    prefix = type(prefix)(tuple(tokens[-1:]), True, tuple(tokens[:-1]), decode=vllm_engine.tokenizer.decode)
    assert 0.0 < (await source.rewards([prefix]))[0].value < 1.0
    await made.aclose()


async def test_a_process_reward_model_is_loaded_when_it_is_first_used(process_reward_model):  # noqa: F811
    table = {
        "source": "prm",
        "model": str(process_reward_model),
        "separator": STEP,
        "template": "{question}\n{steps}",
        "aggregate": "product",
    }
    made = RewardCatalogue.from_toml({"rewards": {"prm": table}})
    try:
        source = made.source("prm", {}, RewardRequest("What is 2 + 2?"))
        whole, prefix = await source.rewards([answer("One.\n\nTwo.\n\nFour."), answer("One.\n\nTwo.\n\nFo", False)])
        steps = whole.detail["steps"]
        assert len(steps) == 3
        assert prefix.detail["steps"] == steps[:2]
        assert whole.value == pytest.approx(math.prod(steps), abs=1e-3)
        assert (source.cache.calls, source.cache.hits) == (3, 0)
    finally:
        await made.aclose()


async def test_a_second_engine_of_the_same_model_judges_as_the_generator_does(vllm_engine, bundled_model):
    judge = {"source": "verifier", "model": bundled_model, "engine": {"kv_cache_gib": 0.25, "max_model_len": 512}}
    made = RewardCatalogue.from_toml({"rewards": {"judge": judge}}, engine=vllm_engine)
    try:
        await made.start()
        answers = [answer("4"), answer("The answer is 77.")]
        request = RewardRequest("What is 2 + 2?")
        own = await made.source("verifier", {}, request).rewards(answers)
        other = await made.source("judge", {}, request).rewards(answers)
        assert [each.value for each in other] == pytest.approx([each.value for each in own], abs=0.02)
    finally:
        await made.aclose()
