"""Models beside the generator: what the configuration says of them, and when they are loaded."""

from __future__ import annotations

import pytest

from smc_decode.engines.base import EngineError
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.models import hosts
from smc_decode.potentials.models.local_models import LocalRewardModel
from smc_decode.potentials.options import RewardConfigError, RewardRequest, RewardRequestError
from tests.potentials.answers import answer
from tests.potentials.models.test_reward_models import OPTIONS, Judge

REQUEST = RewardRequest("What is 2 + 2?")
JUDGE = {"source": "verifier", "model": "big", **OPTIONS}


class LoadedJudge(Judge):
    closed = False

    async def shutdown(self):
        self.closed = True


@pytest.fixture
def loaded(monkeypatch):
    """Every judge that was loaded here or reached, with its settings."""
    made = []

    async def load_here(model, settings):
        made.append((LoadedJudge(), model, None, settings))
        return made[-1][0]

    async def reach(model, url, settings):
        made.append((LoadedJudge(), model, url, settings))
        return made[-1][0]

    monkeypatch.setattr(hosts, "load_here", load_here)
    monkeypatch.setattr(hosts, "reach", reach)
    monkeypatch.setattr(hosts, "find_spec", lambda name: object())
    return made


def catalogue(**rewards):
    return RewardCatalogue.from_toml({"rewards": rewards})


async def test_a_judge_is_loaded_at_the_start_and_shut_down_at_the_end(loaded):
    made, said = catalogue(judge={**JUDGE, "engine": {"kv_cache_gib": 1.0}}), []
    await made.start(said.append)
    await made.start(said.append)
    ((judge, model, _, settings),) = loaded
    assert (model, settings) == ("big", {"kv_cache_gib": 1.0})
    assert said[0] == "loading big for the reward judge"
    source = made.source("judge", {}, REQUEST)
    assert [reward.value for reward in await source.rewards([answer("four")])] == [pytest.approx(0.6)]
    await made.aclose()
    assert judge.closed


async def test_rewards_that_name_the_same_model_share_it(loaded):
    made = catalogue(first=JUDGE, second={**JUDGE, "judge_prefixes": True}, other={**JUDGE, "model": "bigger"})
    await made.start()
    assert [model for _, model, *_ in loaded] == ["big", "bigger"]
    await made.aclose()


async def test_a_judge_on_a_server_is_reached_with_its_key_and_its_time(loaded, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "secret")
    made = catalogue(judge={**JUDGE, "url": "http://judge:8000", "api_key_env": "JUDGE_KEY", "timeout": 7.0})
    await made.start()
    ((_, model, url, settings),) = loaded
    assert (model, url, settings) == ("big", "http://judge:8000", {"api_key_env": "JUDGE_KEY", "timeout": 7.0})
    await made.aclose()


async def test_a_judge_that_was_not_started_says_so(loaded):
    made = catalogue(judge=JUDGE)
    with pytest.raises(RewardRequestError, match=r"big is not loaded: await RewardCatalogue\.start") as raised:
        made.source("judge", {}, REQUEST)
    assert raised.value.param == "smc.reward.name"
    assert loaded == []


async def test_a_judge_that_was_handed_in_needs_no_start(loaded):
    made = RewardCatalogue.from_toml({"rewards": {"judge": JUDGE}}, models={"big": Judge()})
    await made.start()
    source = made.source("judge", {}, REQUEST)
    assert [reward.value for reward in await source.rewards([answer("five")])] == [pytest.approx(0.1)]
    assert loaded == []


async def test_a_judge_that_cannot_be_loaded_names_its_table(monkeypatch, loaded):
    async def fails(model, settings):
        raise EngineError("no such model")

    monkeypatch.setattr(hosts, "load_here", fails)
    with pytest.raises(RewardConfigError, match=r"rewards\.judge: the judge big cannot be loaded: no such model"):
        await catalogue(judge=JUDGE).start()


async def test_reward_models_are_loaded_at_the_start_with_their_settings(monkeypatch):
    started = []

    async def start(self):
        started.append(self)

    monkeypatch.setattr(LocalRewardModel, "start", start)
    monkeypatch.setattr(hosts, "find_spec", lambda name: object())
    settings = {"gpu_memory_utilization": 0.3}
    made = catalogue(
        least={"source": "prm", "model": "steps", "engine": settings},
        product={"source": "prm", "model": "steps", "engine": settings, "aggregate": "product"},
        whole={"source": "orm", "model": "whole"},
        remote={"source": "orm", "model": "far", "url": "http://judge:8000"},
        unnamed={"source": "orm"},
    )
    await made.start()
    first, second, whole = started
    assert first is second
    assert (first.model, first._settings) == ("steps", settings)
    assert (whole.model, whole._settings) == ("whole", {})
    await made.aclose()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({**JUDGE, "layout": "suffix"}, "leave model out"),
        ({"source": "verifier", "url": "http://judge:8000"}, "name its model"),
        ({"source": "verifier", "engine": {"kv_cache_gib": 1}}, "name its model"),
        ({**JUDGE, "engine": {"memory": 1}}, r"rewards\.judge\.engine: .*memory is unknown; allowed: .*kv_cache_gib"),
        ({**JUDGE, "engine": {"pooling_task": "classify"}}, "pooling_task is unknown"),
        ({**JUDGE, "url": "http://judge:8000", "engine": {"kv_cache_gib": 1}}, r"unknown; allowed: .*tokenizer"),
        ({"source": "prm", "model": "m", "url": "http://judge:8000", "engine": {"seed": 1}}, "leave it out, or url"),
        ({"source": "orm", "model": "m", "engine": {"model": "other"}}, "engine: .*model is unknown"),
        ({**JUDGE, "allow": {"params": ["url"]}}, "the operator's only"),
        ({**JUDGE, "allow": {"params": ["engine"]}}, "the operator's only"),
    ],
)
def test_what_cannot_be_is_refused_when_the_configuration_is_read(table, says):
    with pytest.raises(RewardConfigError, match=says):
        catalogue(judge=table)


def test_a_request_may_not_choose_the_judge():
    made = catalogue(judge=JUDGE)
    for params in ({"model": "other"}, {"url": "http://other"}, {"engine": {}}):
        with pytest.raises(RewardRequestError, match="set by the server's operator"):
            made.source("judge", params, REQUEST)
