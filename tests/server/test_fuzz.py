"""Whatever a client sends, it gets an answer or an error of its own making, and the server goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.openai.protocol import ChatBody, CompletionBody
from server.openai.responses.body import ResponsesBody
from server.openai.scores import ScoreBody
from server.openai.tokens import DetokenizeBody, TokenizeBody
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
ITEM_FIELDS = st.sampled_from(["type", "role", "content", "call_id", "name", "arguments", "output", "id", "summary"])
KINDS = st.sampled_from(["message", "function_call", "function_call_output", "reasoning", "item_reference"])
ITEMS = st.lists(
    st.builds(lambda kind, fields: {"type": kind, "role": "user", "content": "a", **fields}, KINDS,
              st.dictionaries(ITEM_FIELDS, JSON | st.just("a"), max_size=4)),
    max_size=3,
)  # fmt: skip
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
@given(st.dictionaries(st.sampled_from(list(ScoreBody.model_fields)), JSON, max_size=3))
async def test_scores_with_any_values(small: Client, fields: dict[str, Any]) -> None:
    asked = {"model": "toy", "prompt": "abc", "reward": "confidence", "answers": ["a"]}
    await send(small, "/v1/smc/score", {**asked, **fields})


@FUZZ
@given(st.sampled_from(["/tokenize", "/detokenize"]), st.data())
async def test_tokens_with_any_values(small: Client, path: str, data: st.DataObject) -> None:
    fields = TokenizeBody.model_fields if path == "/tokenize" else DetokenizeBody.model_fields
    drawn = data.draw(st.dictionaries(st.sampled_from(list(fields)), JSON, max_size=3))
    await send(small, path, {**({"prompt": "a"} if path == "/tokenize" else {"tokens": [97]}), **drawn})


@FUZZ
@given(st.dictionaries(st.sampled_from(list(ResponsesBody.model_fields)), JSON, max_size=3), ITEMS)
async def test_responses_with_any_values(small: Client, fields: dict[str, Any], items: list[Any]) -> None:
    asked = {"model": "toy", "input": items, "max_output_tokens": 8, "smc": {"preset": "base"}}
    await send(small, "/v1/responses", {**asked, **fields})


@FUZZ
@given(st.binary(max_size=200))
async def test_bodies_of_any_bytes(small: Client, body: bytes) -> None:
    reply = await small.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
