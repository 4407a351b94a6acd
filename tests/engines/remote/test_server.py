"""Our server in front of fake vLLM servers: what its clients see of the replicas."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from server.app import create_app
from server.cli import _engine
from server.process.banner import banner
from server.process.engines import build_engine
from server.settings import ConfigError, ServerSettings
from smc_decode.engines.remote.engine import RemoteEngine
from smc_decode.potentials.catalogue import RewardCatalogue
from tests.engines.remote.fake_vllm import FakeVLLM, Fleet
from tests.server.conftest import chat, completion
from tests.server.toy import END, VOCAB, ByteTokenizer, words


class Front:
    """A server on a fleet, and a client of it."""

    def __init__(self, fleet: Fleet, engine: RemoteEngine, settings: ServerSettings) -> None:
        self.fleet = fleet
        self.app = create_app(engine, RewardCatalogue.default(engine=engine), settings)
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


@pytest.fixture
async def front(tmp_path: Any) -> Any:
    servers = [FakeVLLM(words, VOCAB, END) for _ in range(2)]
    for server in servers:
        server.tokenizer = ByteTokenizer()
    fleet = Fleet(*servers)
    engine = await fleet.engine()
    front = Front(fleet, engine, ServerSettings(served_model_name=("toy",), trace_dir=tmp_path))
    yield front
    await front.client.aclose()
    await engine.shutdown()


async def test_answers_come_from_one_replica(front: Front) -> None:
    reply = (await front.client.post("/v1/completions", json=completion(smc={"n_particles": 4}))).json()
    assert reply["choices"][0]["text"]
    assert sorted(bool(server.drawn) for server in front.fleet.servers) == [False, True]
    reply = (await front.client.post("/v1/chat/completions", json=chat(logprobs=True, top_logprobs=3))).json()
    assert len(reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 3


async def test_what_the_servers_cannot_weigh_is_a_400_that_says_what_to_do(front: Front) -> None:
    body = completion(smc={"preset": "power-smc", "n_particles": 2})
    reply = await front.client.post("/v1/completions", json=body)
    assert reply.status_code == 400
    assert "proposal_temperature" in reply.json()["error"]["message"]
    body["smc"]["proposal_temperature"] = 1.0
    assert (await front.client.post("/v1/completions", json=body)).status_code == 200


async def test_the_default_preset_works_with_rewards_that_read_text_and_that_read_log_probabilities(
    front: Front,
) -> None:
    reward: dict[str, Any] = {"name": "regex", "params": {"pattern": "[a-f ]+"}}
    body = completion(smc={"preset": "smc", "n_particles": 2, "block_size": 8, "reward": reward})
    reply = await front.client.post("/v1/completions", json=body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["smc"]["blocks"] > 1
    body["smc"]["reward"] = {"name": "confidence"}
    reply = await front.client.post("/v1/completions", json=body)
    assert reply.status_code == 200, reply.text
    assert 0 < reply.json()["choices"][0]["reward"] < 1
    body["smc"]["proposal_temperature"] = 0.7
    reply = await front.client.post("/v1/completions", json=body)
    assert reply.status_code == 400
    assert "leave proposal_temperature" in reply.json()["error"]["message"]


async def test_the_start_up_lines_and_ready_name_the_replicas(front: Front) -> None:
    text = banner(front.app.state.about, "127.0.0.1", 8000)
    assert "remote, context of 4095 tokens, at http://one, http://two" in text
    ready = (await front.client.get("/ready")).json()
    assert ready["engine"]["replicas"] == [{"url": "http://one", "up": True}, {"url": "http://two", "up": True}]


async def test_with_every_replica_gone_clients_get_503_until_one_is_back(front: Front) -> None:
    for network in front.fleet.networks.values():
        network.cut = True
    for reply in (
        await front.client.post("/v1/completions", json=completion()),
        await front.client.get("/health"),
    ):
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "engine_unavailable"
    for network in front.fleet.networks.values():
        network.cut = False
    while (await front.client.get("/health")).status_code != 200:
        pass
    assert (await front.client.post("/v1/completions", json=completion())).status_code == 200


async def test_wrong_settings_are_told_by_their_key() -> None:
    with pytest.raises(ConfigError, match=r"engine\.urls"):
        await build_engine({"kind": "remote"})
    with pytest.raises(ConfigError, match=r"engine\.block_size"):
        await build_engine({"kind": "remote", "urls": ["http://127.0.0.1:9"], "block_size": 32})
    with pytest.raises(ConfigError, match="no vLLM server answers"):
        await build_engine({"kind": "remote", "urls": ["http://127.0.0.1:9"]})


def test_the_option_remote_makes_the_engine_table() -> None:
    table = _engine(None, None, ["http://one", "http://two"], None)
    assert {key: value for key, value in table.items() if value} == {
        "kind": "remote",
        "urls": ["http://one", "http://two"],
    }
    assert _engine("m", "vllm", None, 5) == {"model": "m", "kind": "vllm", "urls": None, "max_model_len": 5}
