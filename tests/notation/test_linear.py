"""Readers of a model's or a client's text take time in proportion to it, whatever it is.

What is counted is bytecode lines that run, and not seconds: the counts are the same on a busy machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from smc_decode.answers.final import final_answer
from smc_decode.answers.json_text import find_json
from smc_decode.notation.claims import find_claims

PIECES = [
    "1+", "(", "=", "1 = ", "$", "5", "\\[", "\\begin{align}", "<<", "a b = ", "1 2 3 = ", "((1+", "3 apples ",
    "$1 + 1 = 3 ", "$1\n", "**", "{", "\\frac", "\\frac1", "1 hour ", "^", "√", "x^", "\\text{", "2^2^", "1/", "9!",
    "|", "10\\,", "1 000 ", "\\boxed{", "\\boxed ", "the answer is ", "#### ", "```\n", "```", "~~~ ", "\n", " ",
    "{\"a\":", "[", "\"", "<think>", "\\", "1 + 1 = 2\n", "$$", "x = \\boxed{1}, ", "-", "* ", "`", ".", "%",
    "12 R ", "1,",
]  # fmt: skip
READERS: dict[str, Callable[[str], Any]] = {
    "claims": lambda text: find_claims(text, False, 1000),
    "claims of a finished text": lambda text: find_claims(text, True, 1000),
    "the final answer": final_answer,
    "unfinished JSON": lambda text: find_json(text, False, True),
    "JSON": lambda text: find_json(text, True, True),
}
SIZE = 500


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of Python run."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", list(READERS))
def test_twice_the_text_takes_at_most_two_and_a_half_times_the_steps(name: str) -> None:
    read = READERS[name]
    for piece in PIECES:
        once, twice = (piece * (size // len(piece)) + "= 2" for size in (SIZE, 2 * SIZE))
        read(once)
        steps = [lines_run(lambda text=text: read(text)) for text in (once, twice)]  # type: ignore[misc]
        assert steps[1] <= 2.5 * steps[0] + 500, piece


@pytest.mark.parametrize("name", list(READERS))
def test_no_regular_expression_runs_away_on_a_long_text(name: str) -> None:
    """What runs in C counts no lines: a text of the allowed length would take minutes if it were quadratic."""
    read = READERS[name]
    for piece in PIECES:
        text = piece * (8_000 // len(piece))
        begin = time.process_time()
        read(text)
        assert time.process_time() - begin < 5, piece
