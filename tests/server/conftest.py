from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from server.app import create_app
from server.settings import ServerSettings
from smc_decode.potentials.catalogue import RewardCatalogue
from tests.server.toy import toy_engine

Client = httpx.AsyncClient
MakeClient = Callable[..., Client]


@pytest.fixture
async def make_client(tmp_path: Any) -> AsyncIterator[MakeClient]:
    """``make_client(engine=..., catalogue=..., keys=..., presets=..., **settings)`` -> a client of a new server."""
    async with AsyncExitStack() as stack:
        open_apps = []

        def make(
            engine: Any = None, catalogue: Any = None, keys: Any = None, presets: Any = None, **settings: Any
        ) -> Client:
            settings.setdefault("served_model_name", ("toy",))
            settings.setdefault("trace_dir", tmp_path / "traces")
            engine = toy_engine() if engine is None else engine
            catalogue = RewardCatalogue.default(engine=engine) if catalogue is None else catalogue
            app = create_app(engine, catalogue, ServerSettings(**settings), keys=keys, presets=presets)
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
            client.app = app  # type: ignore[attr-defined]
            open_apps.append(client)
            return client

        yield make
        for client in open_apps:
            await client.aclose()
        await stack.aclose()


@pytest.fixture
async def client(make_client: MakeClient) -> Client:
    return make_client()


def completion(**fields: Any) -> dict[str, Any]:
    """A completion request; the preset is plain, so that text and numbers are easy to foresee."""
    smc = {"preset": "base", **fields.pop("smc", {})}
    return {"model": "toy", "prompt": "abc", "max_tokens": 24, "seed": 7, "smc": smc, **fields}


def chat(**fields: Any) -> dict[str, Any]:
    smc = {"preset": "base", **fields.pop("smc", {})}
    messages = [{"role": "user", "content": "abc"}]
    return {"model": "toy", "messages": messages, "max_tokens": 24, "seed": 7, "smc": smc, **fields}
