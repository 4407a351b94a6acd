"""schemathesis against OpenAI's published document: what it allows is answered as it says, the rest is refused."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig

from tests.conformance.openapi import document
from tests.conformance.serving import Server

CASES = 40
"""Random cases for each operation, beside those that schemathesis works out from the schemas."""

# The server's own key is given with each case; schemathesis still tries without it, and with a wrong one.
_GENERATION = GenerationConfig(with_security_parameters=False)
_CONFIG = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=_GENERATION)))
SCHEMA = schemathesis.openapi.from_dict(document(), config=_CONFIG)


@SCHEMA.parametrize()
@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_openais_document_is_kept(case: schemathesis.Case, server: Server) -> None:
    positive = case.meta is None or case.meta.generation.mode.is_positive
    if isinstance(case.body, dict):
        case.body = coherent(case.body, server.model) if positive else addressed(case.body, server.model)
    if positive and "model" in case.path_parameters:
        case.path_parameters["model"] = server.model
    case.call_and_validate(base_url=server.base_url, headers=server.headers, timeout=60)


def addressed(body: dict[str, Any], model: str) -> dict[str, Any]:
    """``body`` for a model that is there: else everything would be refused, and rightly, for that alone."""
    # An ordinary sample is quicker than the default preset, and both are asked for.
    name = f"{model}:base" if len(str(body)) % 2 else model
    return {**body, "model": name} if isinstance(body.get("model"), str) else body


def coherent(body: dict[str, Any], model: str) -> dict[str, Any]:
    """``body`` with its fields made to agree, as the document demands in words, and made cheap."""
    body = addressed(body, model)
    for name in ("max_tokens", "max_completion_tokens"):
        # For time's sake: an honest answer may be as long as the context.
        if body.get(name) is not None:
            body[name] = min(body[name], 6)
    if body.get("max_completion_tokens") is not None:
        body.pop("max_tokens", None)
    elif body["model"] == model:
        # Left out only where one particle, and not sixteen, then goes on to the server's own limit.
        body.setdefault("max_tokens", 6)
    if body.get("n") is not None:
        body["n"] = min(body["n"], 4)
    if body.get("best_of"):
        body["best_of"] = max(body["best_of"], body.get("n") or 1)
    if not body.get("stream"):
        body.pop("stream_options", None)
    if body.get("max_tokens") == 0:
        # Scoring: the prompt is echoed, once and whole.
        body["echo"] = True
        for name in ("stream", "stream_options", "n"):
            body.pop(name, None)
    return coherent_chat(body) if "messages" in body else body


def coherent_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The same for what only chats have."""
    body["messages"] = [said(message) for message in body["messages"]]
    if body.get("top_logprobs") is not None:
        body["logprobs"] = True
    schema = (body.get("response_format") or {}).get("json_schema")
    if schema is not None and schema.get("schema") is not None:
        # Any object is allowed here, and few are JSON schemas.
        wanted = {**schema, "schema": {"type": "object", "properties": {"a": {"type": "boolean"}}}}
        body["response_format"] = {**body["response_format"], "json_schema": wanted}
    return body


def said(message: dict[str, Any]) -> dict[str, Any]:
    """An assistant's message holds something: text, a refusal or calls."""
    if message.get("content") is None and not message.get("tool_calls") and message.get("refusal") is None:
        return {**message, "content": "yes"}
    return message
