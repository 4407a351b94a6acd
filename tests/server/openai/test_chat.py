"""What /v1/chat/completions does beside sampling: messages, tools, log-probabilities."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.server.conftest import Client, MakeClient, chat
from tests.server.openai.test_streaming import events
from tests.server.toy import ASSISTANT, END, SYSTEM, USER, script, toy_engine

TOOLS = [
    {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}},
    {"type": "function", "function": {"name": "sub", "parameters": {"type": "object"}}},
]


async def post(client: Client, **fields: Any) -> dict[str, Any]:
    reply = await client.post("/v1/chat/completions", json=chat(**fields))
    assert reply.status_code == 200, reply.text
    return reply.json()


def says(make_client: MakeClient, text: str) -> Client:
    return make_client(toy_engine(script(text), sees_prompt=False))


async def test_an_answer_has_the_shape_of_openais(client: Client) -> None:
    reply = await post(client)
    assert reply["object"] == "chat.completion"
    message = reply["choices"][0]["message"]
    assert message["role"] == "assistant"
    assert isinstance(message["content"], str)
    assert message["refusal"] is None
    assert "tool_calls" not in message


async def test_the_template_is_applied_once_and_developers_are_the_system(client: Client) -> None:
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "é"}, {"type": "text", "text": "a"}]},
        {"role": "user", "content": "b", "name": "kim"},
    ]
    reply = await post(client, messages=messages, return_token_ids=True)
    assert reply["prompt_token_ids"] == [SYSTEM, 0xC3, 0xA9, 97, END, USER, 98, END, ASSISTANT]


async def test_an_assistants_message_can_be_continued(client: Client) -> None:
    messages = [{"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]
    reply = await post(
        client, messages=messages, continue_final_message=True, add_generation_prompt=False, return_token_ids=True
    )
    assert reply["prompt_token_ids"] == [USER, 98, END, ASSISTANT, 99]


async def test_logprobs_hold_the_bytes_of_each_token(client: Client) -> None:
    reply = await post(client, logprobs=True, top_logprobs=3, seed=12, max_tokens=40)
    content = reply["choices"][0]["logprobs"]["content"]
    for token in content:
        assert len(token["top_logprobs"]) == 3
        assert token["bytes"] is None or bytes(token["bytes"]).decode() == token["token"]


async def test_max_completion_tokens_is_max_tokens(make_client: MakeClient) -> None:
    reply = await post(says(make_client, "abcdef"), max_tokens=None, max_completion_tokens=2)
    assert reply["choices"][0]["message"]["content"] == "ab"


async def test_fields_that_say_nothing_of_the_answer_are_taken(client: Client) -> None:
    plain = await post(client)
    told = await post(
        client,
        user="u",
        metadata={"a": "b"},
        store=True,
        service_tier="auto",
        safety_identifier="s",
        prompt_cache_key="k",
        prediction={"type": "content", "content": "x"},
        verbosity="low",
        modalities=["text"],
        response_format={"type": "text"},
        parallel_tool_calls=True,
    )
    assert told["choices"] == plain["choices"]


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "add", "arguments": {"x": 1}}\n</tool_call>',
        '<tool_call>[{"name": "add", "arguments": {"x": 1}}]</tool_call>',
        '[TOOL_CALLS] [{"name": "add", "arguments": {"x": 1}}]',
        '{"name": "add", "parameters": {"x": 1}}',
        '[{"name": "add", "arguments": "{\\"x\\": 1}"}]',
    ],
)
async def test_tool_calls_are_read_in_every_spelling(make_client: MakeClient, text: str) -> None:
    client = says(make_client, text)
    choice = (await post(client, tools=TOOLS, max_tokens=100))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["function"]["name"] == "add"
    assert json.loads(call["function"]["arguments"]) == {"x": 1}

    chunks = await events(client, "/v1/chat/completions", chat(tools=TOOLS, max_tokens=100))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    (streamed,) = next(delta["tool_calls"] for delta in deltas if "tool_calls" in delta)
    assert streamed["index"] == 0
    assert streamed["function"] == call["function"]
    assert "".join(delta.get("content") or "" for delta in deltas) == ""
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_text_before_a_call_stays_text(make_client: MakeClient) -> None:
    text = 'Let me see.\n<tool_call>{"name": "sub", "arguments": {}}</tool_call>'
    client = says(make_client, text)
    body = chat(tools=TOOLS, max_tokens=100, smc={"preset": "smc-reward", "n_particles": 2, "block_size": 6})
    message = (await client.post("/v1/chat/completions", json=body)).json()["choices"][0]["message"]
    assert message["content"] == "Let me see."
    chunks = await events(client, "/v1/chat/completions", body)
    content = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks[:-1])
    assert content.strip() == "Let me see."


async def test_parallel_calls_can_be_turned_off(make_client: MakeClient) -> None:
    client = says(make_client, '[{"name": "add", "arguments": {}}, {"name": "sub", "arguments": {}}]')
    assert len((await post(client, tools=TOOLS, max_tokens=100))["choices"][0]["message"]["tool_calls"]) == 2
    one = await post(client, tools=TOOLS, parallel_tool_calls=False, max_tokens=100)
    assert len(one["choices"][0]["message"]["tool_calls"]) == 1


@pytest.mark.parametrize("text", ["just text", '{"name": "rm", "arguments": {}}', "<tool_call>{oops</tool_call>"])
async def test_what_is_no_call_stays_text(make_client: MakeClient, text: str) -> None:
    client = says(make_client, text)
    choice = (await post(client, tools=TOOLS, max_tokens=100))["choices"][0]
    assert choice["message"]["content"] == text
    assert choice["finish_reason"] == "stop"
    chunks = await events(client, "/v1/chat/completions", chat(tools=TOOLS, max_tokens=100))
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks[:-1]) == text


async def test_tools_are_a_400_where_the_template_has_no_place_for_them(make_client: MakeClient) -> None:
    engine = toy_engine()
    render = engine.tokenizer.apply_chat_template  # type: ignore[union-attr]
    engine.tokenizer.apply_chat_template = lambda m, **k: render(m, **{**k, "tools": None})  # type: ignore[union-attr, method-assign]
    client = make_client(engine)
    reply = await client.post("/v1/chat/completions", json=chat(tools=TOOLS))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "tools"
    assert (await client.post("/v1/chat/completions", json=chat(tools=TOOLS, tool_choice="none"))).status_code == 200


async def test_a_forced_tool_asks_for_a_grammar(client: Client) -> None:
    reply = await client.post("/v1/chat/completions", json=chat(tools=TOOLS, tool_choice="required"))
    assert reply.status_code == 400  # the table engine has no grammars
    assert "grammar" in reply.json()["error"]["message"]


async def test_earlier_calls_and_their_results_go_into_the_prompt(client: Client) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
    ]
    assert (await post(client, messages=messages))["usage"]["prompt_tokens"] > 0
    # Models write what is no JSON object, and clients send it back.
    for written in ("", "not json", "[1]", "[" * 100_000):
        call["function"]["arguments"] = written  # type: ignore[index]
        assert (await post(client, messages=messages))["choices"]
