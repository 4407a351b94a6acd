"""What temperature 0 and equal weights make of a preset, as the clients that send them unasked meet it."""

from __future__ import annotations

from typing import Any

import pytest

from server.settings import PresetTable
from smc_decode.potentials.catalogue import RewardCatalogue
from tests.server.conftest import Client, MakeClient
from tests.server.toy import toy_engine

MESSAGES = [{"role": "user", "content": "abc"}]
REWARD = {"name": "regex", "params": {"pattern": "[a-f ]+"}}


async def ask(client: Client, **fields: Any) -> Any:
    return await client.post("/v1/chat/completions", json={"model": "toy", "messages": MESSAGES, "seed": 7, **fields})


async def answer(client: Client, **fields: Any) -> dict[str, Any]:
    reply = await ask(client, max_tokens=12, **fields)
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    return told


def alphas_warning(reply: dict[str, Any]) -> str:
    return next((each for each in reply["smc"]["warnings"] if "temperature 0" in each), "")


@pytest.mark.parametrize(
    ("fields", "alpha"),
    [
        ({"model": "toy:search"}, 4),
        ({"model": "toy:best-of-n"}, 1),
        ({"model": "toy:mcmc-power"}, 4),
        ({"smc": {"preset": "power-smc"}}, 4),
        ({"smc": {"reward": REWARD}}, 2),
        ({"model": "toy:best-of-n", "smc": {"reward": REWARD}}, 1),
        ({"model": "toy:base", "smc": {"reward": REWARD}}, 1),
    ],
)
@pytest.mark.parametrize("temperature", [0, 0.0])
async def test_temperature_zero_with_a_named_preset_or_a_reward_keeps_the_presets_alpha_and_says_so(
    client: Client, fields: dict[str, Any], alpha: int, temperature: float
) -> None:
    reply = await ask(client, max_tokens=12, temperature=temperature, **fields)
    warning = alphas_warning(reply.json())
    assert f"alpha is the preset's own, {alpha}" in warning
    assert "greedy decoding" in reply.headers["x-smc-warning"]
    without = await answer(client, **fields)
    assert without["choices"][0]["message"] == reply.json()["choices"][0]["message"]
    assert alphas_warning(without) == ""


@pytest.mark.parametrize("model", ["toy", "toy:base", "toy:low-temperature"])
async def test_temperature_zero_of_a_plain_model_is_greedy(client: Client, model: str) -> None:
    answers = [await answer(client, model=model, temperature=0, seed=seed) for seed in range(4)]
    assert len({each["choices"][0]["message"]["content"] for each in answers}) == 1
    assert all(each["smc"]["n_particles"] == 1 and not alphas_warning(each) for each in answers)


async def test_an_alpha_of_the_request_goes_before_temperature_zero(client: Client) -> None:
    reply = await answer(client, temperature=0, smc={"preset": "power-smc", "alpha": 3.0})
    assert alphas_warning(reply) == ""
    assert reply["smc"]["n_particles"] == 16


async def test_greedy_decoding_with_many_particles_is_refused_with_ways_out(client: Client) -> None:
    reply = await ask(client, temperature=0, smc={"n_particles": 2})
    assert reply.status_code == 400
    for way in ("leave temperature out", "smc.alpha", "preset"):
        assert way in reply.json()["error"]["message"]


async def test_a_streams_header_carries_the_warning_too(client: Client) -> None:
    reply = await ask(client, model="toy:search", temperature=0, max_tokens=8, stream=True)
    assert "greedy decoding" in reply.headers["x-smc-warning"]
    assert "the preset's own" in reply.text


async def test_an_answer_without_warnings_has_no_header(client: Client) -> None:
    assert "x-smc-warning" not in (await ask(client, model="toy:base", max_tokens=4)).headers


@pytest.mark.parametrize(
    ("fields", "n"),
    [
        ({"temperature": 1}, 1),
        ({"temperature": 1, "n": 3}, 3),
        ({"model": "toy:best-of-n"}, 1),
        ({"model": "toy:smc-reward", "temperature": 0.5}, 1),
        ({"smc": {"target": "tempered"}}, 1),
        ({"model": "toy:power-smc", "temperature": 1.0, "top_p": 1}, 1),
    ],
)
async def test_equal_weights_draw_as_many_particles_as_there_are_answers(
    client: Client, fields: dict[str, Any], n: int
) -> None:
    reply = await answer(client, **fields)
    assert reply["smc"]["n_particles"] == n
    assert any("all weights are equal" in warning for warning in reply["smc"]["warnings"])
    assert reply["usage"]["smc"]["sampled"] == reply["usage"]["completion_tokens"]
    assert reply["smc"]["exact"] is True
    assert reply["smc"]["inexact"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 1, "top_p": 0.5},
        {"temperature": 1, "smc": {"n_particles": 16}},
        {"temperature": 1, "smc": {"reward": REWARD}},
        {"model": "toy:self-consistency"},
        {"model": "toy:search"},
        {"smc": {"target": "tempered", "proposal_temperature": 0.9}},
    ],
)
async def test_weights_that_can_differ_votes_and_own_numbers_keep_their_particles(
    client: Client, fields: dict[str, Any]
) -> None:
    reply = await answer(client, **fields)
    assert reply["smc"]["n_particles"] == 16
    assert not any("all weights are equal" in warning for warning in reply["smc"]["warnings"])


async def test_a_single_sample_of_equal_weights_streams_as_it_is_drawn(client: Client) -> None:
    reply = await ask(client, temperature=1, max_tokens=64, stream=True, seed=3)
    assert reply.text.count('"delta":{"content":"') > 2


async def test_an_operators_preset_with_a_reward_is_the_best_of_n_for_clients_without_smc(
    make_client: MakeClient,
) -> None:
    engine = toy_engine()
    presets = {"checked": PresetTable(base="best-of-n", reward=REWARD)}
    client = make_client(engine, RewardCatalogue.default(engine=engine), presets=presets)
    reply = await answer(client, model="toy:checked", temperature=0)
    assert reply["smc"]["n_particles"] == 16
    assert reply["choices"][0]["reward"] is not None


async def test_a_field_by_its_old_name_works_and_is_told(client: Client) -> None:
    reply = await answer(client, model="toy:search", smc={"first_pass": 2, "n_particles": 4})
    assert any("smc.first_pass is now smc.first_pass_size" in warning for warning in reply["smc"]["warnings"])
    both = await ask(client, smc={"first_pass": 2, "first_pass_size": 2})
    assert both.status_code == 400
