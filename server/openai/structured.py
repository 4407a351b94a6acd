"""What an answer must look like: OpenAI's ``response_format``, and vLLM's ``structured_outputs`` and ``guided_*``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import invalid
from .grammar_limits import MAX_SCHEMA, check_grammar
from .types import Body

_REGEX_MARKS = frozenset(r"\.^$*+?()[]{}|/")


class JSONSchema(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None

    @model_validator(mode="after")
    def _check_format(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema goes with type 'json_schema', and with no other")
        return self


class StructuredOutputs(Body):
    """vLLM's, with one of the first four."""

    json_: dict[str, Any] | str | None = Field(None, alias="json")
    regex: str | None = None
    choice: list[str] | None = Field(None, min_length=1)
    json_object: bool | None = None
    grammar: str | None = None
    structural_tag: str | None = None
    disable_fallback: bool | None = None  # without effect: there is one backend
    disable_any_whitespace: bool | None = None
    disable_additional_properties: bool | None = None
    whitespace_pattern: str | None = None

    @model_validator(mode="after")
    def _check_outputs(self) -> Self:
        if self.grammar is not None:
            raise ValueError("grammar cannot be followed: engines here take a JSON schema or a regular expression")
        if self.structural_tag is not None:
            raise ValueError("structural_tag cannot be followed: use json, regex or choice for the whole answer")
        for name in ("disable_any_whitespace", "disable_additional_properties", "whitespace_pattern"):
            if getattr(self, name):
                raise ValueError(f"{name} cannot be followed: say it in the schema, or in regex")
        return self


class StructuredFields(Body):
    """The fields by which vLLM's clients ask for a form, now and before its version 0.12."""

    structured_outputs: StructuredOutputs | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = Field(None, min_length=1)
    guided_grammar: str | None = None
    guided_decoding_backend: str | None = None  # without effect: there is one
    guided_whitespace_pattern: str | None = None

    @model_validator(mode="after")
    def _check_guided(self) -> Self:
        if self.guided_grammar is not None:
            raise ValueError("guided_grammar cannot be followed: use guided_json or guided_regex")
        if self.guided_whitespace_pattern is not None:
            raise ValueError("guided_whitespace_pattern cannot be followed: say it in guided_regex")
        return self

    def wanted_forms(self) -> list[tuple[str, dict[str, Any]]]:
        """(field, grammar) of each form that is asked for. Raises APIError (400)."""
        asked = self.structured_outputs or StructuredOutputs()
        forms = {
            "structured_outputs.json": _of_schema(asked.json_, "structured_outputs.json"),
            "structured_outputs.regex": _of_regex(asked.regex),
            "structured_outputs.choice": _of_choice(asked.choice),
            "structured_outputs.json_object": {"json_object": True} if asked.json_object else None,
            "guided_json": _of_schema(self.guided_json, "guided_json"),
            "guided_regex": _of_regex(self.guided_regex),
            "guided_choice": _of_choice(self.guided_choice),
        }
        return [(name, form) for name, form in forms.items() if form is not None]


def response_form(form: ResponseFormat | None) -> dict[str, Any] | None:
    """The grammar of ``response_format``."""
    if form is None or form.type == "text":
        return None
    schema = form.json_schema.schema_ if form.json_schema is not None else None
    return {"json_object": True} if schema is None else {"json_schema": schema}


def only_form(forms: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any] | None:
    """The grammar that is asked for. Raises APIError (400) where several fields ask for one, or it is too large."""
    if len(forms) > 1:
        (first, _), (second, _), *_ = forms
        raise invalid(f"{first} and {second} exclude each other: leave one out", first)
    if not forms:
        return None
    name, grammar = forms[0]
    if not name.endswith("choice"):  # a list of texts compiles in proportion to its length
        check_grammar(grammar, name)
    return dict(grammar)


def _of_schema(schema: Mapping[str, Any] | str | None, name: str) -> dict[str, Any] | None:
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise invalid(f"{name} is no JSON schema: {error}", name) from None
        if not isinstance(schema, Mapping):
            raise invalid(f"{name} is no JSON schema: it must be an object", name)
    return None if schema is None else {"json_schema": dict(schema)}


def _of_regex(pattern: str | None) -> dict[str, Any] | None:
    return None if pattern is None else {"regex": pattern}


def _of_choice(choices: Sequence[str] | None) -> dict[str, Any] | None:
    """One of the texts, as a regular expression."""
    if choices is None:
        return None
    if sum(map(len, choices)) > MAX_SCHEMA:
        raise invalid(f"choice: the texts have more than {MAX_SCHEMA} characters in all", "choice")
    spelled = ("".join(f"\\{c}" if c in _REGEX_MARKS else c for c in text) for text in choices)
    return {"regex": f"({'|'.join(spelled)})"}
