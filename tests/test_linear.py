"""Every entry that reads a client's or a model's text takes time in proportion to it, up to the length it allows.

Processor time is compared with itself, the best of several tries at n and at 2n characters, so that a busy machine
changes little and a regular expression cannot hide in one call. Beside the modules are tests that count operations.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from server.errors import APIError
from server.openai.grammar_limits import check_grammar
from server.openai.text import ShownText
from server.openai.tools import ToolParser
from smc_decode.answers.extractors import boxed, code_key, extract_text
from smc_decode.answers.json_text import find_json
from smc_decode.notation.claims import find_claims
from smc_decode.workers import code, patterns, schemas

PIECES = [
    "~", "`", "~~~ ", "```\n", "```python\nf = 1\n```\n", "(", "[", "{", "1+", "1 = ", "$1\n", "\\frac", "\\boxed{",
    "the answer is ", '"', "'''", '{"a":', "<think>", "\\", "\n", " ", "\t", "\r\n", "f(1)\n", "f(1) == 2\n", "f(",
    ">>> f(1)\n", ">>> f([\n... ", "Input: 1\n", "assert f(1) == 2\n", "def f(x):\n", "def f(x):\n    return 1\n",
    "class A:\n", "if x:\n", "x = 1\n", "x,", "@f\n", "import a\n", "try:\n", "1,", "a.b.", "é", "😀", "<tool_call>",
    '<tool_call>{"name": "f"}</tool_call>',
]  # fmt: skip
FIRST = 6_000
WORTH_A_LOOK = 0.02
"""Seconds; what takes less may be anything, and is not slow."""
CHECK = "def check(candidate):\n    assert candidate(1) == 2\n"


def program(prompt: str, text: str, finished: bool, entry_point: str, chat: bool) -> object:
    return code.program(prompt, text, finished, entry_point, chat)


def shown(text: str) -> str:
    """A stream's text, fed in pieces."""
    data = text.encode()
    reader = ShownText(lambda ids: bytes(ids).decode("utf-8", "replace"), ["\n\n\n~", "stop here"], ["<tool_call>"])
    for end in range(64, len(data) + 64, 64):
        reader.feed(data[:end])
    return reader.end(data)


READERS: dict[str, tuple[Callable[[str], Any], int]] = {
    "equalities": (lambda text: find_claims(text, True, 100), 56_000),
    "a final answer": (boxed, 100_000),
    "JSON": (lambda text: find_json(text, False, True), 200_000),
    "params.prompt": (lambda text: code.task(text, None, []), 200_000),
    "examples in params.prompt": (lambda text: code.examples([text], "f", 8), 200_000),
    "params.test": (lambda text: code.refused([text], "f", ""), 100_000),
    "helpers of a test": (lambda text: code.refused([CHECK], "f", text), 200_000),
    "a message with a program": (lambda text: program("", text, True, "f", True), 99_000),
    "an unfinished message": (lambda text: program("", text, False, "f", True), 99_000),
    "a continuation": (lambda text: program("def f(x):\n", text, True, "f", False), 99_000),
    "an unfinished continuation": (lambda text: program("def f(x):\n", text, False, "f", False), 99_000),
    "a prompt that is continued": (lambda text: program(text, "    return 1\n", True, "f", False), 99_000),
    "a script": (lambda text: program("", text, True, "", True), 99_000),
    "code as a vote": (code_key, 99_000),
    "text as a vote": (extract_text, 200_000),
    "tool calls": (ToolParser(["f"], forced=False, parallel=True).parse, 200_000),
    "a stream's text": (shown, 50_000),
    "a pattern in ECMA's notation": (patterns._translated, 200_000),
}


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """The garbage collector looks at all objects again and again, whoever made them."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def seconds(work: Callable[[], Any], times: int = 1) -> float:
    """Processor time, the best of several."""
    taken = []
    for _ in range(times):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return min(taken)


def ratio(read: Callable[[Any], Any], half: Any, whole: Any) -> float:
    """Of times; the best of more tries where one try says that it is not linear."""
    found = math.inf
    for times in (1, 3, 6):
        found = seconds(lambda: read(whole), times) / max(seconds(lambda: read(half), times), 1e-9)
        if found <= 2.5:
            break
    return found


@pytest.mark.parametrize("name", READERS)
def test_twice_the_text_takes_at_most_two_and_a_half_times_as_long(name: str) -> None:
    """All pieces at a length where what is worse than linear shows, the worst of them at the allowed length."""
    read, allowed = READERS[name]
    taken: dict[str, float] = {}
    for piece in PIECES:
        half, whole = (piece * (size // len(piece)) for size in (FIRST // 2, FIRST))
        taken[piece] = seconds(lambda whole=whole: read(whole))  # type: ignore[misc]
        if taken[piece] > WORTH_A_LOOK:
            assert ratio(read, half, whole) <= 2.5, piece
    worst = max(taken, key=lambda piece: taken[piece])
    half, whole = (worst * (size // len(worst)) for size in (allowed // 2, allowed))
    if seconds(lambda: read(whole)) > WORTH_A_LOOK:
        assert ratio(read, half, whole) <= 2.5, worst


SCHEMAS: dict[str, Callable[[int], Any]] = {
    "many properties": lambda n: {"properties": {f"k{i}": {"type": "string"} for i in range(n)}},
    "many of anyOf": lambda n: {"anyOf": [{"const": i} for i in range(n)]},
    "many definitions": lambda n: {"$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(n)} | {f"d{n}": {}}},
    "a long enum": lambda n: {"enum": [str(i) for i in range(n)]},
    "many required": lambda n: {"required": [f"k{i}" for i in range(n)]},
    "many patterns": lambda n: {"patternProperties": {f"^k{i}$": {} for i in range(n)}},
    "a long pattern": lambda n: {"pattern": "a?" * n},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_of_twice_the_size_is_checked_in_at_most_two_and_a_half_times_as_long(name: str) -> None:
    make = SCHEMAS[name]
    count = 1
    while len(json.dumps(make(2 * count))) < 50_000:
        count *= 2

    def check(schema: Any) -> None:
        assert schemas.problem(schema) == ""

    check(make(4))  # the libraries are loaded
    half, whole = make(count), make(2 * count)
    if seconds(lambda: check(whole)) > WORTH_A_LOOK:
        assert ratio(check, half, whole) <= 2.5


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_limits_on_a_form_are_looked_at_in_linear_time(name: str) -> None:
    def check(schema: Any) -> None:
        with contextlib.suppress(APIError):
            check_grammar({"json_schema": schema}, "response_format")

    half, whole = SCHEMAS[name](2_000), SCHEMAS[name](4_000)
    if seconds(lambda: check(whole)) > WORTH_A_LOOK:
        assert ratio(check, half, whole) <= 2.5
