"""A deployment on a local Ray cluster of two nodes: the routes of a replica are those of the server."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'smc-decode[ray]'")

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, in its modules and processes
ROOT = Path(__file__).parents[2]
CONFIG = """
[engine]
kind = "tests.server.toy:create"
seconds = 0.2

[server]
served_model_name = ["toy"]
preset = "base"
particle_slots = 4
queue_length = 1
request_timeout_s = 20
"""


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: Any) -> Iterator[str]:
    """Two replicas on two nodes, behind Serve's proxy."""
    from ray import serve
    from ray.cluster_utils import Cluster

    from smc_decode.serving.arguments import Arguments
    from smc_decode.serving.ray import build

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path_factory.mktemp("ray") / "server.toml"
    config.write_text(CONFIG)
    environment = {"env_vars": {"PYTHONPATH": str(ROOT), "SMC_DECODE_SERVER__TRACE_DIR": str(config.parent)}}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        cluster.add_node(num_cpus=2)
        ray.init(address=cluster.address, runtime_env=environment, log_to_driver=False)
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(build(Arguments(config=config, replicas=2, num_cpus=0.5)), name="smc")
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


def completion(**fields: Any) -> dict[str, Any]:
    return {"model": "toy", "prompt": "abc", "max_tokens": 8} | fields


def test_answers_errors_and_health_are_the_servers_own(base_url: str) -> None:
    with httpx.Client(base_url=base_url, timeout=30) as client:
        assert client.get("/health").json() == {"status": "ok"}
        answer = client.post("/v1/completions", json=completion())
        assert answer.json()["choices"][0]["text"]
        assert len(answer.headers.get_list("x-request-id")) == 1
        assert client.get("/nope").json()["error"]["code"] == "not_found"
        assert client.post("/v1/completions", json=completion(smc={"alpah": 2})).status_code == 400


def test_a_stream_arrives_in_pieces_and_ends(base_url: str) -> None:
    with (
        httpx.Client(base_url=base_url, timeout=30) as client,
        client.stream("POST", "/v1/completions", json=completion(stream=True)) as stream,
    ):
        lines = [line for line in stream.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    assert json.loads(lines[0].removeprefix("data: "))["choices"]


async def test_one_session_goes_to_one_replica_and_many_to_both(base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, timeout=30) as client:

        async def created(session: str) -> set[int]:
            """When the replicas that answered were made: what tells them apart."""
            seen = set()
            for _ in range(4):
                reply = await client.get("/metrics", headers={"x-session-id": session})
                started = [line for line in reply.text.splitlines() if line.startswith("process_start_time_seconds")]
                seen.add(hash(started[0]))
            return seen

        found = [await created(f"session-{i}") for i in range(12)]
    assert all(len(each) == 1 for each in found)
    assert len(set.union(*found)) == 2


async def test_a_full_replica_says_429_and_when_to_come_back(base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, timeout=60) as client:
        body = completion(smc={"preset": "best-of-n", "n_particles": 4, "reward": {"name": "confidence"}})
        replies = await asyncio.gather(
            *(client.post("/v1/completions", json=body, headers={"x-session-id": "one"}) for _ in range(12))
        )
    codes = [reply.status_code for reply in replies]
    assert set(codes) == {200, 429}
    assert all("retry-after" in reply.headers for reply in replies if reply.status_code == 429)


async def test_a_killed_replica_is_replaced_and_its_requests_end_with_an_error(base_url: str) -> None:
    from ray import serve
    from ray.util import state

    async with httpx.AsyncClient(base_url=base_url, timeout=60) as client:
        asked = asyncio.gather(
            *(client.post("/v1/completions", json=completion(max_tokens=200)) for _ in range(4)), return_exceptions=True
        )
        replicas = [actor for actor in state.list_actors() if "ServeReplica" in actor.class_name and actor.pid]
        ray.kill(ray.get_actor(replicas[0].name, namespace="serve"), no_restart=True)
        for reply in await asked:
            assert isinstance(reply, httpx.HTTPError) or reply.status_code in (200, 429, 500, 503)
        while sum(each == "RUNNING" for each in _states(serve)) < 2:
            await asyncio.sleep(0.2)
        assert (await client.post("/v1/completions", json=completion())).status_code == 200


def _states(serve: Any) -> list[str]:
    (deployment,) = serve.status().applications["smc"].deployments.values()
    return [name for name, count in deployment.replica_states.items() for _ in range(count)]
