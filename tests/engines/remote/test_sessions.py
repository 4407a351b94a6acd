"""Runs behind a router: all requests of one run carry one id, so that they meet one prefix cache."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from smc_decode import SMCConfig, sample
from smc_decode.engines.remote.engine import RemoteEngine, RemoteSettings
from tests.engines.remote.fake_vllm import FakeVLLM, Router
from tests.enumeration import mod_logits

VOCAB = 8
CONFIG = SMCConfig(n_particles=4, block_size=2, max_tokens=8, ess_threshold=1.0)


@asynccontextmanager
async def behind(router: Router, **settings: Any) -> AsyncGenerator[RemoteEngine, None]:
    values = {"urls": ["http://router"], "vocab_size": VOCAB, "eos_token_ids": (0,), "backoff": 0.0, "bundle": False}
    servers = [network.server for network in router.networks]
    engine = await RemoteEngine.create(
        RemoteSettings(**(values | settings)), tokenizer=servers[0].tokenizer, transport_of=lambda _: router
    )
    router.headers.clear()
    for server in servers:
        server.forget()
    try:
        yield engine
    finally:
        await engine.shutdown()


def two() -> tuple[FakeVLLM, FakeVLLM]:
    return FakeVLLM(mod_logits(VOCAB), VOCAB), FakeVLLM(mod_logits(VOCAB), VOCAB)


async def test_all_requests_of_a_run_go_to_one_server_and_runs_to_both() -> None:
    servers = two()
    router = Router(*servers)
    async with behind(router) as engine:
        await sample(engine, [1], None, CONFIG, seed=1)
        assert [bool(server.drawn) for server in servers] == [True, False]
        first = len(servers[0].drawn)
        await sample(engine, [1], None, CONFIG, seed=2)
        assert len(servers[0].drawn) == first
        assert servers[1].drawn
    assert len({headers["x-session-id"] for headers in router.headers}) == 2


async def test_without_the_header_a_run_is_spread() -> None:
    servers = two()
    async with behind(Router(*servers), session_headers=()) as engine:
        await sample(engine, [1], None, CONFIG, seed=1)
    assert all(server.drawn for server in servers)


async def test_the_id_goes_into_the_headers_that_are_named_and_says_nothing() -> None:
    router = Router(*two())
    names = ["X-Dynamo-Session-ID", "X-SMG-Routing-Key"]
    async with behind(router, session_headers=names) as engine:
        await sample(engine, [1], None, CONFIG, seed=1)
    (ids,) = {tuple(headers[name] for name in names) for headers in router.headers}
    assert ids[0] == ids[1]
    assert len(ids[0]) == 32
    assert int(ids[0], 16) >= 0
    assert not any("x-session-id" in headers for headers in router.headers)


async def test_a_token_of_the_routers_is_sent_back_from_the_next_request_on() -> None:
    router = Router(*two(), token="blue")
    async with behind(router) as engine:
        await sample(engine, [1], None, SMCConfig(n_particles=1, block_size=2, max_tokens=6), seed=1)
    sent = [headers.get("x-session-token") for headers in router.headers]
    assert sent[0] is None
    assert set(sent[1:]) == {"blue"}


@pytest.mark.parametrize("token", ["x" * 5000, ""])
async def test_a_token_that_is_none_is_not_sent_back(token: str) -> None:
    router = Router(*two(), token=token)
    async with behind(router) as engine:
        await sample(engine, [1], None, SMCConfig(n_particles=1, block_size=2, max_tokens=6), seed=1)
    assert not any("x-session-token" in headers for headers in router.headers)


async def test_a_run_keeps_to_one_engine_of_a_server_with_several() -> None:
    router = Router(*two())
    async with behind(router, data_parallel_size=4) as engine:
        await sample(engine, [1], None, CONFIG, seed=1)
    (rank,) = {headers["x-data-parallel-rank"] for headers in router.headers}
    assert 0 <= int(rank) < 4


async def test_the_router_is_told_once_when_a_run_is_over() -> None:
    router = Router(*two())
    async with behind(router, finish_sessions=True) as engine:
        await sample(engine, [1], None, CONFIG, seed=1)
        gc.collect()
        await router.told.wait()
    assert router.finished == [router.headers[0]["x-session-id"]]


async def test_a_run_that_asked_for_nothing_is_nothing_to_finish() -> None:
    router = Router(*two())
    async with behind(router, finish_sessions=True) as engine:
        await engine.open([1])
        gc.collect()
    assert router.finished == []


@pytest.mark.parametrize("name", ["no spaces", "", "new\nline"])
def test_a_header_must_be_one(name: str) -> None:
    with pytest.raises(ValidationError):
        RemoteSettings(urls=("http://router",), session_headers=(name,))
