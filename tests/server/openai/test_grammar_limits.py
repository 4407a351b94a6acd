"""A form that an engine would compile for long is refused, and the error says what to change."""

from __future__ import annotations

from typing import Any

import pytest

from server.errors import APIError
from server.openai.grammar_limits import check_grammar
from server.openai.structured import only_form


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


PROPERTIES = {f"k{i}": {"type": "string"} for i in range(300)}
FINE: list[dict[str, Any]] = [
    {"json_object": True},
    {"regex": r"[a-z]{1,1000}\{5000\}"[:-8]},
    {"json_schema": {"type": "object", "properties": dict(list(PROPERTIES.items())[:100])}},
    {"json_schema": nested(25)},
    {"json_schema": {"type": "array", "items": {"type": "string", "maxLength": 500}, "maxItems": 100}},
]
LARGE: list[tuple[dict[str, Any], str]] = [
    ({"regex": "a" * 3000}, "too long"),
    ({"regex": "a{1,5000}"}, "repeats more than"),
    ({"regex": "(a{9999999999999999999})"}, "repeats more than"),
    ({"json_schema": {"type": "object", "properties": PROPERTIES}}, "group them"),
    ({"json_schema": {"anyOf": [{"type": "object", "properties": PROPERTIES, "required": 7}]}}, "group them"),
    ({"json_schema": nested(80)}, "nested"),
    ({"json_schema": nested(5000)}, "more than"),
    ({"json_schema": {"type": "string", "maxLength": 10**9}}, "maxLength"),
    ({"json_schema": {"type": "string", "pattern": "^a{0,99999}$"}}, "repeats more than"),
    ({"json_schema": {"description": "x" * 200_000}}, "characters"),
]


@pytest.mark.parametrize("grammar", FINE)
def test_forms_that_compile_in_a_moment_pass(grammar: dict[str, Any]) -> None:
    check_grammar(grammar, "response_format")
    assert only_form([("response_format", grammar)]) == grammar


@pytest.mark.parametrize(("grammar", "says"), LARGE)
def test_forms_that_take_long_are_refused_with_what_to_change(grammar: dict[str, Any], says: str) -> None:
    with pytest.raises(APIError, match=says) as caught:
        only_form([("response_format", grammar)])
    assert caught.value.param == "response_format"
    assert caught.value.status == 400
