"""OpenAI's own Python client, unmodified, over every feature."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.conformance.serving import Server

MESSAGES: Any = [{"role": "user", "content": "Name a colour."}]
ONE = {"smc": {"preset": "base"}}


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=server.api_key) as made:
        yield made


@pytest.fixture(scope="module")
def model(server: Server) -> str:
    return server.model


def streamed(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


# ---- models ------------------------------------------------------------------------------------------------------


def test_models_are_listed_and_found(client: openai.OpenAI, model: str) -> None:
    names = [each.id for each in client.models.list()]
    assert model in names
    for name in (model, f"{model}:best-of-n", f"{model}:brief"):
        assert name in names
        found = client.models.retrieve(name)
        assert (found.id, found.object) == (name, "model")


def test_an_unknown_model_is_a_not_found_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-9")
    assert caught.value.code == "model_not_found"


# ---- completions -------------------------------------------------------------------------------------------------


def test_a_completion_with_nothing_but_a_prompt(client: openai.OpenAI, model: str) -> None:
    reply = client.completions.create(model=model, prompt="The capital of France is")
    assert reply.object == "text_completion"
    assert reply.choices[0].text
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_prompts_of_all_four_kinds(client: openai.OpenAI, model: str) -> None:
    body: Any = {"model": model, "max_tokens": 3, "temperature": 0}
    text = client.completions.create(**body, prompt="One two", extra_body={"return_token_ids": True})
    ids = text.choices[0].model_extra["prompt_token_ids"]  # type: ignore[index]
    many = client.completions.create(**body, prompt=["One two", "Red green"])
    assert [choice.index for choice in many.choices] == [0, 1]
    assert client.completions.create(**body, prompt=ids).choices[0].text == text.choices[0].text
    both = client.completions.create(**body, prompt=[ids, ids])
    assert [choice.text for choice in both.choices] == [text.choices[0].text] * 2


def test_n_answers_of_each_prompt(client: openai.OpenAI, model: str) -> None:
    reply = client.completions.create(model=model, prompt=["A", "B"], n=3, max_tokens=4)
    assert [choice.index for choice in reply.choices] == list(range(6))


def test_best_of_is_a_number_of_particles(client: openai.OpenAI, model: str) -> None:
    reply = client.completions.create(model=model, prompt="A", n=2, best_of=3, max_tokens=4, extra_body=ONE)
    assert len(reply.choices) == 2
    assert reply.smc["n_particles"] == 3  # type: ignore[attr-defined]


def test_a_stop_string_ends_the_answer_and_is_cut_away(client: openai.OpenAI, model: str) -> None:
    body: Any = {"model": model, "prompt": "1, 2, 3, 4,", "temperature": 0, "max_tokens": 24}
    whole = client.completions.create(**body).choices[0]
    assert "7" in whole.text
    stopped = client.completions.create(**body, stop=["7", "zebra"]).choices[0]
    assert stopped.text == whole.text.partition("7")[0]
    assert stopped.finish_reason == "stop"


def test_the_same_seed_gives_the_same_answer(client: openai.OpenAI, model: str) -> None:
    body: Any = {"model": model, "prompt": "Once upon a time", "max_tokens": 12, "temperature": 1.0, "extra_body": ONE}
    first, again, other = (client.completions.create(**body, seed=seed).choices[0].text for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_whole_completion_is_what_its_stream_says(client: openai.OpenAI, model: str) -> None:
    body: Any = {"model": model, "prompt": "Once upon a time", "max_tokens": 12, "seed": 5, "extra_body": ONE}
    whole = client.completions.create(**body)
    chunks = list(client.completions.create(**body, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens  # type: ignore[union-attr]


def test_legacy_logprobs_are_the_models_own(client: openai.OpenAI, model: str) -> None:
    body: Any = {
        "model": model,
        "prompt": "One two three",
        "max_tokens": 4,
        "logprobs": 2,
        "extra_body": ONE,
        "seed": 1,
    }
    for temperature in (0.5, 1.0):
        told = client.completions.create(**body, temperature=temperature).choices[0].logprobs
        assert len(told.tokens) == len(told.token_logprobs) == len(told.text_offset) == 4
        for token, logprob, top in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
            assert logprob <= 0
            assert 2 <= len(top) <= 3
            assert math.isclose(top[token], logprob, abs_tol=1e-4)


def test_echo_without_tokens_scores_the_prompt(client: openai.OpenAI, model: str) -> None:
    prompts = ["The sky is blue", "Sky the blue is"]
    reply = client.completions.create(model=model, prompt=prompts, max_tokens=0, echo=True, logprobs=1)
    likely, odd = (sum(choice.logprobs.token_logprobs[1:]) for choice in reply.choices)  # type: ignore
    assert [choice.text for choice in reply.choices] == prompts
    assert reply.choices[0].logprobs.token_logprobs[0] is None  # type: ignore
    assert likely > odd
    assert reply.usage.completion_tokens == 0  # type: ignore[union-attr]


def test_echo_gives_the_prompt_before_the_answer(client: openai.OpenAI, model: str) -> None:
    body: Any = {"model": model, "prompt": "One two", "temperature": 0, "max_tokens": 4}
    plain, echoed = client.completions.create(**body), client.completions.create(**body, echo=True, logprobs=0)
    assert echoed.choices[0].text == "One two" + plain.choices[0].text
    assert len(echoed.choices[0].logprobs.tokens) > 4  # type: ignore[union-attr,arg-type]


def test_penalties_biases_and_cuts_are_taken(client: openai.OpenAI, model: str) -> None:
    body: Any = {"model": model, "prompt": "One", "max_tokens": 4}
    forced = client.completions.create(**body, logit_bias={"28": 100}, extra_body={"return_token_ids": True})
    assert forced.choices[0].model_extra["token_ids"] == [28] * 4  # type: ignore[index]
    reply = client.completions.create(
        **body, presence_penalty=0.5, frequency_penalty=0.5, top_p=0.9, user="u", extra_body={"top_k": 20}
    )
    assert reply.choices[0].text


# ---- chat --------------------------------------------------------------------------------------------------------


def test_a_chat_with_no_configuration_at_all(client: openai.OpenAI, model: str) -> None:
    reply = client.chat.completions.create(model=model, messages=MESSAGES)
    assert reply.object == "chat.completion"
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content
    assert reply.smc["preset"] == "smc"  # type: ignore[attr-defined]


def test_all_roles_and_text_parts(client: openai.OpenAI, model: str) -> None:
    parts: Any = [{"type": "text", "text": "Say"}, {"type": "text", "text": " yes."}]
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Again."},
    ]
    reply = client.chat.completions.create(model=model, messages=messages, max_completion_tokens=4)
    assert reply.usage.completion_tokens <= 4  # type: ignore[union-attr]


def test_a_picture_is_a_bad_request_that_names_the_part(client: openai.OpenAI, model: str) -> None:
    content: Any = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    assert caught.value.param == "messages[0].content[0].type"


def test_n_chat_choices_are_streamed_each_under_its_index(client: openai.OpenAI, model: str) -> None:
    body: Any = {"model": model, "messages": MESSAGES, "n": 2, "max_tokens": 8, "seed": 1, "extra_body": ONE}
    whole = client.chat.completions.create(**body)
    texts = {0: "", 1: ""}
    reasons = {}
    for chunk in client.chat.completions.create(**body, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
    assert texts == {choice.index: choice.message.content for choice in whole.choices}
    assert set(reasons.values()) <= {"stop", "length"}


@pytest.mark.parametrize("preset", ["base", "smc-reward", "smc"])
@pytest.mark.parametrize("mode", ["commit", "final"])
def test_a_stream_adds_up_to_the_whole_answer(client: openai.OpenAI, model: str, preset: str, mode: str) -> None:
    smc = {"preset": preset, "block_size": 4}
    body: Any = {"model": model, "messages": MESSAGES, "max_tokens": 12, "seed": 4}
    whole = client.chat.completions.create(**body, extra_body={"smc": smc})
    chunks = list(
        client.chat.completions.create(
            **body,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"smc": {**smc, "stream_mode": mode}},
        )
    )
    assert streamed(chunks) == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens  # type: ignore[union-attr]


def test_the_stream_helper_puts_the_message_together(client: openai.OpenAI, model: str) -> None:
    # The helper takes answers that were cut off for failures: one word, then.
    with client.chat.completions.stream(model=model, messages=MESSAGES, stop=" ", max_tokens=40, seed=4) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.done" in kinds
    assert final.choices[0].message.content


def test_chat_logprobs_come_whole_and_in_streams(client: openai.OpenAI, model: str) -> None:
    body: Any = {"model": model, "messages": MESSAGES, "max_tokens": 6, "seed": 1, "logprobs": True, "top_logprobs": 3}
    whole = client.chat.completions.create(**body, extra_body=ONE).choices[0]
    told = whole.logprobs.content  # type: ignore[union-attr]
    assert all(len(token.top_logprobs) == 3 for token in told)  # type: ignore[union-attr]
    assert "".join(token.token for token in told).startswith(whole.message.content or "")  # type: ignore[union-attr]
    chunks = client.chat.completions.create(**body, stream=True, extra_body=ONE)
    parts = [t for c in chunks if c.choices and c.choices[0].logprobs for t in c.choices[0].logprobs.content or ()]
    assert [token.token for token in parts] == [token.token for token in told]  # type: ignore[union-attr]


def test_json_mode_gives_json(client: openai.OpenAI, model: str) -> None:
    for seed in range(3):
        reply = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "A person as JSON"}],
            response_format={"type": "json_object"},
            max_tokens=200,
            seed=seed,
            extra_body={"smc": {"preset": "smc-reward", "n_particles": 2}},
        )
        if reply.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)


class Person(BaseModel):
    name: str
    age: int
    tags: list[bool]


@pytest.mark.parametrize("preset", ["base", "smc-reward", "smc"])
def test_structured_outputs_are_parsed_by_the_clients_own_helper(
    client: openai.OpenAI, model: str, preset: str
) -> None:
    schema_messages: Any = [{"role": "user", "content": "Ann is 7. Answer as JSON."}]
    reply = client.chat.completions.parse(
        model=model,
        messages=schema_messages,
        response_format=Person,
        max_tokens=120,
        seed=2,
        extra_body={"smc": {"preset": preset, "n_particles": 2, "block_size": 8}},
    )
    assert isinstance(reply.choices[0].message.parsed, Person)


def test_tools_are_refused_by_a_model_whose_template_has_no_place_for_them(client: openai.OpenAI, model: str) -> None:
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=MESSAGES, tools=tools)
    assert caught.value.param == "tools"


# ---- smc ---------------------------------------------------------------------------------------------------------


def test_presets_are_models(client: openai.OpenAI, model: str) -> None:
    names = [each.id for each in client.models.list() if each.id.startswith(f"{model}:")]
    assert len(names) >= 9
    for name in names:
        reply = client.chat.completions.create(model=name, messages=MESSAGES, max_tokens=6)
        assert reply.model == name
        assert reply.smc["preset"] == name.partition(":")[2]  # type: ignore[attr-defined]


def test_a_reward_guides_the_run_and_is_told(client: openai.OpenAI, model: str) -> None:
    smc = {
        "preset": "smc-reward",
        "n_particles": 4,
        "block_size": 4,
        "reward": {"name": "regex", "params": {"pattern": "[a-z]+"}},
    }
    reply = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=12, extra_body={"smc": smc})
    assert 0 <= reply.choices[0].reward <= 1  # type: ignore[attr-defined]
    assert isinstance(reply.smc["log_z"], float)  # type: ignore[attr-defined]
    assert len(reply.smc["ess"]) == reply.smc["blocks"]  # type: ignore[attr-defined]
    assert reply.usage.smc["reward_calls"] > 0  # type: ignore[union-attr]


def test_progress_is_told_when_asked_for(client: openai.OpenAI, model: str) -> None:
    smc = {"preset": "smc-reward", "n_particles": 2, "block_size": 4, "stream_progress": True}
    chunks = client.chat.completions.create(
        model=model, messages=MESSAGES, max_tokens=8, stream=True, extra_body={"smc": smc}
    )
    progress = [
        chunk.model_extra["smc"]["progress"]
        for chunk in chunks
        if "progress" in (chunk.model_extra or {}).get("smc", {})
    ]
    assert {"BlockExtended", "Weighted"} <= {each["event"] for each in progress}


def test_a_stored_run_is_given_back(client: openai.OpenAI, model: str) -> None:
    smc = {"preset": "smc-reward", "n_particles": 2, "block_size": 4, "trace": True}
    reply = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=8, extra_body={"smc": smc})
    name = reply.smc["trace_id"]  # type: ignore[attr-defined]
    run: Any = client.get(f"/smc/runs/{name}", cast_to=object)
    assert run["result"]["answer"]["text"] == reply.choices[0].message.content
    events: Any = client.get(f"/smc/runs/{name}/events", cast_to=str)
    assert json.loads(events.splitlines()[-1])["event"] == "Finished"


# ---- errors ------------------------------------------------------------------------------------------------------


def test_errors_are_the_typed_exceptions(client: openai.OpenAI, model: str, server: Server) -> None:
    wrong: list[tuple[type[openai.APIStatusError], str | None, dict[str, Any]]] = [
        (openai.BadRequestError, "temperature", {"temperature": 3}),
        (openai.BadRequestError, "smc.n_particle", {"extra_body": {"smc": {"n_particle": 1}}}),
        (openai.BadRequestError, "nucleus", {"extra_body": {"nucleus": 1}}),
        (openai.NotFoundError, "model", {"model": "gpt-9"}),
    ]
    for kind, param, fields in wrong:
        with pytest.raises(kind) as caught:
            client.chat.completions.create(**{"model": model, "messages": MESSAGES, **fields})
        assert caught.value.param == param
        assert caught.value.request_id
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=server.base_url, api_key="wrong").models.list()


def test_a_reward_that_nothing_satisfies_is_not_retried(client: openai.OpenAI, model: str) -> None:
    smc = {"preset": "smc-reward", "n_particles": 2, "reward": {"name": "no-such-reward"}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=MESSAGES, extra_body={"smc": smc})
    assert "regex" in str(caught.value)


def test_a_prompt_beyond_the_context_has_openais_code(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=model, prompt="a b c " * 2000)
    assert caught.value.code == "context_length_exceeded"


def test_a_request_id_is_given_back(client: openai.OpenAI, model: str) -> None:
    raw = client.completions.with_raw_response.create(
        model=model, prompt="a", max_tokens=1, extra_headers={"X-Request-Id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"


def test_headers_are_there_for_those_who_look(client: openai.OpenAI, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, max_tokens=2)
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-request-id"] == raw.request_id
    assert raw.parse().choices
    with client.chat.completions.with_streaming_response.create(
        model=model, messages=MESSAGES, max_tokens=2, stream=True
    ) as streaming:
        assert streaming.headers["content-type"].startswith("text/event-stream")
        assert list(streaming.iter_lines())[-2:] == ["data: [DONE]", ""]


# ---- leaving -----------------------------------------------------------------------------------------------------

LONG: Any = {"messages": MESSAGES, "max_tokens": 900, "extra_body": {"ignore_eos": True, **ONE}}


def assert_left(server: Server) -> None:
    """The server has ended the work within a second or so of the client's leaving."""
    began = time.monotonic()
    while "smc_requests_running 0.0" not in httpx.get(f"{server.url}/metrics", headers=server.headers).text:
        assert time.monotonic() - began < 5
        time.sleep(0.05)


def test_a_client_that_has_no_more_time_gets_its_own_exception(
    client: openai.OpenAI, model: str, server: Server
) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3, max_retries=0).chat.completions.create(model=model, **LONG)
    assert_left(server)


def test_a_stream_may_be_left(client: openai.OpenAI, model: str, server: Server) -> None:
    with client.chat.completions.create(model=model, stream=True, **LONG) as stream:
        next(iter(stream))
    assert_left(server)


async def test_a_task_may_be_cancelled(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key=server.api_key) as client:
        task = asyncio.create_task(client.chat.completions.create(model=server.model, **LONG))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.to_thread(assert_left, server)


# ---- the asynchronous client -------------------------------------------------------------------------------------


async def test_the_asynchronous_client_does_the_same(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key=server.api_key) as client:
        stream = await client.chat.completions.create(
            model=server.model, messages=MESSAGES, max_tokens=6, stream=True, extra_body=ONE
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text


async def test_many_asynchronous_requests_at_a_time(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key=server.api_key) as client:

        async def ask(seed: int) -> str | None:
            reply = await client.chat.completions.create(
                model=server.model, messages=MESSAGES, max_tokens=6, seed=seed, extra_body=ONE
            )
            return reply.choices[0].message.content

        answers = await asyncio.gather(*map(ask, range(16)))
    assert None not in answers


# ---- responses ---------------------------------------------------------------------------------------------------


def test_a_response_with_nothing_but_an_input(client: openai.OpenAI, model: str) -> None:
    response = client.responses.create(model=model, input="Name a colour.")
    assert response.output_text
    assert response.usage
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_streamed_response_is_the_whole_one(client: openai.OpenAI, model: str) -> None:
    body: Any = {"model": model, "input": "Name a colour.", "max_output_tokens": 12, "extra_body": {**ONE, "seed": 4}}
    whole = client.responses.create(**body)
    events = list(client.responses.create(**body, stream=True))
    assert "".join(each.delta for each in events if each.type == "response.output_text.delta") == whole.output_text
    assert events[-1].response.usage == whole.usage


def test_a_structured_response_is_parsed(client: openai.OpenAI, model: str) -> None:
    class Person(BaseModel):
        name: str
        age: int

    asked = "Ann is 7 years old. Answer as JSON."
    body: Any = {"model": model, "input": asked, "max_output_tokens": 120, "extra_body": {**ONE, "seed": 2}}
    parsed = client.responses.parse(**body, text_format=Person)
    assert isinstance(parsed.output_parsed, Person)
