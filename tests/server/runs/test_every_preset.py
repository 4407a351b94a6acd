"""Every preset serves a request, by the model's name."""

import pytest

from smc_decode import PRESETS

REWARD = {"name": "regex", "params": {"pattern": "[a-c]*"}}


@pytest.mark.parametrize("rewarded", [True, False])
@pytest.mark.parametrize("name", list(PRESETS))
async def test_a_preset_is_a_model(client, name, rewarded):
    smc = {"reward": REWARD} if rewarded else {}
    body = {"model": f"toy:{name}", "prompt": "abc", "max_tokens": 8, "seed": 1, "smc": smc}
    reply = await client.post("/v1/completions", json=body)
    assert reply.status_code == 200, reply.text
    said = reply.json()
    assert said["smc"]["preset"] == name
    assert said["choices"][0]["finish_reason"] in ("stop", "length")
    assert said["usage"]["smc"]["sampled"] > 0
