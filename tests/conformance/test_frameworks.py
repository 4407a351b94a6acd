"""LangChain, LiteLLM and instructor: each whole, streamed, and with structured output."""

from __future__ import annotations

import contextlib
from typing import Any

import instructor
import litellm
import openai
import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel

from tests.conformance.serving import Server

ASKED = "Name a colour."
MESSAGES: list[dict[str, str]] = [{"role": "user", "content": ASKED}]
PERSON = "Ann is 7 years old. Answer as JSON."


class Person(BaseModel):
    """A person."""

    name: str
    age: int


# ---- LangChain ---------------------------------------------------------------------------------------------------


def chain(server: Server, **options: Any) -> ChatOpenAI:
    options = {"model": server.model, "max_tokens": 12, "seed": 4, **options}
    return ChatOpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0, **options)


def test_langchain_invokes_and_streams(server: Server) -> None:
    model = chain(server, stream_usage=True)
    whole = model.invoke([SystemMessage("Be brief."), HumanMessage(ASKED)])
    assert whole.content
    assert whole.usage_metadata["output_tokens"] <= 12
    chunks = list(model.stream([SystemMessage("Be brief."), HumanMessage(ASKED)]))
    assert "".join(str(chunk.content) for chunk in chunks) == whole.content
    assert sum(chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata) > 0


async def test_langchain_works_asynchronously_and_in_batches(server: Server) -> None:
    model = chain(server, temperature=0.8)
    answers = await model.abatch([ASKED, "Name an animal.", "Name a town."])
    assert all(answer.content for answer in answers)
    assert [chunk async for chunk in model.astream(ASKED)]


def test_langchain_hands_smc_on(server: Server) -> None:
    model = chain(server, extra_body={"smc": {"preset": "smc-reward", "n_particles": 2}}, logprobs=True)
    answer = model.invoke(ASKED)
    assert answer.content
    assert answer.response_metadata["logprobs"]["content"]
    assert chain(server, model=f"{server.model}:brief").invoke(ASKED).content


def test_langchain_gets_structured_output(server: Server) -> None:
    model = chain(server, max_tokens=120)
    assert isinstance(model.with_structured_output(Person, method="json_schema").invoke(PERSON), Person)


def test_langchain_gets_json(server: Server) -> None:
    model = chain(server, max_tokens=120, temperature=0.0).with_structured_output(None, method="json_mode")
    # A small model may go on and on, which LangChain takes for a failure: nothing else may go wrong.
    with contextlib.suppress(openai.LengthFinishReasonError):
        assert isinstance(model.invoke(PERSON), dict)


def test_langchains_completions(server: Server) -> None:
    model = OpenAI(
        base_url=server.base_url, api_key=server.api_key, model=server.model, max_tokens=8, temperature=0, max_retries=0
    )
    whole = model.invoke("One two three")
    assert "".join(model.stream("One two three")) == whole
    assert len(model.generate(["A", "B"]).generations) == 2


# ---- LiteLLM -----------------------------------------------------------------------------------------------------


def lite(server: Server, **fields: Any) -> dict[str, Any]:
    """LiteLLM's road to compatible servers."""
    base = {"api_base": server.base_url, "api_key": server.api_key, "max_tokens": 12, "seed": 4, "num_retries": 0}
    return {"model": f"openai/{server.model}", "messages": MESSAGES, **base, **fields}


def test_litellm_completes_and_streams(server: Server) -> None:
    whole = litellm.completion(**lite(server))
    text = whole.choices[0].message.content
    assert text
    assert whole.usage.completion_tokens <= 12
    chunks = list(litellm.completion(**lite(server, stream=True, stream_options={"include_usage": True})))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert litellm.stream_chunk_builder(chunks).choices[0].message.content == text


@pytest.mark.parametrize("road", ["hosted_vllm", "openai"])
async def test_litellm_works_asynchronously(server: Server, road: str) -> None:
    reply = await litellm.acompletion(**lite(server, model=f"{road}/{server.model}", n=2, temperature=0.9))
    assert len(reply.choices) == 2


def test_litellm_hands_smc_on(server: Server) -> None:
    reply = litellm.completion(**lite(server, extra_body={"smc": {"preset": "smc-reward", "n_particles": 2}}))
    assert reply.choices[0].message.content


def test_litellm_gets_structured_output(server: Server) -> None:
    fields = {"messages": [{"role": "user", "content": PERSON}], "max_tokens": 120, "response_format": Person}
    reply = litellm.completion(**lite(server, **fields))
    assert Person.model_validate_json(reply.choices[0].message.content)


def test_litellms_text_completions(server: Server) -> None:
    fields = lite(server, model=f"text-completion-openai/{server.model}", prompt="One two three", max_tokens=6)
    del fields["messages"]
    assert litellm.text_completion(**fields).choices[0].text


def test_litellm_raises_its_own_kinds_of_errors(server: Server) -> None:
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(**lite(server, temperature=3))
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**lite(server, model="openai/gpt-9"))
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**lite(server, api_key="wrong"))


# ---- instructor --------------------------------------------------------------------------------------------------


def instructed(server: Server, mode: instructor.Mode) -> Any:
    return instructor.from_openai(openai.OpenAI(base_url=server.base_url, api_key=server.api_key), mode=mode)


def asked(server: Server) -> dict[str, Any]:
    messages = [{"role": "user", "content": PERSON}]
    return {"model": server.model, "messages": messages, "max_tokens": 120, "seed": 2, "max_retries": 0}


def test_instructor_gets_an_object(server: Server) -> None:
    client = instructed(server, instructor.Mode.JSON_SCHEMA)
    person, reply = client.create_with_completion(response_model=Person, **asked(server))
    assert isinstance(person, Person)
    assert reply.smc["preset"] == "smc"


def test_instructor_streams_an_object(server: Server) -> None:
    client = instructed(server, instructor.Mode.JSON_SCHEMA)
    parts = list(client.create_partial(response_model=Person, **asked(server)))
    assert isinstance(parts[-1].name, str)
    assert isinstance(parts[-1].age, int)


async def test_instructor_works_asynchronously(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key=server.api_key) as plain:
        client: Any = instructor.from_openai(plain, mode=instructor.Mode.JSON_SCHEMA)
        assert isinstance(await client.create(response_model=Person, **asked(server)), Person)
