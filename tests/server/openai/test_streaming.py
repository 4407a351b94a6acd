"""Streams: the same answer in pieces, kept alive, with errors in band."""

from __future__ import annotations

import json
from typing import Any

import pytest

from server.settings import ServerSettings
from smc_decode.potentials import RewardFailure
from tests.server.conftest import Client, MakeClient, chat, completion
from tests.server.openai.test_errors import WITH_REWARD, OneReward, fails
from tests.server.toy import SlowEngine, script, toy_engine

BLOCKS = {"preset": "smc-reward", "n_particles": 3, "block_size": 5, "ess_threshold": 1.0}


async def events(client: Client, path: str, body: dict[str, Any]) -> list[Any]:
    """The data of each event; comments left out; ``[DONE]`` as it is."""
    reply = await client.post(path, json={**body, "stream": True})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in reply.text.split("\n\n") if block]
    assert all(block.startswith((": ", "data: ")) for block in blocks)
    data = [block.removeprefix("data: ") for block in blocks if block.startswith("data: ")]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


def text_of(chunks: list[Any], index: int = 0) -> str:
    choices = [c for chunk in chunks if isinstance(chunk, dict) for c in chunk["choices"] if c["index"] == index]
    return "".join(c["text"] if "text" in c else c["delta"].get("content") or "" for c in choices)


@pytest.mark.parametrize("mode", ["commit", "final"])
@pytest.mark.parametrize("seed", range(5))
async def test_a_stream_joins_to_the_whole_answer(client: Client, mode: str, seed: int) -> None:
    body = completion(seed=seed, max_tokens=40, stop=["ab"], smc={**BLOCKS, "stream_mode": mode})
    whole = (await client.post("/v1/completions", json=body)).json()
    chunks = await events(client, "/v1/completions", body)
    assert chunks[-1] == "[DONE]"
    assert text_of(chunks) == whole["choices"][0]["text"]
    last = chunks[-2]
    assert last["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert last["choices"][0]["weight"] == whole["choices"][0]["weight"]
    assert last["smc"]["log_z"] == whole["smc"]["log_z"]
    assert len({chunk["id"] for chunk in chunks[:-1]}) == 1


async def test_text_is_sent_as_soon_as_all_particles_agree(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("one two three four"), sees_prompt=False))
    chunks = await events(client, "/v1/completions", completion(smc=BLOCKS))
    texts = [chunk["choices"][0]["text"] for chunk in chunks[:-1]]
    assert texts == ["one t", "wo th", "ree f", "our"]


@pytest.mark.parametrize("preset", ["base", "low-temperature"])
async def test_a_single_sample_is_sent_while_it_is_drawn(make_client: MakeClient, preset: str) -> None:
    client = make_client(toy_engine(script("one two three four five six seven"), sees_prompt=False))
    body = completion(max_tokens=64, smc={"preset": preset})
    chunks = await events(client, "/v1/completions", body)
    texts = [chunk["choices"][0]["text"] for chunk in chunks[:-1]]
    assert texts == ["one two three fo", "ur five six seve", "n"]
    one_block = completion(max_tokens=64, smc={"preset": preset, "block_size": 64})
    assert len(await events(client, "/v1/completions", one_block)) == 2


async def test_in_final_mode_text_is_sent_at_the_end(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("one two three four"), sees_prompt=False))
    chunks = await events(client, "/v1/completions", completion(smc={**BLOCKS, "stream_mode": "final"}))
    assert [chunk["choices"][0]["text"] for chunk in chunks[:-1]] == ["one two three four"]


async def test_a_character_is_never_split(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("aaaa漢字é"), sees_prompt=False))
    chunks = await events(client, "/v1/completions", completion(smc=BLOCKS))
    texts = [chunk["choices"][0]["text"] for chunk in chunks[:-1]]
    assert "".join(texts) == "aaaa漢字é"
    assert not any("\ufffd" in text for text in texts)


async def test_a_stop_string_across_a_block_is_never_shown(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("abcdSTOPxyz"), sees_prompt=False))
    chunks = await events(client, "/v1/completions", completion(stop=["STOP"], smc=BLOCKS))
    assert text_of(chunks) == "abcd"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"


async def test_chat_begins_with_a_role_and_ends_with_a_reason(client: Client) -> None:
    body = chat(smc=BLOCKS, seed=2)
    whole = (await client.post("/v1/chat/completions", json=body)).json()
    chunks = await events(client, "/v1/chat/completions", body)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[0]["object"] == "chat.completion.chunk"
    assert text_of(chunks) == whole["choices"][0]["message"]["content"]
    assert chunks[-2]["choices"][0]["delta"] == {}
    assert chunks[-2]["choices"][0]["finish_reason"] in ("stop", "length")


async def test_usage_comes_last_and_only_when_asked_for(client: Client) -> None:
    body = chat(smc=BLOCKS)
    assert all("usage" not in chunk for chunk in (await events(client, "/v1/chat/completions", body))[:-1])
    chunks = await events(client, "/v1/chat/completions", {**body, "stream_options": {"include_usage": True}})
    *others, usage = chunks[:-1]
    assert all(chunk["usage"] is None for chunk in others)
    assert usage["choices"] == []
    assert usage["usage"]["smc"]["sampled"] > 0


async def test_every_draw_and_prompt_has_its_choice(client: Client) -> None:
    body = completion(prompt=["abc", "b"], n=2, smc=BLOCKS)
    whole = (await client.post("/v1/completions", json=body)).json()
    chunks = await events(client, "/v1/completions", body)
    for choice in whole["choices"]:
        assert text_of(chunks, choice["index"]) == choice["text"]


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("seed", range(4))
async def test_streamed_logprobs_are_those_of_the_whole(client: Client, seed: int, echo: bool) -> None:
    body = completion(seed=seed, logprobs=2, echo=echo, max_tokens=30, stop=["ab"], smc=BLOCKS)
    whole = (await client.post("/v1/completions", json=body)).json()["choices"][0]
    chunks = await events(client, "/v1/completions", body)
    for key, expected in whole["logprobs"].items():
        parts = [chunk["choices"][0]["logprobs"] for chunk in chunks[:-1] if chunk["choices"]]
        assert [value for part in parts if part for value in part[key]] == expected, key
    assert text_of(chunks) == whole["text"]


async def test_streamed_chat_logprobs_are_those_of_the_whole(client: Client) -> None:
    body = chat(logprobs=True, top_logprobs=2, smc=BLOCKS)
    whole = (await client.post("/v1/chat/completions", json=body)).json()["choices"][0]
    chunks = await events(client, "/v1/chat/completions", body)
    parts = [c["logprobs"]["content"] for chunk in chunks[:-1] for c in chunk["choices"] if c["logprobs"]]
    assert [token for part in parts for token in part] == whole["logprobs"]["content"]


async def test_token_ids_stream_once_each(client: Client) -> None:
    body = completion(return_token_ids=True, smc=BLOCKS)
    whole = (await client.post("/v1/completions", json=body)).json()["choices"][0]
    chunks = await events(client, "/v1/completions", body)
    assert [i for chunk in chunks[:-1] for i in chunk["choices"][0]["token_ids"]] == whole["token_ids"]


async def test_progress_is_told_only_when_asked_for(client: Client) -> None:
    body = completion(smc={**BLOCKS, "stream_progress": True})
    chunks = await events(client, "/v1/completions", body)
    told = [chunk["smc"]["progress"] for chunk in chunks[:-1] if "progress" in chunk.get("smc", {})]
    kinds = {each["event"] for each in told}
    assert {"Started", "BlockExtended", "Weighted"} <= kinds
    assert all(chunk["choices"] == [] for chunk in chunks[:-1] if "progress" in chunk.get("smc", {}))
    extended = next(each for each in told if each["event"] == "BlockExtended")
    assert len(extended["text"]) == 3


async def test_an_error_in_the_middle_comes_in_band(make_client: MakeClient) -> None:
    client = make_client(catalogue=OneReward(fails(RewardFailure("judge unreachable"))))
    chunks = await events(client, "/v1/completions", completion(smc=WITH_REWARD))
    assert chunks[-1] == "[DONE]"
    assert chunks[-2]["error"]["code"] == "reward_unavailable"


async def test_an_error_before_the_stream_has_its_status(client: Client) -> None:
    reply = await client.post("/v1/completions", json=completion(prompt="", stream=True))
    assert reply.status_code == 400


async def test_comments_keep_the_stream_alive(make_client: MakeClient) -> None:
    client = make_client(SlowEngine(0.3), keep_alive_s=0.05)
    reply = await client.post("/v1/completions", json=completion(stream=True))
    assert reply.text.startswith(": keep-alive\n\n")
    assert reply.text.count(": keep-alive") >= 3
    assert ServerSettings().keep_alive_s <= 1.0


async def test_a_stream_gives_its_slots_back(make_client: MakeClient) -> None:
    client = make_client()
    for _ in range(3):
        await events(client, "/v1/completions", completion(smc=BLOCKS))
    admission = client.app.state.admission  # type: ignore[attr-defined]
    assert (admission.used, admission.running, admission.waiting) == (0, 0, 0)
