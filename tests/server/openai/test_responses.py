"""POST /v1/responses, by OpenAI's own Python client and by hand."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from server.openai.responses.items import messages_of
from tests.server.conftest import Client, MakeClient, chat
from tests.server.openai.test_chat import says
from tests.server.toy import SlowEngine, toy_engine

openai = pytest.importorskip("openai")

ADD = {"type": "function", "name": "add", "parameters": {"type": "object"}}
CALL = '<tool_call>\n{"name": "add", "arguments": {"x": 1}}\n</tool_call>'
BASE = {"preset": "base"}


def asked(**fields: Any) -> dict[str, Any]:
    smc = {**BASE, **fields.pop("smc", {})}
    return {"model": "toy", "input": "abc", "max_output_tokens": 24, "seed": 7, "smc": smc, **fields}


async def post(client: Client, **fields: Any) -> dict[str, Any]:
    reply = await client.post("/v1/responses", json=asked(**fields))
    assert reply.status_code == 200, reply.text
    return reply.json()


async def events(client: Client, **fields: Any) -> list[dict[str, Any]]:
    """The events of a stream; each is named as its type is."""
    reply = await client.post("/v1/responses", json=asked(stream=True, **fields))
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    blocks = [block.splitlines() for block in reply.text.split("\n\n") if "data: " in block]
    told = [json.loads(lines[-1].removeprefix("data: ")) for lines in blocks]
    assert [lines[-2] for lines in blocks] == [f"event: {event['type']}" for event in told]
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    return told


def sdk(client: Client) -> Any:
    return openai.AsyncOpenAI(base_url="http://127.0.0.1/v1", api_key="none", http_client=client, max_retries=0)


def without_ids(value: Any) -> Any:
    """``value`` without what is new in every answer."""
    if isinstance(value, dict):
        new = ("id", "call_id", "created_at", "completed_at")
        return {key: without_ids(each) for key, each in value.items() if key not in new}
    return [without_ids(each) for each in value] if isinstance(value, list) else value


# ---- OpenAI's client ---------------------------------------------------------------------------------------------


async def test_it_answers_openais_client_with_no_configuration_at_all(make_client: MakeClient) -> None:
    client = says(make_client, "abcdef")
    response = await sdk(client).responses.create(model="toy", input="abc")
    assert response.output_text == "abcdef"
    assert response.status in ("completed", "incomplete")
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.store is False
    assert response.smc["preset"] == "smc"


async def test_it_streams_to_openais_client_what_it_would_have_given_whole(client: Client) -> None:
    for smc in (BASE, {"preset": "smc-reward", "n_particles": 4, "block_size": 6}, {"preset": "smc"}):
        body = asked()
        body["extra_body"] = {"smc": smc, "seed": body.pop("seed")}
        del body["smc"]
        whole = await sdk(client).responses.create(**body)
        parts = [event async for event in await sdk(client).responses.create(**body, stream=True)]
        assert "".join(part.delta for part in parts if part.type == "response.output_text.delta") == whole.output_text
        assert without_ids(parts[-1].response.to_dict()) == without_ids(whole.to_dict())


async def test_the_stream_helper_of_openais_client_puts_the_response_together(make_client: MakeClient) -> None:
    client = says(make_client, "abcdef")  # it knows complete responses only
    async with sdk(client).responses.stream(model="toy", input="abc", max_output_tokens=12) as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert final.output_text == "".join(deltas) == "abcdef"


async def test_structured_output_asks_for_a_grammar(client: Client) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    form = {"type": "json_schema", "name": "thing", "schema": schema, "strict": True}
    with pytest.raises(openai.BadRequestError) as refused:  # the table engine has no grammars
        await sdk(client).responses.create(model="toy", input="abc", text={"format": form})
    assert "grammar" in refused.value.message
    plain = await sdk(client).responses.create(model="toy", input="abc", text={"format": {"type": "text"}})
    assert plain.text.format.type == "text"


async def test_errors_are_those_of_openais_client(client: Client) -> None:
    with pytest.raises(openai.NotFoundError):
        await sdk(client).responses.create(model="gpt-9", input="abc")
    with pytest.raises(openai.BadRequestError) as stored:
        await sdk(client).responses.create(model="toy", input="abc", store=True)
    assert stored.value.param == "store"


# ---- the events --------------------------------------------------------------------------------------------------


async def test_events_come_in_openais_order_and_end_with_the_response(make_client: MakeClient) -> None:
    told = await events(says(make_client, "abcdef"), smc={"block_size": 2})
    names = [event["type"] for event in told]
    deltas = names.count("response.output_text.delta")
    assert deltas >= 2
    assert names == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    added, done = told[2]["item"], told[-2]["item"]
    assert added == {**done, "status": "in_progress", "content": []}
    assert {event["item_id"] for event in told[3:-2]} == {done["id"]}
    assert told[-1]["response"]["output"] == [done]
    assert done["content"] == [{"type": "output_text", "text": "abcdef", "annotations": [], "logprobs": []}]
    assert told[0]["response"]["status"] == "in_progress"
    assert told[0]["response"]["id"] == told[-1]["response"]["id"]


async def test_an_answer_that_was_cut_is_incomplete(make_client: MakeClient) -> None:
    client = says(make_client, "abcdef")
    whole = await post(client, max_output_tokens=3)
    assert whole["status"] == "incomplete"
    assert whole["incomplete_details"] == {"reason": "max_output_tokens"}
    assert whole["output"][0]["status"] == "incomplete"
    last = (await events(client, max_output_tokens=3))[-1]
    assert last["type"] == "response.incomplete"
    assert without_ids(last["response"]) == without_ids(whole)


async def test_an_empty_answer_is_a_message_all_the_same(make_client: MakeClient) -> None:
    client = says(make_client, "")
    whole = await post(client)
    assert whole["output"][0]["content"][0]["text"] == ""
    assert without_ids((await events(client))[-1]["response"]) == without_ids(whole)


async def test_log_probabilities_come_where_they_are_asked_for(client: Client) -> None:
    fields = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    whole = await post(client, **fields)
    logprobs = whole["output"][0]["content"][0]["logprobs"]
    assert len(logprobs[0]["top_logprobs"]) == 2
    assert isinstance(logprobs[0]["bytes"], list)
    told = await events(client, **fields)
    streamed = [each for event in told if event["type"].endswith("text.delta") for each in event["logprobs"]]
    assert streamed == logprobs
    assert told[-1]["response"]["output"][0]["content"] == whole["output"][0]["content"]


async def test_an_engine_that_dies_is_told_by_an_error_and_a_failed_response(make_client: MakeClient) -> None:
    engine = SlowEngine(0.0)
    engine.dead = True
    told = await events(make_client(engine))
    assert [event["type"] for event in told] == [
        "response.created",
        "response.in_progress",
        "error",
        "response.failed",
    ]
    assert told[2]["code"] == told[2]["error"]["code"] == "engine_unavailable"
    assert told[3]["response"]["status"] == "failed"
    with pytest.raises(openai.APIError, match="engine is down"):
        async for _ in await sdk(make_client(engine)).responses.create(model="toy", input="a", stream=True):
            pass


async def test_progress_has_an_event_of_its_own_where_it_is_asked_for(client: Client) -> None:
    told = await events(client, smc={"stream_progress": True})
    progress = [event["progress"] for event in told if event["type"] == "response.smc.progress"]
    assert {"BlockExtended", "Weighted"} <= {each["event"] for each in progress}


async def test_a_reward_guides_and_is_shown(client: Client) -> None:
    smc = {"preset": "smc-reward", "n_particles": 4, "reward": {"name": "regex", "params": {"pattern": "[a-f é]*"}}}
    whole = await post(client, smc=smc)
    assert whole["reward"] > 0
    assert 0 < whole["weight"] <= 1
    assert whole["smc"]["preset"] == "smc-reward"
    assert whole["usage"]["smc"]["reward_calls"] > 0
    assert (await post(client, model="toy:best-of-n", smc={"preset": None}))["smc"]["preset"] == "best-of-n"


# ---- tools -------------------------------------------------------------------------------------------------------


async def test_calls_are_items_whole_and_streamed(make_client: MakeClient) -> None:
    client = says(make_client, f"Let me see.\n{CALL}")
    whole = await post(client, tools=[ADD], max_output_tokens=100)
    message, call = whole["output"]
    assert message["content"][0]["text"] == "Let me see."
    assert (call["type"], call["name"], json.loads(call["arguments"])) == ("function_call", "add", {"x": 1})
    told = await events(client, tools=[ADD], max_output_tokens=100)
    names = [event["type"] for event in told]
    assert names[-5:] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert told[-3]["arguments"] == call["arguments"]
    assert told[-1]["response"]["output"][-1] == told[-2]["item"]
    assert without_ids(told[-2]["item"]) == without_ids(call)


async def test_a_call_alone_has_no_empty_message_beside_it(make_client: MakeClient) -> None:
    client = says(make_client, CALL)
    assert [item["type"] for item in (await post(client, tools=[ADD], max_output_tokens=100))["output"]] == [
        "function_call"
    ]
    last = (await events(client, tools=[ADD], max_output_tokens=100))[-1]
    assert [item["type"] for item in last["response"]["output"]] == ["function_call"]


async def test_what_a_tool_gave_goes_back_with_the_items_of_before(make_client: MakeClient) -> None:
    client = says(make_client, CALL)
    first = await post(client, tools=[ADD], max_output_tokens=100)
    (call,) = first["output"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "2"}
    given = [{"role": "user", "content": "abc"}, call, output]
    assert (await post(client, input=given, tools=[ADD], max_output_tokens=100))["output"]


async def test_allowed_tools_are_the_only_ones_that_are_shown(client: Client) -> None:
    both = [ADD, {**ADD, "name": "sub"}]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "sub"}]}
    whole = await post(client, tools=both, tool_choice=choice)
    only = await post(client, tools=both[1:])
    assert whole["usage"]["input_tokens"] == only["usage"]["input_tokens"]
    assert whole["tool_choice"] == choice
    forced = await client.post("/v1/responses", json=asked(tools=both, tool_choice={"type": "function", "name": "add"}))
    assert "grammar" in forced.json()["error"]["message"]


# ---- the input ---------------------------------------------------------------------------------------------------


def test_items_are_the_messages_of_a_chat() -> None:
    given = [
        {"role": "developer", "content": "d"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "u"}], "status": None},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "t"}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "r"}]},
    ]  # fmt: skip
    assert messages_of(given, "i") == [
        {"role": "system", "content": "i"},
        {"role": "developer", "content": "d"},
        {"role": "user", "content": "u"},
        {
            "role": "assistant",
            "content": "a",
            "reasoning_content": "t",
            "tool_calls": [
                {"id": "c1", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "r"},
    ]


async def test_a_response_has_the_tokens_of_the_same_chat(client: Client) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "abc"}]
    told = (await client.post("/v1/chat/completions", json=chat(messages=messages))).json()
    same = await post(client, instructions="s")
    assert same["output"][0]["content"][0]["text"] == told["choices"][0]["message"]["content"]
    assert same["usage"]["input_tokens"] == told["usage"]["prompt_tokens"]


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": ["a"]}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": []}]}, "input[0].content"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": "a", "colour": 1}]}, "input[0].colour"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"role": "assistant", "content": "a"}]}, "input"),  # the template wants the user first
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"tool_choice": {"type": "function", "name": "f"}}, None),
        ({"tool_choice": {"type": "hosted"}}, None),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"include": ["everything"]}, "include"),
        ({"truncation": "auto"}, None),
        ({"previous_response_id": "resp_1"}, None),
        ({"conversation": "conv_1"}, None),
        ({"background": True}, None),
        ({"store": True}, None),
        ({"messages": []}, "messages"),
        ({"smc": {"preset": "base", "n_particle": 1}}, "smc.n_particle"),
        ({"input": "a" * 600}, "input"),
    ],
)
async def test_what_is_wrong_is_a_400_that_names_the_field(
    client: Client, fields: dict[str, Any], param: str | None
) -> None:
    reply: httpx.Response = await client.post("/v1/responses", json=asked(**fields))
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error["message"]
    assert param is None or error["param"] == param


async def test_a_client_that_asks_without_v1_is_told(make_client: MakeClient) -> None:
    reply = await make_client(toy_engine()).post("/responses", json=asked())
    assert "/v1/responses" in reply.json()["error"]["message"]
