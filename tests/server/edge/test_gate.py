"""Every route is behind the gate but those that say they are not."""

from __future__ import annotations

from fastapi import Request
from fastapi.routing import APIRoute

from server.edge.auth import Keys
from server.edge.gate import Caller, Gate, open_to_all
from server.settings import ServerSettings
from tests.server.conftest import MakeClient
from tests.server.edge.test_auth import KEYS

OPEN = {"/", "/health", "/ready"}


async def test_a_route_must_opt_out_to_be_open(make_client: MakeClient) -> None:
    client = make_client(keys=KEYS)
    routes = [route for route in client.app.routes if isinstance(route, APIRoute)]  # type: ignore[attr-defined]
    assert {"/v1/completions", "/metrics", *OPEN} <= {route.path for route in routes}
    for route in routes:
        path = route.path.replace("{run_id}", "run_0").replace("{model:path}", "toy")
        for method in route.methods:
            status = (await client.request(method, path)).status_code
            assert (status == 401) == (route.path not in OPEN), (method, path, status)


async def test_a_new_route_is_closed_without_a_word_of_its_own(make_client: MakeClient) -> None:
    client = make_client(keys=KEYS)
    app = client.app  # type: ignore[attr-defined]

    @app.get("/new")
    async def new() -> str:
        return "secret"

    @app.get("/new-and-open")
    @open_to_all
    async def new_and_open() -> str:
        return "hello"

    assert (await client.get("/new")).status_code == 401
    assert (await client.get("/new", headers={"authorization": "Bearer sk-bob"})).json() == "secret"
    assert (await client.get("/new-and-open")).json() == "hello"


def test_with_keys_a_client_is_remote() -> None:
    headers = [(b"host", b"127.0.0.1:8000"), (b"authorization", b"Bearer sk-alice")]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    proxied = {**scope, "headers": [*headers, (b"x-forwarded-for", b"10.0.0.9")]}
    open_gate, keyed = Gate(Keys({}), ServerSettings()), Gate(KEYS, ServerSettings())
    assert open_gate.identify(Request(scope)).is_local
    assert not open_gate.identify(Request(proxied)).is_local
    assert keyed.identify(Request(scope)) == Caller("alice", False)
