"""What breaks around the server while requests are in: everyone is answered, and no particle slot is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from smc_decode.engines.vllm.engine import VLLMEngine, VLLMSettings
from smc_decode.potentials.catalogue import RewardCatalogue
from tests.server.conftest import Client, MakeClient, completion
from tests.server.toy import SlowEngine, toy_engine

ASKED = {"preset": "smc-reward", "n_particles": 4, "block_size": 4}


def outcome(reply: httpx.Response) -> str:
    """``answer``, or the code of the error, whichever way it came."""
    if reply.headers["content-type"].startswith("text/event-stream"):
        events = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
        assert events[-1] == "[DONE]"
        errors = [json.loads(event)["error"]["code"] for event in events[:-1] if '"error"' in event]
        return errors[0] if errors else "answer"
    body = reply.json()
    return str(body["error"]["code"]) if "error" in body else "answer"


def assert_nothing_is_held(client: Client) -> None:
    admission = client.app.state.admission  # type: ignore[attr-defined]
    assert (admission.used, admission.running, admission.waiting) == (0, 0, 0)


# ---- the engine --------------------------------------------------------------------------------------------------


async def test_an_engine_that_dies_in_mid_run_is_told_to_all_who_run_and_wait(make_client: MakeClient) -> None:
    engine = SlowEngine(0.02)
    client = make_client(engine, particle_slots=16)
    bodies = [completion(smc=ASKED, max_tokens=400, stream=bool(i % 2), seed=i) for i in range(12)]
    tasks = [asyncio.create_task(client.post("/v1/completions", json=body)) for body in bodies]
    while engine.calls < 8:
        await asyncio.sleep(0.005)
    engine.dead = True
    outcomes = [outcome(reply) for reply in await asyncio.wait_for(asyncio.gather(*tasks), 20)]
    # Answers that were complete by then are answers still.
    assert set(outcomes) <= {"engine_unavailable", "answer"}
    assert outcomes.count("engine_unavailable") >= 8
    assert engine.working == 0
    assert_nothing_is_held(client)
    engine.dead = False
    assert outcome(await client.post("/v1/completions", json=completion())) == "answer"


@pytest.mark.vllm
async def test_a_killed_engine_process_is_told_to_all_who_run_and_wait(
    make_client: MakeClient, bundled_model: str
) -> None:
    engine = await VLLMEngine.create(VLLMSettings(model=bundled_model, max_model_len=512, kv_cache_gib=0.2))
    try:
        client = make_client(engine, RewardCatalogue.default(), served_model_name=("toy",), particle_slots=16)
        smc = {"preset": "smc-reward", "n_particles": 4, "block_size": 16, "ignore_eos": True}
        bodies = [completion(smc=smc, max_tokens=300, stream=bool(i % 2), seed=i) for i in range(8)]
        tasks = [asyncio.create_task(client.post("/v1/completions", json=body)) for body in bodies]
        while await engine.unfinished() < 8:
            await asyncio.sleep(0.01)
        os.kill(engine.pid, signal.SIGKILL)
        outcomes = [outcome(reply) for reply in await asyncio.wait_for(asyncio.gather(*tasks), 30)]
        assert outcomes == ["engine_unavailable"] * 8
        assert_nothing_is_held(client)
        health = await client.get("/health")
        assert health.status_code == 503
        assert outcome(await client.post("/v1/completions", json=completion())) == "engine_unavailable"
    finally:
        await engine.shutdown()


# ---- a reward service --------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def service(answer: bytes | None) -> AsyncIterator[str]:
    """The address of a service that answers every request with these bytes; None: that never answers."""
    forever = asyncio.Event()
    answered: list[asyncio.Task[None] | None] = []

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if answer is None:
                await forever.wait()
            writer.write(answer or b"")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answering, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/score"
    finally:
        forever.set()
        server.close()
        await asyncio.gather(*filter(None, answered))


def http(body: str, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body.encode()) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()


def judged_by(make_client: MakeClient, url: str) -> Client:
    table = {"source": "http", "url": url, "timeout": 0.1, "retries": 1, "backoff": 0.0, "breaker_failures": 1000}
    engine = toy_engine()
    return make_client(engine, RewardCatalogue.from_toml({"rewards": {"judge": table}}, engine=engine))


BROKEN: dict[str, bytes | None] = {
    "slow": None,
    "hangs up": b"",
    "no http": b"\x00\xffhello\r\n\r\n",
    "fails": http("oops", "500 Internal Server Error"),
    "overloaded": http("", "503 Service Unavailable"),
    "elsewhere": http("", "302 Found\r\nLocation: http://127.0.0.1:1/"),
    "no json": http("<html>"),
    "cut short": http('{"rewards": [', length=1000),
    "another shape": http('{"score": 1}'),
    "too few": http('{"rewards": []}'),
    "not numbers": http('{"rewards": ["a", null, {}, []]}'),
    "not in [0, 1]": http('{"rewards": [7, 7, 7, 7]}'),
    "not finite": http('{"rewards": [NaN, NaN, NaN, NaN]}'),
    "deep": http("[" * 100_000),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("broken", list(BROKEN))
async def test_a_broken_reward_service_is_a_503_or_gone_without(
    make_client: MakeClient, broken: str, stream: bool
) -> None:
    async with service(BROKEN[broken]) as url:
        client = judged_by(make_client, url)
        smc: dict[str, Any] = {**ASKED, "reward": {"name": "judge"}}
        reply = await client.post("/v1/completions", json=completion(smc=smc, stream=stream))
        assert outcome(reply) == "reward_unavailable"
        assert_nothing_is_held(client)
        smc["reward"] = {"name": "judge", "on_failure": "floor"}
        reply = await client.post("/v1/completions", json=completion(smc=smc, stream=stream))
        assert outcome(reply) == "answer"
        assert "reward" in reply.text.partition('"warnings"')[2]
        assert_nothing_is_held(client)


async def test_a_reward_service_that_is_down_is_a_503(make_client: MakeClient) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        client = judged_by(make_client, f"http://127.0.0.1:{taken.getsockname()[1]}/score")
        replies = await asyncio.gather(
            *(
                client.post("/v1/completions", json=completion(smc={**ASKED, "reward": {"name": "judge"}}, seed=i))
                for i in range(8)
            )
        )
    assert {outcome(reply) for reply in replies} == {"reward_unavailable"}
    assert all(reply.headers["retry-after"] for reply in replies)
    assert_nothing_is_held(client)


# ---- the disk ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_disk_that_fills_up_in_mid_run_costs_the_trace_and_not_the_answer(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    import server.runs.store

    opened = server.runs.store.os.open
    monkeypatch.setattr(server.runs.store.os, "open", lambda path, flags, mode: opened("/dev/full", os.O_WRONLY))
    client = make_client()
    replies = [
        await client.post("/v1/completions", json=completion(smc={**ASKED, "trace": True}, stream=stream))
        for _ in range(3)
    ]
    for reply in replies:
        assert outcome(reply) == "answer"
        assert "No space left" in reply.text
        assert '"trace_id":null' in reply.text
    assert_nothing_is_held(client)
