"""``response_format`` gives what the schema says, whatever of it the engine's grammar holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from smc_decode.engines.table import TableEngine
from tests.server.conftest import Client, MakeClient, chat
from tests.server.openai.test_streaming import events
from tests.server.toy import END, VOCAB, ByteTokenizer, script

UNIQUE = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}


class LooseGrammars(TableEngine):
    """An engine whose grammars hold nothing of a schema."""

    def __init__(self, law: Any) -> None:
        super().__init__(law, VOCAB, END, tokenizer=ByteTokenizer(), max_model_len=512, name="toy")
        self._info = replace(self._info, shapes=self._info.shapes | {"grammar"})


def either(*texts: str) -> Any:
    """A model that writes one of the texts, each as likely."""

    def law(tokens: tuple[int, ...]) -> np.ndarray:
        logprobs = np.full(VOCAB, -np.inf)
        spelled = [(*text.encode(), END) for text in texts]
        follows = [text[len(tokens)] for text in spelled if text[: len(tokens)] == tokens and len(text) > len(tokens)]
        for token in follows or [END]:
            logprobs[token] = np.logaddexp(logprobs[token], -np.log(max(1, len(follows))))
        return logprobs

    return law


def writer(make_client: MakeClient, law: Any) -> Client:
    return make_client(LooseGrammars(law))


def asked(schema: Any, **fields: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    return chat(response_format=form, **{"max_tokens": 100, **fields})


async def test_a_document_that_breaks_the_schema_is_a_422_with_the_reason(make_client: MakeClient) -> None:
    client = writer(make_client, script("[1, 1]"))
    reply = await client.post("/v1/chat/completions", json=asked(UNIQUE))
    assert reply.status_code == 422
    error = reply.json()["error"]
    assert error["code"] == "no_valid_document"
    assert "non-unique" in error["message"]
    assert reply.headers["x-should-retry"] == "false"
    chunks = await events(client, "/v1/chat/completions", asked(UNIQUE))
    assert chunks[-2]["error"]["code"] == "no_valid_document"


async def test_what_comes_back_is_valid(make_client: MakeClient) -> None:
    client = writer(make_client, either("[1, 1]", "[1, 2]", "[2, 2]"))
    smc = {"preset": "smc-reward", "n_particles": 32, "block_size": 4}
    reply = await client.post("/v1/chat/completions", json=asked(UNIQUE, n=4, smc=smc))
    assert reply.status_code == 200, reply.text
    for choice in reply.json()["choices"]:
        assert json.loads(choice["message"]["content"]) == [1, 2]
        assert choice["finish_reason"] == "stop"
        assert choice["reward"] is None


async def test_a_reward_judges_beside_the_schema(make_client: MakeClient) -> None:
    client = writer(make_client, either("[1, 1]", "[1, 2]", "[3, 4]"))
    reward = {"name": "regex", "params": {"pattern": r"\[(1, .|9)\]"}}
    smc = {"preset": "smc-reward", "n_particles": 32, "block_size": 4, "reward": reward, "reward_scale": 30}
    reply = await client.post("/v1/chat/completions", json=asked(UNIQUE, smc=smc))
    choice = reply.json()["choices"][0]
    assert choice["message"]["content"] == "[1, 2]"
    assert choice["reward"] == 1.0


async def test_what_was_cut_at_the_limit_is_no_document(make_client: MakeClient) -> None:
    client = writer(make_client, script("[1, 1]"))
    reply = await client.post("/v1/chat/completions", json=asked(UNIQUE, max_tokens=4))
    choice = reply.json()["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", "[1, ")


async def test_a_stop_string_must_leave_a_document_too(make_client: MakeClient) -> None:
    client = writer(make_client, script("[1, 2] and more"))
    reply = await client.post("/v1/chat/completions", json=asked(UNIQUE, stop=" and"))
    assert reply.json()["choices"][0]["message"]["content"] == "[1, 2]"
    reply = await client.post("/v1/chat/completions", json=asked(UNIQUE, stop=", "))
    assert reply.status_code == 422


@pytest.mark.parametrize("schema", [{"type": "nothing"}, {"$ref": "http://elsewhere.test/schema"}, {"required": 1}])
async def test_what_is_no_schema_is_a_400(make_client: MakeClient, schema: Any) -> None:
    client = writer(make_client, script("[]"))
    reply = await client.post("/v1/chat/completions", json=asked(schema))
    assert reply.status_code == 400, reply.text


async def test_the_other_ways_to_ask_for_a_schema_are_checked_too(make_client: MakeClient) -> None:
    client = writer(make_client, script("[1, 1]"))
    for fields in ({"guided_json": UNIQUE}, {"structured_outputs": {"json": json.dumps(UNIQUE)}}):
        reply = await client.post("/v1/chat/completions", json=chat(max_tokens=100, **fields))
        assert reply.status_code == 422
