"""What vLLM's clients send beside OpenAI's fields, and requests that are nearly right."""

from __future__ import annotations

import math
from typing import Any

import pytest

from server.openai.protocol import ChatBody, CompletionBody
from server.openai.tools import grammar_of
from tests.server.conftest import Client, MakeClient, chat, completion
from tests.server.openai.test_errors import check
from tests.server.openai.test_streaming import BLOCKS, events, text_of
from tests.server.toy import script, toy_engine


async def test_running_usage_stands_in_every_chunk_and_ends_at_the_usage_of_all(client: Client) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = await events(client, "/v1/chat/completions", chat(n=2, smc=BLOCKS, stream_options=options))
    *parts, last = chunks[:-1]
    told = [part["usage"]["completion_tokens"] for part in parts]
    assert told == sorted(told)
    assert told[0] == 0
    assert told[-1] == last["usage"]["completion_tokens"] > 0
    assert {part["usage"]["prompt_tokens"] for part in parts} == {last["usage"]["prompt_tokens"]}


async def test_running_usage_needs_no_last_chunk(client: Client) -> None:
    chunks = await events(client, "/v1/completions", completion(stream_options={"continuous_usage_stats": True}))
    assert all(chunk["choices"] and chunk["usage"]["total_tokens"] > 0 for chunk in chunks[:-1])


async def test_sixty_four_stop_strings_are_heeded(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("abcdefgh"), sees_prompt=False))
    stop = [f"never {i}" for i in range(63)] + ["de"]
    reply = await client.post("/v1/completions", json=completion(stop=stop))
    assert reply.json()["choices"][0]["text"] == "abc"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("logprobs", [None, 1])
async def test_a_stop_string_is_shown_when_asked_for(
    make_client: MakeClient, stream: bool, logprobs: int | None
) -> None:
    client = make_client(toy_engine(script("abcdSTOPxyz"), sees_prompt=False))
    body = completion(stop=["STOP"], include_stop_str_in_output=True, logprobs=logprobs, smc=BLOCKS)
    if stream:
        chunks = await events(client, "/v1/completions", body)
        assert text_of(chunks) == "abcdSTOP"
    else:
        choice = (await client.post("/v1/completions", json=body)).json()["choices"][0]
        assert (choice["text"], choice["finish_reason"]) == ("abcdSTOP", "stop")


async def test_a_prompt_is_cut_to_its_last_tokens(client: Client) -> None:
    body = completion(prompt="abcdef", truncate_prompt_tokens=2, return_token_ids=True, echo=True)
    choice = (await client.post("/v1/completions", json=body)).json()["choices"][0]
    assert choice["prompt_token_ids"] == list(b"ef")
    assert choice["text"].startswith("ef")
    reply = await client.post("/v1/completions", json=completion(prompt="a" * 600, truncate_prompt_tokens=-1))
    assert reply.json()["usage"]["prompt_tokens"] == 512 - 24
    check(await client.post("/v1/completions", json=completion(truncate_prompt_tokens=0)), 400, says="at least 1")


async def test_a_long_bad_word_is_refused_with_the_reason(client: Client) -> None:
    error = check(await client.post("/v1/completions", json=completion(bad_words=["abc"])), 400, param="bad_words")
    assert "single tokens" in error["message"]


async def test_special_tokens_cannot_be_shown_and_the_reason_is_told(client: Client) -> None:
    reply = await client.post("/v1/completions", json=completion(skip_special_tokens=False))
    check(reply, 400, param="skip_special_tokens", says="return_token_ids")
    assert (await client.post("/v1/completions", json=completion(skip_special_tokens=True))).status_code == 200


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("fields", "grammar"),
    [
        ({}, None),
        ({"structured_outputs": {"json": SCHEMA}}, {"json_schema": SCHEMA}),
        ({"structured_outputs": {"json": '{"type": "integer"}'}}, {"json_schema": {"type": "integer"}}),
        ({"structured_outputs": {"regex": "[ab]+"}}, {"regex": "[ab]+"}),
        ({"structured_outputs": {"choice": ["yes", "no (maybe)", "a|b"]}}, {"regex": r"(yes|no \(maybe\)|a\|b)"}),
        ({"structured_outputs": {"json_object": True}}, {"json_object": True}),
        ({"guided_json": SCHEMA}, {"json_schema": SCHEMA}),
        ({"guided_regex": "a"}, {"regex": "a"}),
        ({"guided_choice": ["x"]}, {"regex": "(x)"}),
        ({"response_format": {"type": "json_object"}}, {"json_object": True}),
    ],
)
def test_forms_are_one_grammar_whatever_they_are_called(fields: dict[str, Any], grammar: Any) -> None:
    assert grammar_of(ChatBody.model_validate(chat(**fields))) == grammar
    if "response_format" not in fields:
        forms = CompletionBody.model_validate(completion(**fields)).wanted_forms()
        assert [form for _, form in forms] == ([] if grammar is None else [grammar])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"guided_json": SCHEMA, "guided_regex": "a"}, "exclude each other"),
        ({"guided_json": SCHEMA, "response_format": {"type": "json_object"}}, "exclude each other"),
        ({"structured_outputs": {"json": SCHEMA, "regex": "a"}}, "exclude each other"),
        ({"structured_outputs": {"grammar": "root ::= 'a'"}}, "JSON schema or a regular expression"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "json, regex or choice"),
        ({"structured_outputs": {"jsn": {}}}, "allowed: choice"),
        ({"guided_json": "{"}, "no JSON schema"),
        ({"guided_json": "[1]"}, "must be an object"),
        ({"guided_choice": []}, "at least 1"),
    ],
)
async def test_forms_that_cannot_be_followed_are_refused(client: Client, fields: dict[str, Any], says: str) -> None:
    check(await client.post("/v1/chat/completions", json=chat(**fields)), 400, says=says)


@pytest.mark.parametrize(("field", "value"), [("seed", 1), ("temperature", 0.5), ("n", 2), ("logprobs", True)])
async def test_a_field_that_was_put_into_smc_is_told_where_it_goes(client: Client, field: str, value: Any) -> None:
    reply = await client.post("/v1/chat/completions", json=chat(smc={field: value}))
    check(reply, 400, "unknown_field", f"smc.{field}", says=f"{field} is a field of the request itself")


async def test_a_reward_may_be_its_name_alone(client: Client) -> None:
    smc = {"preset": "best-of-n", "n_particles": 2, "reward": "arithmetic"}
    reply = await client.post("/v1/completions", json=completion(smc=smc))
    assert reply.status_code == 200, reply.text
    smc["reward"] = "nonsense"
    check(await client.post("/v1/completions", json=completion(smc=smc)), 400, param="smc.reward.name")


async def test_probes_by_head_are_answered(client: Client) -> None:
    for path in ("/health", "/ready", "/v1/models"):
        assert (await client.head(path)).status_code == 200


async def test_the_list_of_models_has_a_slash_or_none(client: Client) -> None:
    plain, slashed = await client.get("/v1/models"), await client.get("/v1/models/")
    assert plain.json() == slashed.json()


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/completions", "/v1/completions"),
        ("/v1/v1/completions", "/v1/completions"),
    ],
)
async def test_a_route_that_is_nearly_right_is_told_the_right_one(client: Client, path: str, hint: str) -> None:
    check(await client.post(path, json=completion()), 404, "not_found", says=f"use {hint}")


async def test_log_probabilities_that_particles_carry_are_not_computed_again(make_client: MakeClient) -> None:
    engine = toy_engine()
    asked = []
    score = engine.score

    async def counted(*args: Any, **kwargs: Any) -> Any:
        asked.append(args)
        return await score(*args, **kwargs)

    engine.score = counted  # type: ignore[method-assign]
    client = make_client(engine)
    smc = {"preset": "power-smc", "n_particles": 2}  # whose weights need log p
    body = chat(logprobs=True, smc=smc)
    carried = (await client.post("/v1/chat/completions", json=body)).json()["choices"][0]["logprobs"]["content"]
    streaming = chat(logprobs=True, smc=smc | {"block_size": 2, "n_particles": 1})
    *streamed, _ = await events(client, "/v1/chat/completions", streaming)
    parts = [
        choice["logprobs"]["content"] for chunk in streamed for choice in chunk["choices"] if choice.get("logprobs")
    ]
    assert len(parts) > 1
    assert all(math.isfinite(each["logprob"]) for part in parts for each in part)
    assert asked == []
    again = (await client.post("/v1/chat/completions", json={**body, "top_logprobs": 1})).json()
    assert asked
    scored = again["choices"][0]["logprobs"]["content"]
    assert [each["logprob"] for each in carried] == pytest.approx([each["logprob"] for each in scored])
