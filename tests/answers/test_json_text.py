"""The JSON of an answer: the answer itself, or the last fenced block that is JSON."""

from __future__ import annotations

from typing import Any

import pytest

from smc_decode.answers.json_text import find_json

VALUE = '{"b": [2]}'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (VALUE, {"b": [2]}),
        (f"```json\n{VALUE}\n```\nThen run\n```sh\nls\n```", {"b": [2]}),
        (f"<think>\n```\nhm\n```\n</think>\n```json\n{VALUE}\n```", {"b": [2]}),
        (f"<think>{{}}</think>{VALUE}", {"b": [2]}),
        (f"```json\n{VALUE}```", {"b": [2]}),
        (f"```{VALUE}```", {"b": [2]}),
        (f"``` json\n{VALUE}\n```", {"b": [2]}),
        (f"```json title=x\n{VALUE}\n```", {"b": [2]}),
        (f"1. so:\n   ```json\n   {VALUE}\n   ```", {"b": [2]}),
        (f"- ```json\n{VALUE}\n```", {"b": [2]}),
        (f"~~~\n{VALUE}\n~~~", {"b": [2]}),
        (f"````json\n{VALUE}\n````", {"b": [2]}),
        ('```json\n{"c": "```\\n"}\n```', {"c": "```\n"}),
        ("```json\n[1]\n```\n```json\n[2]\n```", [2]),
        ("\ufeff[1]", [1]),
    ],
)
def test_the_last_block_that_is_json_counts(text: str, value: Any) -> None:
    found = find_json(text, finished=True, fenced=True)
    assert (found.state, found.value) == ("json", value)


@pytest.mark.parametrize(
    "text", ["", "Just prose.", '"', "[1", "```json\n[1", "<think>[1]", "[1] and more", "```json\nno\n```", "[" * 9999]
)
def test_what_is_no_json_is_none(text: str) -> None:
    assert find_json(text, finished=True, fenced=True).state == "none"


@pytest.mark.parametrize(
    "text", ["Here it comes:\n", "<think>hm", "`", "``", "```", "```js", "```json\n", "", " ", "T", "nul", "-"]
)
def test_what_may_become_json_is_open(text: str) -> None:
    found = find_json(text, finished=False, fenced=True)
    assert found.state == "pending" or (found.state == "json" and not found.begun)


@pytest.mark.parametrize(
    ("text", "value", "open_end"),
    [
        ('"', "", True),
        ('{"b": "x', {"b": "x"}, True),
        ('{"b": 1', {"b": 1}, True),
        ("[1, ", [1], False),
        ("```json\n[1]\n``", [1], False),
        ("```json\n[1]\n```\nmore", [1], False),
        ("```json\n[1", [1], True),
    ],
)
def test_an_unfinished_text_shows_what_is_there_so_far(text: str, value: Any, open_end: bool) -> None:
    found = find_json(text, finished=False, fenced=True)
    assert (found.value, found.begun, found.open_end) == (value, True, open_end)


@pytest.mark.parametrize("text", ['{"b" 2', '{"b": 2} x', "[1] so"])
def test_json_that_broke_is_none(text: str) -> None:
    assert find_json(text, finished=False, fenced=True).state == "none"


def test_without_fences_prose_is_none() -> None:
    assert find_json("Here:\n", finished=False, fenced=False).state == "none"
