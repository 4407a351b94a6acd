"""Whatever a client sends, it gets an answer or an error of its own making, and the server goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.openai.protocol import ChatBody, CompletionBody
from server.runs.fields import SMCFields
from smc_decode.config import SMCConfig
from tests.server.conftest import Client, MakeClient, chat, completion
from tests.server.toy import toy_engine

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["base", "smc", "toy", "user", "text", "systematic", "json_object", "unit_tests", "tempered"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
SMC = st.sampled_from([*SMCFields.model_fields, *SMCConfig.model_fields])
FUZZ = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def small(make_client: MakeClient) -> Client:
    """A small model and hard limits keep honest requests cheap. One server for all that is sent: it goes on."""
    return make_client(toy_engine(max_model_len=64), max_particles=8, request_timeout_s=5)


async def send(client: Client, path: str, body: dict[str, Any]) -> None:
    text = json.dumps(body, ensure_ascii=True)
    reply = await client.post(path, content=text, headers={"content-type": "application/json"})
    assert reply.status_code in (200, 400, 404, 422, 504), reply.text
    if reply.status_code != 200:
        error = reply.json()["error"]
        assert error["message"]
        assert error["code"]
    assert client.app.state.admission.used == 0  # type: ignore[attr-defined]


@FUZZ
@given(st.dictionaries(st.sampled_from(list(CompletionBody.model_fields)), JSON, max_size=3))
async def test_completions_with_any_values(small: Client, fields: dict[str, Any]) -> None:
    await send(small, "/v1/completions", {**completion(), **fields})


@FUZZ
@given(st.dictionaries(st.sampled_from(list(ChatBody.model_fields)), JSON, max_size=3))
async def test_chat_with_any_values(small: Client, fields: dict[str, Any]) -> None:
    await send(small, "/v1/chat/completions", {**chat(), **fields})


@FUZZ
@given(st.dictionaries(SMC, JSON, max_size=3))
async def test_smc_with_any_values(small: Client, fields: dict[str, Any]) -> None:
    body = completion()
    await send(small, "/v1/completions", {**body, "smc": {**body["smc"], **fields}})


@FUZZ
@given(st.binary(max_size=200))
async def test_bodies_of_any_bytes(small: Client, body: bytes) -> None:
    reply = await small.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
