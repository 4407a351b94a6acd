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
kind = "tests.serving.counting:create"
seconds = 0.2
file = "FILE"

[server]
served_model_name = ["toy"]
preset = "base"
particle_slots = 8
queue_length = 1
request_timeout_s = 20
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    return Path(tmp_path_factory.mktemp("ray"))


@pytest.fixture(scope="module")
def base_url(folder: Path) -> Iterator[str]:
    """Two replicas on two nodes, behind Serve's proxy."""
    from ray import serve
    from ray.cluster_utils import Cluster

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "server.toml"
    config.write_text(CONFIG.replace("FILE", str(folder / "begun")))
    environment = {"env_vars": {"PYTHONPATH": str(ROOT), "SMC_DECODE_SERVER__TRACE_DIR": str(folder)}}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        cluster.add_node(num_cpus=2)
        ray.init(address=cluster.address, runtime_env=environment, log_to_driver=False)
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(deployment(folder, replicas=2), name="smc")
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


def deployment(folder: Path, *, replicas: int) -> Any:
    from smc_decode.serving.arguments import Arguments
    from smc_decode.serving.ray import build

    return build(Arguments(config=folder / "server.toml", replicas=replicas, num_cpus=0.5))


def test_serve_admits_more_than_a_replica_and_waits_longer(folder: Path, base_url: str) -> None:
    made = deployment(folder, replicas=2)._bound_deployment
    assert made.max_ongoing_requests > 8 + 1
    assert made.max_queued_requests > 8 + 1
    assert made.backpressure_config.status_code == 429
    assert made._deployment_config.graceful_shutdown_timeout_s > 20 + 30


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
        found = [{await _replica(client, f"session-{i}") for _ in range(4)} for i in range(12)]
    assert all(len(each) == 1 for each in found)
    assert len(set.union(*found)) == 2


async def test_a_full_replica_says_429_and_when_to_come_back(base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, timeout=60) as client:
        body = completion(smc={"preset": "best-of-n", "n_particles": 8, "reward": {"name": "confidence"}})
        replies = await asyncio.gather(
            *(client.post("/v1/completions", json=body, headers={"x-session-id": "one"}) for _ in range(12))
        )
    codes = [reply.status_code for reply in replies]
    assert set(codes) == {200, 429}
    assert all("retry-after" in reply.headers for reply in replies if reply.status_code == 429)


async def test_a_killed_replica_fails_its_own_requests_and_nothing_runs_twice(base_url: str, folder: Path) -> None:
    from ray.util import state

    async with httpx.AsyncClient(base_url=base_url, timeout=60) as client:

        async def ask(number: int) -> bool:
            """Whether a whole answer came; half of them are streams."""
            stream = number % 2 == 0
            body = completion(prompt=f"kill {number};", max_tokens=200, stream=stream)
            body["smc"] = {"block_size": 16}
            try:
                reply = await client.post("/v1/completions", json=body, headers={"x-session-id": f"kill-{number}"})
            except httpx.HTTPError:
                return False
            assert reply.status_code in (200, 500, 503)  # which clients of OpenAI's try again
            return reply.status_code == 200 and (not stream or "data: [DONE]" in reply.text)

        begun = folder / "begun"
        asked = [asyncio.create_task(ask(number)) for number in range(8)]
        async with asyncio.timeout(30):
            while len(_begun(begun, "kill")) < len(asked):
                await asyncio.sleep(0.05)
        victim = _begun(begun, "kill")[0][0]
        (replica,) = (actor for actor in state.list_actors() if actor.pid == victim)
        ray.kill(ray.get_actor(replica.name, namespace="serve"), no_restart=True)
        whole = await asyncio.gather(*asked)
        runs = _begun(begun, "kill")
        assert sorted(prompt for _, prompt in runs) == [f"kill {number};" for number in range(8)]
        lost = {prompt for process, prompt in runs if process == victim}
        assert 0 < len(lost) < 8
        assert [f"kill {number};" in lost for number in range(8)] == [not each for each in whole]
        async with asyncio.timeout(60):
            old = await _replica(client, next(f"kill-{number}" for number in range(8) if whole[number]))
            while {await _replica(client, f"session-{i}") for i in range(12)} <= {old, ""}:
                await asyncio.sleep(0.2)  # another is not there yet
        assert (await client.post("/v1/completions", json=completion())).status_code == 200


async def test_a_replica_that_is_to_go_ends_its_streams_first(base_url: str, folder: Path) -> None:
    from ray import serve

    async with httpx.AsyncClient(base_url=base_url, timeout=60) as client:

        async def ask(number: int) -> str:
            body = completion(prompt=f"scale {number};", max_tokens=200, stream=True)
            body["smc"] = {"block_size": 16}
            reply = await client.post("/v1/completions", json=body, headers={"x-session-id": f"scale-{number}"})
            return reply.text

        asked = [asyncio.create_task(ask(number)) for number in range(8)]
        async with asyncio.timeout(30):
            while len({process for process, _ in _begun(folder / "begun", "scale")}) < 2:
                await asyncio.sleep(0.05)
        await asyncio.to_thread(serve.run, deployment(folder, replicas=1), name="smc")
        assert all("data: [DONE]" in text for text in await asyncio.gather(*asked))
        async with asyncio.timeout(60):
            while _states(serve) != ["RUNNING"]:
                await asyncio.sleep(0.2)


async def _replica(client: httpx.AsyncClient, session: str) -> str:
    """When the replica that answers a session was made, which tells it from others; "" when none does."""
    reply = await client.get("/metrics", headers={"x-session-id": session})
    lines = reply.text.splitlines() if reply.status_code == 200 else []
    return next((line for line in lines if line.startswith("process_start_time_seconds")), "")


def _begun(file: Path, first: str) -> list[tuple[int, str]]:
    """Processes and prompts that begin with a word, in order."""
    lines = (line.split(" ", 1) for line in (file.read_text().splitlines() if file.exists() else ()))
    return [(int(process), prompt) for process, prompt in lines if prompt.startswith(first)]


def _states(serve: Any) -> list[str]:
    (deployment,) = serve.status().applications["smc"].deployments.values()
    return [name for name, count in deployment.replica_states.items() for _ in range(count)]
