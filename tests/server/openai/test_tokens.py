"""The routes of the tokenizer, with vLLM's requests and answers."""

from __future__ import annotations

from typing import Any

import pytest

from server.edge.auth import Keys
from server.openai import tokens
from smc_decode.engines import TableEngine
from tests.server.conftest import Client, MakeClient
from tests.server.openai.test_chat import TOOLS
from tests.server.toy import ASSISTANT, END, USER, VOCAB, words

MESSAGES = [{"role": "user", "content": "ab"}]


async def post(client: Client, path: str, **fields: Any) -> dict[str, Any]:
    reply = await client.post(path, json=fields)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_a_text_is_told_as_vllm_tells_it(client: Client) -> None:
    told = await post(client, "/tokenize", model="toy", prompt="aé", return_token_strs=True)
    assert told == {
        "count": 3,
        "max_model_len": 512,
        "tokens": [97, 0xC3, 0xA9],
        "token_strs": ["a", "\ufffd", "\ufffd"],
    }
    assert (await post(client, "/tokenize", prompt="a"))["token_strs"] is None
    assert (await post(client, "/tokenize", prompt=""))["count"] == 0


async def test_messages_go_through_the_chat_template(client: Client) -> None:
    assert (await post(client, "/tokenize", messages=MESSAGES))["tokens"] == [USER, 97, 98, END, ASSISTANT]
    without = await post(client, "/tokenize", messages=MESSAGES, add_generation_prompt=False)
    assert without["tokens"] == [USER, 97, 98, END]
    begun = [*MESSAGES, {"role": "assistant", "content": "c"}]
    continued = await post(
        client, "/tokenize", messages=begun, continue_final_message=True, add_generation_prompt=False
    )
    assert continued["tokens"] == [USER, 97, 98, END, ASSISTANT, 99]
    assert (await post(client, "/tokenize", messages=MESSAGES, tools=TOOLS))["count"] > 5


async def test_the_count_is_the_prompt_tokens_of_the_same_chat(client: Client) -> None:
    asked = {"model": "toy", "messages": MESSAGES, "max_tokens": 1}
    usage = (await post(client, "/v1/chat/completions", **asked))["usage"]
    assert (await post(client, "/tokenize", messages=MESSAGES))["count"] == usage["prompt_tokens"]


async def test_token_ids_go_back_to_text_special_ones_included(client: Client) -> None:
    assert await post(client, "/detokenize", model="toy:base", tokens=[97, 0xC3, 0xA9, END]) == {"prompt": "aé<|end|>"}
    assert await post(client, "/detokenize", tokens=[]) == {"prompt": ""}


async def test_the_tokenizer_is_described(client: Client) -> None:
    reply = await client.get("/tokenizer_info")
    assert reply.json() == {"tokenizer_class": "ByteTokenizer"}


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/tokenize", {}, None),
        ("/tokenize", {"prompt": "a", "messages": MESSAGES}, None),
        ("/tokenize", {"prompt": ["a"]}, "prompt"),
        ("/tokenize", {"prompt": "a", "tools": TOOLS}, None),
        ("/tokenize", {"messages": []}, "messages"),
        ("/tokenize", {"messages": MESSAGES, "add_special_tokens": True}, None),
        ("/tokenize", {"messages": MESSAGES, "chat_template": "{{ messages }}"}, None),
        (
            "/tokenize",
            {"messages": MESSAGES, "chat_template_kwargs": {"tokenize": False}},
            "chat_template_kwargs.tokenize",
        ),
        ("/tokenize", {"messages": [{"role": "assistant", "content": "a"}]}, "messages"),
        ("/tokenize", {"prompt": "a", "max_tokens": 1}, "max_tokens"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": [VOCAB]}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
        ("/detokenize", {"tokens": ["a"]}, "tokens[0]"),
        ("/detokenize", {"tokens": "a"}, "tokens"),
    ],
)
async def test_what_is_wrong_is_a_400_that_names_the_field(
    client: Client, path: str, fields: dict[str, Any], param: str | None
) -> None:
    reply = await client.post(path, json=fields)
    assert reply.status_code == 400, reply.text
    if param is not None:
        assert reply.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/tokenize", {"prompt": "a" * 65}),
        ("/tokenize", {"messages": [{"role": "user", "content": "a" * 33}] * 2}),
        ("/detokenize", {"tokens": [97] * 65}),
    ],
)
async def test_what_is_too_long_is_refused_before_the_tokenizer_sees_it(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, path: str, fields: dict[str, Any]
) -> None:
    monkeypatch.setattr(tokens, "MOST", 64)
    client = make_client()

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the tokenizer was asked")

    for name in ("encode", "decode", "apply_chat_template"):
        monkeypatch.setattr(f"tests.server.toy.ByteTokenizer.{name}", never)
    reply = await client.post(path, json=fields)
    assert reply.status_code == 400
    assert "at most 64" in reply.json()["error"]["message"]


async def test_models_that_are_not_there_are_a_404(client: Client) -> None:
    assert (await client.post("/tokenize", json={"model": "gpt-9", "prompt": "a"})).status_code == 404
    assert (await client.post("/detokenize", json={"model": "gpt-9", "tokens": [97]})).status_code == 404


async def test_all_three_ask_for_the_key(make_client: MakeClient) -> None:
    client = make_client(keys=Keys({"kim": "sesame"}))
    replies = [
        await client.post("/tokenize", json={"prompt": "a"}),
        await client.post("/detokenize", json={"tokens": [97]}),
        await client.get("/tokenizer_info"),
    ]
    assert [reply.status_code for reply in replies] == [401, 401, 401]


async def test_an_engine_without_a_tokenizer_says_so(make_client: MakeClient) -> None:
    client = make_client(TableEngine(words, VOCAB, END))
    reply = await client.post("/tokenize", json={"prompt": "a"})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "no_tokenizer"
